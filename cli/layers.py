"""Layers of known networks, by name; batch 1."""

from __future__ import annotations

from dataclasses import dataclass

from .arguments import UsageError, near


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: the operator's name, its shape in that operator's form, and flags that differ from their defaults."""

    name: str
    operator: str
    shape: tuple[int, ...]
    flags: tuple[tuple[str, object], ...] = ()


def _resnet18() -> list[Layer]:
    """Give the convolutions of ResNet-18: He et al., "Deep residual learning", 2015; numbered as in TVM's VTA."""
    rows = (  # size, channels in, channels out, kernel, stride, padding
        (224, 3, 64, 7, 2, 3),
        (56, 64, 64, 3, 1, 1),
        (56, 64, 64, 1, 1, 0),
        (56, 64, 128, 3, 2, 1),
        (56, 64, 128, 1, 2, 0),
        (28, 128, 128, 3, 1, 1),
        (28, 128, 256, 3, 2, 1),
        (28, 128, 256, 1, 2, 0),
        (14, 256, 256, 3, 1, 1),
        (14, 256, 512, 3, 2, 1),
        (14, 256, 512, 1, 2, 0),
        (7, 512, 512, 3, 1, 1),
    )
    return [
        Layer(f"resnet18.C{number}", "conv2d", (1, channels, size, size, filters, kernel, stride, padding))
        for number, (size, channels, filters, kernel, stride, padding) in enumerate(rows, start=1)
    ]


def _mobilenet() -> list[Layer]:
    """Give MobileNet v1: a convolution, then 13 pairs of depthwise and pointwise ones; Howard et al., 2017."""
    layers = [Layer("mobilenet.conv", "conv2d", (1, 3, 224, 224, 32, 3, 2, 1))]
    size, channels = 112, 32
    filters = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    for number, count in enumerate(filters, start=1):
        stride = 2 if number in (2, 4, 6, 12) else 1
        layers.append(Layer(f"mobilenet.dw{number}", "depthwise_conv2d", (1, channels, size, size, 3, stride, 1)))
        size //= stride
        layers.append(Layer(f"mobilenet.pw{number}", "conv2d", (1, channels, size, size, count, 1, 1, 0)))
        channels = count
    return layers


def _inverted_bottlenecks() -> list[Layer]:
    """Give the distinct depthwise convolutions of MobileNetV2 (Sandler et al., 2018) and EfficientNet-lite0."""
    mobile = "112,32,3,1 112,96,3,2 56,144,3,1 56,144,3,2 28,192,3,1 28,192,3,2 14,384,3,1 14,576,3,1 14,576,3,2"
    lite = "112,32,3,1 112,96,3,2 56,144,3,1 56,144,5,2 28,240,5,1 28,240,3,2 14,480,3,1 14,480,5,1 14,672,5,1"
    networks = {"mobilenetv2": f"{mobile} 7,960,3,1", "efficientnet": f"{lite} 14,672,5,2 7,1152,5,1 7,1152,3,1"}
    layers = []
    for network, rows in networks.items():
        for number, row in enumerate(rows.split(), start=1):
            size, channels, kernel, stride = map(int, row.split(","))
            shape = (1, channels, size, size, kernel, stride, kernel // 2)
            layers.append(Layer(f"{network}.dw{number}", "depthwise_conv2d", shape))
    return layers


def _bert() -> list[Layer]:
    """Give BERT base at 128 tokens: 12 heads of 64; Devlin et al., 2018."""
    tokens, hidden, heads, head = 128, 768, 12, 64
    return [
        Layer("bert.projection", "dense", (tokens, hidden, hidden)),  # of queries, keys, values or the result
        Layer("bert.qkv", "dense", (tokens, 3 * hidden, hidden)),  # the first three at once
        Layer("bert.scores", "batch_matmul", (heads, tokens, tokens, head)),  # queries by keys
        Layer("bert.context", "batch_matmul", (heads, tokens, head, tokens), (("transpose_b", False),)),
        Layer("bert.ffn_up", "dense", (tokens, 4 * hidden, hidden)),
        Layer("bert.ffn_down", "dense", (tokens, hidden, 4 * hidden)),
    ]


def _dcgan() -> list[Layer]:
    """Give the transposed convolutions of DCGAN's generator for images of 64 x 64; Radford et al., 2015."""
    rows = ((4, 1024, 512), (8, 512, 256), (16, 256, 128), (32, 128, 3))  # size, channels in, channels out
    return [
        Layer(f"dcgan.up{number}", "conv2d_transpose", (1, channels, size, size, filters, 4, 2, 1))
        for number, (size, channels, filters) in enumerate(rows, start=1)
    ]


LAYERS = {layer.name: layer for layer in (*_resnet18(), *_mobilenet(), *_inverted_bottlenecks(), *_dcgan(), *_bert())}


def find_layer(name: str, operator: str) -> Layer:
    """Give the layer `name` of an operator.  Raises UsageError if there is none, or it is another operator's."""
    layer = LAYERS.get(name)
    if layer is None:
        raise UsageError(f"there is no layer {name!r}", near(name, LAYERS, "autotune list"))
    if layer.operator != operator:
        raise UsageError(f"{name} is a layer of {layer.operator}", f"autotune {layer.operator} --layer {name}")
    return layer
