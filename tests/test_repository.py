"""What the repository says of itself: documentation that is current, packaging, sizes, time to import."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import tilewright
from tilewright import te
from tilewright.cli.main import check_words, make_parser
from tilewright.cli.operators import understand
from tilewright.ir.errors import SettingError
from tilewright.ir.settings import Settings, read

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = sorted(path.parent for path in ROOT.glob("*/__init__.py"))
FOLDERS = [*PACKAGE, *(ROOT / name for name in ("tests", "tools", "benchmarks"))]


def tool(name: str) -> ModuleType:
    """Give a file of tools/ as a module."""
    spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


# -- documentation ------------------------------------------------------------------------------------------------


def test_the_settings_page_is_current(golden: Callable[[str, Path], None]) -> None:
    golden(tool("settings_page").page(), ROOT / "docs" / "settings.md")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_says_what_it_is_in_at_most_30_lines(folder: Path) -> None:
    lines = (folder / "README.md").read_text().splitlines()
    assert lines[0].startswith(f"# {folder.name}")
    assert len(lines) <= 30


def test_links_between_documents_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("*/*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_files_that_folder_readmes_name_exist() -> None:
    for folder in FOLDERS:
        for name in re.findall(r"`([\w/]+\.py|[\w/]+/)`", (folder / "README.md").read_text()):
            assert (folder / name).exists() or (ROOT / name).exists(), f"{folder.name}/README.md: {name}"


def test_the_examples_of_the_readme_run(capsys: pytest.CaptureFixture[str]) -> None:
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    exec(compile("\n".join(examples), "README.md", "exec"), {})  # each compares its result
    printed = capsys.readouterr().out
    assert "for i_i in unrolled(8):" in printed
    assert "tw_barrier();" in printed


@pytest.mark.parametrize("page", ["install", "migrating_from_tvm", "targets"])
def test_the_examples_of_a_page_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / f"{page}.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    A = te.placeholder((64, 64), name="A")
    B = te.compute((64, 64), lambda i, j: A[i, j] + 1.0, name="B")
    around = {"tilewright": tilewright, "s": tilewright.create_schedule(B), "A": A, "B": B}
    exec(compile("\n".join(examples), page, "exec"), around)
    assert examples


def commands() -> list[str]:
    """Give the command lines of README.md and docs/, those of fenced blocks without what is said of them."""
    pages = [text for page in (ROOT / "README.md", *ROOT.glob("docs/*.md")) if "```" in (text := page.read_text())]
    blocks = [block for text in pages for block in re.findall(r"```\n(.*?)```", text, re.DOTALL)]
    lines = [line.split("   ")[0] for block in blocks for line in block.splitlines()]
    return sorted({line for line in lines if line.startswith("autotune ")})


@pytest.mark.parametrize("command", commands())
def test_a_command_that_the_documents_show_means_something(command: str) -> None:
    words, parser = shlex.split(command)[1:], make_parser()
    check_words(words, parser)
    options = parser.parse_args(words)
    if "operator" in options and (options.layer or options.shape):
        assert understand(options).template_args


# -- packaging ----------------------------------------------------------------------------------------------------


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "Version 2.0, January 2004" in text


def test_importing_the_package_loads_nothing_slow() -> None:
    probe = "import sys, tilewright; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout.split()
    slow = r"(xgboost|scipy|onnx|pycuda|ray|rich|sqlite3|tilewright\.(autotune|cli|codegen\.cuda|te\.operators))\b"
    assert "llvmlite" in loaded
    assert [name for name in loaded if re.match(slow, name)] == []


# -- sizes --------------------------------------------------------------------------------------------------------

FINE = '"""A module."""\n\n\ndef f() -> int:\n    """Give one."""\n    return 1\n'


def sizes(source: str, path: str = "ir/a.py") -> list[str]:
    """Give the bounds that one file breaks."""
    measured = tool("sizes")
    return measured.report([measured.measure(path, source)])[1]


def test_a_small_typed_documented_file_is_within_all_bounds() -> None:
    assert sizes(FINE) == []


@pytest.mark.parametrize(
    ("source", "broken"),
    [
        (FINE + "\n\ndef _long() -> None:\n" + "    f()\n" * 60, "ir/a.py:9 _long: 61 lines, over 60"),
        (FINE + "x = 1\n" * 600, "ir/a.py: 606 lines, over 600"),
        (FINE.replace(" -> int", ""), "ir/a.py:4 f: no return type"),
        (FINE.replace('    """Give one."""\n', ""), "ir/a.py:4 f: no docstring"),
        (FINE.replace('"""A module."""\n', ""), "ir/a.py:1 the module: no docstring"),
        (FINE + "\n\nclass A:\n    '''A.'''\n\n    def g(self) -> None: ...\n", "ir/a.py:12 g: no docstring"),
        (FINE.replace("return 1", "return isinstance(1, int)"), "isinstance: 166.7 per 1,000 lines, not under 5"),
    ],
)
def test_a_broken_bound_is_named_with_its_place(source: str, broken: str) -> None:
    assert broken in sizes(source)


def test_private_names_overloads_and_nested_functions_need_no_docstring() -> None:
    nested = "    def g() -> None: ...\n"
    private = "\n\ndef _f() -> None: ...\n\n\n@overload\ndef h() -> None: ...\n"
    assert sizes(FINE.replace("    return 1\n", nested + "    return 1\n") + private) == []


def test_the_share_of_sizes_is_that_of_the_sorted_list() -> None:
    quantile = tool("sizes").quantile
    assert quantile(range(1, 11), 0.5) == 6
    assert quantile([10, 1, 1, 1, 1, 1, 1, 1, 1, 1], 0.9) == 10
    assert quantile([], 0.9) == 0


# -- settings -----------------------------------------------------------------------------------------------------


def test_an_empty_environment_gives_the_defaults() -> None:
    assert read({"HOME": "/", "TILEWRIGHT_DEBUG": ""}) == Settings()


def test_variables_are_read_with_their_types() -> None:
    chosen = read({"TILEWRIGHT_DEBUG": "3", "TILEWRIGHT_PIN": "none", "TILEWRIGHT_DB": "~/a.db"})
    assert chosen == Settings(debug=3, pin="none", db="~/a.db")


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("TILEWRIGHT_DEBUG", "7", "an integer from 0 to 6"),
        ("TILEWRIGHT_DEBUG", "much", "an integer from 0 to 6"),
        ("TILEWRIGHT_NUM_THREADS", "-1", "an integer from 0 to 256"),
        ("TILEWRIGHT_PIN", "tight", "one of spread, pin, none"),
        ("TILEWRIGHT_THREADS", "2", "TILEWRIGHT_NUM_THREADS"),
    ],
)
def test_a_value_that_means_nothing_is_refused(name: str, value: str, advice: str) -> None:
    with pytest.raises(SettingError, match=name) as refused:
        read({name: value})
    assert advice in refused.value.advice
