"""What a run is to log, and how MLflow takes it: numbers in few requests, files with their checksums, no credentials."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from transfer_exp.system.masking import masked
from transfer_exp.tracking.artifacts import CHECKSUMS, checksums
from transfer_exp.tracking.data_parts import DataPart, log_inputs

MAX_VALUE = 500
"""Characters of a parameter or a reason, as some servers take."""
_MAX_METRICS = 900  # MLflow takes at most 1,000 in one batch
_MAX_PARAMS = 90  # at most 100


@dataclass(kw_only=True)
class Record:
    """What a run is to log: parameters, scalars, curves over the grid, text and binary files, data sets."""

    params: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    data: list[DataPart] = field(default_factory=list)


def without_credentials(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Files with credentials masked in those that are text: whoever sees the results may read them."""
    return {
        name: masked(content.decode()).encode() if name.endswith((".yaml", ".txt")) else content
        for name, content in files.items()
    }


def log_numbers(client: MlflowClient, run_id: str, record: Record, files: Mapping[str, bytes]) -> None:
    """Log all of a record but its files, of which the checksums."""
    now = int(time.time() * 1000)
    metrics = [Metric(k, float(v), now, 0) for k, v in record.metrics.items() if math.isfinite(v)]
    for name, values in record.curves.items():
        metrics += [Metric(f"curve/{name}", v, now, k) for k, v in enumerate(values) if math.isfinite(v)]
    params = [Param(key, masked(str(value))[:MAX_VALUE]) for key, value in record.params.items()]
    tags = [RunTag(CHECKSUMS, checksums(files))] if files else []
    client.log_batch(run_id, metrics[:_MAX_METRICS], params[:_MAX_PARAMS], tags)
    for i in range(_MAX_PARAMS, len(params), _MAX_PARAMS):
        client.log_batch(run_id, params=params[i : i + _MAX_PARAMS])
    for i in range(_MAX_METRICS, len(metrics), _MAX_METRICS):
        client.log_batch(run_id, metrics[i : i + _MAX_METRICS])
    if record.data:
        log_inputs(client, run_id, record.data)
