"""What all tests share: golden files, fixed seeds."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

os.environ.setdefault("TILEWRIGHT_DEFAULTS", "rules")  # the same schedules on every processor

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew; read the diff as code")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written instead of compared."""
    return request.config.getoption("--update-golden")


@pytest.fixture
def golden(request: pytest.FixtureRequest, update_golden: bool) -> Callable[[str, str | Path], None]:
    """Give `check(text, name)`: compare with the file `golden/<name>` beside the test, or at an absolute path."""
    folder = Path(request.path).parent / "golden"

    def check(text: str, name: str | Path) -> None:
        path, text = folder / name, text.rstrip("\n") + "\n"
        if update_golden:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"{path} is missing: run pytest with --update-golden"
        assert text == path.read_text(), f"differs from {path}: if that is meant, run pytest with --update-golden"

    return check


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Start each test from the same state of the global generators, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
