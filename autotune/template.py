"""Templates: functions that declare knobs and schedule an expression by them; and what is in force while one runs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from ..ir.errors import TuneError
from ..ir.target import Target
from ..runtime.host import resolve
from .shipped.call import Call
from .space import ConfigSpace, Knobs
from .untuned import is_known, untuned

Body = Callable[..., tuple[Any, list[Any]]]  # arguments -> (schedule, tensors in call order)


@dataclass(frozen=True, slots=True)
class Template:
    """A registered template.

    version  raised by its author whenever equal configurations come to mean other schedules
    """

    name: str
    function: Body
    version: int = 1


@dataclass(frozen=True, slots=True)
class Situation:
    """What a running template may ask for: its configuration, the target, and the threads a kernel may use."""

    config: Knobs
    target: Target
    threads: int = 1


Chooser = Callable[[Template, tuple[Any, ...]], Situation]  # for templates called outside of any task

_TEMPLATES: dict[str, Template] = {}
_SITUATION: ContextVar[Situation | None] = ContextVar("situation", default=None)
_CHOOSERS: ContextVar[tuple[Chooser, ...]] = ContextVar("choosers", default=())


def template(name: str, version: int = 1) -> Callable[[Body], Body]:
    """Register a function as the template `name`.

        @autotune.template("matmul")
        def matmul(m, n, k):
            ...
            cfg = autotune.get_config()
            cfg.define_split("tile_m", s[C].op.axis[0], num_outputs=2)
            cfg["tile_m"].apply(s, C, s[C].op.axis[0])
            return s, [A, B, C]

    The arguments are plain data (numbers, strings, tuples), equal after a trip through JSON.  The function stays
    callable: it then takes the best recorded configuration within `apply_history_best`, else an untuned one for this
    machine, see `untuned`.
    Raises TuneError if another function has the name.
    """

    def register(function: Body) -> Body:
        known = _TEMPLATES.get(name)
        if known is not None and known.function.__qualname__ != function.__qualname__:
            fact = f"{name!r} is already the template {known.function.__module__}.{known.function.__qualname__}"
            raise TuneError("template", fact, advice="another name")
        made = Template(name, function, version)
        _TEMPLATES[name] = made

        @functools.wraps(function)
        def call(*args: Any) -> tuple[Any, list[Any]]:
            if _SITUATION.get() is not None:
                return function(*args)
            with in_force(_choose(made, args)):
                return function(*args)

        return call

    return register


def find_template(name: str) -> Template:
    """Give the template `name`, one of the package's or of those that were registered; TuneError if there is none."""
    if name not in _TEMPLATES:
        _register_own()
    if name not in _TEMPLATES:
        known = ", ".join(sorted(_TEMPLATES)) or "none"
        raise TuneError("task", f"no template {name!r}; registered: {known}", advice="import the module that has it")
    return _TEMPLATES[name]


def template_names() -> tuple[str, ...]:
    """Give the names of all templates, the package's and those that were registered, sorted."""
    _register_own()
    return tuple(sorted(_TEMPLATES))


def _register_own() -> None:
    """Register the package's templates, whose modules import this one."""
    import_module(".templates", __package__)


def get_config() -> Knobs:
    """Give the configuration of the running template: the space while knobs are collected, then the chosen one."""
    return _situation("get_config").config


def get_target() -> Target:
    """Give the target of the running template, with its blanks filled."""
    return _situation("get_target").target


def get_threads() -> int:
    """Give how many threads the kernel of the running template may use."""
    return _situation("get_threads").threads


@contextmanager
def in_force(situation: Situation) -> Iterator[None]:
    """Make `situation` what the three functions above answer from."""
    token = _SITUATION.set(situation)
    try:
        yield
    finally:
        _SITUATION.reset(token)


@contextmanager
def choosing(chooser: Chooser) -> Iterator[None]:
    """Let `chooser` pick the configuration of templates that are called directly."""
    token = _CHOOSERS.set((*_CHOOSERS.get(), chooser))
    try:
        yield
    finally:
        _CHOOSERS.reset(token)


def _choose(made: Template, args: tuple[Any, ...]) -> Situation:
    choosers = _CHOOSERS.get()
    if choosers:
        return choosers[-1](made, args)
    space, target = ConfigSpace(), resolve(Target.parse("llvm"))
    situation = Situation(space, target)
    call = Call.of(made.name, made.version, made.function, args, target, situation.threads)
    if not is_known(call):
        return situation
    with in_force(situation):
        made.function(*args)
    return replace(situation, config=untuned(call, space).config)


def _situation(step: str) -> Situation:
    found = _SITUATION.get()
    if found is None:
        raise TuneError(step, "no template is running", advice="call it inside a function under @autotune.template")
    return found
