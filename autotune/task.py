"""Tasks: a template with its arguments, for one target."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from ..ir.collector import at_rest
from ..ir.errors import TuneError
from ..ir.target import Target
from ..runtime.host import resolve
from ..runtime.pool import check_threads
from ..schedule.schedule import Schedule
from ..te.canonical import content_hash
from ..te.operators.flops import flops
from ..te.tensor import Tensor
from .fingerprint import codegen_fingerprint, machine_fingerprint
from .shipped.call import Call
from .space import Config, ConfigSpace, Knobs
from .template import Situation, Template, find_template, in_force
from .trial import TaskKey
from .untuned import Untuned, untuned


class Task:
    """Something to tune.

    name, args    template and its arguments; together the workload
    target        with its blanks filled
    threads       threads that a kernel may use
    device        what runs kernels for a GPU: "gpu", "gpu:1" for the second, or "emulate"; "" for a processor
    config_space  the template's knobs
    flop          floating-point operations of one call: declared by the template, else counted
    tensors       the tensors of a call, in order, by definition or as the default configuration has them
    outputs       those that are computed
    """

    def __init__(
        self,
        made: Template,
        args: Sequence[Any],
        target: Target | str = "llvm",
        threads: int = 1,
        device: str = "gpu",
    ) -> None:
        self.template = made
        self.name = made.name
        self.args = _plain(made.name, args)
        _check_number(made, self.args)
        self.target = resolve(Target.parse(target))
        self.threads = check_threads("task", threads)
        self.device = device if self.target.kind == "cuda" else ""
        self.config_space = ConfigSpace()
        schedule, tensors = self._run(self.config_space)
        self._default: tuple[Config, Schedule, list[Tensor]] | None
        self._default = (self.config_space.default_config(), schedule, tensors)  # for whoever asks for it first
        meaning = self.config_space.meaning
        self.tensors = list(meaning) or tensors
        self.outputs = tuple(t for t in meaning if t.op.inputs) or schedule.outputs
        self.flop = self.config_space.flop or float(flops(self.outputs))

    def instantiate(self, config: Knobs) -> tuple[Schedule, list[Tensor]]:
        """Give the schedule of a configuration, and the tensors in call order.

        Each call gives a schedule of its own.
        Raises Error, most often a ScheduleError, where the template or one of its steps refuses.
        """
        if self._default is not None and config == self._default[0]:
            (_, schedule, tensors), self._default = self._default, None
            return schedule, list(tensors)
        return self._run(config)

    def _run(self, config: Knobs) -> tuple[Schedule, list[Tensor]]:
        """Run the template with a configuration in force."""
        with in_force(Situation(config, self.target, self.threads)), at_rest():
            schedule, tensors = self.template.function(*self.args)
        return schedule, list(tensors)

    @property
    def workload(self) -> str:
        """Give the name and arguments as JSON text, AutoTVM's workload key."""
        return json.dumps([self.name, *self.args])

    @cached_property
    def key(self) -> TaskKey:
        """Give what must be equal for records to be comparable."""
        return TaskKey(
            expression=content_hash(self.outputs),
            target=str(self.target),
            machine=machine_fingerprint(self.target, self.device),
            codegen=codegen_fingerprint(self.device),
            template=f"{self.name}.{self.template.version}",
            space=self.config_space.fingerprint,
            threads=self.threads,
        )

    @cached_property
    def untuned(self) -> Untuned:
        """Give the configuration that a kernel takes which nobody tuned, and where it comes from."""
        return untuned(self.call, self.config_space)

    @property
    def call(self) -> Call:
        """Give what the task is of, as shipped data name it."""
        made = self.template
        return Call.of(made.name, made.version, made.function, self.args, self.target, self.threads)

    def gflops(self, seconds: float) -> float:
        """Give the rate of one call that takes `seconds`, in 1e9 floating-point operations per second."""
        return self.flop / seconds / 1e9

    def __repr__(self) -> str:
        return f"Task({self.workload}, target={str(self.target)!r}, threads={self.threads})"


def create(
    name: str, args: Sequence[Any], target: Target | str = "llvm", *, threads: int = 1, device: str = "gpu"
) -> Task:
    """Give the task of the template `name` with `args`.

    device  what runs kernels for a GPU; of no meaning for other targets
    Raises TuneError for an unknown template, too few or too many arguments or such that are not plain data, and
    ArgumentError for threads that the pool cannot have.
    """
    return Task(find_template(name), args, target, threads, device)


def _plain(name: str, args: Sequence[Any]) -> tuple[Any, ...]:
    try:
        return tuple(_frozen(json.loads(json.dumps(list(args)))))
    except TypeError as error:
        advice = "numbers, strings, and tuples of them"
        raise TuneError("task", f"arguments of {name} are not plain data: {error}", advice=advice) from None


def _check_number(made: Template, args: tuple[Any, ...]) -> None:
    """Refuse arguments that the template's function cannot be called with.  Raises TuneError."""
    signature = inspect.signature(made.function)
    try:
        signature.bind(*args)
    except TypeError as error:
        names = ", ".join(map(_parameter, signature.parameters.values()))
        fact = f"{made.name} takes ({names}), and is given {len(args)} arguments: {error}"
        raise TuneError("task", fact, f"  given: {args}", "one argument for each name that has no default") from None


def _parameter(parameter: inspect.Parameter) -> str:
    bare = parameter.replace(annotation=inspect.Parameter.empty)
    return str(bare)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if type(value) is list else value
