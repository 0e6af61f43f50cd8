"""onnxruntime: all graph optimizations, inputs and output bound to memory that is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import onnxruntime

from ..arrays import empty
from ..competitor import Form, Surroundings
from ..operations import Operation
from .onnx_models import models, result_type

ERRORS_ONLY = 3


class OnnxruntimeSessions:
    """A session for each model."""

    version = onnxruntime.__version__

    def __init__(self, surroundings: Surroundings) -> None:
        """Set the threads."""
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = surroundings.threads
        self.options.inter_op_num_threads = 1
        self.options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.options.log_severity_level = ERRORS_ONLY

    def forms(self, workload: str, operation: Operation, arrays: list[np.ndarray]) -> Iterator[Form]:
        """Give each model's bound run."""
        for name, model in models(operation, arrays):
            session = onnxruntime.InferenceSession(model, self.options, providers=["CPUExecutionProvider"])
            binding = session.io_binding()
            for operand, array in zip(operation.operands, arrays, strict=True):
                if not operand.constant:
                    binding.bind_ortvalue_input(operand.name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
            out = onnxruntime.OrtValue.ortvalue_from_numpy(
                empty(replace(operation.result, dtype=result_type(operation)))
            )
            binding.bind_ortvalue_output(operation.result.name, out)
            yield Form(name, partial(session.run_with_iobinding, binding), lambda out=out: out.numpy().copy())
