"""`tvm.transform`: the context that TVM programs open around `build`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

__all__ = ["PassContext"]


@contextmanager
def PassContext(
    opt_level: int = 2,
    required_pass: Sequence[str] | None = None,
    disabled_pass: Sequence[str] | None = None,
    instruments: Sequence[object] | None = None,
    config: Mapping[str, object] | None = None,
) -> Iterator[None]:
    """Do nothing: there is one pipeline, always at its best."""
    yield
