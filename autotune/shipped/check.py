"""Whether shipped records still mean something."""

from __future__ import annotations

import inspect

from ...ir.errors import TuneError
from ...ir.target import Target
from ..task import Task
from ..template import find_template
from .call import target_of
from .records import Record, number_of


def is_current(record: Record) -> bool:
    """Tell whether a record's template is of today's version, and its space has the configuration."""
    made = task_of(record)
    return made is not None and number_of(made.config_space, record.knobs) is not None


def task_of(record: Record, target: Target | None = None) -> Task | None:
    """Give the task that a record is of, by default for any target of its kind; None where there is none today."""
    try:
        made = find_template(record.template.rsplit(".", 1)[0])
    except TuneError:
        return None
    parameters = inspect.signature(made.function).parameters
    if f"{made.name}.{made.version}" != record.template or not set(record.call) <= set(parameters):
        return None
    bound = inspect.signature(made.function).bind(**record.call)
    bound.apply_defaults()
    return Task(made, bound.args, target or target_of(record.kind), record.threads)
