"""Print the sizes of the package's functions and files, and fail where one is out of bounds.

    python tools/sizes.py [ROOT]

Lines of a function are counted from `def` to its last line, docstring included.
Exit status: 0 within all bounds, 1 otherwise.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

FUNCTION_P90, FUNCTION_MAX = 30, 60  # lines
FILE_P90, FILE_MAX = 400, 600  # lines
ISINSTANCE_PER_1000 = 5
OUTSIDE = {"tests", "benchmarks", "docs", "build", "dist"}
WORST = 5  # offenders printed of each kind

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Function:
    """One function or method: where it is, how long, and what it lacks."""

    place: str
    lines: int
    untyped: bool


@dataclass(frozen=True, slots=True)
class File:
    """One file and what is counted in it; `undocumented` are the places of public names without docstring."""

    path: str
    lines: int
    isinstances: int
    functions: tuple[Function, ...]
    undocumented: tuple[str, ...]


def measure(path: str, source: str) -> File:
    """Count one file."""
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    functions = tuple(
        Function(f"{path}:{n.lineno} {n.name}", (n.end_lineno or n.lineno) - n.lineno + 1, n.returns is None)
        for n in nodes
        if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))
    )
    calls = (n.func for n in nodes if isinstance(n, ast.Call))
    isinstances = sum(isinstance(f, ast.Name) and f.id == "isinstance" for f in calls)
    undocumented = tuple(f"{path}:{n.lineno} {n.name}" for n in public(tree.body) if ast.get_docstring(n) is None)
    if ast.get_docstring(tree) is None:
        undocumented = (f"{path}:1 the module", *undocumented)
    return File(path, len(source.splitlines()), isinstances, functions, undocumented)


def public(body: Sequence[ast.stmt]) -> Iterator[Definition]:
    """Give the public classes and functions, and the public members of those classes."""
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_") and not _is_overload(node):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


def _is_overload(node: Definition) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list)


def quantile(sizes: Sequence[int], share: float) -> int:
    """Give the least size that `share` of all sizes do not exceed, or 0 of none."""
    ordered = sorted(sizes)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0


def report(files: Sequence[File]) -> tuple[list[str], list[str]]:
    """Give the lines of the report, and one line for each bound that is broken."""
    functions = sorted((f for file in files for f in file.functions), key=lambda f: -f.lines)
    longest = sorted(files, key=lambda file: -file.lines)
    function_lines = [f.lines for f in functions]
    file_lines = [file.lines for file in files]
    isinstances = sum(file.isinstances for file in files)
    density = 1000 * isinstances / max(1, sum(file_lines))
    lines = [
        _summary("functions", function_lines),
        *(f"    {f.lines:4}  {f.place}" for f in functions[:WORST]),
        _summary("files", file_lines),
        *(f"    {file.lines:4}  {file.path}" for file in longest[:WORST]),
        f"isinstance  {isinstances} in {sum(file_lines)} lines, {density:.1f} per 1,000",
        *(f"    {f.isinstances:4}  {f.path}" for f in sorted(files, key=lambda f: -f.isinstances)[:WORST]),
    ]
    broken = [
        *(f"{f.place}: {f.lines} lines, over {FUNCTION_MAX}" for f in functions if f.lines > FUNCTION_MAX),
        *(f"{file.path}: {file.lines} lines, over {FILE_MAX}" for file in longest if file.lines > FILE_MAX),
        *(f"{f.place}: no return type" for f in functions if f.untyped),
        *(f"{place}: no docstring" for file in files for place in file.undocumented),
        *_over("90% of functions", quantile(function_lines, 0.9), FUNCTION_P90),
        *_over("90% of files", quantile(file_lines, 0.9), FILE_P90),
    ]
    if density >= ISINSTANCE_PER_1000:
        broken.append(f"isinstance: {density:.1f} per 1,000 lines, not under {ISINSTANCE_PER_1000}")
    return lines, broken


def _over(what: str, lines: int, bound: int) -> list[str]:
    return [f"{what} have up to {lines} lines, over {bound}"] if lines > bound else []


def _summary(what: str, sizes: Sequence[int]) -> str:
    median, p90, most = quantile(sizes, 0.5), quantile(sizes, 0.9), max(sizes, default=0)
    return f"{what:10}  {len(sizes)}: median {median} lines, p90 {p90}, max {most}"


def sources(root: Path) -> list[Path]:
    """Give the Python files of the package and of its tools."""
    paths = (path.relative_to(root) for path in root.rglob("*.py"))
    return sorted(p for p in paths if p.parts[0] not in OUTSIDE and not any(q.startswith(".") for q in p.parts))


def main(arguments: Sequence[str]) -> int:
    """Print the report for a checkout; give the exit status."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent
    lines, broken = report([measure(str(p), (root / p).read_text()) for p in sources(root)])
    print("\n".join([*lines, *(f"BROKEN  {line}" for line in broken)]))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
