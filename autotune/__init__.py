"""Search for the fastest schedule: templates, spaces, strategies, measurement, records.

@autotune.template("matmul")                      a function that declares knobs and schedules by them
task = autotune.task.create("matmul", (512, 512, 512))
result = autotune.Tuner(task, records=autotune.Records("tuning.db")).tune(n_trial=200)
"""

from . import task
from .history import apply_history_best, best_config
from .measure import MeasureOptions
from .records import Records
from .space import Config, ConfigSpace
from .strategies.ga import GaStrategy
from .strategies.grid import GridStrategy
from .strategies.random import RandomStrategy
from .strategies.xgb import XgbStrategy
from .task import Task
from .template import get_config, get_target, get_threads, template, template_names
from .trial import Status, Trial
from .tuner import Progress, Tuner, TuneResult

__all__ = [
    "Config",
    "ConfigSpace",
    "GaStrategy",
    "GridStrategy",
    "MeasureOptions",
    "Progress",
    "RandomStrategy",
    "Records",
    "Status",
    "Task",
    "Trial",
    "TuneResult",
    "Tuner",
    "XgbStrategy",
    "apply_history_best",
    "best_config",
    "get_config",
    "get_target",
    "get_threads",
    "task",
    "template",
    "template_names",
]
