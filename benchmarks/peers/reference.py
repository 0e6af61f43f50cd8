"""What a result must be: float64 from NumPy, with a bound on the error of every element."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .layouts import laid_out, plain_image, plain_weights
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
)

EPS = float(np.finfo(np.float32).eps)
TINY = float(np.finfo(np.float32).tiny)
EXP_ERROR = 16  # units of eps allowed for an exponential, its argument's rounding included
ACTIVATIONS = {
    "": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "gelu": lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "exp": np.exp,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}
SCALING = 1e-4  # of a byte: the multiplier is rounded to float32


@dataclass(frozen=True, slots=True)
class Reference:
    """The exact result in float64, and the error allowed for each element."""

    value: np.ndarray
    bound: np.ndarray

    def error(self, found: np.ndarray) -> float:
        """Give the largest error as a multiple of the allowed one; infinite for a wrong shape or no number."""
        if found.shape != self.value.shape or not np.isfinite(found).all():
            return np.inf
        return float(np.max(np.abs(found - self.value) / self.bound))


def reference(operation: Operation, arrays: list[np.ndarray]) -> Reference:
    """Give the exact result for operands, and its bound.

    A sum of K products may err by 2 K eps times the sum of their absolute values, in whatever order it is taken.
    """
    wide = [array.astype(np.float64) for array in arrays]
    match operation:
        case Convolution():
            return _sums(operation.terms, *(convolve(operation, *pair) for pair in (wide, map(np.abs, wide))))
        case Transposed():
            return _sums(operation.terms, *(spread(operation, *pair) for pair in (wide, map(np.abs, wide))))
        case Product(k=k):
            return _sums(k, wide[0] @ wide[1], np.abs(wide[0]) @ np.abs(wide[1]))
        case Softmax(n=n):
            powers = np.exp(wide[0] - wide[0].max(axis=1, keepdims=True))
            value = powers / powers.sum(axis=1, keepdims=True)
            return Reference(value, 2 * (n + EXP_ERROR) * EPS * value)
        case LayerNorm(n=n, epsilon=epsilon):
            return _normalized(n, epsilon, *wide)
        case BiasRelu():
            total = wide[0] + wide[1]
            return Reference(np.maximum(total, 0), EPS * np.abs(total) + TINY)
        case Unary(operator=operator):
            value = ACTIVATIONS[operator](wide[0])
            return Reference(value, 2 * (1 + EXP_ERROR) * EPS * np.maximum(np.abs(value), np.abs(wide[0])) + TINY)
        case Reduction(axis=axis, operator="max" | "min" | "argmax" as operator):
            value = getattr(wide[0], operator)(axis=axis).astype(np.float64)
            return Reference(value, np.full_like(value, TINY))
        case Reduction(m=m, n=n, axis=axis, operator=operator):
            terms = (m, n)[axis]
            count = terms if operator == "mean" else 1
            return _sums(terms, wide[0].sum(axis=axis) / count, np.abs(wide[0]).sum(axis=axis) / count)
        case Summed():
            value = wide[0] @ wide[1]  # exact: below 2^53
            return Reference(value, np.full_like(value, 0.5))
        case Fused():
            return _fused(operation, arrays)
        case Quantized():
            return _quantized(operation, *wide)


def _sums(terms: int, value: np.ndarray, absolute: np.ndarray) -> Reference:
    return Reference(value, 2 * terms * EPS * absolute + TINY)


def _fused(operation: Fused, arrays: list[np.ndarray]) -> Reference:
    """Give what becomes of sums: an activation makes errors up to 1.2 times as large, and adds those of its maths."""
    data, weights, bias, *residual = arrays
    sums = reference(operation.of, [data, weights])
    channels = (1, -1, 1, 1) if type(operation.of) is Convolution else (1, -1)
    total = sums.value + bias.astype(np.float64).reshape(channels)
    for more in residual:
        total = total + more
    value = ACTIVATIONS[operation.activation](total)
    return Reference(value, 1.2 * sums.bound + EXP_ERROR * EPS * (np.abs(total) + 1))


def _quantized(operation: Quantized, data: np.ndarray, weights: np.ndarray, *residual: np.ndarray) -> Reference:
    """Give bytes before they are rounded: half a step is allowed, and with a residual as much of the first rounding."""
    of, (scale, zero, other_scale, _) = operation.of, operation.addition
    sums = convolve(of, data, weights) if type(of) is Convolution else data @ weights  # exact: below 2^53
    own = np.clip(sums * operation.multiplier, -zero, 255 - zero)
    if not residual:
        return Reference(own, np.full_like(own, 0.5 + SCALING))
    total = np.clip(own * scale + residual[0] * other_scale, 0, 255)
    return Reference(total, np.full_like(total, 0.5 + (0.5 + SCALING) * scale + SCALING))


def _normalized(n: int, epsilon: float, data: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> Reference:
    """Give normalized rows; mean and variance are sums of n terms, and errors add up to those of three sums."""
    mean = data.mean(axis=1, keepdims=True)
    scale = gamma / np.sqrt(data.var(axis=1, keepdims=True) + epsilon)
    absolute = (np.abs(data) + np.abs(data).mean(axis=1, keepdims=True)) * np.abs(scale) + np.abs(beta)
    return Reference((data - mean) * scale + beta, 3 * 2 * n * EPS * absolute)


def convolve(conv: Convolution, data: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Give the convolution, all in its layout: one product of matrices for each tap of the window."""
    batch, channels, *_ = conv.data
    data, weights = plain_image(conv, data), plain_weights(conv, weights)
    _, count, height, width = conv.plain_result
    pad = (conv.padding, conv.padding)
    padded = np.pad(data, ((0, 0), (0, 0), pad, pad))
    grouped = weights.reshape(conv.groups, count // conv.groups, channels // conv.groups, *conv.filters[1:])
    out = np.zeros((batch, conv.groups, count // conv.groups, height * width))
    for ky in range(conv.filters[1]):
        for kx in range(conv.filters[2]):
            top, left = ky * conv.dilation, kx * conv.dilation
            rows = slice(top, top + (height - 1) * conv.stride + 1, conv.stride)
            columns = slice(left, left + (width - 1) * conv.stride + 1, conv.stride)
            pixels = padded[:, :, rows, columns].reshape(batch, conv.groups, channels // conv.groups, -1)
            out += grouped[..., ky, kx] @ pixels
    return laid_out(conv, out.reshape(conv.plain_result))


def spread(conv: Transposed, data: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Give the transposed convolution: one product of matrices for each tap, added `stride` elements apart."""
    batch, channels, height, width = conv.data
    count, *window = conv.filters
    pixels = data.reshape(batch, conv.groups, channels // conv.groups, height * width)
    grouped = weights.reshape(conv.groups, channels // conv.groups, count // conv.groups, *window)
    _, _, high, wide = conv.result.shape
    edge = conv.padding
    whole = np.zeros((batch, count, high + 2 * edge + window[0], wide + 2 * edge + window[1]))
    for ky in range(window[0]):
        for kx in range(window[1]):
            part = (grouped[..., ky, kx].swapaxes(1, 2) @ pixels).reshape(batch, count, height, width)
            rows = slice(ky, ky + (height - 1) * conv.stride + 1, conv.stride)
            columns = slice(kx, kx + (width - 1) * conv.stride + 1, conv.stride)
            whole[:, :, rows, columns] += part
    return whole[:, :, edge : edge + high, edge : edge + wide]
