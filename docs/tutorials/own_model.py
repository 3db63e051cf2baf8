# %% [markdown]
# # Your own model
#
# Which surrogate threatens a model of yours? Two targets here: a scikit-learn pipeline, which only answers, and a torch
# module, trained elsewhere, with weights of its own. The attacker has other data of the same kind and a few surrogates.

# %%
import logging
import tempfile
from pathlib import Path

import pandas as pd
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from transfer_exp import Combination, Store, run
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.data.digits import load_digits
from transfer_exp.data.splits import make_split
from transfer_exp.learners import MLP, LinearSVM, Logistic, Pretrained, Sklearn, TorchModule
from transfer_exp.types import Grid, Sizes

logging.getLogger("transfer_exp").setLevel(logging.ERROR)  # what cannot be known of given weights: we ask for it below
folder = Path(tempfile.mkdtemp())
store = Store(folder / "store")
data = load_digits(name="digits", split=Sizes(test=100))  # ten classes; a file of yours: load_arrays
grid = Grid(grid=(0, 0.5, 1, 1.5), reference=1, shown=(0.5, 1))

# %% [markdown]
# ## A scikit-learn pipeline
#
# Any classifier with `fit` and `predict`. It has no gradients: it can be a target, and what needs gradients of it (S,
# R, the white box) is absent.

# %%
pipeline = Sklearn(name="pipeline", estimator=make_pipeline(StandardScaler(), SVC(C=10)))
surrogates = {
    "SVM": LinearSVM(C=0.01),
    "logistic": Logistic(C=1),
    "MLP": MLP(hidden=(32,), n_epochs=20),
}
attack = Evasion(norm="l2", n_walk=0)


def exposed(target, seed=0):
    """Error of a target under attacks made on each surrogate, beside random noise of the same size."""
    curves, metrics = {}, {}
    for name, surrogate in surrogates.items():
        outcome = run(
            Combination(
                dataset=data, surrogate=surrogate, target=target, attack=attack, epsilon=grid, seed=seed, n_variability=3
            ),
            store,
        )
        curves[f"made on {name}"], curves["noise"] = outcome.curves["error"], outcome.curves["noise_error"]
        metrics[name] = outcome.metrics
    return pd.DataFrame(curves, index=pd.Index(grid.grid, name="epsilon")), metrics


curves, metrics = exposed(pipeline)
curves.round(2)

# %%
axis = curves.plot(figsize=(5, 3.2), marker="o", ylabel="error of the pipeline", ylim=(0, 1))
print("R known:", "gradient_alignment" in metrics["SVM"], "  white box known:", "whitebox_error_at_1" in metrics["SVM"])

# %% [markdown]
# ## A torch module
#
# `TorchModule` trains an architecture of yours here, as surrogate or target. `Pretrained` takes weights of its own. We
# train one, save its weights, and read them as somebody else would: only plain tensors are read from the file, code in
# it is never run.


# %%
class Net(torch.nn.Module):
    def __init__(self, shape, n_classes, width=16):
        super().__init__()
        self.features = torch.nn.Sequential(
            torch.nn.Conv2d(shape[0], width, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(4),
            torch.nn.Flatten(),
        )
        self.last = torch.nn.Linear(16 * width, n_classes)

    def forward(self, x):
        return self.last(self.features(x))


split = make_split(data, seed=0)
images = torch.tensor(data.x[split.target], dtype=torch.float32).reshape(-1, 1, 8, 8)
labels = torch.tensor(data.y[split.target])
torch.manual_seed(0)
net = Net((1, 8, 8), 10)
optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
for _ in range(60):
    optimiser.zero_grad()
    torch.nn.functional.cross_entropy(net(images), labels).backward()
    optimiser.step()
torch.save(net.state_dict(), folder / "net.pt")

given = Pretrained(name="my net", module=Net, weights=str(folder / "net.pt"))
curves, metrics = exposed(given)
curves.round(2)

# %% [markdown]
# This target has gradients: now it is known why. R is the alignment of the gradients of surrogate and target; V is that
# of the surrogate.

# %%
names = ["error_at_1", "whitebox_error_at_1", "gradient_alignment", "loss_variability"]
pd.DataFrame({name: {key: values[key] for key in names} for name, values in metrics.items()}).round(3)

# %% [markdown]
# What cannot be known of given weights is said: whether they saw the attacker's data, for one (here they did not: we
# trained them on the target's part).

# %%
combination = Combination(dataset=data, surrogate=surrogates["SVM"], target=given, attack=attack, epsilon=grid, seed=0)
combination.unknown

# %% [markdown]
# ## Does the attacker's architecture matter?
#
# The same module as surrogate, trained here on the attacker's part of the data:

# %%
same = TorchModule(name="same", module=Net, n_epochs=15, learning_rate=0.01)
surrogates = {"the same architecture": same, "SVM": LinearSVM(C=0.01)}
curves, metrics = exposed(given)
curves.round(2)
