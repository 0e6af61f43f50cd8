"""Making a bundle: candidates are chosen as a search would choose them, and compiled in several processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ...ir.errors import TuneError
from ...runtime.cuda.compiler.compile import find_compiler
from ...runtime.worker import Limits, Workers
from ...te.tolerance import tolerance
from ..builder import build_candidate
from ..built import Built
from ..emulation import call_bytes
from ..figures import Figures
from ..fingerprint import EMULATED as EMULATED_MACHINE
from ..fingerprint import codegen_fingerprint
from ..records import Records
from ..space import Config
from ..strategies.strategy import Strategy
from ..strategies.xgb import XgbStrategy
from ..task import Task
from ..trial import Status, TaskKey, Trial
from ..tuner import MakeStrategy
from .format import About, Candidate, TaskBundle, read_task, write_task

BUILD_S = 60.0  # for one candidate at most
LEAST, MOST = 4, 64  # proposals asked for at a time: what does not build is learned between
TRIES = 20  # configurations that may be tried for each candidate wanted, before too few are good
WORKER_BYTES = 16 << 30  # address space

Observer = Callable[[int, int, Built], None]  # candidates so far, wanted, the latest


def build_task(
    task: Task,
    folder: Path,
    wanted: int,
    *,
    records: Records | None = None,
    strategy: MakeStrategy = XgbStrategy,
    seed: int = 0,
    processes: int = 1,
    time_s: float = float("inf"),
    observe: Observer = lambda done, wanted, built: None,
) -> TaskBundle:
    """Build `wanted` candidates of a task, different in their code, into a bundle; give all that it has of the task.

    The default configuration comes first.  Records that GPUs of the target wrote of the task, with whatever compiler,
    teach the strategy, and what they hold is not built again.
    time_s  stop after that many seconds, with what there is
    Raises TuneError where nothing can be built, TargetError without a CUDA compiler, or as `write_task` does.
    """
    space = task.config_space
    known = _known(records, task)
    figures = Figures(task, processes) if any(t.median_s for t in known.values()) else None
    space.figures = figures
    chooser = strategy(space, seed)
    chooser.observe(list(known), [t.cost_s for t in known.values()])
    made = _Made(wanted, time.monotonic() + time_s, observe)
    with Workers(lambda config: build_candidate(task, config, device="gpu"), processes, _LIMITS) as workers:
        for batch in _batches(space.default, known, chooser, made):
            _build(workers, [space.get(i) for i in batch], made)
            failed = [t.index for t in made.refused]
            chooser.observe(failed, [float("inf")] * len(failed))
    if figures:
        figures.close()
    if not made.candidates:
        reasons = "; ".join(dict.fromkeys(t.error.splitlines()[0] for t in made.refused[:3])) or "nothing was tried"
        raise TuneError("bundle", f"none of {len(made.refused)} configurations of {task.name} builds: {reasons}",
                        advice="another shape, data type or target")  # fmt: skip
    about = _about(task, f"{strategy.__name__}, seed {seed}, {len(known)} records")  # type: ignore[attr-defined]
    bundle = TaskBundle(about, tuple(made.candidates), tuple(made.refused))
    path = folder / about.file_name
    if path.exists():
        bundle = read_task(path).merged(bundle)
    write_task(folder, bundle)
    return bundle


_LIMITS = Limits(address_space_bytes=WORKER_BYTES)


class _Made:
    """What was built so far."""

    def __init__(self, wanted: int, deadline: float, observe: Observer) -> None:
        self.wanted, self.deadline, self.observe = wanted, deadline, observe
        self.candidates: list[Candidate] = []
        self.refused: list[Trial] = []
        self.tried = 0
        self._codes: set[str] = set()

    @property
    def enough(self) -> bool:
        """Tell whether there is what was wanted, or no use in going on."""
        done = len(self.candidates) >= self.wanted or self.tried >= TRIES * max(self.wanted, 8)
        return done or time.monotonic() > self.deadline

    def take(self, config: Config, built: Built) -> None:
        """Keep a candidate unless its code is known, and a failure with its reason."""
        entities: Any = config.to_json()
        self.tried += 1
        if built.status is not Status.OK or built.gpu is None:
            self.refused.append(Trial(config.index or 0, built.status, entities, built.steps, error=built.error))
        elif built.code_hash not in self._codes and len(self.candidates) < self.wanted:
            self._codes.add(built.code_hash)
            self.candidates.append(Candidate(built.index, entities, built.steps, built.code_hash, built.gpu))
        self.observe(len(self.candidates), self.wanted, built)


def _batches(default: int | None, known: dict[int, Trial], chooser: Strategy, made: _Made) -> Iterator[list[int]]:
    """Give configurations to build, the default one first, until there are enough."""
    if default is not None and default not in known:
        chooser.observe([default], [float("inf")])  # counts as given
        yield [default]
    while not made.enough:
        batch = chooser.propose(max(LEAST, min(MOST, made.wanted - len(made.candidates))))
        if not batch:
            return
        yield batch


def _build(workers: Workers, configs: list[Config], made: _Made) -> None:
    """Build in parallel, and take the results in the order of the configurations: bundles are reproducible."""
    tickets = {workers.submit(config, BUILD_S): place for place, config in enumerate(configs)}
    replies: dict[int, Built] = {}
    while len(replies) < len(tickets):
        for ticket, reply in workers.poll(1.0):
            place = tickets[ticket]
            failed = Built(configs[place].index or 0, Status.COMPILE_TIMEOUT, error=reply.text)
            replies[place] = reply.value if reply.ok else failed
    for place, config in enumerate(configs):
        made.take(config, replies[place])


def _known(records: Records | None, task: Task) -> dict[int, Trial]:
    """Give the trials of the task that GPUs measured, by configuration: of the machine that has most of them."""
    if records is None:
        return {}
    mine = anywhere(task.key)
    keys = [row.key for row in records.tasks() if anywhere(row.key) == mine and row.key.machine != EMULATED_MACHINE]
    found = [records.known(key) for key in keys]
    return max(found, key=lambda trials: sum(t.median_s is not None for t in trials.values()), default={})


def anywhere(key: TaskKey) -> TaskKey:
    """Give what a task's key is on every machine and with every compiler."""
    return replace(key, machine="", codegen="")


def _about(task: Task, tuner: str) -> About:
    outputs = [p for p, t in enumerate(task.tensors) if any(t.op is out.op for out in task.outputs)]
    return About(
        name=task.name,
        args=task.args,
        key=replace(task.key, machine=""),
        emulated_codegen=codegen_fingerprint("emulate"),
        flop=task.flop,
        bytes=call_bytes(task.tensors),
        seed=0,
        rtol=tuple((p, tolerance(task.tensors[p])) for p in outputs),
        package=_version(),
        compiler=find_compiler().identity,
        tuner=tuner,
    )


def _version() -> str:
    try:
        return version("tilewright")
    except PackageNotFoundError:
        return ""
