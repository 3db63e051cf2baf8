"""Many machines: the launchers' configurations say what they should, and a sweep through each of them is whole."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import SMALL, SOURCE, Ended, subprocess_cli
from hydra import compose, initialize_config_dir
from mlflow.tracking import MlflowClient
from omegaconf import OmegaConf
from servers import Server, mlflow_server

SHIPPED = {"slurm": "submitit", "submitit": "submitit", "ray_workers": "ray"}
EXTRAS = {"submitit": "slurm", "ray": "ray"}


def need(package: str) -> None:
    if (
        importlib.util.find_spec(package) is None
        or importlib.util.find_spec(f"hydra_plugins.hydra_{package}_launcher") is None
    ):
        pytest.skip(f"needs the extra {EXTRAS[package]}: pip install -c constraints.txt -e '.[{EXTRAS[package]}]'")


def launcher(name: str, *overrides: str) -> dict:
    need(SHIPPED[name])
    with initialize_config_dir(str(SOURCE / "conf"), version_base="1.3"):
        config = compose("config", [f"hydra/launcher={name}", *overrides], return_hydra_config=True)
        return OmegaConf.to_container(config.hydra.launcher, resolve=True)


def test_every_shipped_launcher_is_looked_at() -> None:
    assert {file.stem for file in (SOURCE / "conf/hydra/launcher").glob("*.yaml")} == set(SHIPPED)


@pytest.mark.parametrize("name", ["slurm", "submitit"])
def test_a_task_has_the_cores_that_a_combination_uses(name: str) -> None:
    assert launcher(name)["cpus_per_task"] == 1
    assert launcher(name, "threads=3")["cpus_per_task"] == 3


def test_slurm_says_the_same_to_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    config = launcher("slurm", "threads=3", "hydra.launcher.partition=long")
    assert config["setup"] == ["export OMP_NUM_THREADS=3"]
    assert (config["partition"], config["_target_"].rsplit(".", 1)[-1]) == ("long", "SlurmLauncher")


def test_ray_counts_cores_and_hands_on_where_results_belong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFER_EXP_ROOT", "/shared/results")
    config = launcher("ray_workers", "threads=3")["ray"]
    assert config["remote"] == {"num_cpus": 3, "max_retries": 0}
    assert config["init"]["runtime_env"]["env_vars"] == {"TRANSFER_EXP_ROOT": "/shared/results"}
    # What a cluster that is already there refuses to be told, it is not told.
    assert {config["init"][name] for name in ("address", "object_store_memory", "num_cpus")} == {None}


SWEEP = ("-m", *SMALL, "study=tiny", "surrogate=ridge_high,logistic_low", "target=ridge_low,forest_low")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as running:
        yield running


def sweep(folder: Path, server: Server, *words: str, **environment: str) -> Ended:
    study = f"study={folder.name}"
    where = (study, f"tracking.uri={server.uri}", f"paths.store={folder / 'shared'}")
    return subprocess_cli(*SWEEP, *where, *words, cwd=folder, RAY_USAGE_STATS_ENABLED="0", **environment)


def check(folder: Path, server: Server) -> None:
    """One tree: a finished parent that carries the matrices, a run and a file for each job, every piece made once."""
    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name(folder.name)
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in runs if run.data.tags["kind"] == "study")
    children = [run for run in runs if run.data.tags["kind"] == "combination"]
    assert [run.info.status for run in (parent, *children)] == ["FINISHED"] * 5
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert client.list_artifacts(parent.info.run_id, "summary")
    files = sorted((folder / "multirun").rglob("job-*.json"))
    assert [file.name for file in files[:4]] == [f"job-{k}.json" for k in range(4)]
    assert {json.loads(file.read_text())["run_id"] for file in files[:4]} == {run.info.run_id for run in children}
    made = sum(run.data.metrics["store/misses"] for run in children)
    assert made == len(list((folder / "shared").rglob("*.npz")))


LAUNCHERS = {
    "submitit": ("hydra/launcher=submitit", "hydra.sweeper.max_batch_size=2"),
    "ray_workers": ("hydra/launcher=ray_workers", "hydra.launcher.ray.init.num_cpus=2"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_sweep_through_the_launcher_is_one_tree_on_a_server_and_can_be_typed_again(
    name: str, tmp_path: Path, server: Server
) -> None:
    need(SHIPPED[name])
    ended = sweep(tmp_path, server, *LAUNCHERS[name])
    assert ended.rc == 0, ended.stderr
    assert "error at epsilon 0.5" in ended.stdout
    check(tmp_path, server)
    again = sweep(tmp_path, server, *LAUNCHERS[name])
    assert again.rc == 0, again.stderr
    later = sorted((tmp_path / "multirun").rglob("job-*.json"))[4:]
    assert [json.loads(file.read_text())["status"] for file in later] == ["skipped"] * 4


STRAW = """#!{python}
# Slurm, played by one machine: tasks run one after another.
import os, pathlib, re, subprocess, sys
home = pathlib.Path({home!r})
name = pathlib.Path(sys.argv[0]).name
if name == "sbatch":
    script = pathlib.Path(sys.argv[-1]).read_text()
    (home / "script").write_text(script)
    last = int(re.search(r"--array=0-(\\d+)", script).group(1))
    for k in range(last + 1):
        job = {{"SLURM_ARRAY_JOB_ID": "700", "SLURM_ARRAY_TASK_ID": str(k), "SLURM_JOB_ID": str(700 + k),
               "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
               "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "here"}}
        chain = f"sh {{home / 'script'}} ; touch {{home}}/done-{{k}}"
        before = f"while [ ! -e {{home}}/done-{{k - 1}} ]; do sleep 0.2; done ; " if k else ""
        subprocess.Popen(["sh", "-c", before + chain], env={{**os.environ, **job}}, start_new_session=True,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print("Submitted batch job 700")
elif name == "srun":
    words = sys.argv[1:]
    while words[0].startswith("--"):
        words = words[1:] if "=" in words[0] or words[0] == "--unbuffered" else words[2:]
    (home / f"threads-{{os.environ['SLURM_ARRAY_TASK_ID']}}").write_text(os.environ["OMP_NUM_THREADS"])
    os.execvp(words[0], words)
elif name == "sacct":
    print("JobID|State|NodeList")
    for k in range(4):
        print(f"700_{{k}}|{{'COMPLETED' if (home / f'done-{{k}}').exists() else 'RUNNING'}}|here")
"""


@pytest.mark.slow
def test_a_sweep_through_slurms_commands(tmp_path: Path, server: Server) -> None:
    need("submitit")
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("sbatch", "srun", "sacct"):
        (commands / name).write_text(STRAW.format(python=sys.executable, home=str(commands)))
        (commands / name).chmod(0o755)
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    ended = sweep(tmp_path, server, "hydra/launcher=slurm", "hydra.launcher.partition=long", PATH=path)
    assert ended.rc == 0, ended.stderr
    check(tmp_path, server)
    script = (commands / "script").read_text()
    for word in ("--array=0-3%4", "--cpus-per-task=1", "--partition=long", "--job-name=transfer_exp", "--mem=4GB"):
        assert f"#SBATCH {word}" in script
    assert [(commands / f"threads-{k}").read_text() for k in range(4)] == ["1"] * 4
