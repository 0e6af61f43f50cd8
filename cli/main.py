"""The command line: which subcommand, and what becomes of its errors."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from importlib.metadata import version

from ..ir.errors import Error
from .arguments import INTERRUPTED, USAGE_ERROR, Parser, UsageError, near
from .batch_matmul import BATCH_MATMUL
from .conv2d import CONV2D
from .conv2d_transpose import CONV2D_TRANSPOSE
from .dense import DENSE
from .depthwise_conv2d import DEPTHWISE_CONV2D
from .layers import LAYERS
from .list import add_list
from .matmul import MATMUL
from .measure import add_measure
from .operators import Operator, add_operator
from .quantized import QCONV2D, QDEPTHWISE_CONV2D, QMATMUL
from .records import add_records
from .rows import ELEMENTWISE, LAYER_NORM, REDUCTION, SOFTMAX
from .tune import run as tune

OPERATORS: tuple[Operator, ...] = (
    CONV2D, CONV2D_TRANSPOSE, DEPTHWISE_CONV2D, MATMUL, DENSE, BATCH_MATMUL, QMATMUL, QCONV2D, QDEPTHWISE_CONV2D,
    SOFTMAX, LAYER_NORM, REDUCTION, ELEMENTWISE,
)  # fmt: skip
FAILURE = 1
TEXT = """Search for the fastest schedule of an operator, and keep what was measured.

  autotune conv2d --layer resnet18.C6 --time 60s    tune a known layer
  autotune matmul --shape 512,512,512 --trials 200  tune any shape
  autotune list                                     operators and layers
  autotune records                                  what has been measured
  autotune conv2d --help                            all flags of an operator

Ctrl-C ends a search as its time does: what was measured is kept, and the same command goes on with it."""
EXIT_CODES = """exit status:
  0    done; a subcommand that tunes has found a valid kernel
  1    it could not be done
  2    the command line means nothing
  130  interrupted before anything was measured
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`, or those of the process; give its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = make_parser()
    if not words:
        parser.print_help()
        return USAGE_ERROR
    name = " ".join((parser.prog, *(word for word in words[:1] if word in parser.subcommands())))
    try:
        check_words(words, parser)
        options, rest = parser.parse_known_args(words)
        if rest:
            raise UsageError(f"unrecognized arguments: {' '.join(rest)}", _meant(words, rest))
        return options.run(options)
    except UsageError as error:
        return _fail(f"{name}: {error}", USAGE_ERROR)
    except Error as error:
        error.site = ""  # the user wrote a command, not the code that called
        return _fail(f"{parser.prog}: {error}", FAILURE)
    except MemoryError as error:
        return _fail(f"{name}: not enough memory: {error}\ntry: a smaller shape", FAILURE)
    except KeyboardInterrupt:
        return _fail(f"{name}: interrupted", INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the output has enough of it
        return FAILURE


class _Version(argparse.Action):
    """Says which version is installed, and leaves."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        sys.stdout.write(f"tilewright {version('tilewright')}\n")
        parser.exit()


def _meant(words: Sequence[str], rest: Sequence[str]) -> str:
    """Give what words that no flag goes with may mean."""
    if rest[0] in LAYERS:
        return f"--layer {rest[0]}"
    if re.fullmatch(r"\d+(,\d+)+", rest[0]):
        return f"--shape {rest[0]}"
    if "--shape" in words and all(word.strip(",").isdigit() for word in rest):
        begun = words[words.index("--shape") + 1]
        return f"--shape {','.join(word.strip(',') for word in (begun, *rest))}"
    return f"autotune {words[0]} --help"


def make_parser() -> Parser:
    """Give the parser of the whole command line."""
    parser = Parser(prog="autotune", description=TEXT, epilog=EXIT_CODES)
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND")
    for operator in OPERATORS:
        add_operator(commands, operator, tune)
    add_measure(commands)
    add_list(commands, OPERATORS)
    add_records(commands, OPERATORS)
    return parser


def check_words(words: Sequence[str], parser: Parser) -> None:
    """Refuse a subcommand or a flag that does not exist, and name those like it.  Raises UsageError."""
    first, commands = words[0], parser.subcommands()
    if first == "help":
        raise UsageError("there is no command 'help'", f"autotune {' '.join([*words[1:2], '--help'])}")
    if first.startswith("-"):
        return  # argparse knows --help, and refuses all others
    if first not in commands:
        everything = f"one of {', '.join(commands)}"
        raise UsageError(f"there is no operator or command {first!r}", near(first, commands, everything))
    flags = commands[first].flags()
    for word in words[1:]:
        flag = word.split("=")[0]
        if flag.startswith("--") and flag not in flags:
            raise UsageError(f"there is no flag {flag}", near(flag, flags, f"autotune {first} --help"))


def _fail(message: str, status: int) -> int:
    sys.stderr.write(message + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
