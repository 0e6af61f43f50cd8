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
    try:
        made = find_template(record.template.rsplit(".", 1)[0])
    except TuneError:
        return False
    parameters = inspect.signature(made.function).parameters
    if f"{made.name}.{made.version}" != record.template or not set(record.call) <= set(parameters):
        return False
    bound = inspect.signature(made.function).bind(**record.call)
    bound.apply_defaults()
    target: Target = target_of(record.kind)
    task = Task(made, bound.args, target, record.threads)
    return number_of(task.config_space, record.knobs) is not None
