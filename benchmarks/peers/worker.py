"""The process of one competitor: takes requests from a pipe, prepares calls, times batches.

python -m peers.worker NAME THREADS FOLDER DESCRIPTOR
"""

from __future__ import annotations

import gc
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

import numpy as np

from .arrays import random_inputs
from .competitor import Competitor, Form, Surroundings, competitor
from .messages import Answer, Prepare, Ready, Refused, Run, Sample, Started
from .timing import calibrated, settle, undisturbed_batch

PLACED_S = 0.15  # of calls before anything is timed, until each thread has a processor to itself
TRIALS = 5  # batches by which the fastest form is chosen ...
CHOOSING_S = 10.0  # ... and fewer of calls that take seconds


class Bench:
    """One prepared call at a time."""

    def __init__(self, made: Competitor, threads: int) -> None:
        """Wrap a competitor that runs this many threads."""
        self.competitor, self.threads = made, threads
        self.form: Form | None = None
        self.number = 0
        self.arrays: list[np.ndarray] = []  # libraries are given their addresses

    def answer(self, request: Prepare | Run) -> Answer:
        """Do what is asked; whatever a library raises becomes the answer."""
        try:
            match request:
                case Prepare():
                    return self.prepare(request)
                case Run():
                    assert self.form is not None, "prepared before it is run"
                    return Sample(undisturbed_batch(self.form.call, self.number, self.threads))
        except Exception as error:  # a library may raise anything, and the others shall still be measured
            return Refused(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")

    def prepare(self, request: Prepare) -> Ready | Refused:
        """Choose the fastest form of those that run."""
        self.form = None
        self.arrays = random_inputs(request.operation, request.seed)
        forms = list(self.competitor.forms(request.workload, request.operation, self.arrays))
        if not forms:
            return Refused("not supported")
        for form in forms:
            settle(form.call, PLACED_S)
        numbers = [calibrated(form.call, request.batch_s) for form in forms]
        times = [np.inf] * len(forms)
        began = perf_counter()
        for done in range(TRIALS if len(forms) > 1 else 0):
            if done and perf_counter() - began > CHOOSING_S:
                break
            for position, (form, number) in enumerate(zip(forms, numbers, strict=True)):
                times[position] = min(times[position], undisturbed_batch(form.call, number, self.threads))
        best = int(np.argmin(times))
        self.form, self.number = forms[best], numbers[best]
        self.form.call()
        gc.collect()
        return Ready(self.form.name, self.form.result(), self.number, self.form.work)


def serve(name: str, surroundings: Surroundings, pipe: Connection) -> None:
    """Answer requests until the other end closes."""
    try:
        bench = Bench(competitor(name, surroundings), surroundings.threads)
    except (ImportError, OSError) as error:
        pipe.send(Refused(f"not installed: {error}"))
        return
    pipe.send(Started(bench.competitor.version))
    gc.disable()
    while True:
        try:
            request = pipe.recv()
        except EOFError:
            return
        pipe.send(bench.answer(request))


if __name__ == "__main__":
    name, threads, folder, descriptor = sys.argv[1:]
    serve(name, Surroundings(int(threads), Path(folder)), Connection(int(descriptor)))
