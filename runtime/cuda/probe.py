"""Ask the CUDA driver what GPU there is; runs as a program of its own, and prints JSON.

A process that has initialised CUDA cannot fork workers that use it, and a broken driver may hang or abort: so this is
asked in another process.  Imports nothing of this package.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import sys

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_...


def probe() -> dict[str, object]:
    """Give what was found.

    problem  "" or "no_driver", "no_device", "no_pycuda": the first that is in the way, in this order
    detail   the loader's, driver's or importer's own words
    name, arch, memory_bytes, driver  of the first GPU, where there is one
    """
    found: dict[str, object] = {"problem": "", "detail": ""}
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return found | {"problem": "no_driver", "detail": str(error)}
    count = ctypes.c_int()
    status = library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(count))
    if status or not count.value:
        return found | {"problem": "no_device", "detail": _words(library, status) if status else "it lists no device"}
    found |= _describe(library)
    try:
        importlib.import_module("pycuda.driver")
    except ImportError as error:
        return found | {"problem": "no_pycuda", "detail": str(error)}
    return found


def _describe(library: ctypes.CDLL) -> dict[str, object]:
    name = ctypes.create_string_buffer(256)
    major, minor, version = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    memory = ctypes.c_size_t()
    library.cuDeviceGetName(name, len(name), 0)
    library.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, 0)
    library.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, 0)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), 0)
    library.cuDriverGetVersion(ctypes.byref(version))
    return {
        "name": name.value.decode(errors="replace"),
        "arch": f"sm_{major.value}{minor.value}",
        "memory_bytes": memory.value,
        "driver": f"{version.value // 1000}.{version.value % 1000 // 10}",
    }


def _words(library: ctypes.CDLL, status: int) -> str:
    text = ctypes.c_char_p()
    library.cuGetErrorString(status, ctypes.byref(text))
    return f"{(text.value or b'unknown').decode(errors='replace')} (status {status})"


if __name__ == "__main__":
    json.dump(probe(), sys.stdout)
