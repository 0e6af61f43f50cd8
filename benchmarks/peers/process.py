"""The driver's end of a competitor's process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing import Pipe
from pathlib import Path

from .messages import Answer, Prepare, Ready, Refused, Run, Sample, Started
from .operations import Workload

START_TIMEOUT_S = 120
PREPARE_TIMEOUT_S = 90
RUN_TIMEOUT_S = 30
REAL_TIME = ("chrt", "--rr", "1")  # threads inherit it; niceness would leave two of them on one processor for long
HERE = Path(__file__).resolve().parent.parent


def environment(threads: int) -> Mapping[str, str]:
    """Give the variables that hold every runtime to a number of threads, and to float32 in its arithmetic."""
    names = "OMP OPENBLAS MKL NUMEXPR TILEWRIGHT TVM".split()
    counts = {f"{name}_NUM_THREADS": str(threads) for name in names}
    return {**os.environ, **counts, "ONEDNN_DEFAULT_FPMATH_MODE": "STRICT", "TF_CPP_MIN_LOG_LEVEL": "3"}


class Process:
    """A competitor in a process of its own, started again where a workload took it down.

    name     as in `competitor.PLACES`
    version  of its library, or why it cannot take part
    present  whether its library is installed
    """

    def __init__(self, name: str, threads: int, folder: Path, first: bool = False) -> None:
        """Start the process; `first` lets it run before all that is not as urgent."""
        self.name, self.threads = name, threads
        words = [sys.executable, "-W", "ignore", "-m", "peers.worker", name, str(threads), str(folder)]
        self._words = [*REAL_TIME, *words] if first else words
        self.present, self.version = self._start()

    def prepare(self, workload: Workload, seed: int, batch_s: float) -> Ready | Refused:
        """Prepare a call, in place of the last one."""
        if self.present and not self._alive:
            self._end()
            self._start()
        answer = self._ask(Prepare(workload.key, workload.operation, seed, batch_s), PREPARE_TIMEOUT_S)
        assert isinstance(answer, Ready | Refused)
        return answer

    def run(self) -> Sample | Refused:
        """Time a batch of what is prepared."""
        answer = self._ask(Run(), RUN_TIMEOUT_S)
        assert isinstance(answer, Sample | Refused)
        return answer

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._end()

    def _start(self) -> tuple[bool, str]:
        """Start a process; tell whether it is there, and its library's version, or why not."""
        self._pipe, theirs = Pipe()
        descriptor = theirs.fileno()
        words = [*self._words, str(descriptor)]
        self._process = subprocess.Popen(words, cwd=HERE, env=environment(self.threads), pass_fds=[descriptor])
        theirs.close()
        self._alive = True
        match self._answer(START_TIMEOUT_S):
            case Started(version):
                return True, version
            case Refused(why):
                self._alive = False
                return False, why
            case answer:
                raise AssertionError(f"{answer} to a start")

    def _ask(self, request: Prepare | Run, timeout_s: float) -> Answer:
        if not self._alive:
            return Refused(self.version if not self.present else "died")
        try:
            self._pipe.send(request)
        except OSError:
            return self._lost(f"died with status {self._process.wait()}")
        return self._answer(timeout_s)

    def _answer(self, timeout_s: float) -> Answer:
        try:
            if self._pipe.poll(timeout_s):
                return self._pipe.recv()
        except (EOFError, OSError):
            return self._lost(f"died with status {self._process.wait()}")
        return self._lost(f"no answer in {timeout_s:.0f} s")

    def _lost(self, why: str) -> Refused:
        self._alive = False
        self._process.kill()
        return Refused(why)

    def _end(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.wait()
