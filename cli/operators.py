"""What the subcommands that tune an operator are made of: how it is described, and the flags they share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..autotune.strategies.ga import GaStrategy
from ..autotune.strategies.grid import GridStrategy
from ..autotune.strategies.random import RandomStrategy
from ..autotune.strategies.xgb import XgbStrategy
from ..autotune.tuner import MakeStrategy
from .arguments import Parser, UsageError, count, cpu_target, duration_s, one_of, read_shape, seed
from .layers import Layer, find_layer

TUNERS: Mapping[str, MakeStrategy] = {
    "xgb": XgbStrategy,
    "ga": GaStrategy,
    "random": RandomStrategy,
    "grid": GridStrategy,
}
DEFAULT_TIME_S = 60.0

EXIT_CODES = """exit status:
  0  a kernel was found that is valid: checked against the operator's meaning on its real shape
  1  none was found, or the search could not go on; what was measured is in the database
  2  the command line means nothing
"""


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator that can be tuned.

    name       of the subcommand and of the template
    summary    one line
    form       names of the numbers of a shape
    notes      what the names mean
    arguments  gives the template's arguments from a shape and the operator's own flags
    add_flags  adds those flags
    """

    name: str
    summary: str
    form: tuple[str, ...]
    notes: str
    arguments: Callable[[tuple[int, ...], argparse.Namespace], tuple[Any, ...]]
    add_flags: Callable[[argparse.ArgumentParser], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be tuned, and how: a command line that has been understood.

    layer         name of the layer, or "" for a shape of the user's own
    template_args of the operator's template
    layout        of the data, or "" where the operator has only one
    threads       that the kernel may use, or 0 for all processors
    trials        limit, or None
    time_s        limit, or None
    db            path of the record database, or "" for the one of the settings
    json          path of the result, "-" for standard output, "" for none
    """

    operator: Operator
    layer: str
    shape: tuple[int, ...]
    template_args: tuple[Any, ...]
    layout: str
    target: str
    threads: int
    tuner: str
    seed: int
    trials: int | None
    time_s: float | None
    db: str
    json: str


def add_operator(commands: Any, operator: Operator, run: Callable[[argparse.Namespace], int]) -> None:
    """Add the subcommand of an operator."""
    form = ",".join(operator.form)
    description = f"Tune {operator.summary}.\n\n  shape  {form}\n         {operator.notes}"
    parser: Parser = commands.add_parser(
        operator.name, help=f"tune {operator.summary}", description=description, epilog=EXIT_CODES
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--layer", metavar="NAME", help="a known layer, such as those of `autotune list`")
    what.add_argument("--shape", metavar=form, help="any shape")
    operator.add_flags(parser)
    _add_search_flags(parser)
    parser.set_defaults(run=run, operator=operator)


def _add_search_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--target", type=cpu_target, default="llvm", help="what to compile for (default: llvm, this processor)")
    add("--threads", type=count, metavar="N", help="threads of the kernel (default: one per processor)")
    add("--trials", type=count, metavar="N", help="stop after N trials in all, those in the database included")
    add("--time", type=duration_s, metavar="TIME", help="stop after 60s, 10m, 1h (default: 60s, if no --trials)")
    tuner = one_of("tuner", TUNERS)
    add("--tuner", type=tuner, metavar="NAME", default="xgb", help=f"{', '.join(TUNERS)} (default: xgb)")
    add("--seed", type=seed, default=0, metavar="N", help="of the tuner's random choices (default: 0)")
    add("--db", default="", metavar="FILE", help="record database (default: the setting TILEWRIGHT_DB)")
    add("--json", default="", metavar="FILE", help="write the result as JSON; - is standard output")


def understand(options: argparse.Namespace) -> Request:
    """Give the request that parsed flags mean.  Raises UsageError for an unknown layer or a wrong shape."""
    operator: Operator = options.operator
    layer = find_layer(options.layer, operator.name) if options.layer else None
    shape = layer.shape if layer else read_shape(options.shape, operator.form)
    _take_flags(options, layer)
    limited = options.trials is not None or options.time is not None
    return Request(
        operator=operator,
        layer=options.layer or "",
        shape=shape,
        template_args=operator.arguments(shape, options),
        layout=getattr(options, "layout", ""),
        target=options.target,
        threads=options.threads or 0,
        tuner=options.tuner,
        seed=options.seed,
        trials=options.trials,
        time_s=options.time if limited else DEFAULT_TIME_S,
        db=options.db,
        json=options.json,
    )


def _take_flags(options: argparse.Namespace, layer: Layer | None) -> None:
    """Let a layer set the operator's flags."""
    for name, value in layer.flags if layer else ():
        setattr(options, name, value)


def check_window(kernel: int, padding: int, dilation: int, *sizes: int) -> None:
    """Refuse a kernel that is larger than the padded image."""
    reach = dilation * (kernel - 1) + 1
    for size in sizes:
        if size + 2 * padding < reach:
            fact = f"a kernel of {reach} does not fit in an image of {size} with padding {padding}"
            raise UsageError(fact, f"padding of at least {-(-(reach - size) // 2)}")
