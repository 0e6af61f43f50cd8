"""Images and weights of a convolution between its layout and the plain one, as views where that is possible."""

from __future__ import annotations

import numpy as np

from .operations import Convolution


def plain_image(conv: Convolution, data: np.ndarray) -> np.ndarray:
    """Give an image as NCHW."""
    match conv.layout:
        case "NCHW":
            return data
        case "NHWC":
            return data.transpose(0, 3, 1, 2)
        case _:
            return np.moveaxis(data, 4, 2).reshape(conv.data)


def plain_weights(conv: Convolution, weights: np.ndarray) -> np.ndarray:
    """Give weights as OIHW."""
    match conv.layout:
        case "NCHW":
            return weights
        case "NHWC":
            return weights.transpose(2, 3, 0, 1) if conv.depthwise else weights.transpose(3, 2, 0, 1)
        case _:
            return weights.transpose(0, 5, 1, 4, 2, 3).reshape(conv.plain_weights)


def laid_out(conv: Convolution, plain: np.ndarray) -> np.ndarray:
    """Give an image in NCHW as the layout has it."""
    match conv.layout:
        case "NCHW":
            return plain
        case "NHWC":
            return plain.transpose(0, 2, 3, 1)
        case _:
            batch, channels, height, width = plain.shape
            blocks = plain.reshape(batch, channels // conv.block, conv.block, height, width)
            return np.moveaxis(blocks, 2, 4)
