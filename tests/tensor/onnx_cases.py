"""The `onnx` package's own test cases for an operator, as an oracle for instructions."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from tests.tensor.bench import NAMES, Array


@dataclass(frozen=True)
class Case:
    """One call of an operator: inputs by their names in the graph ('' is left out)."""

    name: str
    attributes: dict[str, Any]
    inputs: dict[str, Array]
    outputs: list[Array]

    def mode(self, attribute: str, default: str) -> str:
        """An attribute that is a text."""
        value: str = self.attributes.get(attribute, default.encode()).decode()
        return value


def cases(operator: str) -> list[Case]:
    """Every case of an operator whose tensors all have element types of ours."""
    onnx = import_module("onnx")
    node = import_module("onnx.backend.test.case.node")
    import_module(f"onnx.backend.test.case.node.{operator.lower()}")
    found = []
    for test in node._NodeTestCases:
        call = test.model.graph.node[0]
        if call.op_type != operator or len(test.model.graph.node) > 1:
            continue
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in call.attribute}
        for given, wanted in test.data_sets:
            tensors = [np.ascontiguousarray(a).reshape(a.shape) for a in (*given, *wanted)]
            if any(a.dtype not in NAMES for a in tensors):
                continue
            names = [name for name in call.input if name]
            inputs = dict(zip(names, tensors, strict=False))
            found.append(Case(test.name, attributes, inputs, tensors[len(given) :]))
    return found
