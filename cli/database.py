"""Opening the record database that a command line or the settings name."""

from __future__ import annotations

from pathlib import Path

from ..autotune.records import Records
from ..ir.errors import RecordError
from ..ir.settings import settings


def open_records(path: str, create: bool) -> Records:
    """Open the database at `path`, or that of the settings where it is empty; the latter's folder is made.

    Raises RecordError if it cannot be opened, or is not there and shall not be created.
    """
    if path:
        return Records(path, create=create)
    default = Path(settings().db).expanduser()
    if create:
        try:
            default.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            fact = f"folder {default.parent} cannot be made: {error.strerror}"
            raise RecordError("records", fact, advice="--db FILE, or the setting TILEWRIGHT_DB") from None
    return Records(default, create=create)
