"""TVM as it compiles a model without tuning, for this processor."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import onnx
import tvm
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx

from ..competitor import Form, Surroundings
from ..operations import Operation, Quantized
from .onnx_models import models


class TvmModules:
    """A virtual machine for each model; its loops run on the threads that the environment names."""

    version = tvm.__version__

    def __init__(self, surroundings: Surroundings) -> None:
        """Compile for this processor."""
        self.target = tvm.target.Target({"kind": "llvm", "mcpu": tvm.get_global_func("target.llvm_get_system_cpu")()})

    def forms(self, workload: str, operation: Operation, arrays: list[np.ndarray]) -> Iterator[Form]:
        """Give each model's run on inputs that are set."""
        if type(operation) is Quantized:
            return
        for name, model in models(operation, arrays):
            module = from_onnx(onnx.load_from_string(model))
            machine = relax.VirtualMachine(tvm.compile(module, target=self.target), tvm.cpu())
            given = [a for o, a in zip(operation.operands, arrays, strict=True) if not o.constant]
            machine.set_input("main", *map(tvm.runtime.tensor, given))
            run = partial(machine.invoke_stateful, "main")
            yield Form(name, run, lambda machine=machine: machine.get_outputs("main").numpy())
