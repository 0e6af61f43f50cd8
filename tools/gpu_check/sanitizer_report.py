"""Reading what compute-sanitizer writes: records of lines that begin with `=========`.

    ========= Invalid __global__ write of size 4 bytes          a record: its first line, and what is indented
    =========     at unaligned_kernel()+0x160 in demo.cu:6
    =========     by thread (0,0,0) in block (0,0,0)
    =========                                                   its end
    ========= ERROR SUMMARY: 1 error

Source: Compute Sanitizer, sections "Understanding Memcheck Errors", "Understanding Racecheck Analysis Reports".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .once import TAGGED

PREFIX = "========="
MOST_LINES = 12  # of a record that are kept
UNKNOWN = -1  # the place of a kernel that is not in the plan

_SEVERITY = re.compile(r"(error|warn(?:ing)?|info)\b[: ]*", re.IGNORECASE)
_SUMMARY = re.compile(r"\w+ SUMMARY: .*")
_COUNTS = re.compile(r"\((\d+) errors?, (\d+) warnings?\)")
_ERRORS = re.compile(r"ERROR SUMMARY: (\d+) error")
_OF_KERNEL = re.compile(r"by thread \(|hazard|Race reported|Barrier error|Invalid __|Uninitialized __")
_CHANGING = re.compile(r"\[\d+ hazards?\]|\(\d+, ?\d+, ?\d+\)|\bc\d{3}_|0x[0-9a-f]{5,}|[\d,]+ bytes (?:before|after)")
_CONTINUED = re.compile(
    r"\s{2}|\s?(?:and|at|by|Address|Access|Saved|(?:Host|Device) Frame|(?:Read|Write) Thread|Current Value)\b"
)


@dataclass(frozen=True)
class Record:
    """One thing that the tool tells.

    severity  "error", "warning" or "info"
    place     in the plan of the candidate whose kernel it is about
    lines     as they are, without the prefix and the indentation
    """

    severity: str
    place: int
    lines: tuple[str, ...]

    @property
    def of_kernel(self) -> bool:
        """Tell whether it is about what a kernel did."""
        return self.place != UNKNOWN or _OF_KERNEL.search("\n".join(self.lines)) is not None

    @property
    def of_call(self) -> bool:
        """Tell whether it is about a call of the driver that gave an error."""
        return not self.of_kernel and self.lines[0].startswith("Program hit")


def read_records(report: str) -> Iterator[Record]:
    """Give the records of a report, in order; what is no line of the tool is passed over."""
    found: list[str] = []
    for line in report.splitlines():
        if not line.startswith(PREFIX):
            continue
        text = line.removeprefix(PREFIX).rstrip()
        if not _CONTINUED.match(text):  # another record, or the end of one
            yield from _record(found)
            found = []
        if text.strip():
            found.append(text.strip())
    yield from _record(found)


def _record(found: Sequence[str]) -> Iterator[Record]:
    if not found or found[0].startswith("COMPUTE-SANITIZER") or _SUMMARY.match(found[0]):
        return
    named = _SEVERITY.match(found[0])
    word = named[1].lower() if named else "error"
    tags = {int(tag) for tag in TAGGED.findall("\n".join(found))}
    place = min(tags) if tags else UNKNOWN
    yield Record("warning" if word.startswith("warn") else word, place, tuple(found[:MOST_LINES]))


def summaries(report: str) -> list[str]:
    """Give the lines that sum a report up; without any the tool did not come to its end."""
    texts = (line.removeprefix(PREFIX).strip() for line in report.splitlines() if line.startswith(PREFIX))
    return [text for text in texts if _SUMMARY.match(text)]


def summed(lines: Sequence[str]) -> tuple[int, int]:
    """Give the errors and warnings of summaries, which count also what was not printed."""
    counted = [(int(m[1]), int(m[2])) for line in lines if (m := _COUNTS.search(line))]
    counted += [(int(m[1]), 0) for line in lines if (m := _ERRORS.search(line))]
    return sum(errors for errors, _ in counted), sum(warnings for _, warnings in counted)


def distinct(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Give records that differ by more than the thread, the block and the address, the gravest first, counted."""
    rows: dict[tuple[object, ...], dict[str, Any]] = {}
    for record in records:
        key = record.severity, record.place, *(_CHANGING.sub("", line) for line in record.lines[:2])
        row = {"severity": record.severity, "place": record.place, "count": 0, "lines": list(record.lines)}
        rows.setdefault(key, row)["count"] += 1
    order = ("error", "warning", "info")
    return sorted(rows.values(), key=lambda row: (order.index(row["severity"]), -row["count"]))
