"""What a kernel takes that nobody tuned: a shipped record, what the shipped model prefers, or the template's rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ..ir.settings import settings
from .shipped.call import Call
from .shipped.model import modelled, shipped_corrections
from .shipped.records import recorded, shipped_records
from .space import Config, ConfigSpace


class Origin(StrEnum):
    """Where an untuned configuration comes from."""

    RECORD = "shipped record"
    MODEL = "shipped model"
    RULES = "rules"


@dataclass(frozen=True, slots=True)
class Untuned:
    """A configuration that nobody measured here.

    index  its number in the space; None if it has none
    """

    config: Config
    origin: Origin

    @property
    def index(self) -> int | None:
        """Give its number in the space; None if it has none."""
        return self.config.index


def untuned(call: Call, space: ConfigSpace) -> Untuned:
    """Give the configuration of a call of a template whose space this is.

    A shipped record of this very workload and kind of processor comes first, then what the shipped model prefers to
    the rules' default; the rules alone where neither knows such a processor, and where the setting
    `TILEWRIGHT_DEFAULTS` says so.
    """
    if is_known(call):
        ways: tuple[tuple[Origin, Callable[[Call, ConfigSpace], int | None]], ...]
        ways = ((Origin.RECORD, recorded), (Origin.MODEL, modelled))
        for origin, way in ways:
            index = way(call, space)
            if index is not None:
                return Untuned(space.get(index), origin)
    return Untuned(space.default_config(), Origin.RULES)


def is_known(call: Call) -> bool:
    """Tell whether anything that is shipped may say more of a call than the rules do."""
    about = (call.kind, call.threads, call.template)
    return settings().defaults == "shipped" and any(
        key[:3] == about for shipped in (shipped_records(), shipped_corrections()) for key in shipped
    )
