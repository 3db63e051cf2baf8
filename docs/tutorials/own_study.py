# %% [markdown]
# # A study of your own in MLflow
#
# A question of your own: *how much should the attacker regularise a linear SVM, so that its attacks transfer best?*
# Combinations are recorded one by one, as the command line does; the report judges them; MLflow keeps them for
# comparison. What is finished is skipped when a cell runs again.

# %%
import itertools
import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from mlflow.tracking import MlflowClient

from transfer_exp import Combination, track
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.data.digits import load_digits
from transfer_exp.learners import LinearSVM, Ridge
from transfer_exp.report.build import build_report
from transfer_exp.types import Grid, Sizes

root = Path(tempfile.mkdtemp())  # in your own work: a folder that stays
data = load_digits(name="digits89", split=Sizes(test=80), classes=[8, 9])
target = Ridge(name="ridge_high", alpha=1, complexity="high")

# %% [markdown]
# ## The study
#
# Four values of C, one target, six random splits. Every setting is a parameter of its run; what differs between runs is
# a factor of the study.

# %%
STUDY = "how_much"


def do(C, seed):
    combination = Combination(
        dataset=data,
        surrogate=LinearSVM(C=C),
        target=target,
        attack=Evasion(norm="l2"),
        epsilon=Grid(grid=(0, 0.5, 1), reference=1, shown=(0.5, 1)),
        seed=seed,
        n_variability=3,
    )
    return track(combination, study=STUDY, root=root)


jobs = list(itertools.product((0.01, 0.1, 1, 10), range(6)))
tracked = [do(*job) for job in jobs]
pd.Series([one.status for one in tracked]).value_counts()

# %% [markdown]
# Again: nothing is done twice. A sweep that was stopped goes on in the same way.

# %%
pd.Series([do(*job).status for job in jobs]).value_counts()

# %% [markdown]
# ## In MLflow
#
# Each combination is one run: parameters, the measures as metrics, curves over epsilon, the configuration. MLflow's own
# client finds them.

# %%
uri = f"sqlite:///{root / 'mlflow.db'}"
client = MlflowClient(uri)
experiment = client.get_experiment_by_name(STUDY)
runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"], max_results=100)
names = ["error_at_1", "gradient_alignment", "loss_variability", "clean_error"]
table = pd.DataFrame(
    {
        "C": float(run.data.params["surrogate.C"]),
        "seed": int(run.data.params["seed"]),
        **{name: run.data.metrics[name] for name in names},
    }
    for run in runs
)
table.groupby("C")[names].mean().round(3)

# %%
figure, axis = plt.subplots(figsize=(4.8, 3.2))
by_C = table.groupby("C")["error_at_1"].agg(["mean", "sem"])
axis.errorbar(by_C.index, by_C["mean"], by_C["sem"], marker="o", capsize=3)
axis.set(xscale="log", xlabel="C of the surrogate", ylabel="transfer: error at epsilon 1", ylim=(0, 1))
figure.tight_layout()

# %% [markdown]
# ## The report
#
# The same page as a study of the command line has, from the tracking store alone: `python -m transfer_exp.report
# study=how_much` writes it, too. Several values of C are a path, which is tested for a trend and a turn.

# %%
page = build_report(tracking_uri=uri, study=STUDY, out=root / "report")
print(page.name, "and", sorted(file.name for file in page.parent.iterdir() if file != page))
trends = pd.read_csv(page.parent / "tables" / "trends.csv")
trends[["quantity", "tau", "rises", "falls", "p_holm", "turn_at", "turn_seeds", "turn_p_holm", "reading"]]

# %%
verdicts = pd.DataFrame(json.loads((page.parent / "claims.json").read_text())["claims"])
verdicts[["claim", "learner", "verdict", "reason"]]

# %% [markdown]
# The paper's claims are judged, too, as far as the study goes; where it lacks what a claim is about, the table says so
# instead of guessing. To look at the runs side by side: `make ui` in the folder of the results (here a temporary one),
# choose the study, select runs, *Compare*.
