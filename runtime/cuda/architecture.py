"""Names of GPU architectures, such as "sm_90a"."""

from __future__ import annotations

from ...ir.gpu import GPUS

DEFAULT_ARCH = "sm_90a"  # of targets that name none, where there is no GPU


def fullest(device: str) -> str:
    """Give the architecture whose code uses all that a device has: "sm_90a" for "sm_90".

    A device that is not known runs code for the latest known architecture of its major version; "" where there is none.
    """
    there = int(device.removeprefix("sm_"))
    older = [gpu for gpu in GPUS.values() if gpu.capability // 10 == there // 10 and gpu.capability <= there]
    fit = [gpu for gpu in older if gpu.capability == there or not gpu.exact]
    return max(fit, key=lambda gpu: (gpu.capability, gpu.exact)).arch if fit else ""


def runs_on(code: str, device: str) -> bool:
    """Tell whether a cubin for the architecture `code` runs on a device of another, as "sm_80" does on "sm_86".

    It runs on devices of the same major version with the same or a later minor one; a name that ends in "a" stands for
    what only this architecture has, and its code runs on no other.
    Source: CUDA C++ Programming Guide 13.0, "Binary Compatibility" and "Feature Set Compiler Targets".
    """
    made, there = int(code.removeprefix("sm_").rstrip("af")), int(device.removeprefix("sm_"))
    if code.endswith("a"):
        return made == there
    return made // 10 == there // 10 and made <= there
