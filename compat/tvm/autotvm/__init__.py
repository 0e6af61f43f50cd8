"""`tvm.autotvm`: templates, tasks, tuners, logs."""

from ....autotune.template import get_config
from . import callback, measure, record, task, tuner
from .measure import LocalBuilder, LocalRunner, MeasureInput, MeasureResult, RPCRunner, measure_option
from .record import ApplyHistoryBest
from .task import template

apply_history_best = ApplyHistoryBest

__all__ = [
    "ApplyHistoryBest",
    "LocalBuilder",
    "LocalRunner",
    "MeasureInput",
    "MeasureResult",
    "RPCRunner",
    "apply_history_best",
    "callback",
    "get_config",
    "measure",
    "measure_option",
    "record",
    "task",
    "template",
    "tuner",
]
