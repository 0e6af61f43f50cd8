"""The split: workloads whose trials the shipped records and model are made of, and those they are judged by.

No held-out operation is one of the training workloads, whatever family it comes from.
"""

from __future__ import annotations

from collections.abc import Mapping

from peers.families import FAMILIES, depthwise
from peers.operations import LayerNorm, Operation, Product, Softmax, Workload

ALL = ()  # of a family

TRAINING: Mapping[str, tuple[str, ...]] = {  # families, and workloads of each
    "resnet18": ALL,
    "resnet50": ALL,
    "mobilenetv2": ALL,
    "depthwise": ALL,
    "gemm": ("G64", "G128", "G256", "G512", "G1024"),
    "gemm_variable": ("V64", "V128", "V256", "V512", "V1024"),
    "transformer": ("bert_proj", "bert_qkv", "bert_up", "bert_down", "bert_up_512"),
    "batch_matmul": ("12_128x128x64", "12_128x64x128", "12_512x512x64"),
    "memory": ("softmax_1536x128", "softmax_6144x512", "layer_norm_128x768", "layer_norm_4096x256"),
}
HELD_OUT: Mapping[str, tuple[str, ...]] = {
    "efficientnet": (
        "dw56_144k5s2", "project28_144_40", "expand28_40_240", "dw28_240k5s1", "project14_480_112", "dw14_672k5s1",
        "expand7_192_1152", "dw7_1152k5s1",
    ),
    "vgg16": ("224_3_64", "112_64_128", "56_128_256", "28_512_512"),
    "odd_conv": (
        "5x5_28_64", "5x5s2_56_48", "7x7_14_128", "dilated2_28_128", "groups32_14_512", "groups4_28_128",
        "odd_57_65_67", "odd_13_100_75", "odd_31_37_41", "1x7_17_128",
    ),
    "odd_gemm": ALL,
    "transformer": ("gpt2_token_qkv", "gpt2_token_up", "gpt2_token_down"),
    "batch_matmul": ("64_64x64x64", "8_197x197x64"),
    "odd_depthwise": ALL,
    "odd_rows": ALL,
}  # fmt: skip
DEPTHWISE = (
    (56, 96, 5, 2), (56, 72, 5, 1), (28, 120, 5, 1), (28, 120, 5, 2), (14, 320, 5, 1), (14, 320, 5, 2), (7, 640, 5, 1),
    (20, 128, 5, 1), (112, 64, 3, 1), (28, 144, 3, 1), (56, 64, 3, 2), (14, 256, 3, 2), (7, 512, 3, 1), (40, 96, 3, 1),
    (20, 200, 3, 2), (75, 32, 3, 1),
)  # fmt: skip
ODD_DEPTHWISE = (
    (56, 192, 2), (112, 48, 2), (28, 160, 1), (28, 288, 2), (64, 64, 1), (100, 50, 1), (48, 256, 2), (112, 80, 1),
)  # fmt: skip
PRODUCTS = ((32, 768, 768), (1, 1024, 1024), (8, 512, 2048), (784, 128, 512), (100, 300, 200), (2048, 32, 256))
MORE = {  # beside the families, for more kinds of shapes
    "products": {f"P{m}x{n}x{k}": Product(m, n, k) for m, n, k in PRODUCTS},
    "more_depthwise": {
        f"dw{size}_{channels}k{kernel}s{stride}": depthwise(size, channels, kernel, stride)
        for size, channels, kernel, stride in DEPTHWISE
    },
    "odd_depthwise": {
        f"dw{size}_{channels}s{stride}": depthwise(size, channels, 3, stride)
        for size, channels, stride in ODD_DEPTHWISE
    },
    "odd_rows": {
        "softmax_77x1001": Softmax(77, 1001),
        "softmax_2048x197": Softmax(2048, 197),
        "layer_norm_197x384": LayerNorm(197, 384),
        "layer_norm_1000x520": LayerNorm(1000, 520),
    },
}


def training() -> list[Workload]:
    """Give the training workloads, each distinct operation once."""
    return _distinct([*_of(TRAINING), *_of({"more_depthwise": ALL, "products": ALL})], set())


def held_out() -> list[Workload]:
    """Give the held-out workloads: none is a training workload."""
    return _distinct(_of(HELD_OUT), {w.operation for w in training()})


def _of(families: Mapping[str, tuple[str, ...]]) -> list[Workload]:
    found = []
    for family, names in families.items():
        members = MORE[family].items() if family in MORE else FAMILIES[family]()
        found += [Workload(label, family, operation) for label, operation in members if not names or label in names]
    return found


def _distinct(workloads: list[Workload], seen: set[Operation]) -> list[Workload]:
    first = {}
    for workload in workloads:
        if workload.operation not in seen:
            first.setdefault(workload.operation, workload)
    return list(first.values())
