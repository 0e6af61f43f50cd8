"""Layers of known networks, by name; batch 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .arguments import UsageError, near
from .networks import NETWORKS


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: the operator's name, its shape in that operator's form, and flags that differ from their defaults."""

    name: str
    operator: str
    shape: tuple[int, ...]
    flags: tuple[tuple[str, object], ...] = ()


def _convolutions() -> Iterator[Layer]:
    for network, convolutions in NETWORKS.items():
        for c in convolutions():
            window = (c.kernel, c.stride, c.kernel // 2)
            operator, filters = ("depthwise_conv2d", ()) if c.depthwise else ("conv2d", (c.filters,))
            yield Layer(f"{network}.{c.name}", operator, (1, c.channels, c.size, c.size, *filters, *window))


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


LAYERS = {layer.name: layer for layer in (*_convolutions(), *_dcgan(), *_bert())}


def find_layer(name: str, operator: str) -> Layer:
    """Give the layer `name` of an operator.  Raises UsageError if there is none, or it is another operator's."""
    layer = LAYERS.get(name)
    if layer is None:
        raise UsageError(f"there is no layer {name!r}", _near_layers(name, operator))
    if layer.operator != operator:
        raise UsageError(f"{name} is a layer of {layer.operator}", f"autotune {layer.operator} --layer {name}")
    return layer


def _near_layers(name: str, operator: str) -> str:
    """Give the layers that `name` may mean: of the operator, and of its network where it names one."""
    own = [layer.name for layer in LAYERS.values() if layer.operator == operator] or list(LAYERS)
    network = [known for known in own if known.split(".")[0] == name.split(".")[0]]
    alone = [known for known in own if known.split(".")[1].lower() == name.lower()]
    return ", ".join(alone) or near(name, network or own, "autotune list")
