"""What the benchmarks use of its schedules of single loops."""

from typing import Any

dlight: Any
