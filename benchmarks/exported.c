/* Times an exported kernel from outside of Python.

     autotune records export KEY -o kernels
     cc -O2 benchmarks/exported.c -ldl -o exported
     ./exported kernels/libmatmul_KEY.so matmul 1 268435456 262144 262144 262144

   Arguments: library, kernel, threads, floating-point operations of one call, number of float32 elements of each
   array in the order of the header.  Prints the median and the range of ten batches of about 20 ms. */

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BATCHES = 10, MOST_ARRAYS = 8 };

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc < 6 || argc - 5 > MOST_ARRAYS) {
        fprintf(stderr, "usage: exported LIBRARY KERNEL THREADS FLOP ELEMENTS...\n");
        return 2;
    }
    void *library = dlopen(argv[1], RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    char symbol[256];
    snprintf(symbol, sizeof symbol, "%s__packed", argv[2]);
    int32_t (*kernel)(void *) = (int32_t(*)(void *))dlsym(library, symbol);
    void (*set_threads)(int32_t) = (void (*)(int32_t))dlsym(library, "tilewright_set_num_threads");
    if (!kernel || !set_threads) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    set_threads(atoi(argv[3]));
    float *slots[MOST_ARRAYS];
    for (int i = 0; i < argc - 5; i++) {
        long count = atol(argv[5 + i]);
        slots[i] = aligned_alloc(64, (count * 4 + 63) / 64 * 64);
        for (long j = 0; j < count; j++) slots[i][j] = (float)rand() / RAND_MAX - 0.5f;
    }
    double begin = now_s();
    int calls = 0;
    while (now_s() - begin < 0.2) { /* warm up, and count what fits */
        if (kernel(slots)) return 1;
        calls++;
    }
    int batch = calls / 10 + 1;
    double seconds[BATCHES];
    for (int b = 0; b < BATCHES; b++) {
        double start = now_s();
        for (int i = 0; i < batch; i++) kernel(slots);
        seconds[b] = (now_s() - start) / batch;
    }
    qsort(seconds, BATCHES, sizeof *seconds, by_value);
    double median = (seconds[BATCHES / 2 - 1] + seconds[BATCHES / 2]) / 2, flop = atof(argv[4]);
    printf("%s: median %.1f us, %.1f GFLOP/s (%.1f to %.1f us)\n", argv[2], median * 1e6, flop / median / 1e9,
           seconds[0] * 1e6, seconds[BATCHES - 1] * 1e6);
    return 0;
}
