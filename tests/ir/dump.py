"""A tree as text with every field of every node, to compare trees that were built apart."""

from __future__ import annotations

from dataclasses import fields, is_dataclass


def dump(node: object) -> str:
    """Give the class and all fields, data types of literals included."""
    if isinstance(node, tuple):
        return f"({', '.join(map(dump, node))})"
    if not is_dataclass(node) or type(node).__name__ == "DType":
        return repr(node)
    return f"{type(node).__name__}({', '.join(f'{f.name}={dump(getattr(node, f.name))}' for f in fields(node))})"
