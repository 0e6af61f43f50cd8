"""Models of one operation in ONNX: constant operands are initializers, the others are inputs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from ..layouts import plain_weights
from ..operations import (
    BiasRelu,
    Convolution,
    Fused,
    LayerNorm,
    Operation,
    Product,
    Quantized,
    Reduction,
    Softmax,
    Summed,
    Transposed,
    Unary,
)

OPSET, IR_VERSION = 18, 10
MICROSOFT, MICROSOFT_OPSET = "com.microsoft", 1
TURNED = "NCHW between two transposes, which are timed"
FUSED_NUMBERS = {
    name: np.array(value, np.float32)
    for name, value in (("zero", 0), ("six", 6), ("root2", 2**0.5), ("one", 1), ("half", 0.5))
}
QUANTIZED, DEQUANTIZED = "quantized operators", "dequantized operators"  # two ways to say the same in ONNX


def models(operation: Operation, arrays: list[np.ndarray]) -> Iterator[tuple[str, bytes]]:
    """Give the model, or for bytes two: quantized operators, and floating-point ones between (de)quantizers."""
    match operation:
        case Quantized():
            yield QUANTIZED, _model(operation, arrays, *_quantized_operator(operation))
            yield DEQUANTIZED, _model(operation, arrays, *_dequantized(operation))
        case Fused():
            yield "", _model(operation, arrays, _fused(operation), dict(FUSED_NUMBERS))
        case Convolution(layout="NCHW") | Transposed() | Product() | Softmax() | LayerNorm() | BiasRelu() | Reduction():
            yield "", _model(operation, arrays, _nodes(operation), _axes(operation))
        case Unary():
            yield "", _model(operation, arrays, _function(operation), dict(FUSED_NUMBERS))
        case Summed():
            yield (
                "",
                _model(
                    operation,
                    arrays,
                    [helper.make_node("MatMulInteger", [o.name for o in operation.operands], ["C"])],
                    {},
                ),
            )
        case Convolution(layout="NHWC"):
            data, weights = arrays
            yield TURNED, _model(operation, [data, plain_weights(operation, weights)], _turned(operation), {})


def _model(
    operation: Operation, arrays: list[np.ndarray], nodes: list[NodeProto], more: dict[str, np.ndarray]
) -> bytes:
    given = [(o, a) for o, a in zip(operation.operands, arrays, strict=True) if not o.constant]
    fixed = {o.name: a for o, a in zip(operation.operands, arrays, strict=True) if o.constant} | more
    inputs = [_described(o.name, a.dtype, a.shape) for o, a in given]
    result = operation.result
    outputs = [_described(result.name, np.dtype(result_type(operation)), result.shape)]
    constants = [numpy_helper.from_array(np.asarray(a, order="C"), name) for name, a in fixed.items()]
    graph = helper.make_graph(nodes, "operation", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, MICROSOFT_OPSET)]
    made: ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    return made.SerializeToString()


def result_type(operation: Operation) -> str:
    """Give the type of the result, in which ONNX has positions of 64 bits."""
    match operation:
        case Reduction(operator="argmax"):
            return "int64"
        case _:
            return operation.result.dtype


def _described(name: str, dtype: np.dtype, shape: tuple[int, ...]) -> object:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape)


def _nodes(operation: Operation) -> list[NodeProto]:
    names, out = [o.name for o in operation.operands], operation.result.name
    match operation:
        case Convolution():
            return [helper.make_node("Conv", names, [out], **_window(operation))]
        case Transposed():
            return [helper.make_node("ConvTranspose", names, [out], **_spread(operation))]
        case Product():
            return [helper.make_node("MatMul", names, [out])]
        case Softmax():
            return [helper.make_node("Softmax", names, [out], axis=1)]
        case LayerNorm(epsilon=epsilon):
            return [helper.make_node("LayerNormalization", names, [out], axis=-1, epsilon=epsilon)]
        case BiasRelu():
            return [helper.make_node("Add", names, ["sum"]), helper.make_node("Relu", ["sum"], [out])]
        case Reduction(axis=axis, operator="argmax"):
            return [helper.make_node("ArgMax", names, [out], axis=axis, keepdims=0)]
        case Reduction(operator=operator):
            kind = f"Reduce{operator.capitalize()}"
            return [helper.make_node(kind, [*names, "axes"], [out], keepdims=0)]
        case _:
            raise AssertionError(f"no model of {operation}")


def _fused(operation: Fused) -> list[NodeProto]:
    """Give the sums, and what becomes of them in the nodes that exporters write and libraries know."""
    data, weights, bias, *residual = (o.name for o in operation.operands)
    match operation.of:
        case Convolution() as conv:
            nodes = [helper.make_node("Conv", [data, weights, bias], ["sums"], **_window(conv))]
        case Product():
            nodes = [helper.make_node("MatMul", [data, weights], ["products"])]
            nodes.append(helper.make_node("Add", ["products", bias], ["sums"]))
    total = "sums"
    for name in residual:
        nodes.append(helper.make_node("Add", [total, name], ["total"]))
        total = "total"
    nodes += _activation(operation.activation, total)
    nodes[-1].output[0] = operation.result.name
    return nodes


def _activation(name: str, x: str) -> list[NodeProto]:
    match name:
        case "relu":
            return [helper.make_node("Relu", [x], ["activated"])]
        case "relu6":
            return [helper.make_node("Clip", [x, "zero", "six"], ["activated"])]
        case "gelu":  # as PyTorch exports it for this opset
            steps = (("Div", x, "root2", "scaled"), ("Erf", "scaled", "", "erf"), ("Add", "erf", "one", "above"))
            steps += (("Mul", x, "above", "twice"), ("Mul", "twice", "half", "activated"))
            return [helper.make_node(kind, [a, b] if b else [a], [made]) for kind, a, b, made in steps]
        case _:
            return []


def _axes(operation: Operation) -> dict[str, np.ndarray]:
    match operation:
        case Reduction(axis=axis, operator="sum" | "mean" | "max" | "min"):
            return {"axes": np.array([axis], np.int64)}
        case _:
            return {}


def _function(operation: Unary) -> list[NodeProto]:
    (data,), out = operation.operands, operation.result.name
    if operation.operator != "gelu":
        return [helper.make_node(operation.operator.capitalize(), [data.name], [out])]
    nodes = _activation("gelu", data.name)
    nodes[-1].output[0] = out
    return nodes


def _window(conv: Convolution) -> dict[str, object]:
    return {
        "kernel_shape": conv.filters[1:],
        "strides": [conv.stride] * 2,
        "pads": [conv.padding] * 4,
        "dilations": [conv.dilation] * 2,
        "group": conv.groups,
    }


def _turned(conv: Convolution) -> list[NodeProto]:
    data, weights = (o.name for o in conv.operands)
    return [
        helper.make_node("Transpose", [data], ["plain"], perm=(0, 3, 1, 2)),
        helper.make_node("Conv", ["plain", weights], ["plain_out"], **_window(conv)),
        helper.make_node("Transpose", ["plain_out"], [conv.result.name], perm=(0, 2, 3, 1)),
    ]


def _spread(conv: Transposed) -> dict[str, object]:
    return {
        "kernel_shape": conv.filters[1:],
        "strides": [conv.stride] * 2,
        "pads": [conv.padding] * 4,
        "output_padding": [conv.output_padding] * 2,
        "group": conv.groups,
    }


def _scales(operation: Quantized) -> dict[str, np.ndarray]:
    numbers = {"data": operation.data_scale, "weight": operation.weight_scale, "result": operation.result_scale}
    zeros = {"data": np.uint8(0), "weight": np.int8(0), "result": np.uint8(operation.own_zero)}
    if operation.residual:
        numbers |= {"residual": operation.residual_scale, "sum": operation.sum_scale}
        zeros |= {"residual": np.uint8(0), "sum": np.uint8(0)}
    scales = {f"{name}_scale": np.array(value, np.float32) for name, value in numbers.items()}
    return scales | {f"{name}_zero": np.array(value) for name, value in zeros.items()}


def _quantized_operator(operation: Quantized) -> tuple[list[NodeProto], dict[str, np.ndarray]]:
    data, weights, *residual = (o.name for o in operation.operands)
    kind, window = _kind(operation)
    names = [*_number(data, "data"), *_number(weights, "weight"), *_number("", "result")[1:]]
    nodes = [helper.make_node(f"QLinear{kind}", names, ["result"], **window)]
    for name in residual:
        names = [*_number("result", "result"), *_number(name, "residual"), *_number("", "sum")[1:]]
        nodes.append(helper.make_node("QLinearAdd", names, ["sum"], domain=MICROSOFT))
    nodes[-1].output[0] = operation.result.name
    return nodes, _scales(operation)


def _dequantized(operation: Quantized) -> tuple[list[NodeProto], dict[str, np.ndarray]]:
    data, weights, *residual = (o.name for o in operation.operands)
    kind, window = _kind(operation)
    nodes = [
        helper.make_node("DequantizeLinear", _number(data, "data"), ["data_float"]),
        helper.make_node("DequantizeLinear", _number(weights, "weight"), ["weight_float"]),
        helper.make_node(kind, ["data_float", "weight_float"], ["result_float"], **window),
        helper.make_node("QuantizeLinear", _number("result_float", "result"), ["result"]),
    ]
    for name in residual:
        nodes += [
            helper.make_node("DequantizeLinear", _number("result", "result"), ["own_float"]),
            helper.make_node("DequantizeLinear", _number(name, "residual"), ["residual_float"]),
            helper.make_node("Add", ["own_float", "residual_float"], ["sum_float"]),
            helper.make_node("QuantizeLinear", _number("sum_float", "sum"), ["sum"]),
        ]
    nodes[-1].output[0] = operation.result.name
    return nodes, _scales(operation)


def _number(tensor: str, name: str) -> list[str]:
    """Give the inputs that a tensor of bytes is: itself, its scale and its zero."""
    return [tensor, f"{name}_scale", f"{name}_zero"]


def _kind(operation: Quantized) -> tuple[str, dict[str, object]]:
    match operation.of:
        case Convolution() as conv:
            return "Conv", _window(conv)
        case Product():
            return "MatMul", {}
