"""`tvm.autotvm.task`: making tasks of templates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ....autotune import task as native
from ....autotune.task import Task
from ....autotune.template import Body, get_config
from ....autotune.template import template as native_template
from ....ir.settings import settings
from ....runtime.host import cpu_count
from ..target import chosen

__all__ = ["Task", "create", "get_config", "template", "threads"]


def template(task_name: str, func: Body | None = None) -> Callable[..., Any]:
    """Register a function as the template `task_name`, as a decorator or as a call."""
    register = native_template(task_name)
    return register if func is None else register(func)


def create(task_name: str, args: Sequence[Any], target: object = None, target_host: object = None) -> Task:
    """Give the task of a template, for the target in force if none is given; its kernels may use all processors."""
    return native.create(task_name, args, chosen(target), threads=threads())


def threads() -> int:
    """Give the number of threads that kernels run on."""
    return settings().num_threads or cpu_count()
