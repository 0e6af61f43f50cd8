"""The same operators as PyTorch calls them: cuBLAS's, cuDNN's and its own kernels, to be compared with.

One table, by template: it gives the call that is timed beside ours, and in float64 the right answer of large shapes.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from ...runtime.cuda.array import DeviceArray
from ...te.machine import TF32

WARM_UP = 3  # calls before anything is timed: libraries choose their kernels
EPSILON = 1e-5  # of layer_norm, as in `te.operators`


@dataclass(frozen=True, slots=True)
class VendorCall:
    """An operator on arrays that are in place.

    library   whose kernels run
    run       computes, and gives the result as PyTorch lays it out
    laid_out  gives that in the layout of the template's output
    """

    library: str
    run: Callable[[], Any]
    laid_out: Callable[[Any], Any] = lambda result: result


Prepare = Callable[..., VendorCall]  # torch, inputs, *args of the template


def find_torch() -> Any:
    """Give PyTorch where it is installed, else None."""
    if "torch" not in sys.modules and find_spec("torch") is None:
        return None
    return importlib.import_module("torch")


def use_full_precision(torch: Any) -> None:
    """Let float32 products be products of float32, not of tf32, and let cuDNN look for its fastest kernel."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True


# -- operators ------------------------------------------------------------------------------------------------------


def _product(torch: Any, a: Any, b: Any) -> VendorCall:
    integers = a.dtype == torch.int8
    return VendorCall("cuBLAS", lambda: torch._int_mm(a, b) if integers else torch.matmul(a, b))


def _matmul(
    torch: Any, inputs: Sequence[Any], m: int, n: int, k: int, transpose_a: bool = False, transpose_b: bool = False,
    dtype: str = "float32",
) -> VendorCall:  # fmt: skip
    a, b = inputs
    return _product(torch, a.t() if transpose_a else a, b.t() if transpose_b else b)


def _dense(torch: Any, inputs: Sequence[Any], m: int, n: int, k: int, dtype: str = "float32") -> VendorCall:
    data, weight = inputs
    return _product(torch, data, weight.t())


def _batch_matmul(
    torch: Any, inputs: Sequence[Any], batch: int, m: int, n: int, k: int, transpose_b: bool = True,
    dtype: str = "float32",
) -> VendorCall:  # fmt: skip
    a, b = inputs
    right = b.transpose(1, 2) if transpose_b else b
    return VendorCall("cuBLAS", lambda: torch.bmm(a, right))


def _conv2d(
    torch: Any, inputs: Sequence[Any], data: Sequence[int], filters: Sequence[int], stride: int, padding: int,
    dilation: int = 1, groups: int = 1, layout: str = "NCHW", dtype: str = "float32",
) -> VendorCall:  # fmt: skip
    return _convolution(torch, inputs, stride, padding, dilation, groups, layout, (3, 2, 0, 1))


def _depthwise(
    torch: Any, inputs: Sequence[Any], data: Sequence[int], window: Sequence[int], stride: int, padding: int,
    dilation: int = 1, layout: str = "NCHW", dtype: str = "float32",
) -> VendorCall:  # fmt: skip
    return _convolution(torch, inputs, stride, padding, dilation, data[1], layout, (2, 3, 0, 1))


def _convolution(
    torch: Any, inputs: Sequence[Any], stride: int, padding: int, dilation: int, groups: int, layout: str,
    weights_order: tuple[int, ...],
) -> VendorCall:  # fmt: skip
    """Give a convolution; the weights of NHWC are laid out for PyTorch beforehand, which is no part of its time."""
    image, kernel = inputs
    if layout not in ("NCHW", "NHWC"):
        raise LookupError(f"no convolution of PyTorch has the layout {layout}")
    if layout == "NHWC":
        image = image.permute(0, 3, 1, 2)
        kernel = kernel.permute(weights_order).contiguous(memory_format=torch.channels_last)

    def run() -> Any:
        return torch.conv2d(image, kernel, None, stride, padding, dilation, groups)

    return VendorCall("cuDNN", run, lambda out: out.permute(0, 2, 3, 1) if layout == "NHWC" else out)


def _softmax(torch: Any, inputs: Sequence[Any], m: int, n: int, dtype: str = "float32") -> VendorCall:
    (data,) = inputs
    return VendorCall("PyTorch", lambda: torch.softmax(data, 1))


def _layer_norm(torch: Any, inputs: Sequence[Any], m: int, n: int, dtype: str = "float32") -> VendorCall:
    data, gamma, beta = inputs
    return VendorCall("PyTorch", lambda: torch.nn.functional.layer_norm(data, (n,), gamma, beta, EPSILON))


def _reduction(
    torch: Any, inputs: Sequence[Any], m: int, n: int, axis: int, operator: str = "sum", dtype: str = "float32"
) -> VendorCall:
    (data,) = inputs
    function = getattr(torch, {"max": "amax", "min": "amin"}.get(operator, operator))
    return VendorCall("PyTorch", lambda: function(data, axis))


def _elementwise(
    torch: Any, inputs: Sequence[Any], m: int, n: int, operator: str = "relu", dtype: str = "float32"
) -> VendorCall:
    data, bias = inputs
    function = getattr(torch, operator, None) or getattr(torch.nn.functional, operator)
    return VendorCall("PyTorch", lambda: function(data + bias))


VENDORS: dict[str, Prepare] = {  # by template
    "matmul": _matmul,
    "dense": _dense,
    "batch_matmul": _batch_matmul,
    "conv2d": _conv2d,
    "depthwise_conv2d": _depthwise,
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "reduction": _reduction,
    "elementwise": _elementwise,
}


def prepare(torch: Any, name: str, args: Sequence[Any], inputs: Sequence[Any]) -> VendorCall:
    """Give the call of a template's operator.  Raises LookupError where PyTorch has none."""
    if name not in VENDORS:
        raise LookupError(f"no call of PyTorch is known for {name}")
    call = VENDORS[name](torch, inputs, *args)
    return replace(call, run=_rounded(torch, call.run)) if TF32 in args else call


def _rounded(torch: Any, run: Callable[[], Any]) -> Callable[[], Any]:
    """Give a call that may round factors of float32 to tf32."""

    def rounded() -> Any:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        try:
            return run()
        finally:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

    return rounded


# -- arrays and times -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Interface:
    """Memory of the device as PyTorch takes it without a copy."""

    __cuda_array_interface__: dict[str, Any]


def as_torch(torch: Any, array: DeviceArray, dtype: str) -> Any:
    """Give a tensor on the memory of an array, whose elements are of the IR's type `dtype`."""
    about = dict(array.__cuda_array_interface__)
    if dtype == "bfloat16":
        about["typestr"] = "<i2"  # PyTorch knows no name of bfloat16 here
    tensor = torch.as_tensor(_Interface(about), device="cuda")
    return tensor.view(torch.bfloat16) if dtype == "bfloat16" else tensor


class VendorTimer:
    """Calls of one operator on several sets of arrays in turn, recorded once and repeated without the host between."""

    def __init__(self, torch: Any, calls: Sequence[VendorCall], number: int = 1) -> None:
        """Run each call some times, and record a batch: all of them `number` times."""
        self._torch, self._count, self.library = torch, len(calls) * number, calls[0].library
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for call in [*calls] * WARM_UP:
                call.run()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            for call in [*calls] * number:
                call.run()
        self._graph.replay()

    def seconds(self) -> float:
        """Give the mean seconds of one call over a batch."""
        cuda = self._torch.cuda
        start, stop = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
        start.record()
        self._graph.replay()
        stop.record()
        stop.synchronize()
        return start.elapsed_time(stop) * 1e-3 / self._count
