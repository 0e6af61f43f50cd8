"""A schedule: an ordered list of steps, and the stage table that they have led to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..ir.errors import Error, ScheduleError, user_site
from ..te.axis import Axis
from ..te.operation import Operation
from ..te.tensor import Tensor
from .access import check_accesses
from .stage import Stage
from .steps.cache import CacheRead, CacheWrite
from .steps.rfactor import RFactor
from .steps.step import Step, axis_key
from .table import StageState, Table, table_of


class Schedule:
    """How to compute a program: `s[C].split(...)`, `s.cache_write(...)`; `print(s)` shows the loops meant so far.

    steps  the decisions, in order; what `to_json` writes and `from_json` replays
    table  the stages as the steps have left them
    """

    def __init__(self, outputs: Sequence[Tensor]) -> None:
        self.outputs = tuple(outputs)
        self.steps: tuple[Step, ...] = ()
        self.table: Table = table_of(self.outputs)
        self._sites: list[str] = []
        for state in self.table.stages.values():
            check_accesses(state.op, state.attached and state.attached.axis)

    def __getitem__(self, target: Tensor | Operation) -> Stage:
        return Stage(self, self.stage_id(target))

    @property
    def stages(self) -> list[Stage]:
        """Give all stages, producers before consumers."""
        return [Stage(self, name) for name in self.table.stages]

    def stage_id(self, target: Tensor | Operation) -> str:
        """Give the id of the stage that computes `target`.  Raises ScheduleError if there is none."""
        op = target.op if isinstance(target, Tensor) else target
        found = self.table.aliases.get(id(op))
        if found is None:
            name = getattr(target, "name", repr(target))
            names = ", ".join(self.table.stages)
            raise ScheduleError("schedule", f"{name} is no part of this schedule", advice=f"one of its stages: {names}")
        return found

    def apply(self, step: Step) -> Table:
        """Take one step.  Raises ScheduleError, and leaves the schedule as it was, if the step is refused."""
        self.table = step.apply(self.table, len(self.steps))
        self.steps = (*self.steps, step)
        self._sites.append(user_site())
        return self.table

    @contextmanager
    def blaming_steps(self) -> Iterator[None]:
        """Let errors about an attachment name the line of the user's code that made it."""
        try:
            yield
        except ScheduleError as error:
            step = next((n for n, s in enumerate(self.steps) if error.step == s.NAME and _concerns(s, error)), None)
            if step is not None:
                error.site = self._sites[step]
            raise

    def cache_read(self, tensor: Tensor, scope: str, readers: Sequence[Tensor | Operation]) -> Tensor:
        """Copy a tensor into a scope, and let `readers` read the copy.

            for i in range(n):            for ax0 in range(n):
                B[i] = A[i] + 1     ->        A_local[ax0] = A[ax0]
                                          for i in range(n):
                                              B[i] = A_local[i] + 1

        Gives the copy, a new stage.  Order of execution: unchanged.
        Refused: an unknown scope; a reader that does not read the tensor.
        """
        stage = self.stage_id(tensor)
        cache = self.table.unused_name(f"{self._stage_name(tensor)}_{scope}")
        names = tuple(dict.fromkeys(self.stage_id(r) for r in _listed(readers)))
        self.apply(CacheRead(stage, tensor.component, scope, names, cache))
        return self.table.stages[cache].op.output(0)

    def cache_write(self, tensor: Tensor | Sequence[Tensor], scope: str) -> Tensor | list[Tensor]:
        """Compute a stage into a scope, and copy the result to where it belongs.

            for i in range(n):                  for i_c in range(n):
                for k in range(m):                  for k in range(m):
                    C[i] = C[i] + A[i, k]   ->          C_local[i_c] = C_local[i_c] + A[i_c, k]
                                                for i in range(n):
                                                    C[i] = C_local[i]

        Gives the cache, a new stage with the loops that earlier steps made; the copy starts with plain loops.
        For several results give all of them; a list comes back.
        Refused: an unknown scope; a stage that others are attached to; an operator without an expression.
        """
        tensors = _listed(tensor)
        stage = self.stage_id(tensors[0])
        if any(self.stage_id(t) != stage for t in tensors):
            raise ScheduleError("cache_write", "the tensors are results of several operators", advice="one operator's")
        cache = self.table.unused_name(f"{stage}_{scope}")
        self.apply(CacheWrite(stage, scope, cache))
        op = self.table.stages[cache].op
        cached = [op.output(t.component) for t in tensors]
        return cached if isinstance(tensor, (list, tuple)) else cached[0]

    def rfactor(self, tensor: Tensor, axis: Axis, factor_axis: int = 0) -> Tensor | list[Tensor]:
        """Make a reduction loop a spatial axis of a partial result, which may then run in parallel or as vector lanes.

            for k in range(16):             for k_i in range(4):
                B[0] = B[0] + A[k]              for k_o in range(4):
                                        ->          B_rf[k_i] = B_rf[k_i] + A[k_o * 4 + k_i]
                                            for k_i_v in range(4):
                                                B[0] = B[0] + B_rf[k_i_v]

        Gives the partial result, a new stage, as a list if there are several results.
        Order of execution: changed; floating-point sums are rounded differently, and of equal values another may win.
        Refused: an axis that is no reduction loop; a reduction with start values; a position outside of the result.
        """
        state = self.table.stages[self.stage_id(tensor)]
        partial = self.table.unused_name(f"{state.id}_rf")
        self.apply(RFactor(state.id, self.axis_key(state, axis, "rfactor"), factor_axis, partial))
        op = self.table.stages[partial].op
        results = [op.output(c) for c in range(op.num_outputs)]
        return results[0] if len(results) == 1 else results

    def normalize(self) -> Schedule:
        """Give the schedule itself: all loops start at 0 already."""
        return self

    def axis_key(self, state: StageState, axis: Axis, step: str) -> str:
        """Give the key of an axis handle.  Raises ScheduleError for an axis of another stage."""
        if isinstance(axis, Axis) and (axis in state.leaves or axis in state.axes or axis in state.taken):
            return axis_key(state, axis)
        owner = next((s.id for s in self.table.stages.values() if axis in s.axes), None)
        what = f"axis {axis.name} of stage {owner}" if owner else f"{axis!r}"
        names = ", ".join(a.name for a in state.leaves)
        raise ScheduleError(step, f"{what} is no axis of stage {state.id}", advice=f"one of its loops {names}")

    def _stage_name(self, tensor: Tensor) -> str:
        stage = self.stage_id(tensor)
        return stage if tensor.component == 0 else f"{stage}_v{tensor.component}"

    def to_json(self) -> str:
        """Give the steps as JSON text, which `from_json` replays on the same program in any process."""
        from .serialize import steps_to_json  # needs the step classes and this one

        return steps_to_json(self.steps)

    @classmethod
    def from_json(cls, text: str, outputs: Sequence[Tensor]) -> Schedule:
        """Give the schedule that `to_json` wrote, for the same program.  Raises ScheduleError for other text."""
        from .serialize import steps_from_json

        schedule = cls(outputs)
        for step in steps_from_json(text):
            schedule.apply(step)
        return schedule

    def __str__(self) -> str:
        from .lower import caller_buffers
        from .nest import build_nest

        try:
            return str(build_nest(self.table, caller_buffers(self.table)).whole())
        except Error as error:
            comment = "\n".join(f"# {line}" for line in str(error).splitlines())
            return f"# {len(self.steps)} steps, and no nest yet:\n{comment}"


def create_schedule(outputs: Tensor | Operation | Sequence[Tensor | Operation]) -> Schedule:
    """Give the schedule of a program in which nothing is decided: every stage whole, in plain loops.

    outputs  the tensors, or their operators, that are wanted
    Raises ScheduleError if nothing is given, ExpressionError for an access that is not proved in bounds.
    """
    tensors: list[Tensor] = []
    for item in _listed(outputs):
        if not isinstance(item, Tensor | Operation):
            fact = f"{item!r} is neither a tensor nor an operator"
            raise ScheduleError("create_schedule", fact, advice="create_schedule(C), for a tensor C = te.compute(...)")
        found = [item] if isinstance(item, Tensor) else [item.output(c) for c in range(item.num_outputs)]
        tensors += found
    if not tensors:
        raise ScheduleError("create_schedule", "no output is given", advice="create_schedule([C.op])")
    return Schedule(tensors)


def _listed(value: object) -> list:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _concerns(step: Step, error: ScheduleError) -> bool:
    return f" {step.stage} " in f" {error.fact} "
