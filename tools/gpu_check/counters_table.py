"""The counters that are read of a kernel, from `ncu --csv --page raw` to a row of the page.

Source: Nsight Compute CLI, "--page raw"; Kernel Profiling Guide, "Metrics Reference" and "Warp Stall Reasons".
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import Any

METRICS = {  # by Nsight Compute's name, ours
    "gpu__time_duration.sum": "time_s",
    "sm__throughput.avg.pct_of_peak_sustained_elapsed": "sm_percent",
    "dram__throughput.avg.pct_of_peak_sustained_elapsed": "dram_percent",
    "dram__bytes_read.sum": "dram_read_bytes",
    "dram__bytes_write.sum": "dram_written_bytes",
    "lts__t_sector_hit_rate.pct": "l2_hit_percent",
    "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active": "tensor_percent",
    "sm__inst_executed_pipe_fma.avg.pct_of_peak_sustained_active": "fma_percent",
    "l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_ld.sum": "load_conflicts",
    "l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_st.sum": "store_conflicts",
    "sm__warps_active.avg.pct_of_peak_sustained_active": "occupancy_percent",
    "launch__registers_per_thread": "registers",
}
REASONS = (  # why a warp does not issue: of each instruction issued, how many warps wait for that
    "barrier", "branch_resolving", "dispatch_stall", "drain", "gmma", "imc_miss", "lg_throttle", "long_scoreboard",
    "math_pipe_throttle", "membar", "mio_throttle", "misc", "no_instruction", "not_selected", "short_scoreboard",
    "sleeping", "tex_throttle", "wait",
)  # fmt: skip
STALLS = {f"smsp__average_warps_issue_stalled_{reason}_per_issue_active.ratio": reason for reason in REASONS}
TOP = 3  # reasons that the table names

Counters = dict[str, float | None]  # by Nsight Compute's name

_SCALES = {  # of units; `--print-units base` gives ns and byte
    "ns": 1e-9, "nsecond": 1e-9, "us": 1e-6, "usecond": 1e-6, "ms": 1e-3, "msecond": 1e-3, "s": 1.0, "second": 1.0,
    "kbyte": 1e3, "mbyte": 1e6, "gbyte": 1e9,
}  # fmt: skip
_COLUMNS = (  # heading, and what stands below it
    ("us", lambda row: _number(row, "time_s", 1e6, 1)),
    ("SM %", lambda row: _number(row, "sm_percent", 1, 1)),
    ("DRAM %", lambda row: _number(row, "dram_percent", 1, 1)),
    ("MB read", lambda row: _number(row, "dram_read_bytes", 1e-6, 1)),
    ("MB written", lambda row: _number(row, "dram_written_bytes", 1e-6, 1)),
    ("L2 hits %", lambda row: _number(row, "l2_hit_percent", 1, 1)),
    ("tensor %", lambda row: _number(row, "tensor_percent", 1, 1)),
    ("FMA %", lambda row: _number(row, "fma_percent", 1, 1)),
    ("conflicts: loads", lambda row: _number(row, "load_conflicts", 1, 0)),
    ("stores", lambda row: _number(row, "store_conflicts", 1, 0)),
    ("occupancy %", lambda row: _number(row, "occupancy_percent", 1, 1)),
    ("registers", lambda row: _number(row, "registers", 1, 0)),
)


def read_launches(report: str) -> Iterator[tuple[str, Counters]]:
    """Give the kernel and the counters of each launch, in order; None for a counter that could not be read.

    Times are in seconds, sizes in bytes.  Lines that are no part of the table, such as `==PROF==`, are passed over.
    """
    for header, units, row in _rows(report):
        cells = dict(zip(header, row, strict=False))
        name = cells.get("Kernel Name", "").partition("(")[0].strip().rpartition(" ")[2]
        unit = dict(zip(header, units, strict=False))
        yield (
            name,
            {metric: _value(cells[metric], unit.get(metric, "")) for metric in (*METRICS, *STALLS) if metric in cells},
        )


def _rows(report: str) -> Iterator[tuple[list[str], list[str], list[str]]]:
    """Give the header, the units and the cells of each launch."""
    header: list[str] = []
    units: list[str] = []
    for row in csv.reader(line for line in report.splitlines() if line.startswith('"')):
        if row[0] == "ID":
            header, units = row, []
        elif header and not row[0]:
            units = row
        elif header:
            yield header, units, row


def _value(text: str, unit: str) -> float | None:
    try:
        return float(text.replace(",", "")) * _SCALES.get(unit.lower(), 1.0)
    except ValueError:  # n/a
        return None


def row_of(kernel: str, values: Counters) -> dict[str, Any]:
    """Give the counters of a kernel by our names, with the most frequent reasons to wait."""
    stalls = {STALLS[name]: value for name, value in values.items() if name in STALLS and value}
    most = sorted(stalls, key=lambda reason: -stalls[reason])[:TOP]
    row: dict[str, Any] = {ours: values.get(name) for name, ours in METRICS.items()}
    return {"kernel": kernel} | row | {"stalls": {reason: stalls[reason] for reason in most}}


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Give the lines of a table with a row for each kernel."""
    heads = ["task", "kernel", *(head for head, _ in _COLUMNS), "warps waiting for"]
    lines = [f"| {' | '.join(heads)} |", f"| --- | --- |{' ---: |' * len(_COLUMNS)} --- |"]
    for row in rows:
        stalls = ", ".join(f"{reason} {warps:.1f}" for reason, warps in row["stalls"].items())
        cells = [row["task"], row["kernel"].partition("_")[2], *(cell(row) for _, cell in _COLUMNS), stalls]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _number(row: dict[str, Any], name: str, scale: float, digits: int) -> str:
    value = row[name]
    return "" if value is None else f"{value * scale:.{digits}f}"
