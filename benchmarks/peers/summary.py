"""The tables of the documents, from the newest results of each family and number of threads.

    cd benchmarks
    python -m peers.summary

rewrites what stands between the marks in README.md and docs/measurements.md.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .competitor import OURS
from .families import FAMILIES, family
from .figures import Row, geometric_mean
from .report import RESULTS
from .turns import Entry

ROOT = RESULTS.parents[2]
BEGIN, END = "<!-- begin: python -m peers.summary -->", "<!-- end: python -m peers.summary -->"
TUNED, UNTUNED = OURS[:2]
WIDTH = 120  # of a line of text
NEAR = 1.03  # leads below are named
NAMED = 4  # leads at most, but for those below 1
SCALED_S = 50e-6  # with one thread: shorter calls are not compared with those of several
NO_RECORD = "default schedule"  # in the note of a tuned kernel that nobody tuned
TITLES = {  # of families whose names do not say it
    "resnet18": "ResNet-18, C1 to C12",
    "resnet50": "ResNet-50, distinct layers",
    "mobilenetv2": "MobileNetV2: expand, depthwise, project",
    "efficientnet": "EfficientNet-lite0",
    "vgg16": "VGG-16",
    "depthwise": "MobileNet's depthwise layers",
    "odd_conv": "5x5, 7x7, dilated, grouped, odd sizes",
    "transposed": "transposed, of decoders",
    "blocked": "3x3 convolutions from blocks of 16 channels to such",
    "gemm": "products of squares of 64 to 4096",
    "gemm_variable": "the same, both factors variable",
    "transformer": "BERT and GPT-2",
    "odd_gemm": "skinny and odd products",
    "batch_matmul": "batches of products",
    "memory": "softmax, layer_norm, reductions, elementwise",
    "fused": "with bias, residual, activation",
    "nhwc": "layers of ResNet and MobileNetV2 in NHWC",
    "int8": "u8 by s8, requantized: products, C1 to C12",
    "int8_layers": "u8 by s8, requantized: layers of networks, skinny and odd products",
    "int8_residual": "u8 by s8, requantized, with a residual of bytes",
    "int8_depthwise": "u8 by s8, requantized: depthwise layers of MobileNetV2 and EfficientNet-lite0",
    "int8_batch_matmul": "u8 by s8: batches of products",
}
README_ROWS = {  # what stands on the first page, and its families
    "convolutions of ResNet-18 / ResNet-50 / MobileNetV2": ("resnet18", "resnet50", "mobilenetv2"),
    "products: squares of 64 to 4096 / BERT and GPT-2": ("gemm", "transformer"),
    "softmax, layer_norm, reductions, elementwise": ("memory",),
    "int8 products and convolutions": ("int8",),
}


@dataclass(frozen=True, slots=True)
class Results:
    """The newest rows by family and threads, and what they were measured with.

    machines, versions  distinct ones, in the order of families
    """

    rows: Mapping[tuple[str, int], Sequence[Row]]
    machines: Sequence[str]
    versions: Sequence[str]

    @property
    def threads(self) -> list[int]:
        """Give the numbers of threads, least first."""
        return sorted({threads for _, threads in self.rows})

    def families(self) -> list[str]:
        """Give the families, in the order in which they are declared."""
        return [name for name in FAMILIES if any(name == known for known, _ in self.rows)]


def read_results(folder: Path) -> Results:
    """Give the newest results in a folder; workloads that are no longer declared are left out."""
    rows: dict[tuple[str, int], list[Row]] = {}
    about: dict[tuple[str, int], tuple[str, Mapping[str, str]]] = {}
    for path in sorted(folder.glob("*.json"), key=_date):
        data = json.loads(path.read_text(encoding="utf-8"))
        threads = int(data["settings"]["threads"])
        for name in {w["family"] for w in data["workloads"]} & set(FAMILIES):
            rows[name, threads] = _rows(name, data["workloads"])
            about[name, threads] = data["machine"], data["versions"]
    machines = dict.fromkeys(machine for machine, _ in about.values())
    told = ((n, v.split("-")[0]) for _, versions in about.values() for n, v in versions.items())
    libraries = dict.fromkeys(f"{n} {v}" for n, v in told if v[:1].isdigit())
    return Results(rows, list(machines), list(libraries))


def _date(path: Path) -> str:
    """Give what files are ordered by: the date in the name."""
    words = path.stem.split("-")
    year = next(i for i, word in enumerate(words) if len(word) == 4 and word.isdigit())
    return "-".join(words[year : year + 3])


def _rows(name: str, workloads: Iterable[Mapping[str, Any]]) -> list[Row]:
    measured = {w["name"]: w["entries"] for w in workloads if w["family"] == name}
    return [
        Row(workload, {who: Entry(**entry) for who, entry in measured[workload.name].items()})
        for workload in family(name)
        if workload.name in measured
    ]


def leads(rows: Sequence[Row], ours: str = UNTUNED) -> str:
    """Give the geometric mean of the leads, and the workloads where they are least."""
    known = sorted((lead, row.workload.name) for row in rows if (lead := row.lead(ours)))
    mean = geometric_mean(lead for lead, _ in known)
    if mean is None:
        share = geometric_mean(row.share(ours) for row in rows)
        return f"no peers; {share:.0%} of the limit" if share else ""
    near = [pair for number, pair in enumerate(known) if pair[0] < (1 if number >= NAMED else NEAR)] or known[:1]
    return f"{mean:.2f} ({', '.join(f'{name} {lead:.2f}' for lead, name in near)})"


def scaling(alone: Sequence[Row], together: Sequence[Row]) -> str:
    """Give how many times as fast several threads are, of all but short calls: geometric mean, and the least."""
    single = {row.workload.name: row.seconds(UNTUNED) for row in alone}
    pairs = ((single.get(row.workload.name), row.seconds(UNTUNED), row.workload.name) for row in together)
    ratios = sorted((one / many, name) for one, many, name in pairs if one and many and one > SCALED_S)
    mean = geometric_mean(ratio for ratio, _ in ratios)
    return f"{mean:.2f} ({ratios[0][1]} {ratios[0][0]:.2f})" if mean else ""


def gain(rows: Sequence[Row]) -> str:
    """Give the geometric mean of what tuning gains over default schedules, and the most."""
    searched = [row for row in rows if TUNED in row.entries and NO_RECORD not in row.entries[TUNED].note]
    pairs = [(row.seconds(UNTUNED), row.seconds(TUNED)) for row in searched]
    ratios = [untuned / tuned for untuned, tuned in pairs if untuned and tuned]
    mean = geometric_mean(ratios)
    return f"{mean:.2f} (at most {max(ratios):.2f}, of {len(ratios)})" if mean else ""


def measurements(results: Results) -> str:
    """Give the table of all families."""
    counts = results.threads
    head = ["workloads", "", *(_threads(n) for n in counts), *(f"{_threads(n)} over {counts[0]}" for n in counts[1:])]
    lines = [_line(head), _line(["---"] * len(head))]
    for name in results.families():
        members = [results.rows.get((name, n), ()) for n in counts]
        most = max(map(len, members))
        cells = (leads(rows) + (f"; {len(rows)} of them" if 0 < len(rows) < most else "") for rows in members)
        gains = (scaling(members[0], rows) for rows in members[1:])
        lines.append(_line([TITLES.get(name, name), str(most), *cells, *gains]))
    about = f"{'; '.join(results.machines)}; {', '.join(results.versions)}."
    return "\n".join([textwrap.fill(about, WIDTH), "", *lines, *_tuned(results)])


def _tuned(results: Results) -> list[str]:
    """Give a table of tuned kernels beside untuned ones, if any were measured together."""
    gains = {key: text for key, rows in results.rows.items() if (text := gain(rows))}
    if not gains:
        return []
    lines = ["", "Tuned, beside our own default schedules: how many times as fast, and beside the peers:", ""]
    lines += [_line(["workloads", "threads", "gain", "lead"]), _line(["---"] * 4)]
    for (name, threads), text in gains.items():
        lines.append(_line([TITLES.get(name, name), str(threads), text, leads(results.rows[name, threads], TUNED)]))
    return lines


def first_page(results: Results) -> str:
    """Give the table of the first page: geometric means alone."""
    counts = results.threads
    lines = [_line(["times as fast as the fastest peer", *map(_threads, counts)]), _line(["---"] * (len(counts) + 1))]
    for title, names in README_ROWS.items():
        cells = []
        for threads in counts:
            means = (geometric_mean(row.lead(UNTUNED) for row in results.rows.get((n, threads), ())) for n in names)
            cells.append(" / ".join("-" if mean is None else f"{mean:.2f}" for mean in means))
        lines.append(_line([title, *cells]))
    return "\n".join(lines)


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def with_table(text: str, table: str) -> str:
    """Give a document with a table between the marks.  Raises ValueError where it has no marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def documents(results: Results) -> dict[Path, str]:
    """Give the documents with their tables brought up to date."""
    tables = {ROOT / "README.md": first_page(results), ROOT / "docs" / "measurements.md": measurements(results)}
    return {path: with_table(path.read_text(encoding="utf-8"), table) for path, table in tables.items()}


def main() -> None:
    """Rewrite the documents."""
    for path, text in documents(read_results(RESULTS)).items():
        path.write_text(text, encoding="utf-8")
        print(f"written: {path}")


if __name__ == "__main__":
    main()
