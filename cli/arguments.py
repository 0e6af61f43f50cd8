"""Reading the command line: types of values, and a parser that says in one message what is wrong and what is near."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NoReturn

from ..autotune.builder import BUILDERS
from ..autotune.templates.epilogue import EpilogueForm
from ..ir.errors import Error
from ..ir.target import Target
from ..runtime.pool_text import MAX_THREADS

USAGE_ERROR = 2
NEAR = 3  # words that are named as being like a wrong one
INTERRUPTED = 130  # as shells have it: 128 and the number of SIGINT
_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0}


class UsageError(Exception):
    """A command line that means nothing: what is wrong, and what to do instead."""

    def __init__(self, fact: str, advice: str = "") -> None:
        super().__init__(fact, advice)
        self.fact, self.advice = fact, advice

    def __str__(self) -> str:
        return f"{self.fact}\ntry: {self.advice}" if self.advice else self.fact


class Parser(argparse.ArgumentParser):
    """An argument parser without abbreviations, whose errors are one message with advice and status 2."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Print the message and leave with status 2."""
        error = UsageError(message, f"{self.prog} --help")
        sys.stderr.write(f"{self.prog}: {error}\n")
        sys.exit(USAGE_ERROR)

    def flags(self) -> list[str]:
        """Give the long flags that this parser and its subcommands know."""
        own = [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]
        return own + [flag for parser in self.subcommands().values() for flag in parser.flags()]

    def optional(self) -> dict[str, argparse.Action]:
        """Give what each flag does, by the name that its value has when it is parsed."""
        return {action.dest: action for action in self._actions if action.option_strings}

    def subcommands(self) -> dict[str, Parser]:
        """Give the parsers of the subcommands by name."""
        choices = [action.choices for action in self._actions if action.nargs == argparse.PARSER]
        return dict(choices[0]) if choices else {}  # type: ignore[call-overload]


def near(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Give the known words most like `word`, best first, as text; `otherwise` if none is like it.

    One that differs in capitals only is the only one; those that begin with it come before others.
    """
    by_lower = {name.lower(): name for name in known}
    lower = word.lower()
    if lower in by_lower:
        return by_lower[lower]
    begun = [name for name in by_lower if lower and name.startswith(lower)]
    found = begun or difflib.get_close_matches(lower, by_lower, n=NEAR, cutoff=0.6)
    return ", ".join(by_lower[name] for name in found[:NEAR]) or otherwise


def one_of(what: str, known: Collection[str]) -> Callable[[str], str]:
    """Give the reader of a word among `known`, each of them a `what`.  It raises UsageError for any other."""

    def read(text: str) -> str:
        if text not in known:
            raise UsageError(f"there is no {what} {text!r}", near(text, known, f"one of {', '.join(known)}"))
        return text

    return read


def duration_s(text: str) -> float:
    """Read `60s`, `10m`, `1.5h` or `1m30s`; a bare number is in seconds.  Raises UsageError for other text."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        text += "s"
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UsageError(f"{text!r} is no duration", "60s, 10m, 1.5h or 1m30s")
    seconds = sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time at all")
    return seconds


def count(text: str) -> int:
    """Read an integer of at least 1."""
    if not re.fullmatch(r"[0-9]+", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least 1")
    return int(text)


def threads(text: str) -> int:
    """Read a number of threads that the pool can have."""
    if (number := count(text)) > MAX_THREADS:
        raise argparse.ArgumentTypeError(f"{number} threads are more than {MAX_THREADS}")
    return number


def natural(text: str) -> int:
    """Read an integer of at least 0."""
    if not re.fullmatch(r"[0-9]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least 0")
    return int(text)


def dtype(known: Collection[str]) -> Callable[[str], str]:
    """Give the reader of one of the data types `known`; other spellings of them are understood, and refused."""
    read = one_of("data type", known)

    def read_dtype(text: str) -> str:
        meant = _SPELLINGS.get(text, "")
        if meant in known:
            raise UsageError(f"there is no data type {text!r}", meant)
        return read(text)

    return read_dtype


_SPELLINGS = {
    **dict.fromkeys(("fp32", "f32", "float", "single"), "float32"),
    **dict.fromkeys(("fp16", "f16", "half"), "float16"),
    **dict.fromkeys(("bf16", "bfloat"), "bfloat16"),
    **dict.fromkeys(("i8", "s8"), "int8"),
    "u8": "uint8",
}


def target(text: str) -> str:
    """Read a target for which there is code."""
    try:
        kind = Target.parse(text).kind
    except Error as error:
        raise argparse.ArgumentTypeError(f"{error.fact}; {error.advice}") from None
    if kind not in BUILDERS:
        known = "llvm or cuda, as in 'llvm -mcpu=znver4' and 'cuda -arch=sm_90a'"
        raise argparse.ArgumentTypeError(f"there is no tuning for {kind!r}; there is for {known}")
    return text


def epilogue(text: str) -> str:
    """Read what becomes of sums before they are stored.  Raises UsageError."""
    try:
        return str(EpilogueForm.parse(text))
    except Error as error:
        raise UsageError(error.fact, error.advice) from None


def relative_error(text: str) -> float:
    """Read an error that a user accepts."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and at most 1, such as 2e-4")
    return value


def device(text: str) -> str:
    """Read what shall run kernels for a GPU.  Raises UsageError."""
    if not re.fullmatch(r"gpu(:[0-9]+)?|emulate", text):
        raise UsageError(f"there is no device {text!r}", "gpu, gpu:1 for the second, or emulate")
    return text


def read_shape(text: str, form: Sequence[str]) -> tuple[int, ...]:
    """Read `1,64,56,56` by the names of its numbers; only padding, P, may be 0.  Raises UsageError."""
    like = ",".join(form)
    words = [word.strip() for word in text.split(",")]
    numbers = re.findall(r"\d+", text)
    if len(numbers) == len(form) != len(words):
        raise UsageError(f"the numbers of the shape {text} are not divided by commas", f"--shape {','.join(numbers)}")
    if len(words) != len(form):
        fact = f"the shape {text} has {len(words)} number{'s' * (len(words) != 1)}, not {len(form)}"
        raise UsageError(fact, f"--shape {like}")
    for name, word in zip(form, words, strict=True):
        least = 0 if name == "P" else 1
        if not re.fullmatch(r"[0-9]+", word) or int(word) < least:
            fact = f"{name} in the shape {text} is {word!r}, not an integer of at least {least}"
            raise UsageError(fact, f"--shape {like}")
    return tuple(map(int, words))
