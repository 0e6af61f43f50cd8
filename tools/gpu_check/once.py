"""Candidates of bundles, run in this very process one after the other: what NVIDIA's tools are started on.

    python -m gpu_check.once --plan plan.json --journal journal.jsonl --device gpu --limit 60 --seconds 150

A tool sees one process that launches kernels, without PyTorch and without workers.  The journal gets a line before each
candidate and one after it, so that whoever reads it knows with which one this process ended.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import re
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tilewright.autotune.built import KERNEL, Built
from tilewright.autotune.bundle.format import About, read_task
from tilewright.autotune.reference import make_arrays, make_reference
from tilewright.autotune.run_cuda import Placed, check_on_device
from tilewright.autotune.task import create
from tilewright.autotune.trial import Status
from tilewright.ir.errors import DeviceError, DeviceLost, Error
from tilewright.runtime.cuda.array import to_device
from tilewright.runtime.cuda.code import CudaCode
from tilewright.runtime.cuda.device import Device
from tilewright.runtime.cuda.devices import device as device_called
from tilewright.runtime.cuda.kernel import CudaKernel

MODES = ("check", "launch")
LAUNCHES = 2  # of the latter
TAGGED = re.compile(r"\bc(\d{3})_\w+")  # a kernel's name in what a tool reports


@dataclass(frozen=True)
class Item:
    """One candidate of a bundle.

    file   of its task
    index  of its configuration, as text
    task   in words
    path   what its code works with, see `sanitizer.path_of`
    """

    file: str
    index: str
    task: str
    path: str = ""


def write_plan(path: Path, items: list[Item]) -> None:
    """Write what is to be run."""
    path.write_text(json.dumps([asdict(item) for item in items], indent=1) + "\n")


def tagged(code: CudaCode, place: int) -> CudaCode:
    """Give code whose kernels are named after their place in the plan: all candidates' kernels have the same names.

    The name is as long as it was, and so the machine code may simply have the other one where it has this one.
    """
    old, new = f"{KERNEL}_", f"c{place:03d}_"
    assert len(old) == len(new), "names of another length would move everything behind them"
    launches = tuple(replace(launch, name=launch.name.replace(old, new, 1)) for launch in code.source.launches)
    source = replace(code.source, launches=launches)
    text = code.cubin.code
    for before, after in zip(code.source.launches, launches, strict=True):
        text = text.replace(before.name.encode(), after.name.encode())
    return CudaCode(source, code.arch, replace(code.cubin, code=text))


def main() -> int:
    """Run the plan, from one place on; give 0 where nothing but a candidate was wrong."""
    options = _parser().parse_args()
    items = [Item(**row) for row in json.loads(options.plan.read_text())]
    deadline = time.monotonic() + options.seconds
    device = device_called(options.device)
    with options.journal.open("a", buffering=1) as journal:
        for place in range(options.start, len(items)):
            if time.monotonic() > deadline:
                break
            journal.write(json.dumps({"place": place}) + "\n")
            faulthandler.dump_traceback_later(options.limit, exit=True)  # a kernel that hangs ends this process
            began = time.monotonic()
            lost = ""
            try:
                fault, kernels = _run(device, items[place], place, options.mode)
            except DeviceLost as error:
                fault, kernels, lost = str(error), [], "the next candidate needs another process"
            faulthandler.cancel_dump_traceback_later()
            wall_s = time.monotonic() - began
            row = {"place": place, "fault": fault, "kernels": kernels, "wall_s": round(wall_s, 3)}
            journal.write(json.dumps(row) + "\n")
            if lost:
                break
    return 0


def _run(device: Device, item: Item, place: int, mode: str) -> tuple[str, list[str]]:
    """Give what is wrong with a candidate, "" for nothing, and the names that its kernels have here."""
    try:
        task = read_task(Path(item.file))
        (built,) = (c.built for c in task.candidates if str(c.index) == item.index)
        built = _named(device, built, place)
        assert built.gpu is not None
        kernels = [launch.name for launch in built.gpu.code.source.launches]
        work = _check if mode == "check" else _launch
        return work(device, task.about, built), kernels
    except DeviceLost:
        raise
    except (MemoryError, Error, ValueError) as error:
        return f"{type(error).__name__}: {error}", []


def _named(device: Device, built: Built, place: int) -> Built:
    """Give a candidate with kernels named after its place, or as it was where the device refuses that."""
    assert built.gpu is not None
    if not device.is_gpu:
        return built
    code = tagged(built.gpu.code, place)
    try:
        device.load(code)
    except DeviceLost:
        raise
    except DeviceError:
        return built
    return replace(built, gpu=replace(built.gpu, code=code))


def _check(device: Device, about: About, built: Built) -> str:
    placed = Placed(device, make_reference(_tensors(about), about.seed))
    found = check_on_device(placed, built, placed.bind(built))
    return "" if found.status is Status.OK else f"{found.status}: {found.error}"


def _launch(device: Device, about: About, built: Built) -> str:
    """Launch a candidate twice, the last time with its code and the clocks warmed up."""
    assert built.gpu is not None
    arrays = [to_device(array, device) for array in make_arrays(_tensors(about), about.seed)]
    call = CudaKernel(built.gpu.signature, built.gpu.code, device).bind(*arrays)
    for _again in range(LAUNCHES):
        call.launch()
        device.synchronize()
    return ""


def _tensors(about: About) -> Any:
    return create(about.name, about.args, about.key.target, device="emulate").tensors


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gpu_check.once", description=__doc__)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--device", default="gpu")
    parser.add_argument("--mode", default="check", choices=MODES)
    parser.add_argument("--start", type=int, default=0, help="the first place of the plan")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for one candidate")
    parser.add_argument("--seconds", type=float, default=120.0, help="after which no other candidate is begun")
    return parser


if __name__ == "__main__":
    sys.exit(main())
