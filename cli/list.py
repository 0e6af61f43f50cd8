"""`autotune list`: operators and layers."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from typing import Any

from .arguments import UsageError, near
from .layers import LAYERS, Layer
from .operators import Operator

NETWORKS = tuple(dict.fromkeys(name.split(".")[0] for name in LAYERS))
EXIT_CODES = """exit status:
  0  the list was printed
  2  the command line means nothing
"""


def add_list(commands: Any, operators: Sequence[Operator]) -> None:
    """Add the subcommand."""
    text = "List the operators that can be tuned, and layers of known networks."
    parser = commands.add_parser("list", help="list operators and layers", description=text, epilog=EXIT_CODES)
    parser.add_argument("network", nargs="?", help=f"only its layers: {', '.join(NETWORKS)}")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=lambda options: run(options, operators))


def run(options: argparse.Namespace, operators: Sequence[Operator]) -> int:
    """Print the list; give the exit status."""
    network: str = options.network or ""
    chosen = [layer for layer in LAYERS.values() if network in ("", _network(layer))]
    if not chosen:
        raise UsageError(f"there is no network {network!r}", near(network, NETWORKS, f"one of {', '.join(NETWORKS)}"))
    lines = [json.dumps([_data(layer) for layer in chosen], indent=1)] if options.json else _lines(chosen, operators)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _lines(layers: Sequence[Layer], operators: Sequence[Operator]) -> list[str]:
    lines = ["operators"]
    lines += [f"  {o.name:18}{','.join(o.form):20}{o.summary}" for o in operators]
    width = max(len(layer.name) for layer in layers) + 2
    for network, members in itertools.groupby(layers, _network):
        lines += ["", f"layers of {network}"]
        lines += [f"  {x.name:{width}}{x.operator:18}{','.join(map(str, x.shape))}{_flags(x)}" for x in members]
    return lines


def _network(layer: Layer) -> str:
    return layer.name.split(".")[0]


def _flags(layer: Layer) -> str:
    return "".join(f"  {name.replace('_', '-')}={value}" for name, value in layer.flags)


def _data(layer: Layer) -> dict[str, Any]:
    return {"name": layer.name, "operator": layer.operator, "shape": list(layer.shape), **dict(layer.flags)}
