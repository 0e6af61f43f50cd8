"""In which types products are summed up and stored, by the type that a workload names."""

from __future__ import annotations

from dataclasses import dataclass

from ...te.machine import TF32

HALVES = ("float16", "bfloat16")
BYTES = ("int8", "uint8")


@dataclass(frozen=True, slots=True)
class ProductTypes:
    """Types of a workload: halves are summed up in float32 and stored as halves, bytes in int32.

    The weights, or second factor, of unsigned bytes are signed.

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
        return cls(dtype, "int32", "int32") if dtype in BYTES else cls(dtype, dtype, dtype)

    @property
    def weights(self) -> str:
        """Give the type of weights, or of a second factor."""
        return "int8" if self.operands in BYTES else self.operands
