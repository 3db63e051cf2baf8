"""Models in ONNX files as targets, run by onnxruntime where it is installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_files import FLOAT, linear_file, model, node, outside, place, tensor
from small_world import combination, points

from transfer_exp.learners import Onnx
from transfer_exp.scenarios import run
from transfer_exp.scenarios.attacked import target_of
from transfer_exp.signature import signature
from transfer_exp.store import Store
from transfer_exp.types import UserError
from transfer_exp.work import Work
from transfer_exp.work import fitted as trained

RANDOM = np.random.default_rng(0)
WEIGHT, BIAS = RANDOM.normal(size=(4, 3)), RANDOM.normal(size=3)


@pytest.fixture(autouse=True)
def _new_process() -> None:
    trained._recent.clear()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return linear_file(tmp_path / "linear.onnx", WEIGHT, BIAS)


def of_file(file: Path, gives: Any = "scores", n_classes: int = 3, **options: Any) -> Any:
    learner = Onnx(file=str(file), gives=gives, **options)
    return learner.fit(np.zeros((0, 4)), np.zeros(0, dtype=np.int64), n_classes=n_classes, seed=0)


@pytest.mark.parametrize("shape", [None, (7, 4), ("n", 2, 2), (7, 1, 2, 2)])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_logits_are_those_of_the_model_in_its_own_precision_shape_and_batch(dtype: str, shape: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    x, _ = points(3, n=25)
    outputs = ("scores", "probabilities", "labels")
    file = linear_file(tmp_path / "m.onnx", WEIGHT.astype(dtype), BIAS.astype(dtype), outputs=outputs, shape=shape)
    z = x @ WEIGHT + BIAS
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    bound = 1e-13 if dtype == "float64" else 64 * float(np.finfo(np.float32).eps)  # sums of five terms of size up to 10
    assert of_file(file, output="scores", batch_size=10).logits(x) == pytest.approx(z, abs=bound)
    assert np.exp(of_file(file, "probabilities", output="probabilities").logits(x)) == pytest.approx(p, abs=bound)
    assert np.array_equal(of_file(file, "labels", output="labels").logits(x), np.eye(3)[z.argmax(1)])


def test_a_shape_that_the_file_leaves_open_is_given(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    x, _ = points(3, n=5)
    file = linear_file(tmp_path / "m.onnx", WEIGHT, BIAS, shape=("n", "channels", "height", "width"))
    assert of_file(file, shape=(1, 2, 2)).logits(x) == pytest.approx(x @ WEIGHT + BIAS)
    with pytest.raises(UserError, match=r"Onnx\.shape: expected a shape of 4 features, got \[3, 2, 2\]"):
        of_file(file, shape=(3, 2, 2)).logits(x)


def test_it_is_a_target_of_a_whole_combination(file: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    one = combination(Onnx(file=str(file), gives="scores"), n_classes=3)
    outcome = run(one, Store(tmp_path / "store"))
    split = Work.of(one, None).split
    x, y = one.dataset.x[split.test], one.dataset.y[split.test]
    assert outcome.curves["error"][0] == ((x @ WEIGHT + BIAS).argmax(1) != y).mean()
    assert "whitebox_error" not in outcome.curves
    assert "loss_cross_entropy" in outcome.curves


def test_its_content_counts_and_its_place_does_not(file: Path, tmp_path: Path) -> None:
    def key(file: Path, **options: Any) -> str:
        return signature(learner=Onnx(file=str(file), gives="scores", **options))

    copied = tmp_path / "copy.onnx"
    copied.write_bytes(file.read_bytes())
    other = linear_file(tmp_path / "other.onnx", WEIGHT, 2 * BIAS)
    assert key(copied) == key(file)
    assert len({key(file), key(other), key(file, output="scores"), key(file, shape=(2, 2))}) == 4


def test_weights_in_other_files_count_too(tmp_path: Path) -> None:
    """As torch exports large models."""
    names = ["w.bin", f"{'far' * 50}/{'away' * 40}/b.bin"]
    tensors = [outside("W", WEIGHT.shape, names[0]), outside("b", BIAS.shape, names[1])]
    nodes = [node("MatMul", ["x", "W"], ["product"]), node("Add", ["product", "b"], ["scores"])]
    file = tmp_path / "m.onnx"
    file.write_bytes(model(nodes, tensors, [place("x", FLOAT, ("n", 4))], [place("scores", FLOAT, ("n", 3))]))
    keys = []
    for factor in (1.0, 2.0):
        for name, array in zip(names, (WEIGHT, BIAS), strict=True):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes((factor * array).astype(np.float32).tobytes())
            keys.append(signature(learner=Onnx(file=str(file), gives="scores")))
    assert len(set(keys)) == 4
    pytest.importorskip("onnxruntime")
    x, _ = points(3, n=5)
    assert of_file(file).logits(x) == pytest.approx(2 * (x @ WEIGHT + BIAS), abs=1e-5)


def test_a_file_that_changes_while_it_is_in_use_is_noticed(file: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    learner = Onnx(file=str(file), gives="scores")
    first = target_of(Work.of(combination(learner, n_classes=3), Store(tmp_path / "store"))).model
    linear_file(file, WEIGHT, 2 * BIAS)
    again = target_of(Work.of(combination(learner, n_classes=3), Store(tmp_path / "store"))).model
    assert again is first  # what its key stands for
    with pytest.raises(UserError, match="as it was when this process began, got another content; start anew"):
        learner.fit(np.zeros((0, 4)), np.zeros(0, dtype=np.int64), n_classes=3, seed=0)


@pytest.mark.parametrize(
    ("outputs", "options", "message"),
    [
        (("scores", "labels"), {}, r"Onnx\.output: expected one of scores, labels, got None; name one"),
        (("scores", "labels"), {"output": "z"}, r"Onnx\.output: expected one of scores, labels, got z"),
        (("scores",), {"input": "y"}, r"Onnx\.input: expected one of x, got y"),
        (("labels",), {}, "Onnx: expected scores of shape"),
        (("dicts",), {}, r"expected an output that is a tensor, got dicts of seq\(map.*zipmap': False"),
    ],
)
def test_another_model_is_refused(outputs: Any, options: Any, message: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    file = linear_file(tmp_path / "m.onnx", WEIGHT.astype(np.float32), BIAS.astype(np.float32), outputs=outputs)
    with pytest.raises(UserError, match=message):
        of_file(file, **options).logits(points(3)[0])


def test_what_is_no_model_is_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Onnx\.file: expected an ONNX model, got nowhere, which is no file; set file"):
        Onnx(file="nowhere", gives="scores")
    pytest.importorskip("onnxruntime")
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(UserError, match=r"Onnx\.file: expected a model that onnxruntime takes, got .*m\.onnx: "):
        of_file(tmp_path / "m.onnx")
    whole = model(
        [node("Cast", ["x"], ["y"])], [tensor("W", WEIGHT)], [place("x", 7, ("n", 4))], [place("y", FLOAT, ("n", 3))]
    )
    (tmp_path / "m.onnx").write_bytes(whole)
    with pytest.raises(UserError):
        of_file(tmp_path / "m.onnx")


def test_without_onnxruntime_it_is_said_what_to_install(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        UserError, match=r"^Onnx: expected onnxruntime for an ONNX model; pip install 'transfer-exp\[onnx\]'"
    ):
        of_file(file)
