"""Outside functions: from the process, by address, from ctypes, from Python."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import pytest

from tilewright.ir.errors import ArgumentError
from tilewright.runtime.build import build
from tilewright.runtime.externs import register_extern

from .nests import elementwise

A = np.linspace(0.5, 3, 20, dtype=np.float32)


def mapped(call: str) -> np.ndarray:
    b = np.zeros(20, np.float32)
    build(elementwise("f", 20, call))(A, b)
    return b


def test_a_function_of_the_c_library_is_found() -> None:
    ulp = np.spacing(np.float32(math.cbrt(3)))
    np.testing.assert_allclose(mapped("cbrtf"), np.cbrt(A), rtol=0, atol=ulp)


def test_an_address_can_be_registered() -> None:
    libm = ctypes.CDLL("libm.so.6")
    register_extern("by_address", ctypes.cast(libm.fabsf, ctypes.c_void_p).value or 0)
    assert (mapped("by_address") == np.abs(A)).all()


def test_a_ctypes_function_can_be_registered() -> None:
    register_extern("by_ctypes", ctypes.CDLL("libm.so.6").floorf)
    assert (mapped("by_ctypes") == np.floor(A)).all()


def test_a_python_function_can_be_registered() -> None:
    register_extern("by_python", lambda x: 3 * x, ("float32", ("float32",)))
    assert (mapped("by_python") == 3 * A).all()


def test_compiled_kernels_keep_the_function_they_were_compiled_with() -> None:
    register_extern("replaced", lambda x: 1.0, ("float32", ("float32",)))
    module, b = build(elementwise("f", 20, "replaced")), np.zeros(20, np.float32)
    module(A, b)
    register_extern("replaced", lambda x: 2.0, ("float32", ("float32",)))
    module(A, b)
    assert (b == 1).all()
    assert (mapped("replaced") == 2).all()


def test_what_a_python_function_raises_is_raised_by_the_call() -> None:
    def fail(x: float) -> float:
        raise KeyError("from the inside")

    register_extern("failing", fail, ("float32", ("float32",)))
    with pytest.raises(KeyError, match="from the inside"):
        mapped("failing")
    assert (mapped("by_python") == 3 * A).all()  # and it is raised once only


@pytest.mark.parametrize(
    "name, function, signature, message",
    [
        ("exp", math.exp, ("float32", ("float32",)), "exp is an intrinsic"),
        ("f", math.exp, None, "f: a Python function needs a signature"),
        ("f", "exp", ("float32", ("float32",)), "f: a str cannot be called"),
        ("f", math.exp, ("float16", ("float16",)), "float16 cannot be passed by value"),
    ],
)
def test_a_function_that_cannot_be_called_is_refused(
    name: str, function: object, signature: tuple | None, message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        register_extern(name, function, signature)  # type: ignore[arg-type]
