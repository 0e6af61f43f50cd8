"""What a Winograd convolution costs on a processor, in cycles: products, transforms, weights that are read again."""

from __future__ import annotations

from dataclasses import dataclass

from ....ir.arith import int_value
from .. import register_tile as tile
from .request import ConvolutionRequest

TRANSFORM = 3.0  # cycles for an element of a transformed tile, a vector of it
TURN = 3.0  # cycles for a vector of an image whose channels do not lie side by side
TILE_START = 12.0  # cycles for a register tile, to begin and to store it
WEIGHTS = 20.0  # cycles for a vector of transformed weights, where every call makes them
SECOND_CACHE, LAST_CACHE = 1 << 20, 24 << 20  # bytes
RATES = (48.0, 14.0, 6.0)  # bytes a cycle from the second cache, the last one, and memory


@dataclass(frozen=True, slots=True)
class Shape:
    """A convolution that the algorithm fits: batch, channels of image and result, height and width of the result.

    image    height and width of the image
    padding  elements on each side
    """

    batch: int
    channels: int
    filters: int
    height: int
    width: int
    image: tuple[int, int]
    padding: int

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
        return cls(n, c, f, h + grown, w + grown, (h, w), request.padding)


@dataclass(frozen=True, slots=True)
class Blocking:
    """How tiles are cut in blocks.

    images, rows  of tiles in a block; several images only where each is in one block
    tiles         in a block
    blocks        of tiles
    """

    images: int
    rows: int
    tiles: int
    blocks: int

    @classmethod
    def of(cls, shape: Shape, outputs: int, most: int) -> Blocking:
        """Give blocks of even sizes with at most `most` tiles, but no less than a row."""
        columns, height = -(-shape.width // outputs), -(-shape.height // outputs)
        rows = min(max(1, most // columns), height)
        rows = -(-height // -(-height // rows))
        images = 1
        if rows == height:
            fitting = [n for n in range(1, shape.batch + 1) if shape.batch % n == 0 and n * rows * columns <= most]
            images = max(fitting, default=1)
        blocks = shape.batch // images * -(-height // rows)
        return cls(images, rows, images * rows * columns, blocks)


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost model of one convolution.

    lanes           of a vector
    threads         that share the work
    turned          whether channels do not lie side by side in image and result
    weights_ahead   whether weights are transformed ahead of the calls
    """

    shape: Shape
    lanes: int
    threads: int
    turned: bool
    weights_ahead: bool

    def speedup(self, outputs: int, most: int, rows: int, vectors: int, whole: bool) -> float:
        """Give how many times as fast as a direct convolution at the multiply-add peak a configuration should be.

        outputs, most, rows, vectors  size of tiles, tiles in a block, register tile
        whole                         whether all tiles are transformed before the products
        """
        shape, lanes = self.shape, self.lanes
        blocking = Blocking.of(shape, outputs, most)
        direct = shape.batch * shape.height * shape.width * shape.channels * shape.filters * 9 / (2 * lanes)
        panels = -(-shape.filters // (vectors * lanes))
        units = blocking.blocks * (panels if whole else 1)
        busy = units / (-(-units // self.threads) * self.threads)
        cycles = self._products(blocking, outputs, rows, vectors, panels) + self._transforms(blocking, outputs, whole)
        return direct / (cycles / busy) * self.threads / self.threads

    def _products(self, blocking: Blocking, outputs: int, rows: int, vectors: int, panels: int) -> float:
        """Give the cycles of the products, or of reading the weights for each block, whichever are more."""
        shape, lanes, places = self.shape, self.lanes, (outputs + 2) ** 2
        channels = -(-shape.channels // lanes) * lanes
        tiles = -(-blocking.tiles // rows)
        height = min(rows, blocking.tiles)
        each = height * vectors * channels / 2 / float(tile.estimate(height, vectors)) + TILE_START
        products = blocking.blocks * panels * places * tiles * each
        panel = 4 * channels * panels * vectors * lanes * places
        block = 4 * places * blocking.tiles * (channels + vectors * lanes)
        size = panel + block
        rate = RATES[0] if size <= SECOND_CACHE else RATES[1] if size <= LAST_CACHE else RATES[2]
        return max(products, blocking.blocks * panel / rate)

    def _transforms(self, blocking: Blocking, outputs: int, whole: bool) -> float:
        shape, lanes, places = self.shape, self.lanes, (outputs + 2) ** 2
        vectors = -(-shape.channels // lanes) + -(-shape.filters // lanes)
        far = 1.5 if whole and 4 * places * blocking.tiles * blocking.blocks * shape.channels > SECOND_CACHE else 1.0
        cycles = blocking.blocks * blocking.tiles * vectors * (places * TRANSFORM * far)
        if self.turned:
            cycles += shape.batch * shape.height * shape.width * vectors * TURN
        if not self.weights_ahead:
            cycles += shape.channels * -(-shape.filters // lanes) * places * WEIGHTS
        return cycles
