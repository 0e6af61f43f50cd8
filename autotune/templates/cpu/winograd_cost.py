"""What a Winograd convolution costs on a processor, in cycles: products, transforms, weights that are read again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod

from ....ir.arith import int_value
from .. import register_tile as tile
from .request import ConvolutionRequest

PRODUCTS = 1.06  # cycles, where the multiply-add units alone would take 1
TILE_START = 12.0  # cycles for a register tile, to begin and to store it
TRANSFORM = 4.4  # cycles for an element of a transformed tile, a vector of it ...
FAR_TRANSFORM = 3.0  # ... and as many more where it does not stay in the second cache
TURN = 4.2  # cycles for a vector of an image whose channels do not lie side by side ...
FAR_TURN = 8.3  # ... and as many more where image and result do not stay in the second cache
KERNEL_TRANSFORM = 8.0  # cycles for a vector of transformed weights, where every call makes them
FIRST_CACHE, SECOND_CACHE, LAST_CACHE = 24_000, 700_000, 16_000_000  # bytes of weights that are found again there
SECOND_RATE, LAST_RATE, MEMORY_RATE = 28.0, 18.0, 9.0  # bytes a cycle from these, and from memory ...
ASKED_RATE = 45.0  # ... and of what has come while a register tile was computed, as it was asked for
AGAIN_RATE = 72.0  # bytes a cycle of a panel of weights that the first cache has no room for, read again
BLOCK = 1_200_000  # bytes of tiles and products, or of image and result, that are found again in the second cache
TILE_RATE, FAR_TILE_RATE = 38.0, 19.0  # bytes a cycle of tiles that are, and that are not
WHOLE = 0.97  # share of the speed where threads each transform all tiles, though the last cache holds all weights


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
        whole                         whether threads share panels of channels, and each transforms all tiles
        """
        shape, blocking = self.shape, Blocking.of(self.shape, outputs, most)
        direct = shape.batch * shape.height * shape.width * shape.channels * shape.filters * 9 / (2 * self.lanes)
        units = self.panels(vectors) if whole else blocking.blocks
        busy = units / (-(-units // self.threads) * self.threads)
        cycles = self._products(blocking, outputs, rows, vectors) + self._weights(blocking, outputs, rows, vectors)
        cycles += self._tiles(blocking, outputs, vectors) + self._transforms(blocking, outputs, vectors, whole)
        weights = 4 * shape.channels * shape.filters * (outputs + 2) ** 2
        needless = whole and self.threads > 1 and weights <= LAST_CACHE
        return busy * direct / cycles * (WHOLE if needless else 1)

    def panels(self, vectors: int) -> int:
        """Give the parts that the output channels are cut in."""
        return -(-self.shape.filters // (vectors * self.lanes))

    @property
    def channels(self) -> int:
        """Give the input channels in whole vectors."""
        return -(-self.shape.channels // self.lanes) * self.lanes

    def _products(self, blocking: Blocking, outputs: int, rows: int, vectors: int) -> float:
        """Give the cycles of multiply-adds."""
        whole, rest = divmod(blocking.tiles, rows)
        cycles = whole * self._register_tile(rows, vectors) + (self._register_tile(rest, vectors) if rest else 0.0)
        return blocking.blocks * self.panels(vectors) * (outputs + 2) ** 2 * cycles

    def _register_tile(self, rows: int, vectors: int) -> float:
        return TILE_START + PRODUCTS * rows * vectors * self.channels / 2 / _share(rows, vectors)

    def _weights(self, blocking: Blocking, outputs: int, rows: int, vectors: int) -> float:
        """Give the cycles that products wait for weights: each panel comes once for a block, and for each register tile
        from the nearest cache that holds it."""
        panel = 4 * self.channels * vectors * self.lanes
        count = self.panels(vectors) * (outputs + 2) ** 2
        meanwhile = self._register_tile(min(rows, blocking.tiles), vectors)
        first = max(panel / ASKED_RATE, panel / _rate(count * panel) - meanwhile)
        again = panel / AGAIN_RATE if panel > FIRST_CACHE else 0.0
        return blocking.blocks * count * (first + again * (-(-blocking.tiles // rows) - 1))

    def _tiles(self, blocking: Blocking, outputs: int, vectors: int) -> float:
        """Give the cycles that products wait for tiles, which every panel of weights reads."""
        read = blocking.blocks * self.panels(vectors) * self._tile_bytes(blocking, outputs)
        return read / (FAR_TILE_RATE if self._are_far(blocking, outputs, vectors) else TILE_RATE)

    def _are_far(self, blocking: Blocking, outputs: int, vectors: int) -> bool:
        """Tell whether tiles that are transformed before products, and these, exceed the second cache."""
        products = 4 * vectors * self.lanes * blocking.tiles * (outputs + 2) ** 2
        return self._tile_bytes(blocking, outputs) + products > BLOCK

    def _tile_bytes(self, blocking: Blocking, outputs: int) -> int:
        return 4 * self.channels * blocking.tiles * (outputs + 2) ** 2

    def _transforms(self, blocking: Blocking, outputs: int, vectors: int, whole: bool) -> float:
        shape, places = self.shape, (outputs + 2) ** 2
        filters = -(-shape.filters // self.lanes)
        read = self.channels // self.lanes * (self.threads if whole else 1) + filters
        each = TRANSFORM + (FAR_TRANSFORM if self._are_far(blocking, outputs, vectors) else 0.0)
        cycles = blocking.blocks * blocking.tiles * read * places * each
        if shape.turned:
            pixels = shape.batch * shape.height * shape.width
            is_far = 4 * pixels * (shape.channels + shape.filters) > BLOCK
            cycles += pixels * read * (TURN + (FAR_TURN if is_far else 0.0))
        if not self.weights_ahead:
            cycles += shape.channels * filters * places * KERNEL_TRANSFORM
        return cycles


@cache
def _share(rows: int, vectors: int) -> float:
    """Give the share of the multiply-add peak that a register tile allows."""
    return float(tile.estimate(rows, vectors))


def _rate(size: int) -> float:
    """Give the bytes a cycle at which weights that take so many bytes are read once more."""
    if size <= SECOND_CACHE:
        return SECOND_RATE
    return LAST_RATE if size <= LAST_CACHE else MEMORY_RATE
