"""ONNX files of small linear classifiers, written byte by byte: a protocol buffer is tags, lengths and contents.

Field numbers and types are those of onnx.proto3 (onnx.ai, the format's own description).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

FLOAT, INT64, DOUBLE = 1, 7, 11
OF_DTYPE = {"float32": FLOAT, "int64": INT64, "float64": DOUBLE}


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def text(field: int, value: str | bytes) -> bytes:
    content = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(content)) + content


def tensor(name: str, array: np.ndarray[Any, Any]) -> bytes:
    dims = b"".join(number(1, size) for size in array.shape)
    return dims + number(2, OF_DTYPE[str(array.dtype)]) + text(8, name) + text(9, array.tobytes())


def outside(name: str, shape: tuple[int, ...], file: str) -> bytes:
    """A tensor whose values lie in another file."""
    entry = text(1, "location") + text(2, file)
    return b"".join(number(1, size) for size in shape) + number(2, FLOAT) + text(8, name) + text(13, entry) + number(14, 1)


def place(name: str, kind: int, shape: tuple[int | str, ...]) -> bytes:
    """An input or output: a tensor, of which a dimension that is text may have any size."""
    dims = b"".join(text(1, number(1, size) if isinstance(size, int) else text(2, size)) for size in shape)
    return text(1, name) + text(2, text(1, number(1, kind) + text(2, dims)))


def dicts(name: str) -> bytes:
    """An output that is a list of dicts from class to probability, as a ZipMap gives."""
    value = text(1, number(1, FLOAT))
    return text(1, name) + text(2, text(4, text(1, text(5, number(1, INT64) + text(2, value)))))


def node(operation: str, inputs: list[str], outputs: list[str], *attributes: bytes, domain: str = "") -> bytes:
    names = b"".join(text(1, name) for name in inputs) + b"".join(text(2, name) for name in outputs)
    return names + text(4, operation) + b"".join(text(5, one) for one in attributes) + text(7, domain)


def whole(name: str, value: int) -> bytes:
    return text(1, name) + number(3, value) + number(20, 2)


def wholes(name: str, values: list[int]) -> bytes:
    return text(1, name) + b"".join(number(8, value) for value in values) + number(20, 7)


def model(nodes: list[bytes], tensors: list[bytes], inputs: list[bytes], outputs: list[bytes]) -> bytes:
    parts = ((1, nodes), (5, tensors), (11, inputs), (12, outputs))
    graph = text(2, "g") + b"".join(text(field, one) for field, ones in parts for one in ones)
    opsets = text(8, text(1, "") + number(2, 17)) + text(8, text(1, "ai.onnx.ml") + number(2, 3))
    return number(1, 8) + text(7, graph) + opsets


def linear_file(
    file: Path,
    weight: np.ndarray[Any, Any],
    bias: np.ndarray[Any, Any],
    *,
    outputs: tuple[str, ...] = ("scores",),
    shape: tuple[int | str, ...] | None = None,
) -> Path:
    """z = x W + b, of weights ``(d, K)``: outputs ``scores``, ``probabilities``, ``labels``, ``dicts``.

    shape: of the input, the batch first; by default ``(n, d)`` with any n.
    """
    kind, (d, n_classes) = OF_DTYPE[str(weight.dtype)], weight.shape
    nodes = [
        node("Flatten", ["x"], ["flat"], whole("axis", 1)),
        node("MatMul", ["flat", "W"], ["product"]),
        node("Add", ["product", "b"], ["scores"]),
        node("Softmax", ["scores"], ["probabilities"], whole("axis", 1)),
        node("ArgMax", ["scores"], ["labels"], whole("axis", 1), whole("keepdims", 0)),
    ]
    places = {name: place(name, kind, ("n", n_classes)) for name in ("scores", "probabilities")}
    places["labels"] = place("labels", INT64, ("n",))
    if "dicts" in outputs:
        classes = wholes("classlabels_int64s", list(range(n_classes)))
        nodes.append(node("ZipMap", ["probabilities"], ["dicts"], classes, domain="ai.onnx.ml"))
        places["dicts"] = dicts("dicts")
    entry = place("x", kind, ("n", d) if shape is None else shape)
    content = model(nodes, [tensor("W", weight), tensor("b", bias)], [entry], [places[name] for name in outputs])
    file.write_bytes(content)
    return file
