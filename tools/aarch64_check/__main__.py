"""Compile kernels for AArch64, and run them under qemu: templates and random programs, against direct evaluation.

    PYTHONPATH=tests:tools python -m aarch64_check [--fuzz 300] [--seed 0] [--others 2]

Needs qemu's user mode and a cross compiler for C, for the program that calls the kernels; on Debian and Ubuntu:

    apt-get install --no-install-recommends qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross

Every kernel runs on one thread and on three, linked statically from exported objects; those of the last processor once
more from an exported shared library.  Integers must be equal, floats as near as `te/tolerance.py` says.
Exit status: 0 if all are right, 1 if one is wrong, 2 where a program that is needed is missing.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from tilewright.runtime.build import build
from tilewright.runtime.export import packed
from tilewright.runtime.module import Module

from .calls import Call, faults, recorded
from .programs import fuzz_calls, template_calls

ARCH = "aarch64-linux-gnu"
COMPILER = f"{ARCH}-gcc"
PROCESSORS = ("cortex-a72", "neoverse-n1")  # ARMv8.0; ARMv8.2 with dot products and atomic additions
THREADS = (1, 3)
RUN_TIMEOUT_S = 600


def main() -> int:
    """Check every processor; give the exit status."""
    about, _, _ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(prog="aarch64_check", description=about)
    parser.add_argument("--fuzz", type=int, default=300, help="random programs")
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--others", type=int, default=2, help="random configurations of each template")
    options = parser.parse_args()
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if emulator is None or shutil.which(COMPILER) is None:
        print(__doc__, f"qemu-aarch64: {emulator}; {COMPILER}: {shutil.which(COMPILER)}", sep="\n", file=sys.stderr)
        return 2
    wrong = 0
    for processor in PROCESSORS:
        target = f"llvm -mtriple={ARCH} -mcpu={processor}"
        began = perf_counter()
        calls = [*template_calls(target, options.others), *fuzz_calls(range(options.seed, options.seed + options.fuzz))]
        module = build([call.function for call in calls], target=target, effort="quick")
        assert isinstance(module, Module)
        print(f"{processor}: {len(calls)} kernels compiled in {perf_counter() - began:.0f} s", flush=True)
        wrong += check(calls, module, emulator, shared=processor == PROCESSORS[-1])
    return 1 if wrong else 0


def check(calls: Sequence[Call], module: Module, emulator: str, shared: bool) -> int:
    """Run all calls on each number of threads; print what is wrong, and give how many are."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        static = linked(Path(folder), calls, [str(path) for path in module.export_object(Path(folder) / "kernels.o")])
        runs = [(f"objects, threads {n}", [emulator, static, str(n)]) for n in THREADS]
        if shared:
            module.export_library(Path(folder) / "kernels.so")
            program = linked(Path(folder), calls, [str(Path(folder) / "kernels.so")], static=False)
            runs.append(("shared library", [emulator, "-L", f"/usr/{ARCH}", program, str(THREADS[-1])]))
        for name, command in runs:
            began = perf_counter()
            done = subprocess.run(command, input=recorded(calls), stdout=subprocess.PIPE, timeout=RUN_TIMEOUT_S)
            found = faults(calls, done.stdout)
            print(*found, f"  {name}: {len(calls) - len(found)} of {len(calls)} right, exit status {done.returncode}, "
                  f"{perf_counter() - began:.1f} s", sep="\n", flush=True)  # fmt: skip
            wrong += len(found) + (done.returncode != 0)
    return wrong


def linked(folder: Path, calls: Sequence[Call], objects: Sequence[str], static: bool = True) -> str:
    """Link the program that calls the kernels; give its path."""
    names = [packed(call.function.name) for call in calls]
    table = folder / "table.c"
    declared = "".join(f"int32_t {name}(void *argv);\n" for name in names)
    listed = ", ".join(names)
    table.write_text(f"#include <stdint.h>\n{declared}int32_t (*const kernels[])(void *) = {{{listed}}};\n")
    program = folder / ("static" if static else "dynamic")
    words = [COMPILER, "-std=c11", "-Wall", "-Wextra", "-O1", str(Path(__file__).with_name("main.c")), str(table)]
    where = ["-static"] if static else [f"-Wl,-rpath,{folder}"]
    subprocess.run([*words, *objects, *where, "-o", str(program), "-lm", "-lpthread"], check=True, timeout=300)
    return str(program)


if __name__ == "__main__":
    sys.exit(main())
