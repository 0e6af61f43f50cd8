"""Schedules as data: saved, replayed in another process, refused when damaged."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

from tilewright import te
from tilewright.ir.errors import ScheduleError
from tilewright.schedule import Schedule, create_schedule

PROGRAM = """
from tilewright import te

def program():
    a = te.placeholder((16, 12), name="A")
    b = te.placeholder((12, 20), name="B")
    k = te.reduce_axis((0, 12), name="k")
    p = te.compute((16, 12), lambda i, j: a[i, j] + 1.0, name="P")
    c = te.compute((16, 20), lambda i, j: te.sum(p[i, k] * b[k, j], axis=k), name="C")
    return p, c
"""


def scheduled() -> tuple[Schedule, te.Tensor]:
    names: dict = {}
    exec(PROGRAM, names)
    p, c = names["program"]()
    s = create_schedule(c.op)
    cache = s.cache_write(c, "local")
    outer, _, _, inner = s[c].tile(*c.op.axis, 4, 8)
    s[c].vectorize(inner)
    s[c].parallel(outer)
    s[cache].compute_at(s[c], s[c].leaf_iter_vars[1])
    split, _ = s[cache].split(s[cache].op.reduce_axis[0], nparts=3)
    s[p].compute_at(s[cache], split)
    s[p].transform_layout(lambda i, j: [j // 4, i, j % 4])
    s[p].set_store_predicate(p.op.axis[0].var >= 0)
    return s, c


def test_replay_in_another_process_gives_the_same_nest():
    s, _ = scheduled()
    script = PROGRAM + textwrap.dedent("""
        import sys
        import tilewright
        print(tilewright.Schedule.from_json(sys.stdin.read(), [program()[1]]))
    """)
    done = subprocess.run([sys.executable, "-c", script], input=s.to_json(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(s).strip()


def test_json_has_a_version_and_plain_steps():
    s, _ = scheduled()
    data = json.loads(s.to_json())
    assert data["version"] == 1
    assert data["steps"][0] == ["cache_write", "C", "local", "C_local"]


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("{", "the text is no saved schedule"),
        ('{"version": 99, "steps": []}', "the schedule has format version 99"),
        ('{"version": 1, "steps": [["melt", "C"]]}', "step 0 is of unknown kind 'melt'"),
        ('{"version": 1, "steps": [["split", "C"]]}', r"step 0 \(split\) has 1 fields, not 4"),
        ('{"version": 1, "steps": [["compute_inline", "Z"]]}', "there is no stage Z"),
    ],
)
def test_damaged_text_is_refused(text, fact):
    _, c = scheduled()
    with pytest.raises(ScheduleError, match=fact):
        Schedule.from_json(text, [c])
