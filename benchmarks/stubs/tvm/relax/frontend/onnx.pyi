"""What the benchmarks use of TVM, where it is not installed: anything."""

from typing import Any

def __getattr__(name: str) -> Any: ...
