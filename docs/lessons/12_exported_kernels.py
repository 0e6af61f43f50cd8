"""Lesson 12: kernels in files: a shared library with its header for C, and a file for another Python process."""

import ctypes
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import tilewright
from tilewright import te

# A kernel for images of any size
# -------------------------------
# The distance of each pixel to a colour.  The sizes are parameters, which the caller's arrays give.

height, width = te.size_var("height"), te.size_var("width")
Image = te.placeholder((height, width, 3), name="image")
Colour = te.placeholder((3,), name="colour")
channel = te.reduce_axis((0, 3), name="channel")


def square(y, x):
    difference = Image[y, x, channel] - Colour[channel]
    return te.sum(difference * difference, axis=channel)


Square = te.compute((height, width), square, name="square")
Distance = te.compute((height, width), lambda y, x: te.sqrt(Square[y, x]), name="distance")
s = tilewright.create_schedule(Distance.op)
s[Square].compute_at(s[Distance], Distance.op.axis[1])
s[Square].unroll(channel)
s[Distance].parallel(Distance.op.axis[0])
print("The loops:", s, sep="\n")

module = tilewright.build(s, [Image, Colour, Distance], name="colour_distance")
folder = Path(tempfile.mkdtemp())

# A shared library, and its header
# --------------------------------
# The library holds the kernel and the pool of threads that it runs on, and needs nothing of this package.

header = module.export_library(folder / "libcolour.so")
print("\nThe header ends:", *header.read_text().splitlines()[-14:], sep="\n")

program = r"""
#include <stdio.h>
#include "libcolour.h"

int main(void) {
    float image[2 * 2 * 3] = {0, 0, 0,  3, 4, 0,  0, 0, 2,  1, 2, 2};
    float colour[3] = {0, 0, 0}, distance[2 * 2];
    tilewright_set_num_threads(1);
    int32_t status = colour_distance(image, colour, distance, 2, 2);
    printf("status %d: %g %g %g %g\n", status, distance[0], distance[1], distance[2], distance[3]);
    return status;
}
"""
compiler = shutil.which("gcc") or shutil.which("cc")
if compiler:
    (folder / "main.c").write_text(program)
    library = ["-L", str(folder), "-lcolour", f"-Wl,-rpath,{folder}"]
    subprocess.run(
        [compiler, "-Wall", "-Werror", str(folder / "main.c"), *library, "-o", str(folder / "main")], check=True
    )
    said = subprocess.run([str(folder / "main")], capture_output=True, text=True, check=True).stdout
else:  # the same call, by ctypes
    loaded = ctypes.CDLL(str(folder / "libcolour.so"))
    image = np.array([[[0, 0, 0], [3, 4, 0]], [[0, 0, 2], [1, 2, 2]]], "float32")
    colour, distance = np.zeros(3, "float32"), np.empty((2, 2), "float32")
    pointers = [ctypes.c_void_p(x.ctypes.data) for x in (image, colour, distance)]
    status = loaded.colour_distance(*pointers, 2, 2)
    said = "status {}: {:g} {:g} {:g} {:g}\n".format(status, *distance.ravel())
assert said == "status 0: 0 5 2 3\n"
print(f"\nA program without Python says: {said}")

# The library can be loaded again, too: it carries a description of its kernels, so that calls are checked as always.

rng = np.random.default_rng(0)
image, colour = rng.random((30, 40, 3), dtype="float32"), rng.random(3, dtype="float32")
distance = np.empty((30, 40), "float32")
tilewright.load_module(folder / "libcolour.so")(image, colour, distance)
np.testing.assert_allclose(distance, np.linalg.norm(image - colour, axis=2), rtol=8 * np.finfo("float32").eps)

# A file for another process
# --------------------------
# `save` needs no linker and keeps the texts: LLVM's language and assembly.

module.save(folder / "colour.tilewright")
reader = (
    "import sys, numpy as np, tilewright\n"
    "kernel = tilewright.load_module(sys.argv[1])\n"
    "distance = np.empty((1, 1), 'float32')\n"
    "kernel(np.array([[[3, 4, 12]]], 'float32'), np.zeros(3, 'float32'), distance)\n"
    "print(distance[0, 0], 'sqrt' in kernel.get_source('asm'))\n"
)
said = subprocess.run(
    [sys.executable, "-c", reader, str(folder / "colour.tilewright")], capture_output=True, text=True, check=True
).stdout
assert said == "13.0 True\n"
print(f"Another Python process says: {said}")
shutil.rmtree(folder)
