"""`tvm.contrib.utils`: temporary folders."""

from __future__ import annotations

import tempfile
from pathlib import Path

__all__ = ["TempDirectory", "tempdir"]


class TempDirectory:
    """A folder that lasts as long as this object."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.path = Path(self._folder.name)

    @property
    def temp_dir(self) -> str:
        """Give the folder's path."""
        return str(self.path)

    def relpath(self, name: str) -> str:
        """Give the path of a file in it."""
        return str(self.path / name)

    def listdir(self) -> list[str]:
        """Give the names of its files."""
        return sorted(file.name for file in self.path.iterdir())

    def remove(self) -> None:
        """Delete it now."""
        self._folder.cleanup()


def tempdir() -> TempDirectory:
    """Give a new folder."""
    return TempDirectory()
