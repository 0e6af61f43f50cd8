"""Machine code of NVIDIA's GPUs as text: which instructions a kernel became, and which of them are in its hot loop."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from ....ir.errors import TargetError
from .loops import natural_loops
from .toolkit import program

TIMEOUT_S = 120
ARITHMETIC = frozenset(
    "FFMA FADD FMUL DFMA DADD DMUL HFMA2 HADD2 HMUL2 MUFU HMMA IMMA QGMMA HGMMA IGMMA DMMA IDP".split()
)
_PADDING = frozenset(("NOP",))
_JUMPS = frozenset(("BRA", "JMP", "CALL"))  # ptxas leaves some loops by a call that never returns
_LEAVES = frozenset(("BRA", "JMP", "BRX", "EXIT", "RET"))  # unless they have a predicate

_KERNEL = re.compile(r"^\.text\.(\S+):$", re.MULTILINE)
_LABEL = re.compile(r"^(\.L_\w+):$")
_INSTRUCTION = re.compile(r"^\s*/\*([0-9a-f]+)\*/\s+(?:@(!?U?P\w+)\s+)?([A-Z][\w.]*)\s*(.*?)\s*;")
_TARGET = re.compile(r"`\((\.L_\w+)\)")
_WIDTHS = {"U8": 8, "S8": 8, "U16": 16, "S16": 16, "64": 64, "128": 128}  # bits; no mark means 32


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, such as @!P0 LDS.128 R4, [R2+0x10]; predicate and operands may be empty."""

    predicate: str
    opcode: str
    operands: str

    @property
    def name(self) -> str:
        """The opcode without its modifiers: LDS of LDS.128."""
        return self.opcode.partition(".")[0]

    @property
    def modifiers(self) -> tuple[str, ...]:
        """What follows the name: ("E", "BYPASS", "128") of LDGSTS.E.BYPASS.128."""
        return tuple(self.opcode.split(".")[1:])


@dataclass(frozen=True, slots=True)
class Sass:
    """The instructions of one kernel; those of its hot loop again, which is empty for a kernel without loops.

    The hot loop is the loop with most arithmetic among those without a loop with arithmetic inside.
    """

    instructions: tuple[Instruction, ...]
    hot_loop: tuple[Instruction, ...]

    def count(self, opcode: str) -> int:
        """Count an instruction: "LDS", or "LDS.128" for those that have these modifiers in this order, among others."""
        return _count(self.instructions, opcode)

    def count_hot(self, opcode: str) -> int:
        """Count as `count`, in the hot loop."""
        return _count(self.hot_loop, opcode)

    def opcodes(self) -> Counter[str]:
        """Give how often each opcode occurs, modifiers included."""
        return Counter(i.opcode for i in self.instructions)

    def widths(self, name: str) -> Counter[int]:
        """Give how often each width in bits occurs among memory instructions such as LDS, LDG, STS and STG."""
        found = [i for i in self.instructions if i.name == name]
        return Counter(next((_WIDTHS[m] for m in i.modifiers if m in _WIDTHS), 32) for i in found)

    def share(self, name: str) -> float:
        """Give the share from 0 to 1 of instructions of this name in the hot loop; 0 without a loop."""
        return sum(i.name == name for i in self.hot_loop) / len(self.hot_loop) if self.hot_loop else 0.0


def disassemble(cubin: bytes) -> dict[str, Sass]:
    """Give the machine code of each kernel by name.

    Raises TargetError where nvdisasm is not found, or does not read `cubin`.
    """
    path = program("nvdisasm")
    if path is None:
        raise TargetError(
            "disassemble",
            "nvdisasm was not found",
            "  looked in TILEWRIGHT_CUDA_HOME, this Python's wheels, /usr/local/cuda*, /opt/cuda, and PATH",
            "pip install nvidia-cuda-nvdisasm (5 MB; needs no GPU), or install the CUDA toolkit",
        )
    with TemporaryDirectory(prefix="tilewright-") as folder:
        file = Path(folder, "kernel.cubin")
        file.write_bytes(cubin)
        done = subprocess.run([path, "-c", file], capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode:
        raise TargetError(
            "disassemble",
            f"{path} ended with status {done.returncode}",
            f"  {done.stderr.strip()}",
            "a disassembler at least as new as the compiler: pip install --upgrade nvidia-cuda-nvdisasm",
        )
    return read_sass(done.stdout)


def read_sass(listing: str) -> dict[str, Sass]:
    """Read what `nvdisasm -c` prints."""
    blocks = _KERNEL.split(listing)
    return {name: _kernel(text) for name, text in zip(blocks[1::2], blocks[2::2], strict=True)}


def _kernel(text: str) -> Sass:
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    for line in text.splitlines():
        if match := _LABEL.match(line):
            labels[match[1]] = len(instructions)
        elif match := _INSTRUCTION.match(line):
            instructions.append(Instruction(match[2] or "", match[3], match[4]))
    hot = _hot_loop(instructions, labels)
    return Sass(*(tuple(i for i in part if i.name not in _PADDING) for part in (instructions, hot)))


def _hot_loop(instructions: Sequence[Instruction], labels: dict[str, int]) -> list[Instruction]:
    blocks, successors = _control_flow(instructions, labels)
    arithmetic = [sum(instructions[k].name in ARITHMETIC for k in block) for block in blocks]
    loops = [loop for loop in natural_loops(successors) if any(arithmetic[b] for b in loop)] if blocks else []
    inner = [loop for loop in loops if not any(other < loop for other in loops)]
    hot = max(inner, key=lambda loop: sum(arithmetic[b] for b in loop), default=())
    return [instructions[k] for b in sorted(hot) for k in blocks[b]]


def _control_flow(instructions: Sequence[Instruction], labels: dict[str, int]) -> tuple[list[range], list[list[int]]]:
    """Give the basic blocks as ranges of instructions, and the successors of each."""
    ends = {k + 1 for k, instruction in enumerate(instructions) if instruction.name in _JUMPS | _LEAVES}
    starts = sorted({0, *labels.values(), *ends} - {len(instructions)})
    blocks = [range(*span) for span in pairwise([*starts, len(instructions)])]
    number = {block.start: b for b, block in enumerate(blocks)}
    successors: list[list[int]] = []
    for b, block in enumerate(blocks):
        last = instructions[block[-1]]
        follows = [b + 1] if b + 1 < len(blocks) and _may_go_on(last) else []
        target = _TARGET.search(last.operands) if last.name in _JUMPS else None
        successors.append(follows + ([number[labels[target[1]]]] if target and target[1] in labels else []))
    return blocks, successors


def _may_go_on(instruction: Instruction) -> bool:
    """Whether what follows may run next: a branch has its predicate before the opcode or as its first operand."""
    if instruction.name not in _LEAVES or instruction.predicate:
        return True
    return instruction.name == "BRA" and not instruction.operands.startswith("`")


def _count(instructions: Sequence[Instruction], opcode: str) -> int:
    name, *wanted = opcode.split(".")
    return sum(i.name == name and _in_order(wanted, i.modifiers) for i in instructions)


def _in_order(wanted: Sequence[str], modifiers: Sequence[str]) -> bool:
    rest = iter(modifiers)
    return all(word in rest for word in wanted)
