"""The calls that are compared with, on a stand-in for PyTorch."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tilewright.autotune.bundle.vendor import prepare


def stand_in() -> SimpleNamespace:
    """Give what `matmul` needs of PyTorch; its result is whether products may be of tf32 at the time."""
    cuda, cudnn = SimpleNamespace(matmul=SimpleNamespace(allow_tf32=False)), SimpleNamespace(allow_tf32=False)
    return SimpleNamespace(
        int8="int8",
        backends=SimpleNamespace(cuda=cuda, cudnn=cudnn),
        matmul=lambda a, b: (cuda.matmul.allow_tf32, cudnn.allow_tf32),
    )


@pytest.mark.parametrize(("dtype", "rounded"), [("float32", False), ("tf32", True)])
def test_factors_are_rounded_only_where_the_workload_says_so(dtype, rounded):
    torch, operand = stand_in(), SimpleNamespace(dtype="float32")
    call = prepare(torch, "matmul", (4, 4, 4, False, False, dtype), (operand, operand))
    assert call.run() == (rounded, rounded)
    assert not torch.backends.cuda.matmul.allow_tf32
