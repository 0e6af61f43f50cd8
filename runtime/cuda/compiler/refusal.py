"""What a CUDA compiler says when it refuses a text."""

from __future__ import annotations


class Refusal(Exception):
    """The log of a compiler that gave no cubin; `compile_cubin` makes a CompileError of it."""

    def __init__(self, log: str) -> None:
        self.log = log
        super().__init__(log)
