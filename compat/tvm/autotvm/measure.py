"""`tvm.autotvm.measure`: how candidates are built and timed, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from ....autotune.measure import MeasureOptions
from ....autotune.space import Config
from ....autotune.task import Task
from ....ir.errors import Error

__all__ = ["LocalBuilder", "LocalRunner", "MeasureInput", "MeasureResult", "RPCRunner", "measure_option"]


class MeasureInput(NamedTuple):
    """What was measured."""

    target: Any
    task: Task
    config: Config


class MeasureResult(NamedTuple):
    """What came of it: seconds (1e9 for a failure), AutoTVM's error number, seconds spent, seconds since 1970."""

    costs: tuple[float, ...]
    error_no: int
    all_cost: float
    timestamp: float


@dataclass(frozen=True)
class LocalBuilder:
    """Compiles in worker processes.

    timeout     for one candidate, in seconds
    n_parallel  processes
    """

    timeout: float = 10
    n_parallel: int | None = None
    build_kwargs: Any = None
    build_func: str = "default"
    do_fork: bool = False
    runtime: Any = None


@dataclass(frozen=True)
class LocalRunner:
    """Checks and times in a worker process.

    timeout  for one candidate, in seconds
    The rest is accepted and has no effect: batches are as long as the clock needs and repeated as the spread asks for.
    """

    timeout: float = 5
    n_parallel: int | None = None
    number: int = 4
    repeat: int = 3
    min_repeat_ms: int = 0
    cooldown_interval: float = 0.1
    enable_cpu_cache_flush: bool = False
    module_loader: Any = None


def RPCRunner(*_: object, **__: object) -> LocalRunner:
    """Refuse: there is no measuring on other machines."""
    raise Error("RPCRunner", "kernels are measured on this machine alone", advice="LocalRunner()")


def measure_option(builder: LocalBuilder | str = "local", runner: LocalRunner | str = "local") -> MeasureOptions:
    """Give the options that a builder and a runner mean; "local" stands for their defaults."""
    build = LocalBuilder() if builder == "local" else builder
    run = LocalRunner() if runner == "local" else runner
    match build, run:
        case LocalBuilder(), LocalRunner():
            return MeasureOptions(
                builders=build.n_parallel or 1, build_timeout_s=build.timeout, run_timeout_s=run.timeout
            )
        case _:
            raise Error("measure_option", f"builder {builder!r}, runner {runner!r}", advice='"local" for each')
