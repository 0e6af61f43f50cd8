"""Mathematical functions on vectors, as LLVM IR text with stated error bounds."""

from .bounds import ERROR_BOUNDS, ErrorBound
from .functions import MathsFunction, vector_maths

__all__ = ["ERROR_BOUNDS", "ErrorBound", "MathsFunction", "vector_maths"]
