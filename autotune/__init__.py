"""Search for the fastest schedule: templates, tasks, tuners, records."""

from . import task
from .history import apply_history_best
from .measure import MeasureOptions
from .records import Records
from .strategies.ga import GaStrategy
from .strategies.grid import GridStrategy
from .strategies.random import RandomStrategy
from .strategies.xgb import XgbStrategy
from .task import Task
from .template import get_config, get_target, get_threads, template
from .tuner import Tuner, TuneResult

__all__ = [
    "GaStrategy",
    "GridStrategy",
    "MeasureOptions",
    "RandomStrategy",
    "Records",
    "Task",
    "TuneResult",
    "Tuner",
    "XgbStrategy",
    "apply_history_best",
    "get_config",
    "get_target",
    "get_threads",
    "task",
    "template",
]
