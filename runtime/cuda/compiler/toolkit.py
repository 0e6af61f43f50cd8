"""Where NVIDIA's libraries and programs lie: a folder that a setting names, pip's wheels, installed toolkits, PATH."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from ....ir.settings import settings


def library_files(name: str) -> Iterator[Path]:
    """Give the files `lib<name>.so.<digits>` of each toolkit, in the order in which they shall be tried."""
    for folder in toolkits():
        for inner in ("lib", "lib64", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib"):
            yield from sorted(folder.glob(f"{inner}/lib{name}.so.[0-9]*"), key=_version, reverse=True)


def program(name: str) -> Path | None:
    """Give the executable file `name`, or None where no toolkit has it."""
    found = [folder / "bin" / name for folder in toolkits() if (folder / "bin" / name).is_file()]
    path = shutil.which(name)
    return found[0] if found else Path(path) if path else None


def toolkits() -> Iterator[Path]:
    """Give each folder that may hold `bin/` and `lib/` of a CUDA toolkit."""
    chosen = settings().cuda_home
    if chosen:
        yield Path(chosen).expanduser()
    yield from _wheels()
    yield from (Path(name) for name in ("/usr/local/cuda", "/opt/cuda") if Path(name).is_dir())
    yield from sorted(Path("/usr/local").glob("cuda-[0-9]*"), key=_version, reverse=True)


def _wheels() -> Iterator[Path]:
    """Give the folders of pip's wheels: nvidia/cu13 holds all of CUDA 13; older ones have a folder for each part."""
    spec = find_spec("nvidia")
    for place in spec.submodule_search_locations or () if spec else ():
        yield from sorted(Path(place).glob("cu[0-9]*"), key=_version, reverse=True)
        yield from (folder for folder in sorted(Path(place).glob("cuda_*")) if folder.is_dir())


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", path.name))
