"""The files of a bundle: a folder with one zip file for each task, complete in itself.

    bundle/bundle.json                  {"format": "tilewright bundle", "version": 1}
    bundle/matmul-0123456789abcdef.zip  task.json, candidates.jsonl, refused.jsonl, code/HASH.{cubin,cu,json,log}

So files of several bundles may be copied into one folder, and a task's file appears at once or not at all.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ...ir.errors import TuneError
from ...runtime.cuda.code import CudaCode, launches_to_json, source_from_json
from ...runtime.cuda.compiler.compile import read_cubin
from ...runtime.signature import from_json, to_json
from ..built import Built, GpuKernel
from ..records import trial_from_json
from ..trial import Status, TaskKey, Trial

NAME, VERSION = "tilewright bundle", 1
INDEX = "bundle.json"


@dataclass(frozen=True, slots=True)
class About:
    """The task of a bundle's file.

    name, args        template and its arguments
    key               of the records; its machine is "", which only the machine that measures can tell
    emulated_codegen  what the key's `codegen` is where the candidates are emulated: no CUDA compiler counts
    flop, bytes       of one call: operations, and the least that it moves, each input and output once
    seed              of the inputs
    rtol              by position, the error allowed relative to the larger of the right value and all their root mean
                      square; 0 is equal
    package, compiler what built it
    tuner             what chose the candidates, with how many records it knew
    """

    name: str
    args: tuple[Any, ...]
    key: TaskKey
    emulated_codegen: str
    flop: float
    bytes: int
    seed: int
    rtol: tuple[tuple[int, float], ...]
    package: str
    compiler: str
    tuner: str

    @property
    def arch(self) -> str:
        """Give the architecture of the code."""
        return self.key.target.partition("-arch=")[2].split()[0]

    @property
    def file_name(self) -> str:
        """Give the name of the task's file: of one task there is one file."""
        return f"{self.name}-{self.key.digest}.zip"

    def __str__(self) -> str:
        words = (",".join(map(str, arg)) if type(arg) is tuple else str(arg) for arg in self.args)
        return " ".join((self.name, *words))


@dataclass(frozen=True, slots=True)
class Candidate:
    """One configuration that was built.

    entities  its decisions, as in `Trial`
    steps     its schedule as JSON text
    kernel    its code, with the figures of the screens
    """

    index: int
    entities: list[Any]
    steps: str
    code_hash: str
    kernel: GpuKernel

    @property
    def built(self) -> Built:
        """Give it as what a builder would have given."""
        return Built(self.index, Status.OK, b"", self.code_hash, self.steps, gpu=self.kernel)


@dataclass(frozen=True, slots=True)
class TaskBundle:
    """A task with its candidates, the default configuration first, and the trials that failed while building."""

    about: About
    candidates: tuple[Candidate, ...]
    refused: tuple[Trial, ...] = ()

    def merged(self, other: TaskBundle) -> TaskBundle:
        """Give this with what only `other` has."""
        mine = {c.index for c in self.candidates}
        failed = {t.index for t in self.refused}
        more = tuple(c for c in other.candidates if c.index not in mine)
        refused = tuple(t for t in other.refused if t.index not in failed)
        return replace(self, candidates=self.candidates + more, refused=self.refused + refused)


def write_task(folder: Path, task: TaskBundle) -> Path:
    """Write a task into a bundle, which is made if it is not there; give its file.

    What the bundle has of the same task already is replaced.  Raises TuneError for a folder that is something else.
    """
    _make(folder)
    path = folder / task.about.file_name
    unfinished = path.with_suffix(".part")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("task.json", json.dumps(asdict(task.about), indent=1))
        file.writestr("candidates.jsonl", _lines(map(_candidate_row, task.candidates)))
        file.writestr("refused.jsonl", _lines(asdict(t) | {"status": str(t.status)} for t in task.refused))
        for code_hash, candidate in {c.code_hash: c for c in task.candidates}.items():
            _write_code(file, code_hash, candidate.kernel)
    unfinished.replace(path)
    return path


def _make(folder: Path) -> None:
    index = folder / INDEX
    if not index.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise TuneError("bundle", f"{folder} is there and is no bundle", advice="a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        index.write_text(json.dumps({"format": NAME, "version": VERSION}) + "\n")
    _check(folder)


def task_files(folder: Path) -> list[Path]:
    """Give the files of a bundle's tasks, by name.  Raises TuneError for a folder that is no bundle."""
    _check(folder)
    return sorted(folder.glob("*.zip"))


def _check(folder: Path) -> None:
    if not folder.exists():
        raise TuneError("bundle", f"{folder} does not exist", advice="a folder that --build-only made")
    try:
        about = json.loads((folder / INDEX).read_text())
        told = about["format"], about["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TuneError("bundle", f"{folder} is no bundle: {error}", advice="a folder that --build-only made") from None
    if told != (NAME, VERSION):
        fact = f"{folder} is a {told[0]} of version {told[1]}, not a {NAME} of version {VERSION}"
        raise TuneError("bundle", fact, advice="the version of the package that built it")


def read_task(path: Path) -> TaskBundle:
    """Give the task of a file.  Raises TuneError for one that is damaged."""
    try:
        with zipfile.ZipFile(path) as file:
            about = _about(json.loads(file.read("task.json")))
            rows = _rows(file, "candidates.jsonl")
            kernels = {row["code_hash"]: _kernel(file, row, about.arch) for row in rows}
            candidates = tuple(_candidate(row, kernels[row["code_hash"]]) for row in rows)
            return TaskBundle(about, candidates, tuple(map(trial_from_json, _rows(file, "refused.jsonl"))))
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise TuneError("bundle", f"{path} cannot be read: {error!r}", advice="build it again") from None


# -- rows of the files ----------------------------------------------------------------------------------------------


def _lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)


def _rows(file: zipfile.ZipFile, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read(name).decode().splitlines()]


def _about(row: dict[str, Any]) -> About:
    known = {f.name for f in fields(About)}
    row = {name: value for name, value in row.items() if name in known}
    row |= {"key": TaskKey(**row["key"]), "args": _frozen(row["args"]), "rtol": _frozen(row["rtol"])}
    return About(**row)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if type(value) is list else value


def _candidate_row(candidate: Candidate) -> dict[str, Any]:
    resources = {name: asdict(r) for name, r in candidate.kernel.code.cubin.resources.items()}
    return {
        "index": str(candidate.index),  # may exceed what JSON's readers take for an integer
        "entities": candidate.entities,
        "code_hash": candidate.code_hash,
        "figures": dict(candidate.kernel.figures),
        "resources": resources,
        "steps": candidate.steps,
    }


def _candidate(row: dict[str, Any], kernel: GpuKernel) -> Candidate:
    return Candidate(int(row["index"]), row["entities"], row["steps"], row["code_hash"], kernel)


def _write_code(file: zipfile.ZipFile, code_hash: str, kernel: GpuKernel) -> None:
    code, name = kernel.code, f"code/{code_hash}"
    launches = {"signature": json.loads(to_json((kernel.signature,))), "launches": launches_to_json(code.source)}
    file.writestr(f"{name}.json", json.dumps(launches))
    file.writestr(f"{name}.cu", code.source.text)
    file.writestr(f"{name}.cubin", code.cubin.code)
    file.writestr(f"{name}.log", code.cubin.log)


def _kernel(file: zipfile.ZipFile, row: dict[str, Any], arch: str) -> GpuKernel:
    name = f"code/{row['code_hash']}"
    text, log = file.read(f"{name}.cu").decode(), file.read(f"{name}.log").decode()
    launches = json.loads(file.read(f"{name}.json"))
    (signature,) = from_json(json.dumps(launches["signature"]))
    cubin = read_cubin(file.read(f"{name}.cubin"), log, text, arch)
    code = CudaCode(source_from_json(text, launches["launches"]), arch, cubin)
    return GpuKernel(signature, code, row["figures"])


def size_bytes(paths: Sequence[Path]) -> int:
    """Give the size of files together."""
    return sum(path.stat().st_size for path in paths)
