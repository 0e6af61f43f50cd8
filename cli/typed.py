"""The command line that means a recorded task: what a user would have typed for it."""

from __future__ import annotations

import argparse
import inspect
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..autotune.build_cuda import EMULATED
from ..autotune.fingerprint import EMULATED as EMULATED_MACHINE
from ..autotune.records import TaskRow
from ..autotune.template import find_template
from ..ir.errors import Error
from ..ir.target import Target
from .arguments import Parser, UsageError
from .layers import LAYERS, Layer
from .operators import Operator, add_operator, understand

_OTHER_NAMES = {"operator": "op"}  # parameters of templates -> flags
_CONSTANT = ("constant_weights", "constant_b")


def typed(row: TaskRow, operators: Sequence[Operator]) -> str:
    """Give the words after `autotune` that mean a task, a layer's name among them where one has its shape.

    A task that no command line means, such as one of a user's own template, is given as a call.
    """
    operator = next((o for o in operators if o.name == row.name), None)
    words = operator and _words(row, operator)
    return shlex.join(words) if words else f"{row.name}({', '.join(map(repr, row.args))})"


def _words(row: TaskRow, operator: Operator) -> list[str] | None:
    """Give the words, tried: what they are understood as is the very task."""
    parser = Parser()
    add_operator(parser.add_subparsers(), operator, lambda _: 0)
    try:
        bound = inspect.signature(find_template(row.name).function).bind(*_plain(row.args))
        bound.apply_defaults()
        words = [operator.name, *_said(row, operator, parser.subcommands()[operator.name], bound.arguments)]
        understood = understand(parser.parse_args([word for word in words if word])).template_args
    except (Error, UsageError, TypeError, ValueError):
        return None
    return words if _plain(understood) == _plain(row.args) else None


def _said(row: TaskRow, operator: Operator, parser: Parser, arguments: Mapping[str, Any]) -> list[str]:
    flags = parser.optional()
    named = {_OTHER_NAMES.get(name, name): value for name, value in arguments.items()}
    shape = tuple(_numbers(value for name, value in named.items() if name not in (*flags, *_CONSTANT)))
    target = Target.parse(row.key.target)
    if target.kind == "llvm":
        named["variable_weights"] = not any(named.get(name) for name in _CONSTANT)
    else:
        named["target"] = f"{target.kind} -arch={target.arch}" if target.arch else target.kind
        named["device"] = EMULATED if row.key.machine == EMULATED_MACHINE else None
    layer = _layer(operator, shape, named)
    place = ["--layer", layer.name] if layer else ["--shape", ",".join(map(str, shape))]
    known = dict(layer.flags) if layer else {}
    given = {name: named[name] for name in flags if name in named and name not in known}
    return place + [word for name, value in given.items() for word in _flag(flags[name], value)]


def _numbers(values: Iterable[Any]) -> Iterator[int]:
    """Give the numbers of a shape: those of tuples one after the other, a square window by one of its sides."""
    for value in values:
        numbers: tuple[Any, ...] = value if type(value) is tuple else (value,)
        yield from numbers[:-1] if len(numbers) in (2, 3) and numbers[-1] == numbers[-2] else numbers


def _layer(operator: Operator, shape: tuple[int, ...], named: Mapping[str, Any]) -> Layer | None:
    """Give the first known layer of a shape."""
    of = operator.layers_of or operator.name
    alike = (layer for layer in LAYERS.values() if layer.operator == of and layer.shape == shape)
    return next((layer for layer in alike if all(named.get(name) == value for name, value in layer.flags)), None)


def _flag(action: argparse.Action, value: Any) -> list[str]:
    """Give the words by which a flag has a value; none where that is its default."""
    if value == action.default:
        return []
    if action.nargs == 0:
        return [action.option_strings[0 if value else -1]]  # of --flag and --no-flag
    words = value if action.nargs else (value,)
    return [action.option_strings[-1], *map(str, words)]


def _plain(value: Any) -> Any:
    return tuple(map(_plain, value)) if type(value) in (list, tuple) else value
