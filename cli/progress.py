"""How a search is going: one live line on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..autotune.trial import Status
from ..autotune.tuner import Progress
from .terminal import clock

LIVE_PERIOD_S = 0.1
PLAIN_PERIOD_S = 5.0
BAR_COLUMNS = 24


class Display:
    """Shows progress while it is open; `show` is a callback of the tuner.

    It draws when a trial ends and by no thread of its own, since processes are forked meanwhile.
    """

    def __init__(self, console: Console, trials: int | None, time_s: float | None) -> None:
        self.console, self.trials, self.time_s = console, trials, time_s
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._period_s = LIVE_PERIOD_S if self._live else PLAIN_PERIOD_S
        self._shown = time.monotonic()

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, progress: Progress) -> None:
        """Draw, unless that was done a moment ago."""
        if time.monotonic() - self._shown < self._period_s:
            return
        self._shown = time.monotonic()
        if self._live:
            self._live.update(self._bar(progress), refresh=True)
        else:
            self.console.print(f"{progress.elapsed_s:6.1f} s  {self._text(progress)}", soft_wrap=True)

    def _bar(self, progress: Progress) -> Table:
        row = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=1.0, completed=done_share(progress), width=BAR_COLUMNS)
        row.add_row(bar, Text(self._text(progress), no_wrap=True, overflow="ellipsis"))
        return row

    def _text(self, progress: Progress) -> str:
        parts = [best_text(progress), outcomes(progress.counts)]
        left_s = time_left_s(progress)
        if left_s is not None:
            parts.append(f"{clock(left_s)} left")
        return "  ".join(parts)


def done_share(progress: Progress) -> float:
    """Give how much of the search is done, from 0 to 1, by the limit that is nearer."""
    shares = [progress.elapsed_s / progress.time_s] if progress.time_s else []
    shares += [progress.done / progress.n_trial] if progress.n_trial else []
    return min(1.0, max(shares, default=0.0))


def time_left_s(progress: Progress) -> float | None:
    """Give the seconds left until the nearer limit, at the pace so far; None before there is a pace."""
    share = done_share(progress)
    if share <= 0:
        return None
    return max(0.0, progress.elapsed_s * (1 / share - 1))


def best_text(progress: Progress) -> str:
    """Give the best so far with its share of the peak that was measured beside it."""
    best = progress.best
    if best is None:
        return "best none"
    share = f" ({best.gflops / best.peak_gflops:.0%} of peak)" if best.peak_gflops else ""
    return f"best {best.gflops:.1f} GFLOP/s{share}"


def outcomes(counts: Mapping[Status, int]) -> str:
    """Give the numbers of valid and failed trials, the latter by reason."""
    failed = {status: number for status, number in counts.items() if status is not Status.OK and number}
    text = f"valid {counts.get(Status.OK, 0)}  failed {sum(failed.values())}"
    reasons = ", ".join(f"{status} {number}" for status, number in sorted(failed.items(), key=lambda x: -x[1]))
    return f"{text} ({reasons})" if reasons else text
