"""Natural loops of a control flow graph."""

from __future__ import annotations

from collections.abc import Sequence

Successors = Sequence[Sequence[int]]  # of each block; block 0 is the entry


def natural_loops(successors: Successors) -> list[frozenset[int]]:
    """Give the blocks of each loop: of each head that dominates a block which branches to it.

    Blocks that the compiler moved out of line, such as the repetitions of a wait, belong to the loop that they return
    to.  Source: Aho, Lam, Sethi, Ullman, "Compilers", second edition, section 9.6.
    """
    predecessors = _reversed(successors)
    dominators = _dominators(successors, predecessors)
    bodies: dict[int, set[int]] = {}
    for block in dominators:
        for head in successors[block]:
            if head in dominators[block]:
                bodies.setdefault(head, {head}).update(_reaching(block, head, predecessors))
    return [frozenset(body) for body in bodies.values()]


def _reversed(successors: Successors) -> list[list[int]]:
    predecessors: list[list[int]] = [[] for _ in successors]
    for block, targets in enumerate(successors):
        for target in targets:
            predecessors[target].append(block)
    return predecessors


def _dominators(successors: Successors, predecessors: Successors) -> dict[int, frozenset[int]]:
    """Give, for each block that can be reached, the blocks on every way to it, itself included."""
    reached = _reaching(0, None, successors)
    dominators = {block: frozenset(reached) for block in sorted(reached)}
    dominators[0] = frozenset((0,))
    changed = True
    while changed:
        changed = False
        for block in dominators:
            if block:
                ways = [dominators[p] for p in predecessors[block] if p in reached]
                new = frozenset.intersection(*ways) | {block}
                changed |= new != dominators[block]
                dominators[block] = new
    return dominators


def _reaching(start: int, stop: int | None, edges: Successors) -> set[int]:
    """Give the blocks that `edges` lead to from `start`, without going on from `stop`."""
    found, waiting = set(), [start]
    while waiting:
        block = waiting.pop()
        if block not in found and block != stop:
            found.add(block)
            waiting += edges[block]
    return found
