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
from ..autotune.templates.epilogue import FORM
from ..autotune.tuner import MakeStrategy
from ..ir.target import Target
from .arguments import (
    Parser,
    UsageError,
    count,
    device,
    dtype,
    duration_s,
    epilogue,
    natural,
    one_of,
    read_shape,
    relative_error,
    target,
    threads,
)
from .layers import Layer, find_layer

TUNERS: Mapping[str, MakeStrategy] = {
    "xgb": XgbStrategy,
    "ga": GaStrategy,
    "random": RandomStrategy,
    "grid": GridStrategy,
}
DEFAULT_TIME_S = 60.0
FLOATS = ("float32", "float16", "bfloat16")

EXIT_CODES = """exit status:
  0  a kernel was found that is valid: checked against the operator's meaning on its real shape; with --build-only,
     there is a bundle with at least one candidate
  1  none was found, or the search could not go on, such as for want of a GPU; what was measured is in the database
  2  the command line means nothing
  130  interrupted before anything was measured
"""


def common_arguments(options: argparse.Namespace) -> tuple[Any, ...]:
    """Give the last of a template's arguments, up to the last that is no default.

    They are data type, constancy, epilogue and relative error.
    """
    operator: Operator = options.operator
    found: list[tuple[Any, Any]] = [(options.dtype, operator.dtypes[0])]  # with the defaults
    if operator.constant is not None:
        found.append((operator.constant(options) and not is_for_gpu(options), False))
    if operator.epilogue:
        found.append((options.epilogue, ""))
    if operator.relative_error:
        found.append((options.relative_error, None))
    needed = max((n for n, (value, default) in enumerate(found, start=1) if value != default), default=0)
    return tuple(value for value, _ in found[:needed])


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator that can be tuned.

    name       of the subcommand and of the template
    summary    one line
    form       names of the numbers of a shape
    notes      what the names mean
    arguments  gives the template's arguments from a shape and the operator's own flags
    add_flags  adds those flags
    dtypes     data types of its inputs, the default one first
    constant   tells from its flags whether the weights are the same in all calls, for a processor; None where the
               template does not ask
    epilogue   whether something may become of its sums before they are stored
    relative_error  whether the user may accept more than that of a direct evaluation
    last_arguments  gives those of the template that follow `arguments`, by default `common_arguments`
    example    flags of a command that can be tried
    layers_of  the operator whose known layers these are, if not its own
    """

    name: str
    summary: str
    form: tuple[str, ...]
    notes: str
    arguments: Callable[[tuple[int, ...], argparse.Namespace], tuple[Any, ...]]
    add_flags: Callable[[argparse.ArgumentParser], None] = lambda _: None
    dtypes: tuple[str, ...] = FLOATS
    constant: Callable[[argparse.Namespace], bool] | None = None
    epilogue: bool = False
    relative_error: bool = False
    last_arguments: Callable[[argparse.Namespace], tuple[Any, ...]] = common_arguments
    example: str = ""
    layers_of: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be tuned, and how: a command line that has been understood.

    layer         name of the layer, or "" for a shape of the user's own
    template_args of the operator's template
    layout        of the data, or "" where the operator has only one
    epilogue      what becomes of the sums before they are stored, or ""
    dtype         of the inputs
    device        what runs kernels for a GPU; "" for a processor
    threads       that the kernel may use, or 0 for all processors
    bundle        folder for candidates that are built and not run, or ""
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
    epilogue: str
    dtype: str
    target: str
    device: str
    threads: int
    bundle: str
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
    if operator.example:
        description += f"\n\n  autotune {operator.name} {operator.example}"
    parser: Parser = commands.add_parser(
        operator.name, help=f"tune {operator.summary}", description=description, epilog=EXIT_CODES
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--layer", metavar="NAME", help="a known layer, such as those of `autotune list`")
    what.add_argument("--shape", metavar=form, help="any shape")
    operator.add_flags(parser)
    if operator.epilogue:
        what = f"what becomes of the sums before they are stored: {FORM}; for processors"
        parser.add_argument("--epilogue", type=epilogue, default="", metavar="PARTS", help=what)
    if operator.relative_error:
        what = (
            "error that is accepted, relative to the scale of sums, such as 2e-4, which lets Winograd's larger tiles "
        )
        what += "take part (default: what rounding may do to a direct evaluation); for processors"
        parser.add_argument("--relative-error", type=relative_error, metavar="E", help=what)
    known = ", ".join(operator.dtypes)
    parser.add_argument(
        "--dtype", type=dtype(operator.dtypes), default=operator.dtypes[0], metavar="NAME", help=f"of the data: {known}"
    )
    _add_search_flags(parser)
    _add_gpu_flags(parser)
    parser.set_defaults(run=run, operator=operator)


def _add_search_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    what = "what to compile for: llvm (default: this processor), cuda, 'cuda -arch=sm_90a'"
    add("--target", type=target, default="llvm", help=what)
    add("--threads", type=threads, metavar="N", help="threads of the kernel (default: one per processor)")
    add("--trials", type=count, metavar="N", help="stop after N trials in all, those in the database included")
    add("--time", type=duration_s, metavar="TIME", help="stop after 60s, 10m, 1h (default: 60s, if no --trials)")
    tuner = one_of("tuner", TUNERS)
    add("--tuner", type=tuner, metavar="NAME", default="xgb", help=f"{', '.join(TUNERS)} (default: xgb)")
    add("--seed", type=natural, default=0, metavar="N", help="of the tuner's random choices (default: 0)")
    add("--db", default="", metavar="FILE", help="record database (default: the setting TILEWRIGHT_DB)")
    add("--json", default="", metavar="FILE", help="write the result as JSON; - is standard output")


def _add_gpu_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("for --target cuda").add_argument
    what = "gpu (default), gpu:1 for the second, or emulate: on the CPU, which checks results and says nothing of times"
    add("--device", type=device, metavar="NAME", help=what)
    what = "compile --trials candidates (default: 64) into a bundle, for `autotune measure` on a machine with a GPU"
    add("--build-only", action="store_true", help=what)
    add("-o", "--output", default="", metavar="BUNDLE", help="folder of the bundle; tasks are added to what is there")


def understand(options: argparse.Namespace) -> Request:
    """Give the request that parsed flags mean.  Raises UsageError for flags that mean nothing together."""
    operator: Operator = options.operator
    check_flags(options)
    layer = find_layer(options.layer, operator.layers_of or operator.name) if options.layer else None
    shape = layer.shape if layer else read_shape(options.shape, operator.form)
    _take_flags(options, layer)
    limited = options.trials is not None or options.time is not None
    return Request(
        operator=operator,
        layer=options.layer or "",
        shape=shape,
        template_args=operator.arguments(shape, options) + operator.last_arguments(options),
        layout=getattr(options, "layout", ""),
        epilogue=getattr(options, "epilogue", ""),
        dtype=options.dtype,
        target=options.target,
        device=options.device or "gpu" if is_for_gpu(options) else "",
        threads=1 if is_for_gpu(options) else options.threads or 0,
        bundle=options.output if options.build_only else "",
        tuner=options.tuner,
        seed=options.seed,
        trials=options.trials,
        time_s=options.time if limited else DEFAULT_TIME_S,
        db=options.db,
        json=options.json,
    )


def add_image_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a convolution of images."""
    parser.add_argument(
        "--layout", default="NCHW", help="NCHW (default), NHWC, or NCHW16c: data and weights in blocks of 16 channels"
    )
    parser.add_argument("--dilation", type=count, default=1, metavar="N", help="distance of the kernel's taps")
    parser.add_argument("--groups", type=count, default=1, metavar="N", help="of channels convolved by themselves")


def add_variable_weights(parser: argparse.ArgumentParser) -> None:
    """Add the flag of an operator whose weights are constant but for it."""
    what = "weights may change from call to call: whatever is made of them is part of the time (processors)"
    parser.add_argument("--variable-weights", action="store_true", help=what)


def constant_weights(options: argparse.Namespace) -> bool:
    """Tell what the flag says."""
    return not options.variable_weights


def add_constant_b(parser: argparse.ArgumentParser) -> None:
    """Add the flag of a product whose second factor varies but for it."""
    what = "B is the same in all calls: whatever is made of it is no part of the time (processors)"
    parser.add_argument("--constant-b", action="store_true", help=what)


def constant_b(options: argparse.Namespace) -> bool:
    """Tell what the flag says."""
    return options.constant_b


def is_for_gpu(options: argparse.Namespace) -> bool:
    """Tell whether the flags ask for kernels of a GPU."""
    return Target.parse(options.target).kind == "cuda"


def check_flags(options: argparse.Namespace) -> None:
    """Refuse what is missing, and flags of one target with the other."""
    if not options.layer and not options.shape:
        command = f"autotune {options.operator.name}"
        raise UsageError("one of the arguments --layer --shape is required", f"{command} --help")
    gpu = is_for_gpu(options)
    if gpu and options.threads:
        raise UsageError("--threads is for processors, not for --target cuda", "no --threads")
    if not gpu and (options.device or options.build_only or options.output):
        given = "--device" if options.device else "--build-only" if options.build_only else "--output"
        raise UsageError(f"{given} is for a GPU, not for --target {options.target}", "--target cuda")
    if options.build_only != bool(options.output):
        missing = "-o BUNDLE" if options.build_only else "--build-only"
        raise UsageError("--build-only and -o BUNDLE go together", missing)
    if options.build_only and options.device:
        raise UsageError("--device says what runs candidates, and --build-only runs none", "autotune measure --device")


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
