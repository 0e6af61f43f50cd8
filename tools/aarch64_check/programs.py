"""The kernels to be checked: templates, and random programs with random schedules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from fuzz.check import MIN_STEPS, pair  # of tests/
from targets.workloads import WORKLOADS, configurations, nest_of, reference_of, task_of, title

from tilewright.autotune.reference import ALL, Part, Reference
from tilewright.schedule.lower import lower
from tilewright.te.evaluate import evaluate

from .calls import Call


def template_calls(target: str, others: int) -> Iterator[Call]:
    """Give every template's default configuration, and `others` random ones."""
    for number, workload in enumerate(WORKLOADS):
        task = task_of(workload, target)
        reference = reference_of(task)
        for place, config in enumerate(configurations(task, others)):
            nest = nest_of(task, config, f"template{number}_{place}")
            yield Call(f"{title(workload)} {config if place else 'default'}", nest, _own(reference))


def _own(reference: Reference) -> Reference:
    """Give the reference with arrays to write of its own."""
    arrays = [a.copy() if p in reference.expected else a for p, a in enumerate(reference.arrays)]
    return replace(reference, arrays=tuple(arrays))


def fuzz_calls(seeds: Sequence[int]) -> Iterator[Call]:
    """Give the random pairs of seeds: small integers, so that every order of summation gives the same."""
    for seed in seeds:
        program, drawn = pair(seed)
        if len(drawn.schedule.steps) < MIN_STEPS:
            continue
        nest = lower(drawn.schedule, [*program.inputs, *program.outputs], f"fuzz{seed}")
        feeds = [np.ascontiguousarray(x) for x in program.feeds(seed)]
        values = evaluate(program.outputs, dict(zip(program.inputs, feeds, strict=True)))
        expected = {len(feeds) + n: (Part(ALL, np.asarray(value)),) for n, value in enumerate(values)}
        arrays = (*feeds, *(np.empty_like(np.asarray(value)) for value in values))
        dtypes = {p: program.outputs[p - len(feeds)].dtype for p in expected}
        yield Call(
            f"seed {seed} ({program.family})", nest, Reference(arrays, expected, dict.fromkeys(expected, 0.0), dtypes)
        )
