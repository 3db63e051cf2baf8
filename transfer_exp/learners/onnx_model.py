"""A model in an ONNX file, run by onnxruntime (``pip install 'transfer-exp[onnx]'``) on one thread."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from transfer_exp.learners.black_box import BlackBox, GivenModel
from transfer_exp.signature import file_checksum, signature
from transfer_exp.types import RECORDED, Ints, Matrix, UserError, reason

_TYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16"}
_LOCATION = rb"\x0a\x08location\x12"
"""Begins the name of a file of weights: an entry of a TensorProto's external_data, ``location``, as protobuf writes it."""


@dataclass(frozen=True, kw_only=True)
class Onnx(BlackBox):
    """A classifier in an ONNX file.

    file: where it lies; its content counts, and that of the files that it keeps weights in, not the place. input, output:
    names of the model's, to be given where it has several. shape: as for every ``BlackBox``; ``flat``: as the file says,
    where it says it.
    """

    file: str = field(compare=False)
    input: str | None = None
    output: str | None = None
    checksum: str = field(default="", init=False, metadata={RECORDED: True})
    family = "onnx"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.file, str | Path) or not Path(self.file).is_file():
            raise UserError(f"{self.label}.file: expected an ONNX model, got {self.file}, which is no file; set file")
        object.__setattr__(self, "checksum", _checksum(self.file))

    def _fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> GivenModel:
        return self._model(_session(self.label, self.file, self.checksum), n_classes)

    def _model(self, session: Any, n_classes: int) -> GivenModel:
        entry = self._one(session.get_inputs(), "input")
        leaving = self._one(session.get_outputs(), "output")
        if entry.type not in _TYPES:
            raise UserError(f"{self.label}: expected an input of {', '.join(_TYPES)}, got {entry.name} of {entry.type}")
        if not leaving.type.startswith("tensor("):
            raise UserError(
                f"{self.label}: expected an output that is a tensor, got {leaving.name} of {leaving.type}; convert "
                "the model without ZipMap (of skl2onnx: options={'zipmap': False})"
            )
        rows, *rest = entry.shape or [None]
        size = rows if isinstance(rows, int) else None

        def question(points: np.ndarray[Any, Any]) -> Any:
            return session.run([leaving.name], {entry.name: points})[0]

        return GivenModel(
            question if size is None else _in_blocks(question, size),
            self._answers(n_classes),
            shape=self._shape(rest),
            dtype=_TYPES[entry.type],
            batch_size=self.batch_size,
        )

    def _one(self, places: list[Any], option: str) -> Any:
        """The input or output of this name, or the only one."""
        wanted, names = getattr(self, option), [one.name for one in places]
        if wanted is None and len(places) == 1:
            return places[0]
        if wanted not in names:
            raise UserError(f"{self.label}.{option}: expected one of {', '.join(names)}, got {wanted}; name one")
        return places[names.index(wanted)]

    def _shape(self, said: list[Any]) -> tuple[int, ...] | None:
        """Of a point: as set, else as the file says."""
        if not isinstance(self.shape, str):
            return self.shape
        return tuple(said) if len(said) > 1 and all(isinstance(one, int) for one in said) else None


def _session(label: str, file: str, checksum: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"{label}: expected onnxruntime for an ONNX model; pip install 'transfer-exp[onnx]'") from error
    if _checksum(file) != checksum:
        raise UserError(f"{label}.file: expected {file} as it was when this process began, got another content; start anew")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # its errors are raised; warnings of what it optimises help nobody here
    try:
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no base class of their own
        raise UserError(f"{label}.file: expected a model that onnxruntime takes, got {file}: {reason(error)}") from error


def _checksum(file: str) -> str:
    """Of the model and of the files beside it that it keeps weights in."""
    content, found = Path(file).read_bytes(), {"": file_checksum(file)}
    for match in re.finditer(_LOCATION, content):
        start, size = match.end() + 1, content[match.end()]
        if size > 127:  # a length of two bytes
            start, size = start + 1, size & 127 | content[start] << 7
        place = content[start : start + size].decode(errors="replace")
        beside = Path(file).parent / place
        if beside.is_file():  # else it is no file of weights, or onnxruntime says that it is missing
            found[place] = file_checksum(beside)
    return signature(files=found)


def _in_blocks(question: Callable[[Any], Any], size: int) -> Callable[[Any], Any]:
    """The same of any number of points, for a model that takes ``size`` at once: the last block is filled up."""

    def asked(points: np.ndarray[Any, Any]) -> Any:
        n = len(points)
        filled = np.resize(points, (math.ceil(n / size) * size, *points.shape[1:]))
        return np.concatenate([question(filled[i : i + size]) for i in range(0, len(filled), size)])[:n]

    return asked
