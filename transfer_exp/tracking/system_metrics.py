"""Use of the machine (processor, memory, disk, network, GPU) as MLflow's system metrics of a run."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from transfer_exp.types import UserError

_log = logging.getLogger(__name__)


def require_psutil() -> None:
    """Raise UserError unless psutil, with which MLflow reads the machine, is installed."""
    if find_spec("psutil") is None:
        raise UserError(
            "tracking.system_metrics: expected psutil to be installed, got none; "
            "pip install 'transfer-exp[system]', or set it to false"
        )


@contextlib.contextmanager
def system_metrics(run_id: str, *, uri: str, wanted: bool) -> Iterator[None]:
    """Sample the machine every ten seconds (``MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL``) and once at the end.

    A run that is shorter has the sample of its end. Where that cannot be logged, a warning is.
    """
    if not wanted:
        yield
        return
    import psutil
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor: Any = SystemMetricsMonitor(run_id, tracking_uri=uri)  # type: ignore[no-untyped-call]
    monitor.start()
    psutil.cpu_percent()  # the sample at the end, taken by this thread, counts from here
    try:
        yield
    finally:
        try:
            monitor.finish()
            for one in monitor.monitors:
                one.clear_metrics()
            monitor.collect_metrics()
            monitor.publish_metrics(monitor.aggregate_metrics())
            monitor.mlflow_logger.flush()
        except Exception as error:
            _log.warning("system metrics: %s", str(error).splitlines()[0][:200])
