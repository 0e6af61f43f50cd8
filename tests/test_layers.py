"""The direction of imports, and what a layer may touch: read from every import of every file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = "ir te schedule codegen runtime autotune graph quantize micro dashboard".split()  # left to right
ENDS = ("cli", "compat")  # rightmost, side by side
OWN = {*LAYERS, *ENDS}
OUTSIDE = ("tests", "tools", "benchmarks", "docs")  # not in the package: they import the installed `tilewright`
HOSTLESS = {"ir", "te", "schedule", "codegen"}
HOST_MODULES = set("os platform ctypes subprocess multiprocessing signal socket shutil tempfile mmap resource".split())
HOST_CALLS = set(
    "get_host_cpu_name get_host_cpu_features get_default_triple get_process_triple from_default_triple "
    "initialize_native_target initialize_native_asmprinter create_mcjit_compiler create_lljit_compiler".split()
)
LATE = {"xgboost", "scipy", "onnx", "pycuda", "ray", "torch"}  # slow or optional: imported where they are used
SETTINGS = "ir/settings.py"


def allowed(layer: str) -> set[str]:
    """Give the folders that files of `layer` may import from."""
    if layer == "codegen":
        return {"ir", "codegen"}
    return {layer, *(LAYERS if layer in ENDS else LAYERS[: LAYERS.index(layer)])}


def violations(path: str, source: str) -> list[str]:
    """Give `file:line: rule` for each import or use in a file that breaks a rule; `path` is relative to the root."""
    tree = ast.parse(source)
    layer = path.split("/")[0]
    rules = [ambiguous_imports]
    if layer not in OUTSIDE and path != "setup.py":
        rules += [direction, environment, slow_imports]
    if layer in HOSTLESS:
        rules += [host]
    return [f"{path}:{line}: {text}" for rule in rules for line, text in rule(path, tree)]


Found = Iterator[tuple[int, str]]


def ambiguous_imports(path: str, tree: ast.Module) -> Found:
    for line, module in absolute_imports(tree):
        top = module.split(".")[0]
        if top in OWN:
            yield line, f"`import {top}` may be somebody else's package; write `tilewright.{top}`, or a relative import"
        if top == "tilewright" and path.split("/")[0] not in OUTSIDE:
            yield line, "the package imports itself by relative imports only"


def direction(path: str, tree: ast.Module) -> Found:
    layer = path.split("/")[0]
    if layer not in OWN:
        return  # the root's __init__.py names what is public
    may = allowed(layer)
    for line, target in relative_imports(path, tree):
        if target not in may:
            order = f"{' < '.join(LAYERS)} < cli, compat; codegen imports ir alone"
            yield line, f"{layer} may not import {target or 'the root'} ({order})"


def environment(path: str, tree: ast.Module) -> Found:
    if path == SETTINGS:
        return
    for node in named(tree):
        name = node.attr if isinstance(node, ast.Attribute) else node.name if isinstance(node, ast.alias) else ""
        if name in ("environ", "environb", "getenv", "putenv"):
            yield node.lineno, f"only {SETTINGS} reads the environment"


def host(path: str, tree: ast.Module) -> Found:
    for line, module in absolute_imports(tree):
        if module.split(".")[0] in HOST_MODULES and path != SETTINGS:
            yield line, f"`{module}` is the host's, which nothing left of runtime touches"
        if module.split(".")[0] == "llvmlite" and not path.startswith("codegen/llvm/"):
            yield line, "llvmlite is used in codegen/llvm and from runtime on"
    for node in named(tree):
        if isinstance(node, ast.Attribute) and node.attr in HOST_CALLS:
            yield node.lineno, f"`{node.attr}` asks the host, which nothing left of runtime touches"


def slow_imports(path: str, tree: ast.Module) -> Found:
    for line, module in absolute_imports(tree, nested=False):
        if module.split(".")[0] in LATE:
            yield line, f"`{module}` is imported inside the function that uses it"


@lru_cache(maxsize=1)  # the rules read one file after the other
def named(tree: ast.Module) -> tuple[ast.AST, ...]:
    """Give the imports and attributes of a file: all that the rules look at."""
    return tuple(n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom | ast.alias | ast.Attribute))


def absolute_imports(tree: ast.Module, nested: bool = True) -> Iterator[tuple[int, str]]:
    for node in named(tree) if nested else tree.body:
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield node.lineno, module


def relative_imports(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Give line and first folder below the root of each relative import; "" for the root itself."""
    folder = path.split("/")[:-1]
    for node in named(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = folder[: len(folder) - node.level + 1]
            full = base + (node.module.split(".") if node.module else [])
            for alias in node.names:
                yield node.lineno, full[0] if full else alias.name if alias.name in OWN else ""


def files() -> list[str]:
    """Give all Python files of the checkout, relative to its root."""
    folders = [ROOT / name for name in (*OWN, *OUTSIDE)]
    found = [*ROOT.glob("*.py"), *(path for folder in folders for path in folder.rglob("*.py"))]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def test_every_import_keeps_the_direction() -> None:
    broken = [line for path in files() for line in violations(path, (ROOT / path).read_text())]
    assert not broken, "\n" + "\n".join(broken)


def test_every_folder_with_code_is_a_layer_or_outside() -> None:
    code = {path.split("/")[0] for path in files() if "/" in path}
    folders = {p.parent.name for p in ROOT.glob("*/__init__.py") if not p.parent.name.startswith(".")}
    assert folders <= OWN and code <= OWN | set(OUTSIDE)


BROKEN = [
    ("ir/a.py", "from ..te import axis", "ir may not import te"),
    ("te/a.py", "from .. import schedule", "te may not import schedule"),
    ("te/operators/a.py", "from ...codegen.llvm import emit", "te may not import codegen"),
    ("codegen/a.py", "from ..te.axis import Axis", "codegen may not import te"),
    ("codegen/llvm/a.py", "from ...schedule import x", "codegen may not import schedule"),
    ("runtime/a.py", "def f():\n    from ..autotune import x", "runtime may not import autotune"),
    ("autotune/a.py", "from ..cli.main import main", "autotune may not import cli"),
    ("cli/a.py", "from ..compat.tvm import te", "cli may not import compat"),
    ("compat/tvm/a.py", "from ...cli import main", "compat may not import cli"),
    ("te/a.py", "from .. import __version__", "te may not import the root"),
    ("te/a.py", "import ir", "`import ir` may be somebody else's package"),
    ("tests/a.py", "from schedule import x", "`import schedule` may be somebody else's package"),
    ("runtime/a.py", "import tilewright.ir", "relative imports only"),
    ("runtime/a.py", "import os\nos.environ['X']", "only ir/settings.py reads the environment"),
    ("runtime/a.py", "from os import getenv", "only ir/settings.py reads the environment"),
    ("codegen/a.py", "import ctypes", "`ctypes` is the host's"),
    ("te/a.py", "import llvmlite.binding", "llvmlite is used in codegen/llvm"),
    ("codegen/llvm/a.py", "llvm.initialize_native_target()", "`initialize_native_target` asks the host"),
    ("autotune/a.py", "import xgboost", "`xgboost` is imported inside the function"),
]


@pytest.mark.parametrize(("path", "source", "rule"), BROKEN, ids=[f"{p}: {r}" for p, _, r in BROKEN])
def test_a_broken_rule_is_named_with_file_and_line(path: str, source: str, rule: str) -> None:
    (found,) = violations(path, source)
    assert found.startswith(f"{path}:{source.count(chr(10)) + 1}: ")
    assert rule in found


KEPT = [
    ("te/operators/a.py", "from ..axis import Axis\nfrom ...ir import arith\nfrom . import b"),
    ("compat/tvm/a.py", "from ...autotune import x"),
    ("cli/a.py", "from .layers import x\nfrom ..autotune.records import Records"),
    ("codegen/llvm/a.py", "import llvmlite.binding as llvm\nfrom ...ir.expr import Var\nfrom ..pipeline import lower"),
    ("autotune/a.py", "def f():\n    import xgboost"),
    ("tests/te/a.py", "from tilewright import te\nimport os\nos.environ"),
    ("ir/settings.py", "import os\nos.environ"),
    ("__init__.py", "from . import te"),
]


@pytest.mark.parametrize(("path", "source"), KEPT, ids=[path for path, _ in KEPT])
def test_a_kept_rule_is_silent(path: str, source: str) -> None:
    assert violations(path, source) == []
