"""What is checked and measured: shapes by template.  A template that has none here is reported as unchecked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Args = tuple[Any, ...]

RESNET50 = (  # channels in, size, channels out, kernel, stride, padding: He et al., 2015, with the stride in the 3x3
    (3, 224, 64, 7, 2, 3),
    (64, 56, 64, 1, 1, 0), (64, 56, 64, 3, 1, 1), (64, 56, 256, 1, 1, 0), (256, 56, 64, 1, 1, 0),
    (256, 56, 128, 1, 1, 0), (128, 56, 128, 3, 2, 1), (256, 56, 512, 1, 2, 0),
    (128, 28, 512, 1, 1, 0), (512, 28, 128, 1, 1, 0), (128, 28, 128, 3, 1, 1),
    (512, 28, 256, 1, 1, 0), (256, 28, 256, 3, 2, 1), (512, 28, 1024, 1, 2, 0),
    (256, 14, 1024, 1, 1, 0), (1024, 14, 256, 1, 1, 0), (256, 14, 256, 3, 1, 1),
    (1024, 14, 512, 1, 1, 0), (512, 14, 512, 3, 2, 1), (1024, 14, 2048, 1, 2, 0),
    (512, 7, 2048, 1, 1, 0), (2048, 7, 512, 1, 1, 0), (512, 7, 512, 3, 1, 1),
)  # fmt: skip


def _conv(n: int, ci: int, size: int, co: int, k: int, s: int, p: int, *more: Any) -> Args:
    return ((n, ci, size, size), (co, k, k), s, p, *more)


SMALL: dict[str, tuple[Args, ...]] = {  # whole tiles, odd tails, single rows, and each data type
    "matmul": (
        (64, 64, 64), (33, 65, 17), (128, 96, 72), (1, 130, 40), (100, 1, 50), (7, 5, 3), (64, 64, 64, True, False),
        (40, 72, 56, False, True), (65, 33, 31, True, True), (64, 64, 64, False, False, "float16"),
        (80, 48, 96, False, True, "float16"), (64, 128, 32, False, False, "bfloat16"),
        (37, 43, 29, False, False, "float16"), (64, 64, 64, False, True, "int8"),
    ),
    "dense": (
        (64, 64, 64), (33, 17, 65), (1, 100, 40), (64, 64, 64, "float16"), (48, 80, 32, "bfloat16"),
        (32, 32, 64, "int8"),
    ),
    "batch_matmul": (
        (2, 32, 32, 32), (3, 17, 9, 33), (1, 64, 40, 24), (5, 1, 16, 8), (2, 32, 32, 32, False),
        (2, 32, 32, 32, True, "float16"), (4, 24, 40, 16, False, "float16"),
    ),
    "conv2d": (
        _conv(1, 16, 14, 32, 3, 1, 1), _conv(2, 3, 17, 8, 7, 2, 3), _conv(1, 24, 9, 20, 1, 1, 0),
        _conv(1, 8, 13, 12, 3, 2, 1), _conv(1, 16, 10, 16, 3, 1, 2, 2), _conv(1, 16, 9, 24, 3, 1, 1, 1, 4),
        _conv(1, 16, 14, 32, 3, 1, 1, 1, 1, "NHWC"),
        _conv(2, 12, 11, 20, 3, 2, 1, 1, 1, "NHWC"), _conv(1, 32, 7, 64, 1, 1, 0, 1, 1, "NHWC"),
        _conv(1, 16, 14, 32, 3, 1, 1, 1, 1, "NHWC", "float16"), _conv(1, 16, 9, 16, 3, 1, 1, 1, 1, "NCHW", "float16"),
    ),
    "depthwise_conv2d": tuple(
        ((n, c, size, size), (k, k), s, p, *more)
        for n, c, size, k, s, p, *more in (
            (1, 16, 14, 3, 1, 1), (2, 5, 17, 3, 2, 1), (1, 32, 9, 5, 1, 2), (1, 3, 7, 1, 1, 0), (1, 8, 12, 3, 1, 2, 2),
            (1, 16, 14, 3, 1, 1, 1, "NHWC"), (2, 6, 11, 3, 2, 1, 1, "NHWC"), (1, 16, 14, 3, 1, 1, 1, "NHWC", "float16"),
            (1, 7, 10, 3, 1, 1, 1, "NCHW", "float16"),
        )
    ),
    "conv2d_transpose": (
        _conv(1, 16, 7, 12, 4, 2, 1), _conv(2, 5, 6, 7, 3, 2, 1, 1), _conv(1, 8, 9, 8, 2, 2, 0),
        _conv(1, 12, 5, 6, 3, 1, 1), _conv(1, 8, 6, 12, 4, 2, 1, 0, 4), _conv(1, 16, 7, 12, 4, 2, 1, 0, 1, "NHWC"),
        _conv(1, 3, 5, 9, 5, 3, 2, 2, 1, "NHWC"), _conv(1, 16, 7, 12, 4, 2, 1, 0, 1, "NCHW", "float16"),
    ),
    "softmax": (
        (16, 128), (5, 1000), (3, 77), (1, 33), (128, 7), (4, 2048), (2, 1), (9, 256, "float16"), (6, 130, "bfloat16"),
    ),
    "layer_norm": (
        (16, 128), (5, 1000), (3, 77), (1, 33), (128, 7), (4, 2048), (2, 40), (9, 256, "float16"), (6, 130, "bfloat16"),
    ),
    "reduction": (
        (16, 128, 1, "sum"), (16, 128, 0, "sum"), (5, 1000, 1, "max"), (77, 3, 0, "mean"), (1, 5000, 1, "sum"),
        (300, 1, 0, "min"), (33, 65, 1, "argmax"), (65, 33, 0, "argmin"), (16, 256, 1, "sum", "float16"),
        (9, 40, 1, "prod"),
    ),
    "elementwise": (
        (16, 128, "relu"), (5, 1000, "gelu"), (3, 77, "sigmoid"), (1, 33, "tanh"), (128, 7, "exp"), (4, 2048, "erf"),
        (2, 1, "sqrt"), (9, 256, "relu", "float16"), (6, 130, "gelu", "bfloat16"),
    ),
}  # fmt: skip

LARGE: dict[str, tuple[Args, ...]] = {  # what is tuned and compared
    "matmul": (
        (2048, 2048, 2048), (4096, 4096, 4096), (8192, 8192, 8192), (4096, 4096, 4096, False, True, "float16"),
        (8192, 8192, 8192, False, True, "float16"), (4096, 4096, 4096, False, True, "bfloat16"),
        (8192, 8192, 8192, False, True, "bfloat16"), (4096, 4096, 4096, False, True, "int8"),
    ),
    "batch_matmul": ((96, 512, 512, 64), (96, 512, 512, 64, True, "float16")),
    "conv2d": tuple(
        _conv(16, *layer, 1, 1, layout, dtype)
        for layout, dtype in (("NCHW", "float32"), ("NHWC", "float16"))
        for layer in (RESNET50[0], RESNET50[2], RESNET50[3], RESNET50[10], RESNET50[12], RESNET50[16], RESNET50[22])
    ),
    "depthwise_conv2d": (
        ((16, 64, 112, 112), (3, 3), 2, 1), ((16, 256, 28, 28), (3, 3), 1, 1),
        ((16, 256, 28, 28), (3, 3), 1, 1, 1, "NHWC", "float16"),
    ),
    "softmax": ((65536, 1024), (8192, 16384), (16384, 8192, "float16")),
    "layer_norm": ((65536, 1024), (8192, 16384), (16384, 8192, "float16")),
    "reduction": ((16384, 8192, 1, "sum"), (16384, 8192, 0, "sum"), (1, 1 << 27, 1, "sum")),
    "elementwise": ((16384, 8192, "relu"), (16384, 16384, "relu", "float16")),
}  # fmt: skip

DRY: dict[str, tuple[Args, ...]] = {name: shapes[:1] for name, shapes in SMALL.items()}  # in place of LARGE


def tasks(table: dict[str, tuple[Args, ...]], most: int | None = None) -> Iterator[tuple[str, Args]]:
    """Give template and arguments of each task, of the first `most` shapes of each template."""
    for name, shapes in table.items():
        for args in shapes[:most]:
            yield name, args
