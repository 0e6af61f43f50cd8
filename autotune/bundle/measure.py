"""Measuring a bundle: every candidate checked and timed in a worker that owns the device, and written down at once."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...ir.errors import DeviceError, DeviceLost, Error
from ...ir.target import Target
from ...runtime.cuda.availability import availability
from ...runtime.cuda.device import Device
from ...runtime.cuda.workers import device_workers
from ...runtime.worker import Reply, Workers
from ..build_cuda import EMULATED
from ..built import Built
from ..emulation import MOST_S, check_seconds
from ..fingerprint import machine_fingerprint
from ..measure import RUN_STATUS, measured_trial
from ..records import Records, TaskRow
from ..runner import Measured
from ..task import Task, create
from ..trial import Status, TaskKey, Trial
from .bench import Bench, VendorTimes
from .format import About, Candidate, TaskBundle, read_task, task_files
from .vendor import find_torch

TASK_S = 3.0  # for the arrays, the right answer and the comparison at the end of each task
BLOCK = 16  # candidates between two measurements of the vendor's call
FINALISTS = 4  # configurations measured again at the end, and the default one
ROUNDS = 15
FINAL_S = 2.0
CANDIDATE_TIMEOUT_S, SETUP_TIMEOUT_S = 10.0, 90.0  # on a GPU; the latter with a new process


@dataclass(frozen=True, slots=True)
class _Request:
    """Work on one task.

    final  compare the candidates in turn; else check and time the only one, or the vendor's call without any
    """

    about: About
    built: tuple[Built, ...] = ()
    best_s: float = float("inf")
    final: bool = False


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came of it.

    origin  of the right answer
    fault   why the task's arrays or its right answer could not be made
    """

    measured: tuple[Measured, ...] = ()
    vendor: VendorTimes = field(default_factory=VendorTimes)
    origin: str = ""
    fault: str = ""


@dataclass
class TaskResult:
    """What came of one task of a bundle.

    trials     of the search, those known from the records first; new is how many of them this run added
    finals     of the re-measurement, in turn with the vendor's call
    vendor     that call: in turn with the finals, else between blocks of candidates
    origin     where the right answer is from
    unreached  candidates that the time did not suffice for
    skipped    why none was measured
    """

    about: About
    trials: list[Trial] = field(default_factory=list)
    finals: list[Trial] = field(default_factory=list)
    vendor: VendorTimes = field(default_factory=VendorTimes)
    origin: str = ""
    new: int = 0
    unreached: int = 0
    skipped: str = ""
    default: int | None = None
    key: str = ""

    @property
    def counts(self) -> Counter[Status]:
        """Give the number of trials by outcome."""
        return Counter(t.status for t in self.trials)

    @property
    def wrong(self) -> list[Trial]:
        """Give the trials whose kernels did something wrong: other results, a crash, no end."""
        return [t for t in self.trials if t.status is not Status.OK]

    @property
    def best(self) -> Trial | None:
        """Give the fastest: of the finals, if there are any."""
        timed = [t for t in self.finals or self.trials if t.median_s]
        return min(timed, key=lambda t: t.median_s or 0.0, default=None)

    @property
    def untuned(self) -> Trial | None:
        """Give the trial of the default configuration."""
        return next((t for t in (*self.finals, *self.trials) if t.index == self.default and t.median_s), None)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done in which time.

    candidate_s  seconds for one candidate, on the average
    """

    tasks: int
    candidates: int
    time_s: float

    @property
    def candidate_s(self) -> float:
        """Give the time for one candidate."""
        return max(0.0, self.time_s - self.tasks * TASK_S) / max(1, self.candidates)

    def __str__(self) -> str:
        return (
            f"{self.candidates} candidates of {self.tasks} tasks in {self.time_s:.0f} s: {TASK_S:.0f} s for the right "
            f"answer and the final comparison of each task, {self.candidate_s * 1e3:.0f} ms for each candidate"
        )


Observer = Callable[[TaskResult, Trial | None], None]  # after each trial, and with None when a task is done


def plan(folder: Path, time_s: float) -> Plan:
    """Give the plan of measuring a whole bundle."""
    counts = [len(read_task(path).candidates) for path in task_files(folder)]
    return Plan(len(counts), sum(counts), time_s)


def measure_bundle(
    folder: Path,
    device: str,
    records: Records,
    time_s: float,
    observe: Observer = lambda result, trial: None,
    paths: Sequence[Path] | None = None,
) -> Iterator[TaskResult]:
    """Measure a bundle's tasks and give each one's result; every trial is in the records when it is observed.

    What the records hold already is not measured again, so that a run that was cut short goes on.
    device   as `runtime.cuda.devices.device` names it
    time_s   for everything; each task has its share by its number of candidates
    paths    only these files of it
    Raises DeviceError without such a device, TuneError for a folder that is no bundle.
    """
    files = list(task_files(folder) if paths is None else paths)
    tasks = [read_task(path) for path in files]
    if device != EMULATED:
        _require_gpu(tasks)
        find_torch()  # imported once, before workers are forked, in some seconds
    began, left = time.monotonic(), sum(len(t.candidates) for t in tasks)
    serve = _Serve()
    with device_workers(serve, device) as workers:
        for number, task in enumerate(tasks):
            spent = time.monotonic() - began
            kept = TASK_S * (len(tasks) - number)
            share = (time_s - spent - kept) * len(task.candidates) / max(1, left)
            left -= len(task.candidates)
            yield _TaskRun(task, device, workers, records, time.monotonic() + share, observe).run()


def _require_gpu(tasks: Sequence[TaskBundle]) -> None:
    for arch in sorted({task.about.arch for task in tasks}):
        here = availability(arch)
        if not here.runs:
            raise DeviceError("measure", here.paragraph(), advice="--device emulate, or a machine with a GPU")


class _Serve:
    """What runs in the worker: the bench of the latest task is kept."""

    def __init__(self) -> None:
        self._bench: Bench | None = None

    def __call__(self, device: Device, request: _Request) -> _Answer:
        try:
            bench = self._bench_of(device, request.about)
        except DeviceLost:
            raise
        except Exception as error:  # PyTorch's errors are its own; no candidate is to blame for any
            return _Answer(fault=f"{type(error).__name__}: {error}")
        if request.final:
            results, vendor = bench.final(request.built, ROUNDS, FINAL_S)
            return _Answer(tuple(results), vendor, bench.origin)
        if not request.built:
            return _Answer(vendor=bench.vendor(), origin=bench.origin)
        return _Answer(tuple(bench.candidate(b, request.best_s) for b in request.built), origin=bench.origin)

    def _bench_of(self, device: Device, about: About) -> Bench:
        if self._bench is None or self._bench.about != about:
            self._bench = None  # its memory is given back before more is asked for
            self._bench = Bench(device, about)
        return self._bench


class _TaskRun:
    """Measures one task."""

    def __init__(
        self, task: TaskBundle, device: str, workers: Workers, records: Records, deadline: float, observe: Observer
    ) -> None:
        self.task, self.device, self.workers = task, device, workers
        self.records, self.deadline, self.observe = records, deadline, observe
        self.about = task.about
        default = task.candidates[0].index if task.candidates else None
        self.result = TaskResult(task.about, default=default)
        self.session = uuid.uuid4().hex[:12]
        self._limit_s = MOST_S  # for one candidate in the emulator
        self._fresh = True  # the next request has to wait for the arrays and the right answer

    def run(self) -> TaskResult:
        """Give the result."""
        try:
            made = create(self.about.name, self.about.args, self.about.key.target, device=EMULATED)
        except Error as error:
            self.result.skipped = f"{error.step}: {error.fact}"
        else:
            self.result.skipped = self._why_skip(made)
            self._limit_s = MOST_S + 10 * check_seconds(made)
        if not self.result.skipped:
            key = key_here(self.about, self.device)
            self.result.key = key.digest
            self._measure(key)
        self.observe(self.result, None)
        return self.result

    def _why_skip(self, made: Task) -> str:
        mine, theirs = made.key, self.about.key
        if mine.expression != theirs.expression:
            return f"template {theirs.template} means another operator in this version of the package"
        if self.device == EMULATED and check_seconds(made) > MOST_S:
            seconds = check_seconds(made)
            return f"about {seconds:,.0f} s for one candidate in the emulator, at most {MOST_S:.0f}: it takes a GPU"
        return ""

    def _measure(self, key: TaskKey) -> None:
        about = self.about
        self.records.add_task(TaskRow(key, about.name, about.args, about.flop))
        known = self.records.known(key)
        self.result.trials += [known[c.index] for c in self.task.candidates if c.index in known]
        for trial in self.task.refused:
            if trial.index not in known:
                self.records.add(key, self._signed(trial))
        waiting = [c for c in self.task.candidates if c.index not in known]
        for place, candidate in enumerate(waiting):
            if time.monotonic() > self.deadline:
                self.result.unreached = len(waiting) - place
                break
            if place % BLOCK == 0 and self.device != EMULATED:
                self._time_vendor()
            if not self.result.skipped:
                self._take(key, candidate)
            if self.result.skipped:
                break
        if self.device != EMULATED and not self.result.skipped:
            self._compare(key)
        self.records.flush()

    def _take(self, key: TaskKey, candidate: Candidate) -> None:
        best = self.result.best
        reply = self._ask(_Request(self.about, (candidate.built,), best.cost_s if best else float("inf")))
        if self.result.skipped:
            return
        trial = self._signed(measured_trial(candidate.entities, candidate.built, _measured(candidate.index, reply)))
        self.records.add(key, trial)
        self.result.trials.append(trial)
        self.result.new += 1
        self.observe(self.result, trial)

    def _time_vendor(self) -> None:
        reply = self._ask(_Request(self.about))
        earlier = self.result.vendor
        if reply.ok:
            vendor: VendorTimes = reply.value.vendor
            self.result.vendor = replace(vendor, seconds=earlier.seconds + vendor.seconds)
        elif not earlier.seconds:
            self.result.vendor = VendorTimes(error=reply.text)

    def _compare(self, key: TaskKey) -> None:
        """Measure the best few and the default one again, in turn with the vendor's call."""
        by_index = {c.index: c for c in self.task.candidates}
        timed = sorted((t for t in self.result.trials if t.median_s and t.index in by_index), key=lambda t: t.cost_s)
        chosen = [t.index for t in timed[:FINALISTS]]
        if any(t.index == self.result.default for t in timed) and self.result.default not in chosen:
            chosen.append(self.result.default)  # type: ignore[arg-type]
        if not chosen:
            return
        candidates = [by_index[index] for index in chosen]
        reply = self._ask(_Request(self.about, tuple(c.built for c in candidates), final=True))
        if not reply.ok:
            return
        answer: _Answer = reply.value
        for candidate, measured in zip(candidates, answer.measured, strict=True):
            trial = self._signed(replace(measured_trial(candidate.entities, candidate.built, measured), phase="final"))
            self.result.finals.append(trial)
            self.records.add(key, trial)
        if answer.vendor.seconds:
            self.result.vendor = answer.vendor

    def _ask(self, request: _Request) -> Reply:
        limit_s = self._limit_s if self.device == EMULATED else CANDIDATE_TIMEOUT_S * max(1, len(request.built))
        reply = self.workers.call(request, limit_s + SETUP_TIMEOUT_S * self._fresh)
        self._fresh = reply.outcome in RUN_STATUS and not reply.ok  # a new process has to begin anew
        if reply.ok:
            self.result.origin, self.result.skipped = reply.value.origin, reply.value.fault
        return reply

    def _signed(self, trial: Trial) -> Trial:
        gflops = self.about.flop / trial.median_s / 1e9 if trial.median_s else 0.0
        return replace(trial, gflops=gflops, session=self.session, timestamp=time.time(), seed=self.about.seed)


def key_here(about: About, device: str) -> TaskKey:
    """Give the key of a task's records on this machine."""
    target = Target.parse(about.key.target)
    codegen = about.emulated_codegen if device == EMULATED else about.key.codegen
    return replace(about.key, machine=machine_fingerprint(target, device), codegen=codegen)


def _measured(index: int, reply: Reply) -> Measured:
    if reply.ok:
        return reply.value.measured[0]
    return Measured(index, RUN_STATUS[reply.outcome], error=reply.text)


def as_json(result: TaskResult, is_gpu: bool) -> dict[str, Any]:
    """Give a result as plain data; times in seconds."""
    about, best, untuned, vendor_s = result.about, result.best, result.untuned, result.vendor.median_s
    return {
        "operator": about.name,
        "args": about.args,
        "target": about.key.target,
        "gpu_times": is_gpu,
        "reference": result.origin,
        "candidates": len(result.trials) + result.unreached,
        "valid": result.counts[Status.OK],
        "failed": {str(s): n for s, n in sorted(result.counts.items()) if s is not Status.OK},
        "failures": [{"index": str(t.index), "status": str(t.status), "error": t.error} for t in result.wrong[:10]],
        "max_rel_error": max((t.max_rel_error or 0.0 for t in result.trials if t.status is Status.OK), default=None),
        "unreached": result.unreached,
        "skipped": result.skipped,
        "flop": about.flop,
        "bytes": about.bytes,
        "best": _times(best, about),
        "default": _times(untuned, about),
        "vendor": {"library": result.vendor.library, "seconds": vendor_s, "error": result.vendor.error},
        "ratio": vendor_s / best.median_s if best and best.median_s and vendor_s else None,
        "record": result.key,
    }


def _times(trial: Trial | None, about: About) -> dict[str, Any] | None:
    if trial is None or not trial.median_s:
        return None
    return {
        "index": str(trial.index),
        "seconds": trial.median_s,
        "interval": trial.interval_s and list(trial.interval_s),
        "gflops": trial.gflops,
        "gbytes_per_s": about.bytes / trial.median_s / 1e9,
        "samples": len(trial.seconds),
    }
