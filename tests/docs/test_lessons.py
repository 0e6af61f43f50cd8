"""Each lesson is a script that checks its own results; here it runs, and some of what it prints is compared."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

LESSONS = Path(__file__).resolve().parents[2] / "docs" / "lessons"
TIMEOUT_S = 120

PRINTED = {
    "01_vector_add": (
        "for i_o in parallel(65536):\n    for i_i in vectorized(16):\n"
        "        C[i_o * 16 + i_i] = A[i_o * 16 + i_i] + B[i_o * 16 + i_i]",
        "        if i_o * 16 + i_i < m:\n            Y[i_o * 16 + i_i] = X[i_o * 16 + i_i] * 2.0",
    ),
    "02_matrix_product": (
        "for y in range(512):\n    for x in range(512):\n        C[y, x] = 0.0\n        for k in range(512):",
        "packed = allocate(float32[16, 512, 32])",
        '        C_local = allocate(float32[8, 32], "local")',
        "  plain           1.0 times",
        "  write cache",
    ),
    "03_convolution": (
        "Padded = allocate(float32[16, 30, 30])",
        "for y in range(28):\n"
        '    Padded = allocate(float32[16, 3, 30], "local")\n    for c_1 in range(16):\n        for y_1 in range(3):',
    ),
    "04_reductions": (
        "    for k_i in vectorized(16):\n        Total_rf[k_i, 0] = Total_rf[k_i, 0] + A[k_o * 16 + k_i]",
        "for k_o in parallel(8):\n    Total_rf[k_o, 0] = 0.0",
        "for k_o in parallel(4):\n    for i_1 in range(8):\n        Argmax_rf[k_o, i_1] = 2147483647",
    ),
    "05_scan": (
        "for i in range(n):\n    Sums[0, i] = X[0, i]\nfor Sums_idx in range(steps - 1):",
        "            force[0, 0] = force[0, 0] + K[i, j] * motion_v0[motion_idx, j]",
    ),
    "06_tuples": (
        "    Product[0] = 1.0\n    Product_v1[0] = 0.0",
        "        Product_v0[i_1] = Product_new0\n        Product_v1[i_1] = Product_new1",
    ),
    "07_tensorize": (
        "        for depth in range(16):\n            for row_ in range(8):\n"
        "                Y[i_o * 8 + row_] = Y[i_o * 8 + row_] + A[i_o * 8 + row_, k_o * 16 + depth]",
        "tensorize: the loops compute `sum(A[i, k] + X[k], axis=[k])`, and intrinsic matrix_times_vector computes "
        "`sum(a[i, k] * x[k], axis=[k])`",
        "dot4_u8s8_i32(address(Dot[i_o * 4 + i_i, panel, 0]), address(U[i_o * 4 + i_i, group * 4]), "
        "address(W[panel, group, 0, 0]), 16)",
    ),
    "08_mathematics": (
        "exp:\nfor i_o in range(256):\n    for i_i in vectorized(16):\n"
        "        Y[i_o * 16 + i_i] = exp(X[i_o * 16 + i_i])",
        "cbrtf of the C library:\nfor i in range(4096):",
    ),
    "09_extern": (
        "    for column in range(row):\n        X[row] = X[row] - A[row, column] * X[column]",
        "sort_rows(address(A[0, 0]), address(Sorted[0, 0]))",
    ),
    "10_refusals": (
        "parallel: axis k is a reduction: i=0, k=0 and i=0, k=1 both update RowSum[0]",
        ">     for k in range(64):",
        "vectorize: axis j of stage Twice is no loop any more: step 0 (split) made j_o and j_i of it",
        "10_refusals.py:",
        "After nine refusals the kernel gives 64.0",
    ),
    "11_saved_schedules": (
        '["compute_at","C","D","j_o"]',
        "Another process derives the same loops.",
        "reorder: stage D has no axis i_x",
    ),
    "12_exported_kernels": (
        "/* distance: float32 (height, width), row-major, written */",
        "A program without Python says: status 0: 0 5 2 3",
        "Another Python process says: 13.0 True",
    ),
    "13_custom_operator": (
        "60 ways: ConfigSpace(60 configurations; rows: 5, lanes: 4, unroll: 3)",
        "GFLOP/s",
    ),
    "14_gpu_threads": (
        'for i_o in thread("blockIdx.x", (n + 127) // 128):\n    for i_i in thread("threadIdx.x", 128):',
        "  if ((blockIdx_x*128 + threadIdx_x) < n) {",
        'A_shared = allocate(float32[32, 32], "shared", strides=[33, 1])',
        'for k_i in thread("threadIdx.x", 32, cross_thread=1):',
        "limits: a block has 2048 x 1 x 1 = 2048 threads, at most 1024 are possible",
        "Softmax by default takes 4 kernels.",
    ),
    "15_gpu_pipelines": (
        "for k_o in pipelined(5, stages=3, transport='cp_async'):",
        "    tw_cp_async_wait<1>();",
        "for i_ in range(16, mma='m16n8k16_f16'):",
        "tw_mma_m16n8k16_f16: 4",
        "All products are right.",
    ),
    "16_constants": (
        "def layer_prepare(W: float32[48, 64], W_global: Out[float32[3, 64, 16]]):",
        "def layer(X: float32[32, 64], W_global: float32[3, 64, 16], Y: Out[float32[32, 48]]):",
        "precompute: stage shifted reads scaled, which every call computes",
    ),
    "17_caches": (
        "    for i_i_o in range(256, stream='C'):",
        "Instructions that store past the caches: True",
        "stream: total reads C again, which would have to come back from main memory",
        "    for j_line in range(64):\n        prefetch(address(M[j_line, ",
    ),
}


@pytest.mark.parametrize("lesson", sorted(path.stem for path in LESSONS.glob("[0-9]*.py")))
def test_a_lesson_runs_and_prints_what_it_says(lesson: str, tmp_path: Path) -> None:
    command = [sys.executable, str(LESSONS / f"{lesson}.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in PRINTED[lesson] if line not in done.stdout] == []


def test_the_list_of_lessons_is_complete() -> None:
    listed = re.findall(r"\]\((\d\d_\w+)\.py\)", (LESSONS / "README.md").read_text())
    assert listed == sorted(PRINTED) == sorted(path.stem for path in LESSONS.glob("[0-9]*.py"))
