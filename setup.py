"""Packaging: the repository root is the package `tilewright`; everything constant stands in pyproject.toml."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
NOT_SHIPPED = {"tests", "benchmarks", "docs", "tools", "build", "dist"}
DATA = ["py.typed", "device/*.cuh", "*.ll", "*.h", "*.c", "*.cpp", "*.json", "*.html", "*.css", "*.js", "*.svg"]


def packages() -> Iterator[str]:
    """Give the import name of each folder of the package, parents first."""
    yield "tilewright"
    for path in sorted(ROOT.rglob("__init__.py")):
        folder = path.parent.relative_to(ROOT)
        top = folder.parts[0] if folder.parts else "."
        if top not in NOT_SHIPPED and not top.startswith("."):
            yield ".".join(("tilewright", *folder.parts))


def xgboost() -> str:
    """Give the distribution that shall provide the module `xgboost`.

    `xgboost` and `xgboost-cpu` hold the same module in the same folder.  The Linux wheel of the first brings its CUDA
    code and NVIDIA's NCCL along (697 MB installed, against 19 MB), which a cost model of some thousand rows never
    uses, so the second is the default.  pip does not know that they are one module: it would write one over the other,
    and uninstalling either removes both.  So a machine that has one of them keeps it.
    """
    if sys.platform == "darwin":
        return "xgboost>=2.1.1"  # small there, and the other has no wheel
    here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}  # not the isolated build's sys.path
    names = {found.metadata["Name"] for found in distributions(path=sorted(here))}
    return "xgboost>=2.1.1" if "xgboost" in names and "xgboost-cpu" not in names else "xgboost-cpu>=2.1.1"


class BuildPackage(build_py):
    """Leave this file out: it lies in the folder of the package, and is none of its modules."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """Give (package, module, file) of each module of one folder."""
        return [
            found
            for found in super().find_package_modules(package, package_dir)
            if found[:2] != ("tilewright", "setup")
        ]


setup(
    cmdclass={"build_py": BuildPackage},
    package_dir={"tilewright": "."},
    packages=list(packages()),
    package_data={"": DATA},
    scripts=["cli/autotune"],  # no entry point, whose script loads the package before any line of ours runs
    install_requires=["numpy>=2.0", "llvmlite>=0.50", "rich>=13", xgboost()],
)
