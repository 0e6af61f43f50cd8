"""Shipped records beside the rules of today: what no longer beats them is dropped."""

from __future__ import annotations

import sys
from statistics import median

from tilewright.autotune import Task
from tilewright.autotune.shipped.call import processor_kind
from tilewright.autotune.shipped.check import task_of
from tilewright.autotune.shipped.records import Record, number_of, read_records, write_records
from tilewright.runtime.host import host_target

from .measuring import BUDGET_S, in_turn
from .trials import CLEARLY


def confirm(repeats: int = 1, record_s: float = BUDGET_S) -> None:
    """Measure the records of this kind of processor beside the rules' default, and write those that are worth it.

    Others stay as they are.
    repeats   measurements in each of which a record has to be clearly faster
    record_s  seconds for each
    """
    records = read_records()
    kind = processor_kind(host_target())
    kept = [record for record in records if record.kind != kind or _is_worth_it(record, repeats, record_s)]
    write_records(kept)
    sys.stderr.write(f"{len(kept)} of {len(records)} records are kept\n")


def _is_worth_it(record: Record, repeats: int, record_s: float) -> bool:
    """Tell whether a record is another configuration than the rules' default, and clearly faster each time."""
    made = task_of(record, host_target())
    number = None if made is None else number_of(made.config_space, record.knobs)
    if made is None or number is None or number == made.config_space.default:
        return False
    assert made.config_space.default is not None, "a template of the package whose default is no candidate"
    return all(_is_clearly_faster(record, made, number, made.config_space.default, record_s) for _ in range(repeats))


def _is_clearly_faster(record: Record, made: Task, number: int, default: int, record_s: float) -> bool:
    seconds, _ = in_turn(made, [default, number], record_s)
    by_rules, by_record = (seconds.get(i, ()) for i in (default, number))
    if not by_rules or not by_record:
        return bool(by_record)
    ratios = [measure(by_record) / measure(by_rules) for measure in (min, median)]
    about = f"{record.template} {record.call} {record.threads} threads"
    sys.stderr.write(f"{about}: {ratios[0]:.2f}, {ratios[1]:.2f} of the rules' time\n")
    return max(ratios) < CLEARLY
