# %% [markdown]
# # Poisoning
#
# The attacker adds points to the target's training data. They are made on a surrogate: each is moved along the
# gradient, through the retrained learner, of the loss on validation points. We make some by hand, check the gradient
# against retraining, and see what they do to other learners.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from transfer_exp import Combination, Store, run
from transfer_exp.attacks.poisoning import Poisoning, validation_gradients
from transfer_exp.data.digits import load_digits
from transfer_exp.data.splits import make_split
from transfer_exp.learners import Forest, LinearSVM, Logistic, Ridge
from transfer_exp.measures.losses import losses
from transfer_exp.types import Grid, Sizes

sizes = Sizes(target=80, surrogate=80, validation=90, test=90)
data = load_digits(name="digits89", split=sizes, classes=[8, 9])
split = make_split(data, seed=0)
parts = {part: (data.x[rows], data.y[rows]) for part, rows in vars(split).items()}

# %% [markdown]
# ## Points by hand
#
# Each starts at a training point whose label is flipped, and moves within the box of the pixels.

# %%
ridge = Ridge(alpha=1)
made = Poisoning().craft(ridge, *parts["surrogate"], *parts["validation"], n_points=8, box=data.box, seed=0)
pd.DataFrame({"loss at the start": made.objective_start, "loss where it ended": made.objective}, index=range(1, 9)).round(4)

# %%
figure, axes = plt.subplots(2, 8, figsize=(9, 2.6))
for column, axis in enumerate(axes.T):
    for point, place in zip((made.start_points[column], made.points[column]), axis):
        place.imshow(point.reshape(8, 8), cmap="gray", vmin=0, vmax=1)
        place.set(xticks=[], yticks=[])
    axis[1].set_xlabel(f"labelled {data.class_names[made.labels[column]]}")
axes[0, 0].set_ylabel("start")
axes[1, 0].set_ylabel("end")
figure.tight_layout()

# %% [markdown]
# ## Is the gradient right?
#
# Retrain with the first point moved by a little in one pixel, both ways: the slope of the validation loss is what the
# gradient promises.

# %%
x, y = parts["surrogate"]
x_val, y_val = parts["validation"]
point, label = made.points[:1], made.labels[:1]


def validation_loss(at):
    model = ridge.fit(np.vstack([x, at]), np.append(y, label), n_classes=2, seed=0)
    return losses(model.logits(x_val), y_val, ridge.loss_name).mean()


gradient = validation_gradients(ridge, x, y, x_val, y_val, points=point, labels=label)[0]
pixel, step = int(np.argmax(np.abs(gradient))), 1e-4
moved = np.zeros_like(point)
moved[0, pixel] = step
slope = (validation_loss(point + moved) - validation_loss(point - moved)) / (2 * step)
print(f"gradient {gradient[pixel]:.8f}   slope by retraining {slope:.8f}")
assert np.isclose(gradient[pixel], slope, rtol=1e-4)

# %% [markdown]
# ## To other learners
#
# The points join the training data of targets, which are retrained. The control: as many random points of the
# attacker's data with flipped labels.

# %%
store = Store(Path(tempfile.mkdtemp()) / "store")
grid = Grid(grid=(0, 0.05, 0.1, 0.2), reference=0.1, shown=(0.1, 0.2))
surrogates = {"ridge": ridge, "logistic L": Logistic(C=0.01), "SVM L": LinearSVM(C=0.01)}
targets = {"ridge": ridge, "logistic H": Logistic(C=10), "SVM H": LinearSVM(C=100), "forest": Forest(n_trees=30)}
rows = []
for made_on, surrogate in surrogates.items():
    for shown_to, target in targets.items():
        outcome = run(
            Combination(
                dataset=data, surrogate=surrogate, target=target, attack=Poisoning(), epsilon=grid, seed=0, n_variability=3
            ),
            store,
        )
        curves = outcome.curves
        common = {"shown to": shown_to, "clean": curves["error"][0]}
        rows.append({"made on": made_on, "error": curves["error"][3], **common})
        rows.append({"made on": "random flips", "error": curves["noise_error"][3], **common})
table = pd.DataFrame(rows).drop_duplicates(["made on", "shown to"])
print("error with 20% poisoning points, in %")
(100 * table.pivot(index="made on", columns="shown to", values="error")).round(1)

# %%
print("clean error, in %")
(100 * table.groupby("shown to")[["clean"]].first()).round(1).T

# %% [markdown]
# One split of 90 test points is an anecdote: `experiment=digits89_poisoning` is a small study, `make mnist89-poisoning`
# and `make lfw-poisoning` are those of the paper, with ten repetitions and verdicts.
