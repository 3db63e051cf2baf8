"""The table of bad inputs: test_bad_input.py holds every row against its promise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from bad_files import (
    ADD,
    LABELS,
    POINTS,
    arrays,
    below_a_file,
    closed_server,
    corrupted_mnist,
    cut,
    drebin,
    drebin215,
    faces,
    no_archive,
    pickled,
    sample,
    table,
    truncated_mnist,
    with_nan,
    without_zip,
)


class Row(NamedTuple):
    """Words of a command, or how to make them in a folder, and how it must end.

    ``also``: what else the message says; then it may have several lines (a sweep lists its failures).
    ``command``: ``run``, or ``report``, which is run on what ``run`` recorded before.
    """

    words: list[str] | Callable[[Path], list[str]]
    message: str
    also: str | None = None
    rc: int = 1
    command: str = "run"


BINARY = [
    *("dataset=synthetic", "dataset.n_points=800", "dataset.n_columns=100", "dataset.n_features=20", *ADD),
    *("dataset.split.target=100", "dataset.split.surrogate=100", "dataset.split.validation=300"),
    "dataset.split.test=100",
]


POISON = [
    "attack=poisoning",
    "epsilon.grid=[0,0.1]",
    "epsilon.reference=0.1",
    "epsilon.shown=[0.1]",
    "dataset.split.validation=50",
]
SWEEP = ["-m", "seed=0,1"]


ROWS: dict[str, Row] = {
    "no X": Row(lambda t: arrays(t, Z=POINTS, y=LABELS), "own.npz: expected an array X (or X_data, X_indices"),
    "no y": Row(lambda t: arrays(t, X=POINTS), "own.npz: expected an array y of 20 labels, got ['X']"),
    "one class": Row(lambda t: arrays(t, X=POINTS, y=LABELS * 0), "expected two or more different labels in y, got 1"),
    "NaN": Row(lambda t: arrays(t, X=with_nan(), y=LABELS), "expected finite numbers in X, got 1 NaN or inf"),
    "outside its box": Row(
        lambda t: arrays(t, X=POINTS, y=LABELS, lower=0, upper=0.5),
        "expected every point inside the box, got feature 0 from 0 to 0.974359 in [0, 0.5] (2 such features)",
    ),
    "text": Row(lambda t: arrays(t, X=POINTS.astype(str), y=LABELS), "expected real numbers in X, got type <U"),
    "missing file": Row(["dataset=arrays", "dataset.file=/nowhere/own.npz"], "got /nowhere/own.npz, which is not there"),
    "no file named": Row(["dataset=arrays"], "dataset.file: expected the path of an .npz with X and y, got none"),
    "pickled": Row(pickled, "expected an .npz of plain arrays (no pickled objects), got: X.npy: Object arrays"),
    "not an archive": Row(no_archive, "expected an .npz of plain arrays (no pickled objects), got:"),
    "test larger than the data": Row(
        ["dataset.split.test=355"],
        "dataset.split.test: expected at most 354 points of digits89 (all parts are disjoint), got 355",
    ),
    "training larger than the data": Row(
        ["dataset.split.target=300", "dataset.split.surrogate=300"],
        "dataset.split.target + surrogate: expected at most 334 points of digits89 (all parts are disjoint), got 600",
    ),
    "a size below zero": Row(["dataset.split.test=-1"], "dataset.split.test: expected at least 2 points, got -1"),
    "one digit": Row(["dataset.classes=[8,8]"], "expected two or more different classes, got ['8', '8']"),
    "epsilon negative": Row(
        ["epsilon.grid=[-1,0.5]"],
        "epsilon.grid: expected a strictly ascending list of finite numbers >= 0, got [-1, 0.5]",
    ),
    "epsilon unsorted": Row(
        ["epsilon.grid=[0.5,0]"],
        "expected a strictly ascending list of finite numbers >= 0, got [0.5, 0]",
    ),
    "epsilon empty": Row(["epsilon.grid=[]"], "expected a strictly ascending list of finite numbers >= 0, got []"),
    "epsilon elsewhere": Row(
        ["epsilon.reference=7"],
        "expected reference and shown to be values of the grid [0, 0.5], got [7]",
    ),
    "corrupted data": Row(
        corrupted_mnist,
        "train-images-idx3-ubyte.gz: expected unzipped content with SHA-256 ba891046e650..., got",
    ),
    "truncated data": Row(truncated_mnist, "train-images-idx3-ubyte.gz: expected a gzip file, got a damaged one"),
    "store not writable": Row(below_a_file("paths.store"), "store: expected to be able to write below"),
    "root not writable": Row(below_a_file("paths.root"), "tracking: expected a tracking store at sqlite:///"),
    "server not reachable": Row(closed_server, "tracking: expected a tracking store at http://127.0.0.1:"),
    "no such kind of store": Row(["tracking.uri=nonsense://x"], "tracking: expected a tracking store at nonsense://x, got"),
    "unknown device": Row(["device=tpu"], "device: expected cpu, cuda or auto, got tpu"),
    "negative seed": Row(["seed=-1"], "seed: expected a whole number >= 0, got -1"),
    "seed no number": Row(["seed=x"], "seed: expected a whole number, got 'x'"),
    "fraction 0": Row(["surrogate_fraction=0"], "surrogate_fraction: expected a number in (0, 1], got 0"),
    "fraction above 1": Row(["surrogate_fraction=1.5"], "surrogate_fraction: expected a number in (0, 1], got 1.5"),
    "fraction of nothing": Row(["surrogate_fraction=0.001"], "expected at least 2 of the 167 surrogate points, got 0.001"),
    "wrong norm": Row(["attack.norm=l3"], "attack.norm: expected one of l0, l1, l2, linf, got l3"),
    "no iterations": Row(["attack.n_iter=0"], "attack.n_iter: expected a number >= 1, got 0"),
    "walks of no length": Row(["attack.n_walk=-1"], "attack.n_walk: expected a number >= 0, got -1"),
    "fewer than no restarts": Row(["attack.n_restarts=-1"], "attack.n_restarts: expected a number >= 0, got -1"),
    "C not positive": Row(["surrogate=svm_low", "surrogate.C=0"], "svm_low.C: expected a number above 0, got 0"),
    "variability of one": Row(["n_variability=1"], "n_variability: expected a whole number >= 2, got 1"),
    "too few points for V": Row(
        ["n_variability=169"],
        "n_variability: expected at least 335 points of digits89 besides those that V is measured on and their equals, for "
        "169 training sets of the surrogate's size, got 334; lower n_variability, surrogate_fraction or dataset.split",
    ),
    "no threads": Row(["threads=0"], "threads: expected a whole number >= 1, got 0"),
    "resume neither": Row(["resume=maybe"], "resume: expected true or false, got 'maybe'"),
    "study without name": Row(["study=null"], "study: expected text, got None"),
    "not binary": Row(
        lambda t: [*arrays(t, X=POINTS, y=LABELS), *ADD],
        "expected only the values 0 and 1, got 38 others (first: 0.025641)",
    ),
    "DREBIN is not there": Row(
        lambda t: ["dataset=drebin", f"paths.data={t}", *ADD], "given out on request for research at"
    ),
    "DREBIN without archive": Row(without_zip, "expected feature_vectors.zip or a folder feature_vectors/ with one file"),
    "DREBIN truncated": Row(lambda t: drebin(t, n_lost=30), "feature_vectors.zip: expected a whole zip archive"),
    "family file of something else": Row(
        lambda t: drebin(t, families="name;kind\n"),
        "sha256_family.csv: expected the header sha256,family, got name;kind",
    ),
    "family of an unknown app": Row(
        lambda t: drebin(t, families="sha256,family\n" + "e" * 64 + ",F\n"),
        "sha256_family.csv: expected a feature vector for each of its 1 apps, got none for 1 (first: eeee",
    ),
    "Drebin-215 is not there": Row(
        lambda t: ["dataset=drebin215", f"paths.data={t}", *ADD], "Drebin-215: expected drebin-215"
    ),
    "fewer malware than asked": Row(
        [*BINARY, "attack.n_attacked=1000"],
        "(those of class malware), got 1000; ask for fewer",
    ),
    "no malware asked": Row(
        [*BINARY, "attack.n_attacked=0"], "attack.n_attacked: expected a whole number >= 1 or null, got 0"
    ),
    "no share of false alarms": Row(
        [*BINARY, "attack.false_alarm_rate=0"],
        "attack.false_alarm_rate: expected a share between 0 and 1, got 0",
    ),
    "impossible false-alarm rate": Row(
        [*BINARY, "attack.false_alarm_rate=0.001"],
        "expected at least 0.0047619, one in the 210 legitimate validation points, got 0.001; choose a higher rate",
    ),
    "no validation points": Row(
        [*BINARY, "dataset.split.validation=0"],
        "false_alarm_rate: expected at least 1, one in the 0 legitimate validation points, got 0.005",
    ),
    "more features than there are": Row(
        [*BINARY, "dataset.n_features=101"],
        "dataset.n_features: expected a number from 1 to 100, got 101",
    ),
    "a fixed column that is not there": Row(
        [*BINARY, "attack.fixed=[100]"],
        "attack.fixed: expected columns from 0 to 99, got [100]",
    ),
    "no hyperparameter": Row(["~target.alpha"], "target.alpha: expected a number, got none; set it"),
    "no surrogate": Row(["~surrogate"], "surrogate: expected a resolvable choice, got: Key 'surrogate' is not in struct"),
    "own data as a table": Row(table, "own.csv: expected an .npz of arrays X and y, got a table; convert it in Python"),
    "own data too large": Row(
        lambda t: arrays(t, X=POINTS * 1e160, y=LABELS),
        "expected numbers up to 1e+15 in X, got 1e+160",
    ),
    "own data without a bound": Row(
        lambda t: arrays(t, X=POINTS, y=LABELS, lower=-np.inf),
        "expected finite numbers in lower, got 1 NaN or inf; leave it out for the range of the points",
    ),
    "another scale": Row(["target.scale=robust"], "target.scale: expected one of none, standard, minmax, got 'robust'"),
    "another gamma": Row(
        ["surrogate=rbf_low", "surrogate.gamma=auto"], "surrogate.gamma: expected a number or one of scale, got"
    ),
    "sparse data to be centred": Row(
        [*BINARY, "target.scale=standard"], "scale: expected none or minmax for sparse points (subtracting means would fill"
    ),
    "poisoning with a scale": Row([*POISON, "surrogate.scale=standard"], "surrogate.scale: expected none for poisoning"),
    "poisoning a target with a scale": Row([*POISON, "target.scale=minmax"], "target.scale: expected none for poisoning"),
    "half-written": Row(cut, "own.npz: expected an .npz of plain arrays"),
    "infinitely far": Row(
        ["epsilon.grid=[0,inf]"], "expected a strictly ascending list of finite numbers >= 0, got [0, inf]"
    ),
    "a grid of words": Row(["epsilon.grid=[0,a]"], "epsilon.grid: expected a list, each a number, got [0, 'a']"),
    "added key": Row(
        ["+surrogate.gamma=1"], "surrogate.gamma: expected one of name, complexity, scale, alpha, got an unknown key"
    ),
    "no CUDA device": Row(["device=cuda"], "device: expected a CUDA device for device=cuda, got none on this machine; use"),
    "faces missing": Row(faces, ".jpg images, got 0; complete the folder"),
    "poisoned forest": Row([*POISON, "surrogate=forest_high"], "torch_module, tuned, got forest_high\n"),
    "poisoning with a class unheard of": Row([*POISON, "attack.label=third"], "attack.label: expected one of"),
    "poisoning nothing to hold against": Row(
        [*POISON, "dataset.split.validation=0"],
        "dataset.split.validation: expected validation points to poison for, got none",
    ),
    "poisoning from the start": Row(
        [*POISON, "epsilon.grid=[0.1]"], "epsilon.grid: expected to begin with 0, the unpoisoned learner, got [0.1]"
    ),
    "poisoning everything": Row(
        [*POISON, "epsilon.grid=[0,0.1,1]"], "epsilon.grid: expected fractions of the training set below 1"
    ),
    "poisoning without starts": Row(
        [*POISON, "attack.n_starts=0"], "attack: expected n_starts, n_labels, n_iter and n_trials >= 1"
    ),
    "poisoning more than there is": Row(
        [*POISON, "epsilon.grid=[0,0.1,0.7]"],
        "(one for each point of the attacker's training data)",
        also="ask for smaller fractions",
    ),
    "Drebin-215 truncated": Row(
        lambda t: drebin215(t, n_lost=20), "expected a gzip-compressed CSV table, got a damaged file"
    ),
    "Drebin-215 without classes": Row(
        lambda t: drebin215(t, lines="a,b\n1,0\n"), "expected feature columns and a last column 'class'"
    ),
    "Drebin-215 with a 2": Row(
        lambda t: drebin215(t, lines="a,b,class\n1,2,S\n0,1,B\n"), "expected 0, 1 or ? in every cell, got '2'"
    ),
    "DREBIN's sample damaged": Row(sample, "expected a sparse matrix saved by scipy, got"),
    "changing what is not": Row([*BINARY, "attack.change=swap"], "attack.change: expected one of"),
    "unknown surrogate": Row(["surrogate=nothing"], "surrogate: expected one of bagged, cnn, ensemble, logistic_high, "),
    "forest as surrogate": Row(["surrogate=forest_high"], "torch_module, tuned, got forest_high\n"),
    "choices asked for": Row(["surrogate="], "torch_module, tuned, got none"),
    "mistyped target": Row(["target=mlp_hgih"], "target: expected one of mlp_high, bagged, cnn, ensemble, "),
    "begun target": Row(["target=svm"], "torch_module, tuned, got svm; did you mean svm_high or svm_low?"),
    "a target much like one": Row(["target=mlp_hgih"], ", got mlp_hgih; did you mean mlp_high?"),
    "mistyped data": Row(["dataset=mnst89"], ", got mnst89; did you mean mnist89?"),
    "mistyped study": Row(["experiment=digits89_evason"], ", got digits89_evason; did you mean digits89_evasion?"),
    "sweep: mistyped surrogate": Row([*SWEEP, "surrogate=svm_low,svm_lwo"], ", got svm_lwo; did you mean svm_low?"),
    "null for a choice": Row(
        ["surrogate=null"], "overrides: expected what fits the configuration, got: Config group override"
    ),
    "key below a list": Row(["epsilon.grid.x=1"], "overrides: expected what fits the configuration, got: invalid literal"),
    "interpolation of nothing": Row(["study=${foo}"], "configuration, got: Interpolation key 'foo' not found"),
    "unknown launcher": Row(["hydra/launcher=nothing"], "hydra/launcher: expected one of basic, joblib, ray_workers, "),
    "unknown configuration": Row(["--config-name=nothing"], "Cannot find primary config 'nothing'."),
    "unknown key": Row(["nothing=3"], ", threads, tracking, got an unknown key; to add it: +nothing=3"),
    "mistyped key": Row(["surogate=svm_low"], ", got an unknown key; did you mean surrogate?"),
    "mistyped option": Row(["dataset.split.tset=3"], "dataset.split.tset: expected one of surrogate, target, test, "),
    "unknown option": Row(
        ["surrogate.nothing=3"],
        "surrogate.nothing: expected one of alpha, complexity, name, scale, got an unknown key; to add it: "
        "+surrogate.nothing=3",
    ),
    "a list without a sweep": Row(["seed=0,1"], "seed: expected one value, got 0,1; to sweep over several add -m"),
    "not closed": Row(["seed=[0,"], "seed=[0,: expected Hydra's syntax of overrides, got: no viable alternative"),
    "sweep: no threads": Row([*SWEEP, "threads=0"], "threads: expected a whole number >= 1, got 0"),
    "sweep: server not reachable": Row(
        [*SWEEP, "tracking.uri=http://127.0.0.1:9"], "tracking: expected a tracking store at"
    ),
    "sweep: study without name": Row([*SWEEP, "study=null"], "study: expected text, got None"),
    "sweep: root not writable": Row(lambda t: [*SWEEP, *below_a_file("paths.root")(t)], "expected", also="paths.root"),
    "sweep: store not writable": Row(
        lambda t: [*SWEEP, *below_a_file("paths.store")(t)],
        "store: expected to be able to write",
        also="set paths.store to a folder",
    ),
    "sweep: every size too large": Row(
        [*SWEEP, "dataset.split.test=400"], "expected at most 354 points", also="ask for fewer"
    ),
    "report: no name": Row([], "study: expected study=<name>, got none", rc=2, command="report"),
    "report: unknown key": Row(["studdy=single"], "got studdy=single", rc=2, command="report"),
    "report: unknown study": Row(["study=nothing"], "study: expected one of ", rc=2, command="report"),
    "report: no store": Row(
        lambda t: ["study=single", f"root={t / 'nowhere'}"], "got no such file; run a study first", rc=2, command="report"
    ),
    "report: closed server": Row(
        lambda t: ["study=single", closed_server(t)[0].replace("tracking.uri", "tracking_uri")],
        "expected a tracking store at http://127.0.0.1:",
        rc=2,
        command="report",
    ),
}
