"""The code of one function: its source, and its cubin once somebody asks for it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from ...codegen.cuda.source import CudaSource, Launch, Parameter, TensorMap, Workspace
from .compiler.compile import Cubin, compile_cubin


class CudaCode:
    """Kernels for one architecture.

    source  the text and its launches
    arch    such as "sm_90a"
    """

    def __init__(self, source: CudaSource, arch: str, cubin: Cubin | None = None) -> None:
        """Hold a source; without `cubin` it is compiled when that is first asked for."""
        self.source, self.arch, self._cubin = source, arch, cubin

    @property
    def cubin(self) -> Cubin:
        """Give the machine code.  Raises CompileError for text that is refused, TargetError without a compiler."""
        if self._cubin is None:
            self._cubin = compile_cubin(self.source.text, self.arch)
        return self._cubin


def launches_to_json(source: CudaSource) -> str:
    """Give everything of a source but its text as JSON text."""
    data = asdict(source)
    del data["text"]
    return json.dumps(data, separators=(",", ":"))


def source_from_json(text: str, launches: str) -> CudaSource:
    """Give the source of a text and of what `launches_to_json` wrote beside it."""
    data = json.loads(launches)
    return CudaSource(
        text,
        tuple(_launch(row) for row in data["launches"]),
        tuple(Workspace(**row) for row in data["workspaces"]),
        tuple(TensorMap(**_tuples(row)) for row in data["tensor_maps"]),
    )


def _launch(row: dict[str, Any]) -> Launch:
    params = tuple(Parameter(**param) for param in row.pop("params"))
    return Launch(params=params, **_tuples(row))


def _tuples(row: dict[str, Any]) -> dict[str, Any]:
    """Give JSON's lists as the tuples that they were."""
    return {key: tuple(value) if type(value) is list else value for key, value in row.items()}
