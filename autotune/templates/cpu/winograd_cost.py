"""What a Winograd convolution costs on a processor, in cycles: products, transforms, weights that are read again."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ....ir.arith import int_value
from .. import register_tile as tile
from .request import ConvolutionRequest

PRODUCTS = 1.1  # cycles, where the multiply-add units alone would take 1
TILE_START = 16.0  # cycles for a register tile, to begin and to store it
TRANSFORM = 5.0  # cycles for an element of a transformed tile, a vector of it
TURN = 4.0  # cycles for a vector of an image whose channels do not lie side by side
WEIGHTS = 8.0  # cycles for a vector of transformed weights, where every call makes them
CACHES = (32_000, 700_000, 16_000_000)  # bytes of weights that are found again in the first, second, last cache
RATES = (128.0, 28.0, 18.0, 9.0)  # bytes a cycle from these, and from memory
BLOCK = 500_000  # bytes of a block's tiles that are found again in the second cache
TILE_RATE = 20.0  # bytes a cycle of tiles that are not


@dataclass(frozen=True, slots=True)
class Shape:
    """A convolution that the algorithm fits: batch, channels of image and result, height and width of the result.

    image    height and width of the image
    padding  elements on each side
    turned   whether channels do not lie side by side in memory
    """

    batch: int
    channels: int
    filters: int
    height: int
    width: int
    image: tuple[int, int]
    padding: int
    turned: bool

    @classmethod
    def of(cls, request: ConvolutionRequest) -> Shape | None:
        """Give the shape of a convolution, or None for one that the algorithm does not fit."""
        regular = request.stride == request.dilation == request.groups == 1
        if not regular or not request.result == str(request.image.dtype) == "float32":
            return None
        image, kernel = ([int_value(d) or 0 for d in t.shape] for t in (request.image, request.kernel))
        match request.layout, image, kernel:
            case "NCHW", [n, c, h, w], [f, _, 3, 3]:
                pass
            case "NHWC", [n, h, w, c], [3, 3, _, f]:
                pass
            case _, [n, blocks, h, w, block], [filter_blocks, _, 3, 3, _, filter_block]:
                c, f = blocks * block, filter_blocks * filter_block
            case _:
                return None
        grown = 2 * request.padding - 2
        return cls(n, c, f, h + grown, w + grown, (h, w), request.padding, request.layout == "NCHW")


@dataclass(frozen=True, slots=True)
class Blocking:
    """How tiles are cut in blocks.

    block   (images, rows, columns) of tiles in a block; several rows only of all columns, several images only whole
    blocks  of tiles
    """

    block: tuple[int, int, int]
    blocks: int

    @property
    def tiles(self) -> int:
        """Give the tiles in a block."""
        return prod(self.block)

    @classmethod
    def of(cls, shape: Shape, outputs: int, most: int) -> Blocking:
        """Give blocks of even sizes with at most `most` tiles; whole rows of tiles where channels are to be turned."""
        width, height = -(-shape.width // outputs), -(-shape.height // outputs)
        columns = width if shape.turned else _even(width, most)
        rows = _even(height, max(1, most // columns)) if columns == width else 1
        images = 1
        if rows == height and columns == width:
            fitting = [n for n in range(1, shape.batch + 1) if shape.batch % n == 0 and n * rows * columns <= most]
            images = max(fitting, default=1)
        blocks = shape.batch // images * -(-height // rows) * -(-width // columns)
        return cls((images, rows, columns), blocks)


def _even(extent: int, most: int) -> int:
    """Give the size of parts of `extent`, as few as there can be of at most `most`, as even as they can be."""
    return -(-extent // -(-extent // most))


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost model of one convolution.

    lanes          of a vector
    threads        that share the work
    weights_ahead  whether weights are transformed ahead of the calls
    """

    shape: Shape
    lanes: int
    threads: int
    weights_ahead: bool

    def speedup(self, outputs: int, most: int, rows: int, vectors: int, whole: bool) -> float:
        """Give how many times as fast as a direct convolution at the multiply-add peak a configuration should be.

        outputs, most, rows, vectors  size of tiles, tiles in a block, register tile
        whole                         whether all tiles are transformed before the products
        """
        shape, blocking = self.shape, Blocking.of(self.shape, outputs, most)
        direct = shape.batch * shape.height * shape.width * shape.channels * shape.filters * 9 / (2 * self.lanes)
        units = blocking.blocks * (self.panels(vectors) if whole else 1)
        busy = units / (-(-units // self.threads) * self.threads)
        cycles = self._products(blocking, outputs, rows, vectors) + self._traffic(blocking, outputs, vectors, whole)
        return busy * direct / (cycles + self._transforms(blocking, outputs))

    def panels(self, vectors: int) -> int:
        """Give the parts that the output channels are cut in."""
        return -(-self.shape.filters // (vectors * self.lanes))

    @property
    def channels(self) -> int:
        """Give the input channels in whole vectors."""
        return -(-self.shape.channels // self.lanes) * self.lanes

    def _products(self, blocking: Blocking, outputs: int, rows: int, vectors: int) -> float:
        """Give the cycles of multiply-adds, or those in which the weights arrive."""
        places, panels = (outputs + 2) ** 2, self.panels(vectors)
        panel = 4 * self.channels * vectors * self.lanes
        first, again = (panel / _rate(size) for size in (panel * panels * places, panel))
        whole, rest = divmod(blocking.tiles, rows)
        heights = [rows] * whole + [rest] * (rest > 0)
        cycles = [max(self._register_tile(height, vectors), again) for height in heights]
        cycles[0] = max(cycles[0], first)
        return blocking.blocks * panels * places * sum(cycles)

    def _register_tile(self, rows: int, vectors: int) -> float:
        return TILE_START + PRODUCTS * rows * vectors * self.channels / 2 / float(tile.estimate(rows, vectors))

    def _traffic(self, blocking: Blocking, outputs: int, vectors: int, whole: bool) -> float:
        """Give the cycles that products wait for tiles, which every panel of weights reads."""
        places = (outputs + 2) ** 2
        tiles = 4 * self.channels * blocking.tiles * places
        results = 4 * vectors * self.lanes * blocking.tiles * places
        far = tiles * (blocking.blocks if whole else 1) + results > BLOCK
        return blocking.blocks * self.panels(vectors) * tiles / TILE_RATE if far else 0.0

    def _transforms(self, blocking: Blocking, outputs: int) -> float:
        shape, places = self.shape, (outputs + 2) ** 2
        filters = -(-shape.filters // self.lanes)
        vectors = self.channels // self.lanes + filters
        cycles = blocking.blocks * blocking.tiles * vectors * places * TRANSFORM
        if shape.turned:
            cycles += shape.batch * shape.height * shape.width * vectors * TURN
        if not self.weights_ahead:
            cycles += shape.channels * filters * places * WEIGHTS
        return cycles


def _rate(size: int) -> float:
    """Give the bytes a cycle at which what takes so many bytes is read again."""
    return next((rate for cache, rate in zip(CACHES, RATES, strict=False) if size <= cache), RATES[-1])
