"""The driver's end of a competitor's process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing import Pipe
from pathlib import Path

from .messages import Prepare, Ready, Refused, Run, Sample, Started
from .operations import Workload

START_TIMEOUT_S = 120
PREPARE_TIMEOUT_S = 180
RUN_TIMEOUT_S = 120
REAL_TIME = ("chrt", "--rr", "1")  # threads inherit it; niceness would leave two of them on one processor for long
HERE = Path(__file__).resolve().parent.parent


def environment(threads: int) -> Mapping[str, str]:
    """Give the variables that hold every runtime to a number of threads, and to float32 in its arithmetic."""
    names = "OMP OPENBLAS MKL NUMEXPR TILEWRIGHT TVM".split()
    counts = {f"{name}_NUM_THREADS": str(threads) for name in names}
    return {**os.environ, **counts, "ONEDNN_DEFAULT_FPMATH_MODE": "STRICT", "TF_CPP_MIN_LOG_LEVEL": "3"}


class Process:
    """A competitor in a process of its own.

    name     as in `competitor.PLACES`
    version  of its library, or why it cannot take part
    present  whether it can
    """

    def __init__(self, name: str, threads: int, folder: Path, first: bool = False) -> None:
        """Start the process; `first` lets it run before all that is not as urgent."""
        self.name = name
        self._pipe, theirs = Pipe()
        descriptor = theirs.fileno()
        words = [sys.executable, "-W", "ignore", "-m", "peers.worker", name, str(threads), str(folder), str(descriptor)]
        if first:
            words = [*REAL_TIME, *words]
        self._process = subprocess.Popen(words, cwd=HERE, env=environment(threads), pass_fds=[descriptor])
        theirs.close()
        answer = self._answer(START_TIMEOUT_S)
        self.present = type(answer) is Started
        self.version = answer.version if type(answer) is Started else answer.why if type(answer) is Refused else ""

    def prepare(self, workload: Workload, seed: int, batch_s: float) -> Ready | Refused:
        """Prepare a call, in place of the last one."""
        answer = self._ask(Prepare(workload.name, workload.operation, seed, batch_s), PREPARE_TIMEOUT_S)
        assert type(answer) in (Ready, Refused)
        return answer

    def run(self) -> Sample | Refused:
        """Time a batch of what is prepared."""
        answer = self._ask(Run(), RUN_TIMEOUT_S)
        assert type(answer) in (Sample, Refused)
        return answer

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, request: Prepare | Run, timeout_s: float) -> object:
        if not self.present:
            return Refused(self.version)
        try:
            self._pipe.send(request)
        except OSError:
            return self._lost("died")
        return self._answer(timeout_s)

    def _answer(self, timeout_s: float) -> object:
        try:
            if self._pipe.poll(timeout_s):
                return self._pipe.recv()
        except (EOFError, OSError):
            return self._lost(f"died with status {self._process.wait()}")
        self._process.kill()
        return self._lost(f"no answer in {timeout_s:.0f} s")

    def _lost(self, why: str) -> Refused:
        self.present, self.version = False, why
        return Refused(why)
