"""Kernels for the emulator's tests: their launches are read from their text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from tilewright.codegen.cuda.source import CudaSource, Launch, Parameter
from tilewright.ir.errors import EmulationFault
from tilewright.runtime.cuda.emulator.image import Argument, EmulatedImage, Emulator
from tilewright.runtime.cuda.emulator.orders import MODES, ORDERS
from tilewright.runtime.cuda.emulator.tensor_map import Tiled

KERNELS = Path(__file__).parent / "kernels"
DTYPES = {
    "float": "float32", "double": "float64", "int": "int32", "unsigned": "uint32", "tw_f16": "float16",
    "tw_bf16": "uint16", "unsigned char": "uint8", "signed char": "int8", "long long": "int64",
}  # fmt: skip
HEAD = re.compile(r"TW_KERNEL\((\d+), \d+\)\s*(?:TW_CLUSTER\((\d+), (\d+), (\d+)\)\s*)?(\w+)\(([^)]*)\)")


def parameter(text: str) -> Parameter:
    """Give the parameter that a C declaration declares."""
    words = re.sub(r"\b(const|__restrict__|TW_GRID_CONSTANT)\b", "", text).strip()
    kind, name = re.fullmatch(r"(.*?)(\w+)", words, re.DOTALL).groups()
    if kind.strip() == "tw_tensor_map":
        return Parameter("tensor_map", name)
    return Parameter("buffer" if "*" in kind else "scalar", name, DTYPES[kind.replace("*", "").strip()])


def source(text: str, shared_bytes: int = 0) -> CudaSource:
    """Give a source of the one kernel in `text`."""
    threads, *cluster, name, params = HEAD.search(text).groups()
    size = tuple(int(n or 1) for n in cluster)
    block = (int(threads), 1, 1)
    launch = Launch(name, tuple(map(parameter, params.split(","))), ("1", "1", "1"), block, shared_bytes, size)
    return CudaSource(text, (launch,))


@cache
def compiled(text: str, shared_bytes: int = 0) -> tuple[EmulatedImage, Launch]:
    """Give the image of the one kernel in `text`, and its launch."""
    made = source(text, shared_bytes)
    return Emulator().compile(made), made.launches[0]


def run(
    text: str, *arguments: Argument, grid: Sequence[int] = (1, 1, 1), shared_bytes: int = 0, outputs: str = ""
) -> None:
    """Run the one kernel in `text` once, in the first order."""
    image, launch = compiled(text, shared_bytes)
    image.run(launch, arguments, tuple(grid), outputs=outputs.split())


def faults(attempt: Callable[..., None]) -> Iterator[EmulationFault | None]:
    """Give the fault of each order and mode, or None where `attempt(order=, mode=)` ends well."""
    for order in ORDERS:
        for mode in MODES:
            try:
                attempt(order=order, mode=mode)
                yield None
            except EmulationFault as fault:
                yield fault


def text_of(name: str, *changes: tuple[str, str]) -> str:
    """Give the text of a kernel in `kernels/`, changed in the first place of each."""
    text = (KERNELS / f"{name}.cu").read_text()
    for old, new in changes:
        assert old in text, f"{name}.cu has no {old!r}"
        text = text.replace(old, new, 1)
    return text


def halves(*shape: int, seed: int = 0) -> np.ndarray:
    """Give float16 values from -1 to 1."""
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float16)


__all__ = ["Tiled"]
