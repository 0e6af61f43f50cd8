"""How to compute it: schedules, their steps, and lowering to loop nests."""

from .defaults import default_schedule
from .intrinsics import register_intrinsic
from .lower import lower, lower_prepared, parameter_names
from .schedule import Schedule, create_schedule
from .stage import Stage

__all__ = [
    "Schedule",
    "Stage",
    "create_schedule",
    "default_schedule",
    "lower",
    "lower_prepared",
    "parameter_names",
    "register_intrinsic",
]
