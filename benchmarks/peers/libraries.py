"""Kernels of this package as shared libraries, made in a process of their own: the driver loads no compiler."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from .competitors.exported import SYMBOL, Entry, Manifest
from .operations import Operand, TemplateCall, Workload

if TYPE_CHECKING:
    from tilewright.autotune.space import Config
    from tilewright.autotune.task import Task
    from tilewright.runtime.signature import Signature

BUILD_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Order:
    """What to build, and where to.

    database   of records, whose best configuration is taken; "" for the default schedule
    algorithm  that the default schedule is to follow; "" for the one that promises most
    """

    template: TemplateCall
    library: Path
    threads: int
    database: str = ""
    algorithm: str = ""


@dataclass(frozen=True, slots=True)
class Built:
    """How it went.

    build_s  from the template to a kernel that can be called in that process; the library is linked after it
    note     what is worth knowing, such as why there is no library
    """

    build_s: float = 0.0
    note: str = ""


class Builder:
    """Builds libraries in another process, and starts a new one where the compiler took it down."""

    def __init__(self, folder: Path, threads: int, database: str, algorithm: str = "") -> None:
        """Build into `folder`, with the best records of `database`, or default schedules where that is ""."""
        self.folder, self.threads, self.database, self.algorithm = folder, threads, database, algorithm
        self._pool = _process()

    def build(self, workload: Workload) -> Built:
        """Build a workload's library."""
        template = workload.operation.template
        if template is None:
            return Built(note="no template")
        order = Order(template, self.folder / f"{workload.key}.so", self.threads, self.database, self.algorithm)
        try:
            return self._pool.submit(build_library, order).result(BUILD_TIMEOUT_S)
        except (BrokenProcessPool, TimeoutError) as error:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = _process()
            return Built(note=f"not built: {type(error).__name__}")

    def machine(self) -> str:
        """Describe the processor, and the target it is compiled for."""
        return self._pool.submit(machine_text).result(BUILD_TIMEOUT_S)

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()


def _process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def machine_text() -> str:
    """Describe this machine as records do, and the width of its vectors."""
    from tilewright.runtime.host import host_target, machine

    target = host_target()
    return f"{machine()}, vectors of {target.vector_bits} bits"


def build_library(order: Order) -> Built:
    """Build a template's kernel and link it to a library."""
    from tilewright.autotune.task import create
    from tilewright.ir.errors import Error
    from tilewright.runtime.build import build
    from tilewright.runtime.module import Module
    from tilewright.schedule import lower_prepared, parameter_names

    name, arguments = order.template
    try:
        task = create(name, arguments, threads=order.threads)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            config, effort = _choice(task, order)
        begin = perf_counter()
        schedule, tensors = task.instantiate(config)
        module = build(lower_prepared(schedule, tensors, SYMBOL), target=task.target, effort=effort)
        assert isinstance(module, Module) and module[SYMBOL], "loaded"
        build_s = perf_counter() - begin
        module.export_library(order.library)
        manifest(parameter_names(schedule, tensors), module.signatures).write(order.library.with_suffix(".json"))
    except Error as error:
        return Built(note=f"not built: {str(error).splitlines()[0]}")
    return Built(build_s, "; ".join(str(w.message) for w in caught))


def manifest(tensors: Sequence[str], signatures: Sequence[Signature]) -> Manifest:
    """Give what a caller must know of a library."""
    from tilewright.runtime.signature import ArrayParam, evaluate_extent

    def entry(signature: Signature) -> Entry:
        arrays = (p for p in signature.params if type(p) is ArrayParam)
        params = (Operand(p.name, tuple(evaluate_extent(e, {}) for e in p.shape), str(p.dtype)) for p in arrays)
        return Entry(signature.name, tuple(params))

    return Manifest(tuple(tensors), tuple(map(entry, signatures)))


def _choice(task: Task, order: Order) -> tuple[Config, str]:
    """Give the configuration and the compiler's effort: the best recorded ones, or the defaults.

    Raises TuneError for an algorithm that is none of the task's choices.
    """
    from tilewright.autotune.history import best_config
    from tilewright.autotune.records import Records

    if order.algorithm:
        return _following(task, order.algorithm), "auto"
    if not order.database:
        return task.untuned.config, "auto"
    with Records(order.database, create=False) as records:
        best = records.best(task.key)
        return best_config(records, task), best.effort if best is not None else "auto"


def _following(task: Task, algorithm: str) -> Config:
    """Give the default configuration by one algorithm."""
    from tilewright.autotune.entities import OtherOptionEntity
    from tilewright.autotune.space import Config
    from tilewright.autotune.templates.cpu.algorithm import ALGORITHM
    from tilewright.ir.errors import TuneError

    space, wanted = task.config_space, OtherOptionEntity(algorithm)
    fragment = space.fragments.get(ALGORITHM)
    if fragment is None or wanted not in fragment.entities:
        raise TuneError("algorithm", f"{algorithm} is no choice here", advice="one that the convolution fits")
    entities = {name: wanted if name == ALGORITHM else space[name] for name in space.fragments}
    return Config(None, entities)
