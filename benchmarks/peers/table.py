"""Results as Markdown: a table for each family, and what was wrong or missing under it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from .competitor import LIMIT, OURS
from .figures import Row, competitors, families, geometric_mean

HEAD = """`us`: median, and least, of one call; `rate`: 1e9 operations a second, or bytes where an operator moves bytes.
`lead`: the time of the fastest peer of each workload over ours, by medians, and by least times.
`limit`: the rate of the loop that bounds the operation, in operations (fma, dot) or bytes (copy, read), in the same
rounds; `of limit`: the time in which it would do as much, over ours; more than 100% where an algorithm does less.
`spread`: the middle half of our times, and of the loop's, as a share of their medians.
`error`: our largest error, as a multiple of the allowed one.
"""


def table(rows: Sequence[Row]) -> str:
    """Give all families."""
    parts = [HEAD, *(family_table(name, members) for name, members in families(rows).items())]
    return "\n".join(parts)


def family_table(name: str, rows: Sequence[Row]) -> str:
    """Give one family."""
    who = competitors(rows)
    ours = [name for name in OURS if name in who]
    head = ["workload", *(f"{n} us" for n in who), *(f"{n} rate" for n in who), "fastest peer"]
    for mine in ours:
        head += [f"lead ({mine})", f"of limit ({mine})"]
    head += ["limit", "spread", "error"]
    cells = [[*_cells(row, who), *_lead_cells(row, ours), *_limit_cells(row, ours)] for row in rows]
    last = ["geometric mean", *[""] * (2 * len(who) + 1)]
    for mine in ours:
        leads = (geometric_mean(row.lead(mine, s) for row in rows) for s in (statistics.median, min))
        last += [" / ".join(_number(lead, "{:.2f}") for lead in leads)]
        last += [_number(geometric_mean(row.share(mine) for row in rows), "{:.0%}")]
    last += [""] * 3
    lines = [_line(head), _line(["---"] * len(head)), *map(_line, [*cells, last])]
    return "\n".join([f"## {name}", "", *lines, "", *_notes(rows), ""])


def _cells(row: Row, who: Sequence[str]) -> list[str]:
    times = (tuple(row.seconds(name, s) for s in (statistics.median, min)) for name in who)
    pairs = (" / ".join(_number(t and t * 1e6, "{:.4g}") for t in pair) if pair[0] else "-" for pair in times)
    rates = (_number(row.rate(name), "{:.4g}") for name in who)
    return [row.workload.name, *pairs, *rates, row.best_peer() or "-"]


def _lead_cells(row: Row, ours: Sequence[str]) -> list[str]:
    cells = []
    for mine in ours:
        leads = (row.lead(mine, s) for s in (statistics.median, min))
        cells += [" / ".join(_number(lead, "{:.2f}") for lead in leads), _number(row.share(mine), "{:.0%}")]
    return cells


def _limit_cells(row: Row, ours: Sequence[str]) -> list[str]:
    limit = row.entries.get(LIMIT)
    text = f"{limit.form} {_number(row.limit_rate(), '{:.4g}')}" if limit else "-"
    spreads = " / ".join(_number(row.spread(name), "{:.0%}") for name in (*ours[:1], LIMIT))
    return [text, spreads, " / ".join(_number(row.entries[name].error, "{:.2g}") for name in ours)]


def _notes(rows: Sequence[Row]) -> list[str]:
    """Give what there is to say about entries, once for each sentence; forms that were chosen, too."""
    said: dict[str, list[str]] = {}
    for row in rows:
        for name, entry in row.entries.items():
            if entry.note:
                said.setdefault(f"{name}: {entry.note}", []).append(row.workload.name)
            if entry.form and name != LIMIT:
                said.setdefault(f"{name} as {entry.form}", []).append(row.workload.name)
    return [f"- {text} ({', '.join(where) if len(where) < len(rows) else 'all'})" for text, where in said.items()]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
