"""A test of one piece of the device language: a kernel of one launch, its arrays, and what they must become."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tilewright.codegen.cuda.source import CudaSource, Launch, Parameter, TensorMap

Arrays = Mapping[str, np.ndarray]

_HEAD = re.compile(r"TW_KERNEL\((\d+), \d+\)\s*(?:TW_CLUSTER\((\d+), (\d+), (\d+)\)\s*)?(\w+)\(([^)]*)\)")
_DTYPES = {
    "float": "float32", "double": "float64", "int": "int32", "unsigned": "uint32", "tw_f16": "float16",
    "tw_bf16": "bfloat16", "unsigned char": "uint8", "signed char": "int8", "long long": "int64",
}  # fmt: skip


@dataclass(frozen=True)
class Map:
    """A tensor map over one of the arrays.

    box      elements of each dimension, innermost first
    """

    array: str
    box: tuple[int, ...]
    swizzle: int = 0


@dataclass(frozen=True)
class Case:
    """One kernel with what it is given and must give.

    text      of the kernel, whose parameters are named as the arrays; tensor maps are named `map_` and the array
    arrays    by name; what the kernel writes is overwritten with 0xFF bytes before
    expected  by name, of those that it writes
    rtol      allowed error relative to the right value
    needs     "sm_80", or "sm_90a" for what only Hopper has
    """

    text: str
    arrays: Arrays
    expected: Arrays
    rtol: float = 0.0
    grid: tuple[int, int, int] = (1, 1, 1)
    shared_bytes: int = 0
    maps: Sequence[Map] = ()
    needs: str = "sm_80"
    name: str = field(default="", init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _head(self.text)[-2])

    @property
    def launch(self) -> Launch:
        """Give the launch of the kernel."""
        threads, *cluster, name, params = _head(self.text)
        x, y, z = (str(n) for n in self.grid)
        size = (int(cluster[0] or 1), int(cluster[1] or 1), int(cluster[2] or 1))
        parameters = tuple(map(_parameter, params.split(",")))
        return Launch(name, parameters, (x, y, z), (int(threads), 1, 1), self.shared_bytes, size)

    def tensor_map(self, which: Map) -> TensorMap:
        """Give the description of a tensor map."""
        dtype = str(self.arrays[which.array].dtype)
        return TensorMap(f"map_{which.array}", which.array, dtype, (), (), which.box, which.swizzle)

    def verdict(self, found: Arrays) -> str:
        """Tell what is wrong with the arrays that a run gave, "" for nothing."""
        for name, right in self.expected.items():
            wrong = ~_near(found[name], right, self.rtol)
            if wrong.any():
                at = tuple(int(i) for i in np.argwhere(wrong)[0])
                values = f"{name}{list(at)} is {found[name][at]!r}, not {right[at]!r}"
                return f"{int(wrong.sum())} of {right.size} elements: {values}"
        return ""


def _near(found: np.ndarray, right: np.ndarray, rtol: float) -> np.ndarray:
    if right.dtype.kind != "f" or not rtol:
        return (found == right) | ((found != found) & (right != right))
    with np.errstate(invalid="ignore"):
        error = np.abs(found.astype(np.float64) - right.astype(np.float64))
        scale = np.maximum(np.abs(right.astype(np.float64)), float(np.finfo(right.dtype).tiny))
        near = error <= rtol * scale
    return near | (found == right) | (np.isnan(found) & np.isnan(right))


def source_of(cases: Sequence[Case]) -> CudaSource:
    """Give one source of the kernels of several cases."""
    return CudaSource("\n".join(case.text for case in cases), tuple(case.launch for case in cases))


def _head(text: str) -> tuple[str, ...]:
    found = _HEAD.search(text)
    assert found is not None, f"no kernel in {text[:80]!r}"
    return tuple(found.groups())


def _parameter(text: str) -> Parameter:
    words = re.sub(r"\b(const|__restrict__|TW_GRID_CONSTANT)\b", "", text).strip()
    found = re.fullmatch(r"(.*?)(\w+)", words, re.DOTALL)
    assert found is not None, f"no parameter in {text!r}"
    kind, name = found.groups()
    if kind.strip() == "tw_tensor_map":
        return Parameter("tensor_map", name)
    return Parameter("buffer" if "*" in kind else "scalar", name, _DTYPES[kind.replace("*", "").strip()])


Make = Callable[[np.random.Generator], Sequence[Case]]
