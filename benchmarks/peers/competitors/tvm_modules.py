"""TVM as it compiles a model without tuning, for this processor: loops as they come, and by the rules of its dlight."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import onnx
import tvm
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx
from tvm.s_tir import dlight

from ..competitor import Form, Surroundings
from ..operations import Operation
from .onnx_models import QUANTIZED, models

PLAIN, RULES = "plain loops", "dlight"


class TvmModules:
    """A virtual machine for each model and schedule; its loops run on the threads that the environment names."""

    version = tvm.__version__

    def __init__(self, surroundings: Surroundings) -> None:
        """Compile for this processor."""
        self.target = tvm.target.Target({"kind": "llvm", "mcpu": tvm.get_global_func("target.llvm_get_system_cpu")()})

    def forms(self, workload: str, operation: Operation, arrays: list[np.ndarray]) -> Iterator[Form]:
        """Give each model's run on inputs that are set, with both schedules."""
        for name, model in models(operation, arrays):
            if name == QUANTIZED:
                continue  # no such operators in its importer
            for schedule in (PLAIN, RULES):
                machine = self._machine(model, schedule)
                given = [a for o, a in zip(operation.operands, arrays, strict=True) if not o.constant]
                machine.set_input("main", *map(tvm.runtime.tensor, given))
                run = partial(machine.invoke_stateful, "main")
                result = partial(_result, machine)
                yield Form(", ".join(filter(None, (name, schedule))), run, result)

    def _machine(self, model: bytes, schedule: str) -> relax.VirtualMachine:
        module = from_onnx(onnx.load_from_string(model))
        if schedule == RULES:
            rules = dlight.ApplyDefaultSchedule(dlight.cpu.GEMV(), dlight.cpu.Reduction())
            with self.target:
                module = tvm.transform.Sequential([relax.get_pipeline("zero"), rules])(module)
        return relax.VirtualMachine(tvm.compile(module, target=self.target), tvm.cpu())


def _result(machine: relax.VirtualMachine) -> np.ndarray:
    return machine.get_outputs("main").numpy()
