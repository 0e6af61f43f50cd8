"""Compiled kernels on disk, found by the content that they were compiled from.

One file an entry, named by a digest of everything that decides it, so that an entry never has to be replaced.  Files
are written beside their place and renamed, so that processes may share the folder: a reader sees a whole entry or none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CubinCache:
    """A folder of cubins with their logs, kept under `limit_bytes` by dropping what was unused longest."""

    folder: Path
    limit_bytes: int

    @staticmethod
    def key(parts: Sequence[str]) -> str:
        """Give the digest of what decides an entry: compiler, architecture, options, text."""
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def get(self, key: str) -> tuple[bytes, str] | None:
        """Give the cubin and the log of `key`, or None where there is no entry, or none that is whole."""
        path = self._path(key)
        try:
            entry = path.read_bytes()
            os.utime(path)  # the time of the last use
        except OSError:
            return None
        digest, log, code = entry[:32], *_split(entry[32:])
        return (code, log.decode()) if hashlib.sha256(entry[32:]).digest() == digest else None

    def put(self, key: str, code: bytes, log: str) -> None:
        """Keep a cubin and its log; a folder that cannot be written keeps nothing."""
        text = log.encode()
        body = len(text).to_bytes(8, "little") + text + code
        path = self._path(key)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent)
            try:
                with open(handle, "wb") as file:
                    file.write(hashlib.sha256(body).digest() + body)
                os.replace(name, path)
            except OSError:
                os.unlink(name)
                raise
            if key.startswith("00"):  # about once in 256 entries
                self.trim()

    def trim(self) -> None:
        """Drop what was unused longest until the entries hold at most `limit_bytes`."""
        entries = []
        for path in self.folder.glob("*/*"):
            with contextlib.suppress(OSError):  # another process may have dropped it
                entries.append((path.stat().st_mtime, path.stat().st_size, path))
        excess = sum(size for _, size, _ in entries) - self.limit_bytes
        for _, size, path in sorted(entries):
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= size

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key[2:]


def _split(body: bytes) -> tuple[bytes, bytes]:
    end = 8 + int.from_bytes(body[:8], "little")
    return body[8:end], body[end:]
