"""From a schedule to a function: `lower(s, args)`."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.buffer import Buffer
from ..ir.errors import ScheduleError
from ..ir.expr import Var
from ..ir.stmt import Function
from ..te.operation import PlaceholderOp
from ..te.tensor import Tensor
from .nest import build_nest
from .schedule import Schedule
from .storage import Key
from .table import Table, identifier, unused

Argument = Tensor | Var


def lower(schedule: Schedule, args: Sequence[Argument], name: str = "main") -> Function:
    """Give the loop nest of a schedule as a function of `args`: tensors of the program and symbolic sizes.

    Every input, and of every output operator at least one result, must be among the arguments, in any order.
    Raises ScheduleError for a missing, foreign or repeated argument, and for whatever the nest cannot be.
    """
    with schedule.blaming_steps():
        table = schedule.table
        params, buffers = _parameters(table, args)
        _check_complete(table, buffers)
        builder = build_nest(table, buffers)
        outputs = tuple(b for key, b in buffers.items() if table.stages[key[0]].is_output)
        return Function(name, params, builder.whole(), outputs)


def _parameters(table: Table, args: Sequence[Argument]) -> tuple[tuple[Buffer | Var, ...], dict[Key, Buffer]]:
    buffers: dict[Key, Buffer] = {}
    params: list[Buffer | Var] = []
    names: set[str] = set()
    for position, arg in enumerate(args):
        match arg:
            case Var():
                params.append(arg)
                names.add(arg.name)
                continue
            case Tensor(op=PlaceholderOp()) if id(arg.op) not in table.aliases:
                params.append(_unused_input(arg, names))
                continue
            case Tensor():
                key = _key(table, arg, position)
            case _:
                fact = f"argument {position} is {arg!r}"
                raise ScheduleError("lower", fact, advice="a tensor, or a te.var for a symbolic size")
        if key in buffers:
            raise ScheduleError("lower", f"tensor {arg.name} is given twice", advice="each tensor once")
        buffers[key] = _buffer(table, key, names)
        params.append(buffers[key])
    return tuple(params), buffers


def _key(table: Table, tensor: Tensor, position: int) -> Key:
    stage = table.aliases.get(id(tensor.op))
    if stage is None:
        known = ", ".join(n for n, s in table.stages.items() if s.is_output or s.is_placeholder)
        fact = f"argument {position}, {tensor.name}, is no tensor of the scheduled program"
        raise ScheduleError("lower", fact, advice=f"the program's inputs and outputs are {known}")
    if not (table.stages[stage].is_output or table.stages[stage].is_placeholder):
        fact = f"argument {position}, {tensor.name}, is neither an input nor an output of the schedule"
        raise ScheduleError("lower", fact, advice=f"create_schedule([..., {tensor.name}.op]) to have it kept")
    return stage, tensor.component


def _buffer(table: Table, key: Key, names: set[str]) -> Buffer:
    stage, component = key
    op = table.stages[stage].op
    shape, dtype = op.results[component]
    name = unused(stage if op.num_outputs == 1 else f"{stage}_v{component}", names)
    names.add(name)
    return Buffer(name, shape, dtype)


def _unused_input(tensor: Tensor, names: set[str]) -> Buffer:
    """Give the buffer of a placeholder that the program does not read, so that call signatures can be kept."""
    name = unused(identifier(tensor.name), names)
    names.add(name)
    return Buffer(name, tensor.shape, tensor.dtype)


def caller_buffers(table: Table) -> dict[Key, Buffer]:
    """Give a buffer for every tensor that belongs to the caller: what a function of all of them would have."""
    names: set[str] = set()
    states = _state_stages(table)
    return {
        (name, c): _buffer(table, (name, c), names)
        for name, stage in table.stages.items()
        if (stage.is_output or stage.is_placeholder) and name not in states
        for c in range(stage.op.num_outputs)
    }


def _state_stages(table: Table) -> set[str]:
    scans = [s.scan for s in table.stages.values() if s.scan is not None]
    return {table.aliases[id(t.op)] for scan in scans for t in scan.state if id(t.op) in table.aliases}


def _check_complete(table: Table, buffers: dict[Key, Buffer]) -> None:
    """Refuse to leave out an input, or all results of an output operator."""
    given = {name for name, _ in buffers}
    for (name, component), buffer in caller_buffers(table).items():
        is_input = table.stages[name].is_placeholder
        if (name, component) not in buffers and (is_input or name not in given):
            kind = "input" if is_input else "output"
            fact = f"{kind} {buffer.name} is not among the arguments"
            raise ScheduleError("lower", fact, advice=f"lower(s, [..., {buffer.name}])")
