"""Modules: calling, saving, exporting, and calling what was exported from outside."""

from __future__ import annotations

import ctypes
import pickle
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tilewright.ir.buffer import Buffer
from tilewright.ir.dtype import int32
from tilewright.ir.errors import ArgumentError, CodegenError, TargetError
from tilewright.ir.expr import Call, Const, Var
from tilewright.ir.stmt import For, ForKind, Function, Store
from tilewright.runtime import export, pool
from tilewright.runtime.build import build
from tilewright.runtime.externs import register_extern
from tilewright.runtime.host import host_target
from tilewright.runtime.module import LibraryModule, Module, load_module
from tilewright.runtime.signature import from_json, to_json

from .nests import elementwise

A = np.arange(100, dtype=np.float32)
needs_linker = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang", "ld", "ld.lld"))), reason="there is no linker"
)


def doubles(module: Module | LibraryModule, threads: int | None = None) -> bool:
    b = np.zeros(100, np.float32)
    module(A, b, threads=threads)
    return bool((b == 2 * A).all())


def test_a_module_with_one_kernel_is_called_like_it() -> None:
    module = build(elementwise("double", 100))
    assert doubles(module)
    assert list(module) == ["double"]
    assert module["double"] is module.kernel


def test_several_kernels_are_told_by_name() -> None:
    module = build([elementwise("f", 100), elementwise("g", 100, "sqrt")])
    b = np.zeros(100, np.float32)
    module["g"](A, b)
    np.testing.assert_array_equal(b, np.sqrt(A))
    with pytest.raises(ArgumentError, match=r'has 2 kernels[^!]*module\["name"\] with one of f, g'):
        module(A, b)
    with pytest.raises(ArgumentError, match=r"no kernel called 'h'[^!]*one of f, g"):
        module["h"]


def test_texts_are_those_of_the_code() -> None:
    module = build(elementwise("double", 100))
    assert "define i32 @double(" in module.llvm_ir == module.get_source("ll")
    assert "double__packed:" in module.assembly == module.get_source("asm")
    with pytest.raises(ArgumentError, match="no text of the form 'ptx'"):
        module.get_source("ptx")


def test_code_stays_loaded_while_a_kernel_lives() -> None:
    kernel = build(elementwise("double", 100)).kernel
    b = np.zeros(100, np.float32)
    kernel(A, b)
    assert (b == 2 * A).all()


def test_a_saved_module_computes_the_same(tmp_path: Path) -> None:
    module = build(elementwise("double", Var("n")))
    module.save(tmp_path / "double.tw")
    again = load_module(tmp_path / "double.tw")
    assert doubles(again)
    assert isinstance(again, Module)
    assert again.signatures == module.signatures
    assert "define i32 @double(" in again.llvm_ir


def test_a_pickled_module_computes_the_same() -> None:
    module = pickle.loads(pickle.dumps(build(elementwise("double", Var("n")))))
    assert isinstance(module, Module) and doubles(module)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    module = build(elementwise("double", 100))
    for write in (module.export_library, module.export_object):
        with pytest.raises(ArgumentError, match=r"export_\w+: folder \S+/nowhere does not exist"):
            write(tmp_path / "nowhere" / "double.so")


def test_code_for_another_machine_is_not_run(tmp_path: Path) -> None:
    module = build(elementwise("double", 100))
    module.target = replace(host_target(), cpu="z80", features="+index_registers")
    module.save(tmp_path / "m.tw")
    with pytest.raises(TargetError, match=r"the code is for z80[^!]*missing here: index_registers"):
        doubles(load_module(tmp_path / "m.tw"))


def test_code_for_another_architecture_can_be_written_but_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = build(elementwise("double", 100), target="llvm -mtriple=riscv64-unknown-linux-gnu -mattr=+m,+d")
    kernels, runtime = module.export_object(tmp_path / "k.o")
    assert kernels.read_bytes()[:4] == runtime.read_bytes()[:4] == b"\x7fELF"
    assert kernels.read_bytes()[18] == 243  # RISC-V
    with pytest.raises(TargetError, match="this machine is"):
        doubles(module)
    monkeypatch.setattr(export.shutil, "which", lambda name: None)
    with pytest.raises(TargetError, match=r"no linker for riscv64 found \(riscv64-linux-gnu-gcc, ld.lld\)"):
        module.export_library(tmp_path / "k.so")


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "other"])
def test_a_file_that_is_no_module_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "m.tw"
    build(elementwise("double", 100)).save(path)
    match damage:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            path.write_bytes(path.read_bytes()[:-30])
        case "other":
            with zipfile.ZipFile(path, "w") as file:
                file.writestr("module.json", "{}")
    with pytest.raises(ArgumentError, match=r"load_module: .*m\.tw"):
        load_module(path)


@needs_linker
@pytest.mark.parametrize("tools", [("cc", "gcc", "clang"), ("ld", "ld.lld")])
def test_an_exported_library_computes_the_same(
    tmp_path: Path, tools: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not any(map(shutil.which, tools)):
        return  # the other tools are tried in the other case
    which = shutil.which
    monkeypatch.setattr(export.shutil, "which", lambda name: which(name) if name in tools else None)
    module = build(elementwise("double", Var("n"), kind=ForKind.PARALLEL))
    module.export_library(tmp_path / "double.so")
    library = load_module(tmp_path / "double.so")
    pool.set_num_threads(2)
    assert doubles(library)
    assert doubles(library, threads=3)
    assert library["double"].signature == module.signatures[0]
    with pytest.raises(ArgumentError, match="double: argument 0, A, must be float32"):
        library(np.zeros(3), np.zeros(3, np.float32))


@needs_linker
def test_threads_of_a_call_hold_for_the_pool_of_the_library(tmp_path: Path) -> None:
    seen, i = Buffer("seen", (Const(1),), int32), Var("i")
    ask = Call("tilewright_get_num_threads", (), int32)
    build(Function("ask", (seen,), For(i, Const(1), Store(seen, (i,), ask)), (seen,))).export_library(
        tmp_path / "ask.so"
    )
    kernel, out = load_module(tmp_path / "ask.so")["ask"], np.zeros(1, np.int32)
    answers = []
    for call in (
        lambda: kernel(out, threads=3),
        lambda: kernel.bind(out, threads=4)(),
        lambda: kernel.time_evaluator()(out, threads=5),
        lambda: (pool.set_num_threads(2), kernel(out)),
    ):
        call()
        answers.append(int(out[0]))
    assert answers == [3, 4, 5, 2]


@needs_linker
def test_a_library_can_be_called_through_ctypes(tmp_path: Path) -> None:
    build(elementwise("double", 100)).export_library(tmp_path / "double.so")
    b = np.zeros(100, np.float32)
    function = ctypes.CDLL(str(tmp_path / "double.so")).double
    assert function(ctypes.c_void_p(A.ctypes.data), ctypes.c_void_p(b.ctypes.data)) == 0
    assert (b == 2 * A).all()


PROGRAM = """
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "double.h"

static int run(void) {
    float a[1000], b[1000];
    for (int i = 0; i < 1000; i++) a[i] = i, b[i] = -1;
    if (twice(a, b, 1000)) return 2;
    for (int i = 0; i < 1000; i++) if (b[i] != 2 * a[i]) return 3;
    return 0;
}

int main(void) {
    int status = 0;
    if (tilewright_get_num_threads() != 2) return 5;  /* as the environment says */
    tilewright_set_num_threads(3);
    for (int i = 0; i < 200; i++) if (run()) return 1;
    if (fork() == 0) _exit(run());  /* the child has no workers until it starts its own */
    wait(&status);
    float a[4] = {1, 2, 3, 4}, b[4] = {0};
    void *slots[2] = {a, b};
    if (main__packed(slots) || b[3] != 2) return 4;  /* the library's main, not this one */
    printf("%d\\n", WEXITSTATUS(status));
    return 0;
}
"""


@pytest.mark.skipif(not shutil.which("gcc"), reason="there is no C compiler")
def test_a_c_program_calls_a_library(tmp_path: Path) -> None:
    functions = [elementwise("twice", Var("n"), kind=ForKind.PARALLEL), elementwise("main", 4, "sqrt")]
    functions.append(elementwise("double", 4))  # a word of C, which the header leaves out
    build(functions).export_library(tmp_path / "double.so")
    (tmp_path / "main.c").write_text(PROGRAM)
    words = ["gcc", "-std=c99", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "main.c", "./double.so", "-o", "main"]
    subprocess.run(words, cwd=tmp_path, check=True, timeout=60)
    environment = {"TILEWRIGHT_NUM_THREADS": "2"}
    done = subprocess.run(["./main"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "0\n")


def test_export_without_a_linker_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export.shutil, "which", lambda name: None)
    module = build(elementwise("double", 100))
    with pytest.raises(TargetError, match=r"no linker found \(cc, gcc, clang, ld, ld.lld\)[^!]*export_object"):
        module.export_library(tmp_path / "double.so")
    assert all(path.exists() for path in module.export_object(tmp_path / "double.o"))


def test_export_of_a_call_into_this_process_is_refused(tmp_path: Path) -> None:
    register_extern("here_only", lambda x: x, ("float32", ("float32",)))
    module = build(elementwise("f", 100, "here_only"))
    with pytest.raises(ArgumentError, match="here_only exists in this process only"):
        module.export_library(tmp_path / "f.so")


def test_a_call_of_a_function_that_is_nowhere_is_refused() -> None:
    with pytest.raises(CodegenError, match=r"no_such_function[^!]*register_extern"):
        doubles(build(elementwise("f", 100, "no_such_function")))


def test_signatures_survive_json() -> None:
    n = Var("n")
    signatures = build([elementwise("f", n), elementwise("g", n * 2 + 1)]).signatures
    assert from_json(to_json(signatures)) == signatures
    assert str(signatures[1]) == "g(A: float32 (((n * 2) + 1),), B: float32 (((n * 2) + 1),))"
