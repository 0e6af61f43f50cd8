"""OpenVINO: one stream, the latency hint, float32 arithmetic, tensors in memory that is there."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import openvino

from ..arrays import empty
from ..competitor import Form, Surroundings
from ..operations import Operation
from .onnx_models import QUANTIZED, models


class OpenvinoRequests:
    """A compiled model and a request for each model."""

    version = openvino.__version__

    def __init__(self, surroundings: Surroundings) -> None:
        """Set the threads."""
        self.core = openvino.Core()
        self.settings = {
            "INFERENCE_NUM_THREADS": surroundings.threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # the default would be bfloat16 where the processor has it
        }

    def forms(self, workload: str, operation: Operation, arrays: list[np.ndarray]) -> Iterator[Form]:
        """Give each model's request."""
        for name, model in models(operation, arrays):
            if name == QUANTIZED:
                continue  # its front end knows products of bytes, but no convolution
            compiled = self.core.compile_model(self.core.read_model(model=model), "CPU", self.settings)
            request = compiled.create_infer_request()
            given = [a for o, a in zip(operation.operands, arrays, strict=True) if not o.constant]
            for position, array in enumerate(given):
                request.set_input_tensor(position, openvino.Tensor(array, shared_memory=True))
            out = empty(operation.result)
            request.set_output_tensor(openvino.Tensor(out, shared_memory=True))
            yield Form(name, partial(request.infer, share_outputs=True), out.copy)
