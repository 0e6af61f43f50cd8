"""Families of workloads: the layers of known networks, and shapes that are hard in one way each; batch 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from tilewright.cli.networks import NETWORKS

from .operations import (
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
    Workload,
)

Named = tuple[str, Operation]


def square(
    size: int, channels: int, filters: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1
) -> Convolution:
    """Give a convolution of a square image by a square window, padded so that stride 1 keeps the size."""
    data, padding = (1, channels, size, size), kernel // 2 * dilation
    return Convolution(data, (filters, kernel, kernel), stride, padding, dilation, groups)


def depthwise(size: int, channels: int, kernel: int, stride: int = 1) -> Convolution:
    """Give a depthwise convolution."""
    return square(size, channels, channels, kernel, stride, groups=channels)


def layers(network: str) -> Iterator[Named]:
    """Give the convolutions of a network, under the names by which the command line knows them."""
    for c in NETWORKS[network]():
        yield c.name, square(c.size, c.channels, c.filters, c.kernel, c.stride, groups=c.channels if c.depthwise else 1)


def mobilenet_depthwise() -> Iterator[Named]:
    """Give depthwise convolutions of MobileNet v1, one of each size."""
    known = dict(layers("mobilenet"))
    yield from ((f"DW{number}", known[f"dw{place}"]) for number, place in enumerate((1, 2, 3, 5, 7), start=1))


def odd_convolutions() -> Iterator[Named]:
    """Give large windows, dilation, groups, and sizes that are multiples of nothing."""
    yield "5x5_28_64", square(28, 64, 64, 5)
    yield "5x5s2_56_48", square(56, 48, 96, 5, 2)
    yield "7x7_14_128", square(14, 128, 128, 7)
    yield "dilated2_28_128", square(28, 128, 128, 3, dilation=2)
    yield "dilated4_56_64", square(56, 64, 64, 3, dilation=4)
    yield "groups32_56_128", square(56, 128, 128, 3, groups=32)
    yield "groups32_14_512", square(14, 512, 512, 3, groups=32)
    yield "groups4_28_128", square(28, 128, 128, 3, groups=4)
    yield "odd_57_65_67", square(57, 65, 67, 3)
    yield "odd_13_100_75", square(13, 100, 75, 3)
    yield "odd_31_37_41", square(31, 37, 41, 1)
    yield "1x7_17_128", Convolution((1, 128, 17, 17), (128, 1, 7))
    yield "valid_35_96", Convolution((1, 96, 35, 35), (96, 3, 3))


def transposed() -> Iterator[Named]:
    """Give transposed convolutions of decoders.

    DCGAN's generator (Radford et al., 2015), U-Net's up-convolutions (Ronneberger et al., 2015), 3x3 ones as in
    ENet (Paszke et al., 2016), and FCN's last two (Long et al., 2015) for 21 classes.
    """
    for size, channels, filters in ((4, 1024, 512), (8, 512, 256), (16, 256, 128), (32, 128, 64), (32, 128, 3)):
        yield f"4x4s2_{size}_{channels}_{filters}", Transposed((1, channels, size, size), (filters, 4, 4), 2, 1)
    for size, channels, filters in ((28, 256, 128), (56, 128, 64)):
        yield f"2x2s2_{size}_{channels}_{filters}", Transposed((1, channels, size, size), (filters, 2, 2), 2)
    for size, channels, filters in ((28, 128, 64), (56, 64, 32)):
        yield f"3x3s2_{size}_{channels}_{filters}", Transposed((1, channels, size, size), (filters, 3, 3), 2, 1, 1)
    yield "4x4s2_28_21", Transposed((1, 21, 28, 28), (21, 4, 4), 2, 1)
    yield "16x16s8_28_21", Transposed((1, 21, 28, 28), (21, 16, 16), 8, 4)


def blocked_3x3() -> Iterator[Named]:
    """Give 3x3 convolutions from blocks of 16 channels to blocks of 16 channels."""
    for size, channels, filters in ((112, 64, 64), (56, 64, 64), (28, 128, 128), (14, 256, 256), (7, 512, 512)):
        yield f"{size}_{channels}_{filters}", replace(square(size, channels, filters, 3), layout="NCHW16c")


def channels_last() -> Iterator[Named]:
    """Give main layers of ResNet-50 and of MobileNetV2 in NHWC."""
    main = "stem conv2_reduce1 conv2_3x3s1 conv2_expand conv3_3x3s2 conv3_3x3 conv3_expand conv3_reduce conv4_shortcut"
    main += " conv4_3x3 conv4_expand conv4_reduce conv5_3x3 conv5_expand conv5_reduce"
    light = "stem dw112_32k3s1 expand56_24_144 dw56_144k3s1 project56_144_24 dw28_192k3s1 expand14_64_384"
    light += " project14_384_64 dw14_576k3s2 expand7_160_960 project7_960_320 head7_320"
    for prefix, names, of in (("r50_", main, layers("resnet50")), ("mb2_", light, layers("mobilenetv2"))):
        known = {name: conv for name, conv in of if type(conv) is Convolution}
        yield from ((prefix + name, replace(known[name], layout="NHWC")) for name in names.split())


def squares(constant: bool) -> Iterator[Named]:
    """Give products of square matrices."""
    for size in (64, 128, 256, 512, 1024, 2048, 4096):
        yield f"G{size}" if constant else f"V{size}", Product(size, size, size, constant=constant)


def transformers() -> Iterator[Named]:
    """Give products by weights: BERT base at 128 tokens (Devlin et al., 2018), GPT-2 small at 128 and at one."""
    shapes = {
        "bert_proj": (128, 768, 768),
        "bert_qkv": (128, 2304, 768),
        "bert_up": (128, 3072, 768),
        "bert_down": (128, 768, 3072),
        "bert_up_512": (512, 3072, 768),
        "gpt2_token_qkv": (1, 2304, 768),
        "gpt2_token_up": (1, 3072, 768),
        "gpt2_token_down": (1, 768, 3072),
        "gpt2_logits": (16, 50257, 768),
    }
    yield from ((name, Product(*shape)) for name, shape in shapes.items())


def odd_products() -> Iterator[Named]:
    """Give skinny and odd products by weights."""
    shapes = (
        (1, 1000, 2048),
        (4, 1024, 1024),
        (16, 1024, 1024),
        (1024, 16, 1024),
        (64, 64, 4096),
        (4096, 64, 64),
        (127, 129, 131),
        (333, 555, 777),
        (1000, 1000, 1000),
        (49, 512, 512),
        (197, 768, 768),
    )
    yield from ((f"{m}x{n}x{k}", Product(m, n, k)) for m, n, k in shapes)


def batches() -> Iterator[Named]:
    """Give batches of products, both factors variable: attention of BERT base, and others."""
    shapes = ((12, 128, 128, 64), (12, 128, 64, 128), (12, 512, 512, 64), (64, 64, 64, 64), (8, 197, 197, 64))
    for batch, m, n, k in shapes:
        yield f"{batch}_{m}x{n}x{k}", Product(m, n, k, batch=batch, constant=False)


SOFTMAX = ((1536, 128), (128, 768), (1, 1000), (6144, 512), (1000, 1001))
LAYER_NORM = ((128, 768), (512, 1024), (4096, 256), (197, 768))


def memory_bound() -> Iterator[Named]:
    """Give operators that move bytes."""
    yield from ((f"softmax_{m}x{n}", Softmax(m, n)) for m, n in SOFTMAX)
    yield from ((f"layer_norm_{m}x{n}", LayerNorm(m, n)) for m, n in LAYER_NORM)
    yield from ((f"{name}_1M", Unary(1, 1 << 20, name)) for name in ("gelu", "tanh", "sigmoid", "exp"))
    yield "add_relu_1M", BiasRelu(1, 1 << 20)
    yield "add_relu_256MB", BiasRelu(1, (1 << 28) // 12 // 64 * 64)
    yield "relu_256MB", Unary(1, 1 << 25, "relu")
    yield from ((f"bias_relu_{m}x{n}", BiasRelu(m, n)) for m, n in ((128, 3072), (3136, 64)))
    yield "sum_rows_1024", Reduction(1024, 1024, 1)
    yield "sum_columns_1024", Reduction(1024, 1024, 0)
    yield "sum_rows_128x768", Reduction(128, 768, 1)
    yield "mean_rows_1000x1001", Reduction(1000, 1001, 1, "mean")
    yield "mean_columns_1000x1001", Reduction(1000, 1001, 0, "mean")
    yield "sum_1M", Reduction(1, 1 << 20, 1)
    yield "max_rows_1024", Reduction(1024, 1024, 1, "max")
    yield "max_columns_1024", Reduction(1024, 1024, 0, "max")
    yield "min_rows_197x768", Reduction(197, 768, 1, "min")
    yield "argmax_1024", Reduction(1024, 1024, 1, "argmax")
    yield "argmax_columns_1024", Reduction(1024, 1024, 0, "argmax")


def fused() -> Iterator[Named]:
    """Give layers with what follows them: of ResNet-50's blocks, of MobileNetV2's, of BERT base at 128 tokens."""
    for size, width in ((56, 64), (28, 128), (14, 256), (7, 512)):
        yield f"resnet_3x3_relu_{size}", Fused(square(size, width, width, 3), activation="relu")
        yield f"resnet_reduce_relu_{size}", Fused(square(size, 4 * width, width, 1), activation="relu")
        yield f"resnet_expand_add_relu_{size}", Fused(square(size, width, 4 * width, 1), True, "relu")
    yield "resnet_3x3_add_relu_28", Fused(square(28, 128, 128, 3), True, "relu")
    for size, channels in ((56, 24), (28, 32), (14, 96)):
        yield f"mobilenet_expand_relu6_{size}", Fused(square(size, channels, 6 * channels, 1), activation="relu6")
        yield f"mobilenet_dw_relu6_{size}", Fused(depthwise(size, 6 * channels, 3), activation="relu6")
        yield f"mobilenet_project_add_{size}", Fused(square(size, 6 * channels, channels, 1), True)
    yield "bert_up_gelu", Fused(Product(128, 3072, 768), activation="gelu")
    yield "bert_proj_add", Fused(Product(128, 768, 768), True)
    yield "bert_down_add", Fused(Product(128, 768, 3072), True)
    yield "bert_qkv_bias", Fused(Product(128, 2304, 768))


def quantized() -> Iterator[Named]:
    """Give products and convolutions of bytes."""
    yield from ((f"QG{size}", Quantized(Product(size, size, size))) for size in (512, 1024))
    yield from ((f"Q{name}", Quantized(of)) for name, of in layers("resnet18") if type(of) is Convolution)


def quantized_layers() -> Iterator[Named]:
    """Give bytes of other families: layers of ResNet-50, MobileNetV2 and BERT, windows, odd sizes; none depthwise."""
    some = {
        "r50": (
            layers("resnet50"),
            "conv2_reduce1 conv2_expand conv3_expand conv4_reduce conv4_3x3 conv5_expand conv5_reduce",
        ),
        "mb2": (
            layers("mobilenetv2"),
            "stem expand56_24_144 project56_144_24 expand14_64_384 project14_384_64 head7_320",
        ),
        "vgg": (layers("vgg16"), "112_64_128 28_512_512"),
        "odd": (odd_convolutions(), "5x5_28_64 dilated2_28_128 groups4_28_128 odd_13_100_75 odd_31_37_41"),
        "bert": (transformers(), "bert_proj bert_up bert_down gpt2_token_up"),
        "gemm": (odd_products(), "16x1024x1024 64x64x4096 333x555x777 197x768x768"),
    }
    for prefix, (workloads, names) in some.items():
        known = {name: of for name, of in workloads if isinstance(of, Convolution | Product)}
        yield from ((f"{prefix}_{name}", Quantized(known[name])) for name in names.split())


def quantized_residuals() -> Iterator[Named]:
    """Give bytes that a residual of bytes is added to: in blocks of ResNet-50, ResNet-18, MobileNetV2 and BERT base."""
    for size, width in ((56, 64), (28, 128), (14, 256), (7, 512)):
        yield f"resnet_expand_add_{size}", Quantized(square(size, width, 4 * width, 1), residual=True)
    yield "resnet_3x3_add_28", Quantized(square(28, 128, 128, 3), residual=True)
    yield "mobilenet_project_add_28", Quantized(square(28, 192, 32, 1), residual=True)
    yield "bert_down_add", Quantized(Product(128, 768, 3072), residual=True)


def quantized_depthwise() -> Iterator[Named]:
    """Give depthwise convolutions of bytes: those of MobileNetV2, and EfficientNet-lite0's with 5x5 windows."""
    for prefix, network in (("mb2", "mobilenetv2"), ("eff", "efficientnet")):
        for name, of in layers(network):
            if type(of) is Convolution and of.depthwise and (prefix == "mb2" or of.filters[1] == 5):
                yield f"{prefix}_{name}", Quantized(of)


def quantized_batches() -> Iterator[Named]:
    """Give batches of products of bytes, u8 by s8, both variable, whose int32 sums are the result."""
    shapes = ((12, 128, 128, 64), (12, 128, 64, 128), (12, 512, 512, 64), (8, 197, 197, 64))
    for batch, m, n, k in shapes:
        yield f"Q{batch}_{m}x{n}x{k}", Summed(Product(m, n, k, batch=batch, constant=False))


FAMILIES = {
    **{name: partial(layers, name) for name in ("resnet18", "resnet50", "mobilenetv2", "efficientnet", "vgg16")},
    "depthwise": mobilenet_depthwise,
    "odd_conv": odd_convolutions,
    "transposed": transposed,
    "blocked": blocked_3x3,
    "nhwc": channels_last,
    "gemm": lambda: squares(constant=True),
    "gemm_variable": lambda: squares(constant=False),
    "transformer": transformers,
    "odd_gemm": odd_products,
    "batch_matmul": batches,
    "memory": memory_bound,
    "int8": quantized,
    "int8_layers": quantized_layers,
    "int8_residual": quantized_residuals,
    "int8_depthwise": quantized_depthwise,
    "int8_batch_matmul": quantized_batches,
    "fused": fused,
}


def family(name: str) -> list[Workload]:
    """Give the workloads of a family, each distinct operation once, under its first name."""
    seen: dict[Operation, str] = {}
    for label, operation in FAMILIES[name]():
        seen.setdefault(operation, label)
    return [Workload(label, name, operation) for operation, label in seen.items()]
