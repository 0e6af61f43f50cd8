// What makes the emulator's kernels a "cubin" of the fake driver: put after their text and their TWE_ENTRY.
struct fake_request { int grid[3], block[3], cluster[3], shared_bytes, order, latest; unsigned long long seed; };
struct fake_fault { int kind, line, other_line, block[3], thread[3]; char fact[400]; };
extern "C" void twe_run(void*, void*, fake_request*, unsigned long long*, int, fake_fault*);

static int fake_launch(void (*entry)(void* const*), int (*describe)(int*, int*), fake_request request,
                       const unsigned char* parameters) {
    int kinds[256], sizes[256], end = 0, writes = 0;
    unsigned long long at[256], written[256];
    alignas(128) unsigned char copy[4096];
    for (int i = 0, count = describe(kinds, sizes); i < count; ++i) {
        int start = (end + sizes[i] - 1) / sizes[i] * sizes[i];
        for (int k = 0; k < sizes[i]; ++k) copy[start + k] = parameters[start + k];
        at[i] = (unsigned long long)(copy + start);
        if (kinds[i] == 2) written[writes++] = *(unsigned long long*)(copy + start);
        end = start + sizes[i];
    }
    fake_fault fault = {};
    twe_run((void*)entry, at, &request, written, writes, &fault);
    return fault.kind;
}

#define FAKE_KERNEL(name, cx, cy, cz)                                                                               \
    extern "C" int fake_##name(const unsigned char* p, const unsigned* g, const unsigned* b, unsigned shared) {    \
        fake_request request = {{(int)g[0], (int)g[1], (int)g[2]}, {(int)b[0], (int)b[1], (int)b[2]}, {cx, cy, cz}, \
                                (int)shared, 0, 0, 0};                                                              \
        return fake_launch(name##__entry, name##__parameters, request, p);                                         \
    }
