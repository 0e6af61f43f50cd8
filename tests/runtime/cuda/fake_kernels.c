// Kernels for the fake driver: what all threads of a launch do, from the buffer of parameters.
#include <stdint.h>
#include <string.h>

// double_plus_one(buffer A, buffer B, int32 n): B[i] = 2 A[i] + 1, for the threads that the launch has
int fake_double_plus_one(const unsigned char *p, const unsigned *grid, const unsigned *block, unsigned shared) {
    struct { const float *a; float *b; int n; } args;
    memcpy(&args, p, sizeof args);
    for (unsigned i = 0; i < grid[0] * block[0] && (int)i < args.n; ++i) args.b[i] = 2 * args.a[i] + 1;
    return 0;
}

// count(buffer C): one more each time
int fake_count(const unsigned char *p, const unsigned *grid, const unsigned *block, unsigned shared) {
    ++**(int **)p;
    return 0;
}

// report(buffer C): the launch's shape
int fake_report(const unsigned char *p, const unsigned *grid, const unsigned *block, unsigned shared) {
    int *c = *(int **)p;
    for (int i = 0; i < 3; ++i) c[i] = grid[i], c[3 + i] = block[i];
    c[6] = shared;
    return 0;
}

// scalars(buffer C, int8, float64, int16, int64, float16, bfloat16, bool, float32, uint32): as doubles or bits
int fake_scalars(const unsigned char *p, const unsigned *grid, const unsigned *block, unsigned shared) {
    struct { double *c; int8_t a; double b; int16_t d; int64_t e; uint16_t f, g; _Bool h; float i; uint32_t j; } s;
    memcpy(&s, p, sizeof s);
    double all[] = {s.a, s.b, s.d, (double)s.e, s.f, s.g, s.h, s.i, s.j};
    memcpy(s.c, all, sizeof all);
    return 0;
}

// mapped(tensor_map M, buffer C): the map's 128 bytes
int fake_mapped(const unsigned char *p, const unsigned *grid, const unsigned *block, unsigned shared) {
    unsigned char *c;
    memcpy(&c, p + 128, 8);
    memcpy(c, p, 128);
    return 0;
}

// faulty(buffer C): what an illegal address does
int fake_faulty(const unsigned char *p, const unsigned *grid, const unsigned *block, unsigned shared) { return 1; }

// endless(buffer C)
int fake_endless(const unsigned char *p, const unsigned *grid, const unsigned *block, unsigned shared) {
    for (volatile int forever = 1; forever;) {}
    return 0;
}
