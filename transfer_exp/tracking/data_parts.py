"""Data that a run used, as MLflow data sets: the column Dataset of its table of runs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `tracking` sets what MLflow reads when it is imported
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput


@dataclass(frozen=True, kw_only=True)
class DataPart:
    """A part of the data, told from others by name and digest (36 characters at most).

    ``context``: what for. ``about``: where it comes from. ``counts``: of rows and features.
    """

    name: str
    digest: str
    context: str
    about: dict[str, str]
    counts: dict[str, int]

    def as_input(self) -> DatasetInput:
        """The same as MLflow has it."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source, profile = json.dumps({"tags": self.about}), json.dumps(self.counts)
        entity = Dataset(str(self.name or "unnamed")[:500], self.digest, "code", source, profile=profile)
        return DatasetInput(entity, [InputTag("mlflow.data.context", self.context)])


def log_inputs(client: MlflowClient, run_id: str, parts: Sequence[DataPart]) -> None:
    """Log data sets in one request. MLflow looks first whether it has them: another worker may add one meanwhile."""
    from mlflow.exceptions import MlflowException

    inputs = [part.as_input() for part in parts]
    for _ in inputs:  # each may be added meanwhile, once
        with contextlib.suppress(MlflowException):
            client.log_inputs(run_id, inputs)
            return
    client.log_inputs(run_id, inputs)
