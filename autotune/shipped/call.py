"""A workload as the shipped data name it: robust against parameters that templates get later."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...ir.target import Target

EPILOGUE = "epilogue"  # the parameter; what becomes of sums does not decide how they are best computed


@dataclass(frozen=True, slots=True)
class Call:
    """A template's call, for a kind of processor.

    template    name and version
    given       arguments that are not the parameters' defaults, by name, but for an epilogue
    arguments   all of them, by name
    kind        of processor, see `processor_kind`
    threads     threads that a kernel may use
    """

    template: str
    given: Mapping[str, Any]
    arguments: Mapping[str, Any]
    kind: str
    threads: int

    @classmethod
    def of(
        cls, name: str, version: int, function: Callable[..., Any], args: tuple[Any, ...], target: Target, threads: int
    ) -> Call:
        """Give the call of a template's function with `args`, for a target with its blanks filled."""
        bound = inspect.signature(function).bind(*args)
        given = {
            name: _plain(value)
            for name, value in bound.arguments.items()
            if bound.signature.parameters[name].default != value and name != EPILOGUE
        }
        bound.apply_defaults()
        return cls(f"{name}.{version}", given, bound.arguments, processor_kind(target), threads)

    @property
    def key(self) -> str:
        """Give the workload as JSON text, equal for equal calls however they are written."""
        return json.dumps(self.given, sort_keys=True)

    @property
    def variant(self) -> str:
        """Give what is said by no number, as JSON text: layouts, types, what is constant."""
        words = {name: value for name, value in self.given.items() if next(_numbers(value), None) is None}
        return json.dumps(words, sort_keys=True)

    @property
    def sizes(self) -> dict[str, float]:
        """Give log2 of 1 + each number among the arguments, by name."""
        return {
            f"{name}.{place}": math.log2(1 + abs(number))
            for name, value in self.arguments.items()
            for place, number in enumerate(_numbers(value))
        }


def processor_kind(target: Target) -> str:
    """Name what decides which schedules are fast: architecture, processor, width of vectors; "" for a GPU."""
    return f"{target.triple.split('-')[0]}/{target.cpu}/{target.vector_bits}" if target.kind == "llvm" else ""


def target_of(kind: str) -> Target:
    """Give a target of a kind of processor."""
    architecture, cpu, bits = kind.split("/")
    return Target("llvm", triple=f"{architecture}-unknown-linux-gnu", cpu=cpu, vector_bits=int(bits))


def _numbers(value: Any) -> Iterator[float]:
    match value:
        case bool():
            return
        case int() | float():
            yield value
        case list() | tuple():
            for element in value:
                yield from _numbers(element)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))
