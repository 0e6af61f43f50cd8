"""From a schedule to a function, `lower(s, args)`, or to two, `lower_prepared(s, args)`."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence

from ..ir.buffer import Buffer
from ..ir.collector import at_rest
from ..ir.errors import ScheduleError
from ..ir.expr import Var
from ..ir.stmt import Function
from ..te.operation import PlaceholderOp
from ..te.tensor import Tensor
from .nest import NestBuilder, build_nest
from .schedule import Schedule
from .steps.place import computed_in_calls
from .storage import Key
from .table import StageState, Table, identifier, reads, unused

Argument = Tensor | Var


def lower(schedule: Schedule, args: Sequence[Argument], name: str = "main") -> Function:
    """Give the loop nest of a schedule as a function of `args`: tensors of the program and symbolic sizes.

    Every input, and of every output operator at least one result, must be among the arguments, in any order.
    Raises ScheduleError for a missing, foreign or repeated argument, and for whatever the nest cannot be.
    """
    with schedule.blaming_steps(), at_rest():
        table = schedule.table
        params, buffers = _parameters(table, args)
        _check_complete(table, buffers)
        builder = build_nest(table, buffers)
        outputs = tuple(b for key, b in buffers.items() if table.stages[key[0]].is_output)
        return Function(name, params, builder.whole(), outputs)


def lower_prepared(schedule: Schedule, args: Sequence[Argument], name: str = "main") -> list[Function]:
    """Give what `precompute` divides: a function `<name>_prepare` of the constants, and `name`, which is called often.

    The first writes arrays that the second reads; these stand among the parameters of the second in place of the
    first constant that only the first function reads, and at the end of the first's.  Where no stage is computed ahead
    there is one function, that of `lower`.  Raises as `lower` does, and where a stage that is computed ahead reads
    what a later step made part of every call.
    """
    with schedule.blaming_steps(), at_rest():
        table = schedule.table
        params, buffers = _parameters(table, args)
        _check_complete(table, buffers)
        builder = build_nest(table, buffers)
        stages = builder.result.table
        ahead = [s for s in stages.stages.values() if s.is_ahead]
        if not ahead:
            outputs = tuple(b for key, b in buffers.items() if table.stages[key[0]].is_output)
            return [Function(name, params, builder.whole(), outputs)]
        _check_constant(stages, ahead)
        return _divided(builder, params, buffers, ahead, name)


def preparing(name: str) -> str:
    """Give the name of the function that computes what calls of the function `name` need."""
    return f"{name}_prepare"


def parameter_names(schedule: Schedule, args: Sequence[Argument]) -> tuple[str, ...]:
    """Give the names that arguments have as parameters of the functions that a schedule is lowered to."""
    return tuple(p.name for p in _parameters(schedule.table, args)[0])


def _check_constant(table: Table, ahead: Sequence[StageState]) -> None:
    for stage in ahead:
        changing = computed_in_calls(table, stage)
        if changing is not None:
            fact = f"stage {stage.id} is computed ahead of the calls and reads {changing.id}, which every call computes"
            raise ScheduleError("lower_prepared", fact, advice=f"precompute {changing.id} too")


def _divided(
    builder: NestBuilder,
    params: tuple[Buffer | Var, ...],
    buffers: dict[Key, Buffer],
    ahead: Sequence[StageState],
    name: str,
) -> list[Function]:
    """Give the function of the stages that are computed ahead, and that of the others."""
    table = builder.result.table
    called = [s for s in table.stages.values() if not (s.is_ahead or s.is_placeholder)]
    needed = _read_by(table, called)
    made = {(s.id, c): builder.stores[s.id, c].buffer for s in ahead if s.id in needed for c in range(s.op.num_outputs)}
    builder.params = {**buffers, **made}
    first, second = _read_by(table, ahead), needed | {s.id for s in called if s.is_output}
    of = {id(buffer): key[0] for key, buffer in buffers.items()}

    def kept(stages: set[str]) -> list[Buffer | Var]:
        return [p for p in params if of.get(id(p)) in stages or id(p) not in of]

    constants = [p for p in params if of.get(id(p)) in first]
    main = kept(second)
    gone = next((i for i, p in enumerate(params) if p in constants and p not in main), 0)
    place = sum(p in main for p in params[:gone])
    outputs = tuple(b for key, b in buffers.items() if table.stages[key[0]].is_output)
    sizes = [p for p in params if isinstance(p, Var)]
    return [
        Function(preparing(name), (*constants, *sizes, *made.values()), builder.part(True), tuple(made.values())),
        Function(name, (*main[:place], *made.values(), *main[place:]), builder.part(False), outputs),
    ]


def _read_by(table: Table, stages: Sequence[StageState]) -> set[str]:
    """Give the ids of the stages that `stages` read."""
    return {table.stage_of(t).id for s in stages for t in reads(s.op)}


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
                fact = f"argument {position} is {reprlib.repr(arg)}, a {type(arg).__name__}"
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
