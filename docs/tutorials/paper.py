# %% [markdown]
# # The paper in ten minutes
#
# An attack made on one model, the **surrogate**, is shown to another, the **target**, that was trained on other data
# and that the attacker cannot ask. We do this once by hand, measure why it works (S, R, V), and then let the suite do a
# whole matrix. Data: scikit-learn's bundled digits 8 and 9, 8 x 8 pixels.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from transfer_exp import Combination, Store, run
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.data.digits import load_digits
from transfer_exp.data.splits import make_split
from transfer_exp.data.training_sets import training_sets
from transfer_exp.learners import MLP, RBFSVM, LinearSVM
from transfer_exp.margin import predict
from transfer_exp.measures.gradients import gradient_alignment, loss_gradients, margin_gradients
from transfer_exp.measures.losses import loss_variability, losses
from transfer_exp.types import Box, Grid, Sizes

data = load_digits(name="digits89", split=Sizes(test=100), classes=[8, 9])
split = make_split(data, seed=0)
{part: len(rows) for part, rows in vars(split).items()}

# %% [markdown]
# ## One pair by hand
#
# The split is random but for its seed, and its parts are disjoint. The surrogate is a linear SVM of low complexity
# (strong regularisation), the target one with an RBF kernel.

# %%
low, target_learner = LinearSVM(C=0.01), RBFSVM(C=100, gamma=0.01)
surrogate = low.fit(data.x[split.surrogate], data.y[split.surrogate], n_classes=2, seed=0)
target = target_learner.fit(data.x[split.target], data.y[split.target], n_classes=2, seed=0)

x, y = data.x[split.test], data.y[split.test]
clean = {"surrogate": np.mean(predict(surrogate.logits(x)) != y), "target": np.mean(predict(target.logits(x)) != y)}
clean

# %% [markdown]
# Now the attack: within an l2 distance epsilon of each point, and within the box of the pixels, make the margin of the
# surrogate as small as it goes.

# %%
epsilons = (0, 0.25, 0.5, 0.75, 1, 1.5)
attack = Evasion(norm="l2")
black = attack.craft(surrogate, x, y, epsilons=epsilons, box=data.box)
white = attack.craft(target, x, y, epsilons=epsilons, box=data.box)


def error(model, crafted, k):
    return np.mean(predict(model.logits(crafted.points(k, x, data.box))) != y)


table = pd.DataFrame(
    {
        "on the surrogate itself": [error(surrogate, black, k) for k in range(len(epsilons))],
        "transfer to the target": [error(target, black, k) for k in range(len(epsilons))],
        "white box on the target": [error(target, white, k) for k in range(len(epsilons))],
    },
    index=pd.Index(epsilons, name="epsilon"),
)
table

# %% [markdown]
# Is the attack as good as it claims? On a linear model without a box, the best step is known: epsilon along the
# weights, and the score moves by epsilon times their length.

# %%
wide = Box.uniform(64, -100, 100)
free = attack.craft(surrogate, x, y, epsilons=(1,), box=wide)
rise = free.objective[0] - free.clean_objective
length = np.linalg.norm(margin_gradients(surrogate, x[:1], y[:1]))
print(f"rise of the objective: {rise.min():.6f} to {rise.max():.6f}; epsilon times the length of the gradient: {length:.6f}")

# %%
k = epsilons.index(1)
figure, axes = plt.subplots(2, 6, figsize=(9, 3.2))
for column, axis in enumerate(axes.T):
    for image, place in zip((x[column], black.points(k, x, data.box)[column]), axis):
        place.imshow(image.reshape(8, 8), cmap="gray", vmin=0, vmax=1)
        place.set(xticks=[], yticks=[], xlabel="target says " + str((8, 9)[predict(target.logits(image[None]))[0]]))
axes[0, 0].set_ylabel("clean")
axes[1, 0].set_ylabel("epsilon 1")
figure.tight_layout()

# %% [markdown]
# ## Why? S, R, V
#
# - **S**, the size of the target's input gradients: how sensitive it is.
# - **R**, the cosine between the gradients of both: which share of a white box's gain the black box reaches.
# - **V**, the variance of the surrogate's loss over training sets like its own: how much of what it learned is chance.

# %%
S = np.linalg.norm(loss_gradients(target, x, y, target_learner.loss_name), axis=1).mean()
R = np.nanmean(gradient_alignment(margin_gradients(surrogate, x, y), margin_gradients(target, x, y)))
sets = training_sets(data, split.surrogate, split.test, seed=0, surrogate_fraction=1.0, n_sets=10)
others = [low.fit(data.x[one.rows], data.y[one.rows], n_classes=2, seed=one.seed) for one in sets]
V = loss_variability(np.stack([losses(model.logits(x), y, low.loss_name) for model in others])).mean()
print(f"S {S:.4f}   R {R:.4f}   V {V:.4f}")

# %% [markdown]
# `run` does all of this, with the control (random noise of the same size), and keeps the slow pieces in a store. The
# numbers are the same.

# %%
store = Store(Path(tempfile.mkdtemp()) / "store")
grid = Grid(grid=epsilons, reference=1, shown=(0.5, 1))
outcome = run(Combination(dataset=data, surrogate=low, target=target_learner, attack=attack, epsilon=grid, seed=0), store)
for symbol, name, by_hand in (
    ("S", "gradient_size", S),
    ("R", "gradient_alignment", R),
    ("V", "loss_variability", V),
):
    print(f"{symbol}  {outcome.metrics[name]:.4f}")
    assert np.isclose(outcome.metrics[name], by_hand)
assert np.allclose(outcome.curves["error"], table["transfer to the target"])
pd.DataFrame({name: outcome.curves[name] for name in ("error", "whitebox_error", "noise_error")}, index=table.index)

# %% [markdown]
# ## A matrix
#
# Three families in high and low complexity, each against each, three random splits. Rows: what the attack was made on.
# Columns: what it was shown to.

# %%
learners = {
    "SVM H": LinearSVM(C=100),
    "SVM L": LinearSVM(C=0.01),
    "RBF H": RBFSVM(C=100, gamma=0.01),
    "RBF L": RBFSVM(C=1, gamma=0.01),
    "MLP H": MLP(hidden=(20,), n_epochs=20),
    "MLP L": MLP(hidden=(20,), n_epochs=20, weight_decay=0.01),
}
quick = Evasion(norm="l2", n_walk=0)  # without restarts: faster, and on these smooth models all but as good
short = Grid(grid=(0, 0.5, 1), reference=1, shown=(0.5, 1))
cells = []
for seed in range(3):
    for made_on, one in learners.items():
        for shown_to, other in learners.items():
            combination = Combination(
                dataset=data, surrogate=one, target=other, attack=quick, epsilon=short, seed=seed, n_variability=5
            )
            metrics = run(combination, store).metrics
            names = ("error_at_1", "gradient_alignment", "error_ratio_at_1", "loss_variability")
            cells.append({"surrogate": made_on, "target": shown_to, "seed": seed} | {name: metrics[name] for name in names})
cells = pd.DataFrame(cells)
matrix = cells.groupby(["surrogate", "target"])["error_at_1"].mean().unstack().loc[list(learners), list(learners)]
(100 * matrix).round().astype(int)

# %%
figure, axis = plt.subplots(figsize=(4.6, 4))
axis.imshow(matrix, cmap="YlGnBu", vmin=0, vmax=1)
for (row, column), value in np.ndenumerate(matrix.to_numpy()):
    axis.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color="white" if value > 0.55 else "black")
axis.set_xticks(range(len(learners)), learners, rotation=90)
axis.set_yticks(range(len(learners)), learners)
axis.set(xlabel="target", ylabel="surrogate", title="error in % at epsilon 1")
figure.tight_layout()

# %% [markdown]
# R is meant to say how much of the white box's harm a black box does. Does it?

# %%
pairs = cells[cells["surrogate"] != cells["target"]].groupby(["surrogate", "target"]).mean(numeric_only=True)
figure, axis = plt.subplots(figsize=(4.6, 3.4))
axis.scatter(pairs["gradient_alignment"], pairs["error_ratio_at_1"], s=14)
axis.set(xlabel="R, gradient alignment", ylabel="black-box / white-box error")
figure.tight_layout()
print(f"Pearson {pairs['gradient_alignment'].corr(pairs['error_ratio_at_1']):.2f} over {len(pairs)} pairs")

# %% [markdown]
# Three splits of 354 points show the suite, not the claims. `make demo` runs seven splits with intervals and verdicts;
# the studies of the paper are on the page of results.
