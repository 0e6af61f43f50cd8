"""Phase `facts`: what the machine is, and its ceilings as PyTorch reaches them."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any

from tilewright.autotune.bundle.vendor import find_torch, use_full_precision
from tilewright.ir.errors import Error
from tilewright.runtime.cuda.availability import availability
from tilewright.runtime.cuda.devices import device

from .workloads import RESNET50

PACKAGES = ("tilewright", "numpy", "torch", "pycuda", "llvmlite", "xgboost-cpu", "xgboost", "rich", "nvidia-cuda-nvrtc")
BATCHES = (1, 16, 128)
CONVOLUTIONS_S = 240.0  # for the table of convolutions


def phase(device_name: str, note: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Give the facts; `note` is called with what there is after each part."""
    began = time.monotonic()
    here = availability()
    data: dict[str, Any] = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "cuda": here.paragraph(),
        "compiler": here.compiler,
        "device": _device(device_name),
    }
    note(data)
    torch = find_torch()
    if device_name == "emulate" or torch is None or not torch.cuda.is_available():
        data["ceilings"] = "not measured: " + ("an emulation has none" if device_name == "emulate" else "no PyTorch")
        return data | {"wall_s": time.monotonic() - began}
    data["cuda_versions"] = {"torch": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    use_full_precision(torch)
    data["copy_gbytes_per_s"] = _copy(torch)
    note(data)
    data["gemm_tflops"] = _products(torch)
    note(data)
    data["cudnn_s"] = {}
    for row in _convolutions(torch, time.monotonic() + CONVOLUTIONS_S):
        data["cudnn_s"] |= row
        note(data)
    return data | {"wall_s": time.monotonic() - began}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _device(name: str) -> dict[str, Any]:
    try:
        found = device(name)
    except Error as error:
        return {"error": error.fact}
    limits = {field: getattr(found.limits, field) for field in found.limits.__slots__}
    return {"name": found.name, "arch": found.arch, "is_gpu": found.is_gpu, "limits": limits}


def timed(torch: Any, call: Callable[[], Any], least_s: float = 0.05, batches: int = 7) -> float:
    """Give the median seconds of one call over batches, by the GPU's clock."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    number = max(1, int(least_s / batches / max(_batch(torch, call, 1), 1e-6)))
    return median(_batch(torch, call, number) for _ in range(batches))


def _batch(torch: Any, call: Callable[[], Any], number: int) -> float:
    start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(number):
        call()
    stop.record()
    stop.synchronize()
    return start.elapsed_time(stop) * 1e-3 / number


def _copy(torch: Any) -> float:
    """Give bytes read and written in a copy of 4 GiB, in 1e9 a second."""
    source = torch.randint(0, 255, (1 << 32,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / timed(torch, lambda: target.copy_(source)) / 1e9


def _products(torch: Any) -> dict[str, float]:
    rates = {}
    for size in (4096, 8192):
        for name, dtype in (("fp32", torch.float32), ("tf32", torch.float32), ("fp16", torch.float16),
                            ("bf16", torch.bfloat16)):  # fmt: skip
            torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
            a, b = (torch.rand(size, size, device="cuda", dtype=dtype) * 2 - 1 for _ in range(2))
            rates[f"{name} {size}"] = 2 * size**3 / timed(torch, lambda a=a, b=b: torch.mm(a, b), 0.2) / 1e12
    torch.backends.cuda.matmul.allow_tf32 = False
    return rates


def _convolutions(torch: Any, deadline: float) -> Any:
    """Give cuDNN's seconds for ResNet-50's convolutions, by "batch dtype layer", until the time is up."""
    for batch in BATCHES:
        for dtype, layout in ((torch.float32, torch.contiguous_format), (torch.float16, torch.channels_last)):
            for layer in RESNET50:
                if time.monotonic() > deadline:
                    return
                channels, size, filters, kernel, stride, padding = layer
                image = (torch.rand(batch, channels, size, size, device="cuda") * 2 - 1).to(dtype, memory_format=layout)
                weights = (torch.rand(filters, channels, kernel, kernel, device="cuda") * 2 - 1).to(
                    dtype, memory_format=layout
                )
                call = lambda x=image, w=weights, s=stride, p=padding: torch.conv2d(x, w, None, s, p)  # noqa: E731
                name = f"{batch} {str(dtype).removeprefix('torch.')} {','.join(map(str, layer))}"
                yield {name: timed(torch, call, 0.02)}
