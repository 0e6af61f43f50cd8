"""Build a wheel of PyCUDA on a machine that has the CUDA headers, and neither a GPU nor a driver.

    python tools/build_pycuda_wheel.py [--toolkit /usr/local/cuda] [--output wheels] [--version 2026.1]

For the Python that runs it.  What is in the way of `pip install pycuda` on such a machine, and what is done about it:

    no libcuda.so.1     a stub is linked that defines every function of cuda.h and cudaProfiler.h: if it did not, the
                        linker would leave out the need for libcuda.so.1, and the wheel would load nowhere
    a wrapper of nvcc   PyCUDA takes the folder above the nvcc on PATH for the toolkit: siteconf.py names the toolkit
    no cuRAND           is switched off, or the module needs libcurand when it is imported

Exit status: 0 and the wheel's path, size and time on the last line; 1 if the result would not load.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

HEADERS = ("cuda.h", "cudaProfiler.h")
TOOLKITS = ("/usr/local/cuda", "/usr/lib/cuda", "/opt/cuda", "/usr")
REAL = ("cuGetErrorString", "cuGetErrorName", "cuDriverGetVersion")  # PyCUDA calls them on every error

ANSWERS = """\
int cuGetErrorString(int e, const char **text) { *text = e == 100 ? "no CUDA device (stub)" : "stub"; return 0; }
int cuGetErrorName(int e, const char **text) { *text = e == 100 ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR"; return 0; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
"""

SITECONF = """\
CUDA_ROOT = {toolkit!r}
CUDA_INC_DIR = [{include!r}]
CUDADRV_LIB_DIR = [{stub!r}]
CUDA_ENABLE_CURAND = False
CXXFLAGS = ["-g0", "-O2", "-w"]
LDFLAGS = ["-Wl,-s"]
"""


def run(*command: object, cwd: Path | None = None) -> str:
    """Run a command and give what it prints.  Raises CalledProcessError where it fails."""
    return subprocess.run([str(c) for c in command], cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout


def find_toolkit(given: str | None) -> Path:
    """Give the folder whose `include` has cuda.h.  Ends the program where there is none."""
    for folder in map(Path, [given] if given else TOOLKITS):
        if all((folder / "include" / name).is_file() for name in HEADERS):
            return folder.resolve()
    sys.exit(f"no {' and '.join(HEADERS)} below {given or ', '.join(TOOLKITS)}; try: --toolkit FOLDER")


def driver_functions(include: Path) -> list[str]:
    """Give the name of every function that the driver's headers declare, in each of its versions."""
    names: set[str] = set()
    for header in HEADERS:
        text = (include / header).read_text(errors="replace")
        names |= set(re.findall(r"\b(cu[A-Z]\w+)\s*\(", text))
        names |= set(re.findall(r"#\s*define\s+cu[A-Z]\w*\s+(cu[A-Z]\w+)", text))
    return sorted(names)


def stub_source(include: Path) -> str:
    """Give C text of a driver that has every function and answers each with CUDA_ERROR_NO_DEVICE."""
    names = [name for name in driver_functions(include) if name not in REAL]
    return ANSWERS + "".join(f"int {name}(void) {{ return 100; }}\n" for name in names)


def build_stub(include: Path, folder: Path) -> Path:
    """Compile the stub driver to `folder`/libcuda.so.1, with the link that a linker looks for; give its path."""
    folder.mkdir(parents=True, exist_ok=True)
    source, library = folder / "stub.c", folder / "libcuda.so.1"
    source.write_text(stub_source(include))
    run("gcc", "-w", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", source, "-o", library)
    (folder / "libcuda.so").unlink(missing_ok=True)
    (folder / "libcuda.so").symlink_to(library.name)
    return library


def unpack(version: str, work: Path) -> Path:
    """Download PyCUDA's source distribution and give the folder that it unpacks to."""
    run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary=pycuda", "--dest", work,
        f"pycuda=={version}")  # fmt: skip
    (archive,) = work.glob("pycuda-*.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(work, filter="data")
    return work / archive.name.removesuffix(".tar.gz")


def faults(wheel: Path, work: Path) -> Iterator[str]:
    """Give what would keep the wheel from loading where there is a driver."""
    with zipfile.ZipFile(wheel) as files:
        modules = [name for name in files.namelist() if re.search(r"/_driver\..*so$", name)]
        files.extractall(work / "wheel", modules)
    if not modules:
        yield f"{wheel.name} has no _driver module"
    for name in modules:
        needed = re.findall(r"NEEDED.*\[(.*)\]", run("readelf", "-d", work / "wheel" / name))
        if "libcuda.so.1" not in needed:
            yield f"{name} does not need libcuda.so.1: it would stop at an undefined symbol"
        if any("curand" in library for library in needed):
            yield f"{name} needs cuRAND"


def main() -> int:
    """Build the wheel; give the exit status."""
    about, _, _ = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--toolkit", help=f"folder with include/cuda.h (looked for: {', '.join(TOOLKITS)})")
    parser.add_argument("--output", type=Path, default=Path("wheels"), help="where the wheel goes")
    parser.add_argument("--version", default="2026.1", help="of PyCUDA")
    options = parser.parse_args()
    toolkit = find_toolkit(options.toolkit)
    began = time.monotonic()
    with TemporaryDirectory() as name:
        work = Path(name)
        stub = build_stub(toolkit / "include", work / "stub")
        source = unpack(options.version, work)
        named = {"toolkit": toolkit, "include": toolkit / "include", "stub": stub.parent}
        (source / "siteconf.py").write_text(SITECONF.format(**{key: str(path) for key, path in named.items()}))
        built = work / "built"
        run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", built, source)
        (wheel,) = built.glob("pycuda-*.whl")
        wrong = list(faults(wheel, work))
        if not wrong:
            options.output.mkdir(parents=True, exist_ok=True)
            final = options.output / wheel.name
            final.write_bytes(wheel.read_bytes())
            print(f"{final}: {final.stat().st_size / 1e6:.2f} MB in {time.monotonic() - began:.0f} s")
    print(*wrong, sep="\n", end="")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
