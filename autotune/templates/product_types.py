"""In which types products are summed up and stored, by the type that a workload names."""

from __future__ import annotations

from dataclasses import dataclass

from ...te.compute import compute
from ...te.machine import TF32
from ...te.tensor import Tensor

HALVES = ("float16", "bfloat16")


@dataclass(frozen=True, slots=True)
class ProductTypes:
    """Types of a workload: halves are summed up in float32 and stored as halves, bytes in int32.

    operands, total, result  of the factors, of the sum, and of what is stored
    precision                "tf32" where factors of float32 may be rounded so, as tensor cores do
    """

    operands: str
    total: str
    result: str
    precision: str = ""

    @classmethod
    def of(cls, dtype: str) -> ProductTypes:
        """Give the types for the type of a workload: one of the IR's, or "tf32"."""
        if dtype == TF32:
            return cls("float32", "float32", "float32", TF32)
        if dtype in HALVES:
            return cls(dtype, "float32", dtype)
        return cls(dtype, "int32", "int32") if dtype == "int8" else cls(dtype, dtype, dtype)

    def stored(self, total: Tensor) -> Tensor:
        """Give sums as they are stored."""
        if self.result == self.total:
            return total
        return compute(total.shape, lambda *i: total[i].astype(self.result), name="T_cast")
