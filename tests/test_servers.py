"""Tracking servers: credentials work in every request and are printed nowhere, a busy server gets patience."""

from __future__ import annotations

import base64
import logging
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import SMALL, Cli, Ended, subprocess_cli
from mlflow import MlflowClient
from servers import Server, gate, mlflow_server

from transfer_exp.report import __main__ as report
from transfer_exp.system.masking import MaskingFormatter, masked
from transfer_exp.tracking import connecting
from transfer_exp.tracking.connecting import check_server
from transfer_exp.types import UserError

USER, PASSWORD, TOKEN = "mallory", "pa55w0rd-of-hers", "t0ken-of-hers"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses, no credentials of the person who runs the tests; MLflow's own client tries once."""
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(connecting, "PAUSES_SECONDS", (0.0,) * len(connecting.PAUSES_SECONDS))


CREDENTIALS = {
    "variables": (BASIC, {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}, ""),
    "token": (f"Bearer {TOKEN}", {"MLFLOW_TRACKING_TOKEN": TOKEN}, ""),
    "address": (BASIC, {}, f"{USER}:{PASSWORD}@"),
}


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_credentials_are_shown_to_the_server(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, variables, inside = CREDENTIALS[kind]
    with gate(authorization=expected) as server:
        with pytest.raises(UserError, match=r"got the answer 401 Unauthorized \(are MLFLOW_TRACKING_USERNAME") as caught:
            check_server(f"http://other:wr0ng@127.0.0.1:{server.port}")
        assert "wr0ng" not in str(caught.value)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        check_server(f"http://{inside}127.0.0.1:{server.port}")
    assert server.paths == ["/health"] * 2


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(status: int) -> None:
    with gate() as server:
        server.answers = lambda _: status if len(server.paths) < 4 else None
        check_server(f"http://127.0.0.1:{server.port}/")
        assert len(server.paths) == 4


def test_pauses_grow_and_end() -> None:
    slept: list[float] = []
    with gate() as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(connecting, "PAUSES_SECONDS", (1.0, 2.0, 4.0))
        patch.setattr(connecting.time, "sleep", slept.append)
        server.answers = lambda _: 503
        with pytest.raises(UserError, match="got the answer 503 Service Unavailable; start the server"):
            check_server(f"http://127.0.0.1:{server.port}")
    assert slept == [1, 2, 4]


def refused(ended: Ended, said: str) -> None:
    assert ended.rc == 1
    assert ended.stderr.startswith("error: tracking: expected a tracking store at http://***@127.0.0.1:"), ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert said in ended.stderr


@pytest.mark.parametrize("status", [404, 429, 500, 503])
@pytest.mark.parametrize("well", [False, True], ids=["unwell", "well, but its answers are not"])
def test_a_server_that_cannot_record_ends_a_sweep_before_its_first_job(
    status: int, well: bool, cli: Cli, root: Path
) -> None:
    with gate() as server:
        server.answers = lambda path: None if well and path == "/health" else status
        where = f"tracking.uri=http://{USER}:{PASSWORD}@127.0.0.1:{server.port}"
        ended = cli("-m", *SMALL, "study=tiny", "seed=0,1", where)
        refused(ended, "got" if well and status == 404 else str(status))
        assert server.paths[0] == "/health"
        assert PASSWORD not in ended.stderr + ended.stdout
        assert report.main(["study=tiny", where.replace("tracking.uri", "tracking_uri")]) == 2


def test_secrets_are_masked_in_texts_and_log_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    texts = {
        f"at http://{USER}:{PASSWORD}@host:5000/x and file:///home/me@uni/x": "at http://***@host:5000/x and file:///home/me@uni/x",
        "https://u:p/w@x@host": "https://***@host",
        "postgresql://u:p@host/db": "postgresql://***@host/db",
        "sqlite:////srv/a@b/mlflow.db": "sqlite:////srv/a@b/mlflow.db",
        f"Bearer {TOKEN}": "Bearer ***",
        "http://host:5000": "http://host:5000",
        "tracking.uri='http://u:p@h' me@home": "tracking.uri='http://***@h' me@home",
    }
    assert {text: masked(text) for text in texts} == texts
    try:
        raise RuntimeError(f"http://{USER}:{PASSWORD}@host")
    except RuntimeError as error:
        record = logging.LogRecord("x", logging.ERROR, "x", 1, "%s", (TOKEN,), (RuntimeError, error, error.__traceback__))
    line = MaskingFormatter("%(message)s").format(record)
    assert "Traceback" in line
    assert PASSWORD not in line
    assert TOKEN not in line
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "ab")
    assert masked("about a cab") == "about a cab"


def test_a_word_that_hydra_does_not_understand_is_repeated_without_its_password(cli: Cli) -> None:
    ended = cli(f"tracking.uri=http://{USER}:{PASSWORD}@host]")
    assert "tracking.uri=http://***@host]" in ended.stderr
    assert PASSWORD not in ended.stderr


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as running:
        yield running


SWEEP = ("-m", *SMALL, "study=tiny", "seed=range(0,3)", "surrogate=ridge_high,ridge_low", "target=ridge_low,logistic_low")


def secrets_in(folder: Path) -> list[str]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    return [str(file) for file in files if any(word.encode() in file.read_bytes() for word in (PASSWORD, TOKEN))]


@pytest.mark.slow
@pytest.mark.parametrize("kind", CREDENTIALS)
def test_a_sweep_and_its_report_through_a_server_with_a_password(kind: str, server: Server, tmp_path: Path) -> None:
    expected, variables, inside = CREDENTIALS[kind]
    with gate(upstream=server.port, authorization=expected) as door:
        uri = f"http://{inside}127.0.0.1:{door.port}"
        words = (*SWEEP, "seed=0", f"study={kind}", f"tracking.uri={uri}", "dataset.split.test=20,100000")
        ended = subprocess_cli(*words, cwd=tmp_path, MLFLOW_HTTP_REQUEST_MAX_RETRIES="1", **variables)
        assert "error: 4 of 8 combinations failed" in ended.stderr, ended.stderr
        assert Counter(door.paths)["/health"] == 2  # the sweep, the reader of its summary; no job
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            assert report.main([f"study={kind}", f"tracking_uri={uri}", f"out={tmp_path / 'out'}"]) == 0
    assert not any(word in ended.stderr + ended.stdout for word in (PASSWORD, TOKEN))
    assert not secrets_in(tmp_path)
    assert not secrets_in(server.folder)  # database, artifacts, log
    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name(kind)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], "tags.kind = 'combination'")
    assert Counter(run.info.status for run in found) == {"FINISHED": 4, "FAILED": 4}


@pytest.mark.slow
def test_every_combination_is_done_where_a_third_of_the_health_checks_fail(server: Server, tmp_path: Path) -> None:
    dice = random.Random(3)

    def health(path: str) -> int | None:
        return 503 if path == "/health" and dice.random() < 0.3 else None

    with gate(upstream=server.port) as door:
        door.answers = health
        where = f"tracking.uri=http://127.0.0.1:{door.port}"
        ended = subprocess_cli(*SWEEP, "study=busy", where, cwd=tmp_path)
    assert ended.rc == 0, ended.stderr
    assert ended.stderr.count("] finished") == 12
