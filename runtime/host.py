"""The machine that this process runs on."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache

import llvmlite
from llvmlite import binding as llvm

from ..codegen.llvm.features import CPUS_WITH, has, switched
from ..ir.errors import TargetError
from ..ir.target import Target
from .llvm_names import refuse_unknown


@dataclass(frozen=True, slots=True)
class Machine:
    """What a measurement depends on besides the program; equal machines give comparable times.

    cores  processors this process may run on
    """

    cpu: str  # LLVM's name
    model: str  # the vendor's
    features: str  # hash of what it has of LLVM's features
    cores: int
    os: str
    llvm: str

    @property
    def key(self) -> str:
        """Give 16 hexadecimal digits that are the same for equal machines, in any process."""
        text = "\n".join(str(getattr(self, field.name)) for field in fields(self))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return f"{self.model} ({self.cpu}, {self.cores} cores), {self.os}, LLVM {self.llvm}"


@cache
def host_target() -> Target:
    """Give the target of this machine, with no field left blank."""
    features = _host_features()
    there = frozenset(name for name, present in features.items() if present)
    return Target(
        kind="llvm",
        triple=llvm.get_default_triple(),
        cpu=llvm.get_host_cpu_name(),
        features=flatten(features),
        vector_bits=_vector_bits(platform.machine(), there),
        registers=_registers(platform.machine(), there),
    )


def resolve(target: str | Target) -> Target:
    """Give `target` with its blank fields filled: from this machine where it names no other processor.

    A target with a triple or a processor of its own is not this machine: its features stay as they are, and blank
    vector fields become those that every processor of the architecture has.  A GPU that is not named is this machine's,
    else one of the default architecture.
    Raises TargetError for a triple, processor or feature of which LLVM knows nothing.
    """
    asked = Target.parse(target)
    if asked.kind == "cuda":
        return replace(asked, arch=asked.arch or gpu_arch())
    if asked.kind != "llvm":
        return asked
    host = host_target()
    elsewhere = asked.triple not in ("", host.triple) or asked.cpu not in ("", host.cpu)
    if elsewhere or asked.features not in ("", host.features):
        refuse_unknown(asked.triple or host.triple, asked.cpu, asked.features)
    if not elsewhere:
        return replace(
            asked,
            triple=host.triple,
            cpu=host.cpu,
            features=",".join(filter(None, (host.features, asked.features))) if asked.features != host.features
            else host.features,
            vector_bits=asked.vector_bits or host.vector_bits,
            registers=asked.registers or host.registers,
        )  # fmt: skip
    triple = asked.triple or host.triple
    cpu = asked.cpu or "generic"
    arch = triple.split("-")[0]
    features = vector_features(cpu, asked.features)
    return replace(
        asked,
        triple=triple,
        cpu=cpu,
        vector_bits=asked.vector_bits or _vector_bits(arch, features),
        registers=asked.registers or _registers(arch, features),
    )


def refuse_elsewhere(target: Target) -> None:
    """Raise TargetError where code for the processor `target`, with no field left blank, cannot run on this machine."""
    host = host_target()
    missing = vector_features(target.cpu, target.features) - vector_features(host.cpu, host.features)
    if target.triple.split("-")[0] != host.triple.split("-")[0] or missing:
        fact = f"the code is for {target.cpu or target.triple}, this machine is {host.cpu}"
        where = f"  missing here: {', '.join(sorted(missing))}" if missing else ""
        raise TargetError("load", fact, where, "build it for this machine, or export it")


def gpu_arch() -> str:
    """Give the architecture of this machine's GPU as targets name it, or the default one where there is none."""
    from .cuda.architecture import DEFAULT_ARCH, fullest  # most programs want no GPU
    from .cuda.availability import probe

    found = probe().get("arch")
    return fullest(found) or found if found else DEFAULT_ARCH


def cpu_count() -> int:
    """Give the number of processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def machine() -> Machine:
    """Give the fingerprint of this machine, as it was when first asked."""
    target = host_target()
    return Machine(
        cpu=target.cpu,
        model=_model(),
        features=hashlib.sha256(_present(target.features).encode()).hexdigest()[:16],
        cores=cpu_count(),
        os=f"{platform.system()} {platform.machine()}",
        llvm=f"{'.'.join(map(str, llvm.llvm_version_info))} (llvmlite {llvmlite.__version__})",
    )


def _host_features() -> dict[str, bool]:
    try:
        return dict(llvm.get_host_cpu_features())
    except RuntimeError:  # LLVM cannot tell on this system
        return {}


def flatten(features: Mapping[str, bool]) -> str:
    """Give the feature string of what a machine has and has not.

    Those that it has not are switched off: LLVM, and `codegen/llvm/features.py`, would take them for granted from the
    name of a processor, but a virtual machine, or the system, may withhold them.
    """
    ordered = sorted(features, key=lambda name: (not features[name], name))
    return ",".join(f"{'+' if features[name] else '-'}{name}" for name in ordered)


def _present(features: str) -> str:
    return ",".join(word for word in features.split(",") if word.startswith("+"))


def vector_features(cpu: str, features: str) -> frozenset[str]:
    """Give the LLVM features that a feature string names, and those that code generation asks about and surely has."""
    target = Target(cpu=cpu, features=features)
    named = {name for name, on in switched(features).items() if on}
    return frozenset(named | {feature for feature in CPUS_WITH if has(target, feature)})


def _vector_bits(arch: str, features: frozenset[str]) -> int:
    if arch in ("x86_64", "AMD64", "i686"):
        return 512 if "avx512f" in features else 256 if "avx" in features else 128
    return 128


def _registers(arch: str, features: frozenset[str]) -> int:
    if arch in ("x86_64", "AMD64"):
        return 32 if "avx512f" in features else 16
    return 8 if arch == "i686" else 16 if arch.startswith("arm") and arch != "arm64" else 32


def _model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() in ("model name", "Model"):
                    return value.strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
