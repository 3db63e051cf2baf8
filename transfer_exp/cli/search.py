"""A search over hyperparameters: trials chosen by Optuna, each one or more combinations, all runs of one parent.

    trial 0          the configuration as it is: what a search has to beat, and what a loss of accuracy is measured against
    trials 1, 2 ...  ask Optuna for values -> launch the combinations -> tell Optuna the mean of their metric

Nothing of the sampler's state is kept: it is seeded and is told the same values in the same order, so that the same command
asks for the same trials again, whose combinations are found finished. So a search goes on where it broke, or with more
trials than before. Of several trials at once, all are asked for before one is told, whichever ends first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from hydra_plugins.transfer_exp_sweeper import split
from transfer_exp.cli import progress
from transfer_exp.cli.building import parts_of
from transfer_exp.cli.objective import Objective
from transfer_exp.cli.space import Space
from transfer_exp.tracking.tracker import Tracker
from transfer_exp.types import UserError, counted

if TYPE_CHECKING:
    import optuna

TARGET = "hydra_plugins.transfer_exp_sweeper.SearchSweeper"
FILE = "search.json"  # in the sweep's folder: what the trials came to
_MISSING = "hydra/sweeper: expected the package optuna for a search; run: pip install -c constraints.txt -e '.[optuna]'"


@dataclass(kw_only=True)
class Trial:
    """One point of the search: the overrides that were chosen, and what came of it (``value`` None: it failed).

    clean_error: of the targets, where its loss is limited; allowed: whether it keeps within the limit.
    """

    number: int
    overrides: list[str]
    value: float | None = None
    clean_error: float | None = None
    allowed: bool = True
    runs: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Search:
    """The search that a command line asks for. ``listed``: overrides that every trial has, lists among them."""

    config: DictConfig
    objective: Objective
    space: Space
    listed: list[str]
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.n_launched = 0
        self._open: list[tuple[Trial, optuna.Trial | None, range]] = []
        self._study: optuna.Study | None = None
        self._tracker: Tracker | None = None

    @classmethod
    def of(cls, config: DictConfig, overrides: Sequence[str]) -> Search:
        """The search of a sweep's configuration. Raises UserError without Optuna, objective, or anything to search."""
        _require_optuna()
        sweeper = config.hydra.sweeper
        for name in ("n_trials", "trials_at_once"):
            if not isinstance(sweeper[name], int) or sweeper[name] < 1:
                raise UserError(f"hydra.sweeper.{name}: expected a whole number >= 1, got {sweeper[name]}")
        if config.get("objective") is None:
            raise UserError("objective: expected what to search for; add objective=transfer, robustness or metric")
        objective = parts_of(config, ["objective"])["objective"]
        params = [f"{key}={sweeper.params[key]}" for key in map(str, sweeper.params)]
        typed = [*params, *objective.overrides, *overrides]
        space, listed = Space.of(_parser().parse_overrides(typed))
        if not space:
            raise UserError(
                "search: expected values to search, 'surrogate.C=tag(log,interval(1e-4,10))', choice(1,10) or range(1,5), "
                "got none; plain lists are what every trial does"
            )
        return cls(config=config, objective=objective, space=space, listed=listed)

    @property
    def total(self) -> int:
        """How many combinations there will be."""
        return (int(self.config.hydra.sweeper.n_trials) + 1) * len(self.jobs([]))

    def sentence(self) -> str:
        """What the search would do, in words."""
        each = counted(len(self.jobs([])), "combination")
        trials = counted(int(self.config.hydra.sweeper.n_trials), "trial")
        return f"a search of {trials} over {', '.join(self.keys)}, after the configuration as it is, each of {each}"

    @property
    def is_done(self) -> bool:
        """Whether no trial is left, or none is worth it: a limit that is measured against a trial that failed is none."""
        first = self.trials[0] if self.trials and not self._open else None
        unlimited = first is not None and first.value is None and self.objective.max_accuracy_loss is not None
        return unlimited or len(self.trials) > int(self.config.hydra.sweeper.n_trials)

    def jobs(self, chosen: Sequence[str]) -> list[list[str]]:
        """The combinations of a trial."""
        return split(_parser(), {}, [], [*self.listed, *chosen])

    def first_jobs(self) -> list[list[str]]:
        """Combinations with some values of the space, to see whether they can be composed."""
        return self.jobs(self.space.first())

    @property
    def keys(self) -> list[str]:
        """What is searched."""
        return [key.lstrip("+") for key in self.space.searched]

    def next_jobs(self) -> list[list[str]]:
        """The combinations of the next trials: first the configuration as it is, then as many as are wanted at once."""
        sweeper = self.config.hydra.sweeper
        if not self.trials:
            return self._begin(None, [])
        left = int(sweeper.n_trials) + 1 - len(self.trials)
        study, jobs = self._optuna(), []
        for _ in range(min(left, int(sweeper.trials_at_once))):
            asked = study.ask(self.space.distributions())
            jobs += self._begin(asked, self.space.overrides(asked.params))
        return jobs

    def _begin(self, asked: optuna.Trial | None, chosen: list[str]) -> list[list[str]]:
        trial, jobs = Trial(number=len(self.trials), overrides=chosen), self.jobs(chosen)
        self.trials.append(trial)
        self._open.append((trial, asked, range(self.n_launched, self.n_launched + len(jobs))))
        self.n_launched += len(jobs)
        return jobs

    def collect(self, folder: Path) -> None:
        """Take what the launched combinations came to, tell Optuna, and leave it in the sweep's ``folder``."""
        for trial, asked, numbers in self._open:
            self._judge(trial, [progress.result(folder, number) for number in numbers])
            if asked is not None:
                asked.set_constraint("accuracy", self.objective.excess(trial.clean_error, self.trials[0].clean_error))
                failed = trial.value is None
                self._optuna().tell(asked, trial.value, state=_failed() if failed else None)
        self._open.clear()
        content = {"direction": self.objective.direction, "metric": self.objective.metric}
        (folder / FILE).write_text(json.dumps({**content, "trials": [asdict(one) for one in self.trials]}))

    def _judge(self, trial: Trial, jobs: Sequence[Mapping[str, Any] | None]) -> None:
        """Value and clean error of a trial, whose combinations must all have ended well."""
        trial.runs = [job["run_id"] for job in jobs if job and job["run_id"] and job["status"] != "failed"]
        if len(trial.runs) < len(jobs):
            return
        measured = [self._measured(run_id) for run_id in trial.runs]
        metrics = [one for one, _ in measured]
        trial.value = self.objective.value(metrics, [reference for _, reference in measured])
        trial.clean_error = self.objective.clean_error(metrics)
        trial.allowed = self.objective.excess(trial.clean_error, self.trials[0].clean_error) <= 0

    def _measured(self, run_id: str) -> tuple[dict[str, float], float]:
        """Metrics of a run, and its reference epsilon, which may be a share of its data's scale."""
        if self._tracker is None:
            config = self.config
            self._tracker = Tracker(uri=config.tracking.uri, root=config.paths.root, study=config.study, is_reachable=True)
        found = self._tracker.client.get_run(run_id).data
        return found.metrics, float(found.params["epsilon.reference"])

    def _optuna(self) -> optuna.Study:
        if self._study is None:
            import optuna

            optuna.logging.set_verbosity(optuna.logging.WARNING)
            sampler = optuna.samplers.TPESampler(seed=int(self.config.hydra.sweeper.seed))
            self._study = optuna.create_study(sampler=sampler, direction=self.objective.direction)
        return self._study


def is_search(config: DictConfig) -> bool:
    """Whether a sweep's configuration asks for a search."""
    return str(config.hydra.sweeper._target_) == TARGET


def _parser() -> OverridesParser:
    return OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())


def _require_optuna() -> None:
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise UserError(_MISSING) from error


def _failed() -> Any:
    from optuna.trial import TrialState

    return TrialState.FAIL
