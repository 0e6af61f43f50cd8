"""The convolutions of known networks, in order and under the names of their places; plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Convolved:
    """A convolution of a square image by a square window, padded so that stride 1 keeps the size.

    depthwise  each channel by itself
    """

    name: str
    size: int
    channels: int
    filters: int
    kernel: int
    stride: int = 1
    depthwise: bool = False


def resnet18() -> Iterator[Convolved]:
    """Give the distinct convolutions, numbered as in TVM's VTA; He et al., "Deep residual learning", 2015."""
    rows = (  # size, channels in, channels out, kernel, stride
        (224, 3, 64, 7, 2),
        (56, 64, 64, 3, 1),
        (56, 64, 64, 1, 1),
        (56, 64, 128, 3, 2),
        (56, 64, 128, 1, 2),
        (28, 128, 128, 3, 1),
        (28, 128, 256, 3, 2),
        (28, 128, 256, 1, 2),
        (14, 256, 256, 3, 1),
        (14, 256, 512, 3, 2),
        (14, 256, 512, 1, 2),
        (7, 512, 512, 3, 1),
    )
    yield from (Convolved(f"C{number}", *row) for number, row in enumerate(rows, start=1))


def resnet50() -> Iterator[Convolved]:
    """Give the distinct convolutions in order, strides in the 3x3 ones."""
    yield Convolved("stem", 224, 3, 64, 7, 2)
    size, channels = 56, 64
    for stage, width in enumerate((64, 128, 256, 512), start=2):
        stride = 1 if stage == 2 else 2
        yield Convolved(f"conv{stage}_reduce1", size, channels, width, 1)
        yield Convolved(f"conv{stage}_3x3s{stride}", size, width, width, 3, stride)
        yield Convolved(f"conv{stage}_shortcut", size, channels, 4 * width, 1, stride)
        size, channels = size // stride, 4 * width
        yield Convolved(f"conv{stage}_expand", size, width, channels, 1)
        yield Convolved(f"conv{stage}_reduce", size, channels, width, 1)
        yield Convolved(f"conv{stage}_3x3", size, width, width, 3)


def mobilenet() -> Iterator[Convolved]:
    """Give MobileNet v1: a convolution, then 13 pairs of depthwise and pointwise ones; Howard et al., 2017."""
    yield Convolved("conv", 224, 3, 32, 3, 2)
    size, channels = 112, 32
    filters = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    for number, count in enumerate(filters, start=1):
        stride = 2 if number in (2, 4, 6, 12) else 1
        yield Convolved(f"dw{number}", size, channels, channels, 3, stride, depthwise=True)
        size //= stride
        yield Convolved(f"pw{number}", size, channels, count, 1)
        channels = count


MOBILENETV2 = (  # expansion, kernel, channels, blocks, stride of the first block
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 3, 32, 3, 2),
    (6, 3, 64, 4, 2),
    (6, 3, 96, 3, 1),
    (6, 3, 160, 3, 2),
    (6, 3, 320, 1, 1),
)
EFFICIENTNET_LITE0 = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)


def inverted_bottlenecks(stages: Iterable[tuple[int, int, int, int, int]]) -> Iterator[Convolved]:
    """Give the convolutions of MobileNetV2's blocks behind a stem of 32 channels; Sandler et al., 2018.

    stages  expansion, kernel, channels, blocks, stride of the first block
    """
    yield Convolved("stem", 224, 3, 32, 3, 2)
    size, channels = 112, 32
    for expansion, kernel, filters, blocks, first_stride in stages:
        for block in range(blocks):
            stride, wide = first_stride if block == 0 else 1, channels * expansion
            if expansion > 1:
                yield Convolved(f"expand{size}_{channels}_{wide}", size, channels, wide, 1)
            yield Convolved(f"dw{size}_{wide}k{kernel}s{stride}", size, wide, wide, kernel, stride, depthwise=True)
            size //= stride
            yield Convolved(f"project{size}_{wide}_{filters}", size, wide, filters, 1)
            channels = filters
    yield Convolved(f"head{size}_{channels}", size, channels, 1280, 1)


def vgg16() -> Iterator[Convolved]:
    """Give the distinct convolutions; Simonyan and Zisserman, 2014."""
    rows = ((224, 3, 64), (224, 64, 64), (112, 64, 128), (112, 128, 128), (56, 128, 256), (56, 256, 256))
    for size, channels, filters in (*rows, (28, 256, 512), (28, 512, 512), (14, 512, 512)):
        yield Convolved(f"{size}_{channels}_{filters}", size, channels, filters, 3)


NETWORKS: Mapping[str, Callable[[], Iterable[Convolved]]] = {
    "resnet18": resnet18,
    "resnet50": resnet50,
    "mobilenet": mobilenet,
    "mobilenetv2": lambda: inverted_bottlenecks(MOBILENETV2),
    "efficientnet": lambda: inverted_bottlenecks(EFFICIENTNET_LITE0),
    "vgg16": vgg16,
}
