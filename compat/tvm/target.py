"""`tvm.target`: targets, and the one in force within a `with` block."""

from __future__ import annotations

from contextvars import ContextVar

from ...ir import target as native
from ...runtime.host import resolve

_HINTS = ("keys", "device", "model", "libs", "num-cores", "opt-level", "link-params")  # for TVM's own schedules
_CURRENT: ContextVar[tuple[Target, ...]] = ContextVar("target", default=())


class TargetKind(str):
    """The first word of a target: text, and `name` as programs for TVM ask for it."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """Give the word."""
        return str(self)


class Target:
    """A target such as "llvm -mcpu=skylake-avx512"; within `with Target(...):` it is what `build` compiles for.

    native  the package's own target; options for TVM's schedule library are dropped
    """

    def __init__(self, target: str | Target | native.Target, host: object = None) -> None:
        words = str(target).split()
        kept = [w for w in words if w.lstrip("-").partition("=")[0] not in _HINTS]
        self.native = native.Target.parse(" ".join(kept))

    @property
    def kind(self) -> TargetKind:
        """Give the first word."""
        return TargetKind(self.native.kind)

    @property
    def mcpu(self) -> str:
        """Give LLVM's name of the processor."""
        return resolve(self.native).cpu

    @staticmethod
    def current(allow_none: bool = True) -> Target | None:
        """Give the target of the innermost `with` block.  Raises ValueError without one, if None is not allowed."""
        stack = _CURRENT.get()
        if not stack and not allow_none:
            raise ValueError("no target is in force: with tvm.target.Target('llvm'): ...")
        return stack[-1] if stack else None

    def __enter__(self) -> Target:
        _CURRENT.set((*_CURRENT.get(), self))
        return self

    def __exit__(self, *_: object) -> None:
        _CURRENT.set(_CURRENT.get()[:-1])

    def __str__(self) -> str:
        return str(self.native)

    def __repr__(self) -> str:
        return f"Target({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def create(target: str) -> Target:
    """Give `Target(target)`."""
    return Target(target)


def chosen(target: object) -> native.Target:
    """Give the native target of an argument: the one in force, else this machine, for None."""
    current = Target.current() if target is None else Target(target)  # type: ignore[arg-type]
    return native.Target() if current is None else current.native
