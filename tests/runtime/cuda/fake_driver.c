// A CUDA driver without a GPU, for tests: memory is main memory, a "cubin" is a shared library for this processor, and
// a launch is a call of its function `fake_NAME(parameters, grid, block, shared bytes)`, whose result other than 0
// breaks the context, as an illegal address does.  It checks what the true driver checks of a launch.  Where the
// emulator is loaded, memory is the emulator's and so are tensor maps: its kernels run unchanged.
//
// FAKE_CUDA in the environment: "no_device" makes cuInit fail, "sm_80" and the like name the architecture.
// fake_calls() gives the names of the functions that were called, fake_live() how many allocations were not freed.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, NO_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_CONTEXT = 201,
       NOT_FOUND = 500, ILLEGAL_ADDRESS = 700 };
enum { STATIC_SHARED = 48 << 10, MOST_SHARED = 227 << 10, MOST_THREADS = 1024 };

typedef int (*Body)(const void *parameters, const unsigned *grid, const unsigned *block, unsigned shared);
typedef struct { void *library; char path[64]; } Module;
typedef struct { Body body; int dynamic_shared; } Function;
typedef struct { Function *function; unsigned grid[3], block[3], shared; void *parameters; } Launch;
typedef struct { Launch *launches; int count; } Graph;
typedef struct { int capturing; Graph *graph; } Stream;
typedef struct { struct timespec at; } Event;

static int initialised, current, live, broken, last_map_type;
static void *last_stream;
static char calls[1 << 20];

#define CALLED() do { strncat(calls, __func__, sizeof(calls) - strlen(calls) - 2); strcat(calls, "\n"); } while (0)
#define NEED_CONTEXT() do { CALLED(); if (!current) return INVALID_CONTEXT; if (broken) return broken; } while (0)

const char *fake_calls(void) { return calls; }
void fake_forget(void) { calls[0] = 0; }
int fake_live(void) { return live; }
int fake_map_type(void) { return last_map_type; }
int fake_on_default_stream(void) { return !last_stream; }
void fake_repair(void) { broken = live = 0; }
int fake_current(void) { return current; }

static const char *mode(void) { const char *text = getenv("FAKE_CUDA"); return text ? text : ""; }
static int capability(void) { return strncmp(mode(), "sm_", 3) ? 90 : atoi(mode() + 3); }

int cuGetErrorString(int status, const char **text) {
    *text = status == NO_DEVICE ? "no CUDA-capable device is detected" :
            status == ILLEGAL_ADDRESS ? "an illegal memory access was encountered" :
            status == INVALID_VALUE ? "invalid argument" : "error of the fake driver";
    return SUCCESS;
}
int cuGetErrorName(int status, const char **text) { return cuGetErrorString(status, text); }
int cuDriverGetVersion(int *version) { *version = 13000; return SUCCESS; }
int cuInit(unsigned flags) {
    CALLED();
    if (!strcmp(mode(), "no_device")) return NO_DEVICE;
    initialised = 1;
    return SUCCESS;
}

// -- the device and its context -----------------------------------------------------------------------------------------

int cuDeviceGetCount(int *count) { *count = 1; return initialised ? SUCCESS : NOT_INITIALIZED; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal ? 101 : SUCCESS; }
int cuDeviceGetName(char *name, int size, int device) {
    snprintf(name, size, "CPU emulation (not a GPU)");
    return SUCCESS;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)1 << 30; return SUCCESS; }
int cuDeviceComputeCapability(int *major, int *minor, int device) {
    *major = capability() / 10, *minor = capability() % 10;
    return SUCCESS;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) {
        case 1: *value = MOST_THREADS; break;     // threads of a block
        case 16: *value = 132; break;             // multiprocessors
        case 38: *value = 50 << 20; break;        // second-level cache
        case 75: *value = capability() / 10; break;
        case 76: *value = capability() % 10; break;
        case 81: *value = 228 << 10; break;       // shared memory of a multiprocessor
        case 82: *value = 65536; break;           // registers of a multiprocessor
        case 97: *value = MOST_SHARED; break;     // shared memory that a block may ask for
        default: *value = 0;
    }
    return SUCCESS;
}
int cuDevicePrimaryCtxRetain(void **context, int device) { CALLED(); *context = &current; return SUCCESS; }
int cuDevicePrimaryCtxRelease_v2(int device) { CALLED(); return SUCCESS; }
int cuCtxPushCurrent_v2(void *context) { CALLED(); ++current; return SUCCESS; }
int cuCtxPopCurrent_v2(void **context) {
    CALLED();
    if (!current) return INVALID_CONTEXT;
    --current;
    *context = &current;
    return SUCCESS;
}
int cuCtxGetDevice(int *device) { *device = 0; return current ? SUCCESS : INVALID_CONTEXT; }
int cuCtxSynchronize(void) { NEED_CONTEXT(); return SUCCESS; }

// -- code -----------------------------------------------------------------------------------------------------------------

int cuModuleLoadData(void **module, const void *image) {
    NEED_CONTEXT();
    const Elf64_Ehdr *header = image;
    if (memcmp(header->e_ident, ELFMAG, SELFMAG)) return 200;
    size_t size = header->e_shoff + (size_t)header->e_shnum * header->e_shentsize;
    Module *made = calloc(1, sizeof *made);
    int file = memfd_create("cubin", 0);
    if (file < 0 || write(file, image, size) != (ssize_t)size) return 200;
    snprintf(made->path, sizeof made->path, "/proc/self/fd/%d", file);
    made->library = dlopen(made->path, RTLD_NOW | RTLD_LOCAL);
    if (!made->library) return fprintf(stderr, "%s\n", dlerror()), 200;
    *module = made;
    return SUCCESS;
}
int cuModuleLoadDataEx(void **module, const void *image, unsigned count, void *options, void *values) {
    return cuModuleLoadData(module, image);
}
int cuModuleUnload(void *module) { NEED_CONTEXT(); return SUCCESS; }
int cuModuleGetFunction(void **function, void *module, const char *name) {
    NEED_CONTEXT();
    char symbol[256];
    snprintf(symbol, sizeof symbol, "fake_%s", name);
    Body body = (Body)dlsym(((Module *)module)->library, symbol);
    if (!body) return NOT_FOUND;
    Function *made = calloc(1, sizeof *made);
    made->body = body, made->dynamic_shared = STATIC_SHARED;
    *function = made;
    return SUCCESS;
}
int cuFuncSetAttribute(void *function, int attribute, int value) {
    NEED_CONTEXT();
    if (attribute != 8 || value > MOST_SHARED) return INVALID_VALUE;
    ((Function *)function)->dynamic_shared = value;
    return SUCCESS;
}
int cuFuncSetBlockShape(void *function, int x, int y, int z) { NEED_CONTEXT(); return SUCCESS; }
int cuFuncSetSharedSize(void *function, unsigned bytes) { NEED_CONTEXT(); return SUCCESS; }
int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, void *function, int threads, size_t shared) {
    NEED_CONTEXT();
    if ((int)shared > ((Function *)function)->dynamic_shared) return INVALID_VALUE;
    *blocks = 2048 / threads;
    return SUCCESS;
}

// -- memory ---------------------------------------------------------------------------------------------------------------

static void *emulator(const char *name) { return dlsym(RTLD_DEFAULT, name); }
static int emulated(uint64_t address) {
    uint64_t (*extent)(uint64_t) = emulator("twe_extent");
    return extent && extent(address);
}
static void written(uint64_t address, size_t bytes) {
    void (*mark)(uint64_t, uint64_t, int) = emulator("twe_mark");
    if (emulated(address)) mark(address, bytes, 1);
}

int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
    NEED_CONTEXT();
    if (bytes > (size_t)1 << 30) return NO_MEMORY;
    uint64_t (*allocate)(uint64_t) = emulator("twe_allocate");
    *address = allocate ? allocate(bytes) : (uint64_t)aligned_alloc(256, (bytes + 255) / 256 * 256);
    ++live;
    return SUCCESS;
}
int cuMemFree_v2(uint64_t address) {
    NEED_CONTEXT();
    --live;
    void (*release)(uint64_t) = emulator("twe_free");
    if (emulated(address)) release(address); else free((void *)address);
    return SUCCESS;
}
int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t n) {
    NEED_CONTEXT();
    memcpy((void *)to, from, n);
    written(to, n);
    return SUCCESS;
}
int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t n) { NEED_CONTEXT(); memcpy(to, (void *)from, n); return 0; }
int cuMemsetD8_v2(uint64_t to, unsigned char byte, size_t n) {
    NEED_CONTEXT();
    memset((void *)to, byte, n);
    written(to, n);
    return SUCCESS;
}
int cuMemsetD8Async(uint64_t to, unsigned char byte, size_t n, void *stream) { return cuMemsetD8_v2(to, byte, n); }

// The map is as the emulator reads one (runtime/cuda/emulator/tensor_map.py).
int cuTensorMapEncodeTiled(uint64_t *map, int dtype, uint32_t rank, uint64_t address, const uint64_t *dims,
                           const uint64_t *strides, const uint32_t *box, const uint32_t *steps, int interleave,
                           int swizzle, int promotion, int fill) {
    NEED_CONTEXT();
    static const uint64_t sizes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2}, spans[] = {0, 32, 64, 128};
    if ((uintptr_t)map % 64 || address % 16 || rank < 1 || rank > 4 || interleave || fill) return INVALID_VALUE;
    if (dtype < 0 || dtype > 9 || swizzle < 0 || swizzle > 3) return INVALID_VALUE;
    map[0] = 0x7470616D776C6974, map[1] = address, map[2] = rank | sizes[dtype] << 8 | spans[swizzle] << 16;
    for (uint32_t i = 0; i < 4; ++i) {
        if (i < rank && (box[i] < 1 || box[i] > 256 || steps[i] != 1)) return INVALID_VALUE;
        if (i + 1 < rank && strides[i] % 16) return INVALID_VALUE;
        map[3 + i] = i < rank ? dims[i] : 1, map[7 + i] = i + 1 < rank ? strides[i] : 1;
        map[11 + i] = i < rank ? box[i] : 1;
    }
    map[15] = 0;
    last_map_type = dtype;
    return SUCCESS;
}

// -- launches ---------------------------------------------------------------------------------------------------------------

static void run(const Launch *launch) {
    int fault = launch->function->body(launch->parameters, launch->grid, launch->block, launch->shared);
    if (fault) broken = ILLEGAL_ADDRESS;  // as on a GPU, the next call tells
}

int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **values, void **extra) {
    NEED_CONTEXT();
    Function *called = function;
    Stream *on = last_stream = stream;
    if (!gx || !gy || !gz || gy > 65535 || gz > 65535 || bx * by * bz > MOST_THREADS || !(bx * by * bz))
        return INVALID_VALUE;
    if ((int)shared > called->dynamic_shared || values || extra[0] != (void *)1 || extra[2] != (void *)2)
        return INVALID_VALUE;
    Launch launch = {called, {gx, gy, gz}, {bx, by, bz}, shared, extra[1]};
    if (!on || !on->capturing) return run(&launch), SUCCESS;
    Graph *graph = on->graph;
    size_t bytes = *(size_t *)extra[3];
    launch.parameters = memcpy(aligned_alloc(64, (bytes + 63) / 64 * 64), extra[1], bytes);
    graph->launches = realloc(graph->launches, (graph->count + 1) * sizeof launch);
    graph->launches[graph->count++] = launch;
    return SUCCESS;
}

int cuStreamCreate(void **stream, unsigned flags) { NEED_CONTEXT(); *stream = calloc(1, sizeof(Stream)); return 0; }
int cuStreamDestroy_v2(void *stream) { NEED_CONTEXT(); free(stream); return SUCCESS; }
int cuStreamSynchronize(void *stream) { NEED_CONTEXT(); return SUCCESS; }
int cuStreamBeginCapture_v2(Stream *stream, int how) {
    NEED_CONTEXT();
    stream->capturing = 1, stream->graph = calloc(1, sizeof(Graph));
    return SUCCESS;
}
int cuStreamEndCapture(Stream *stream, Graph **graph) {
    NEED_CONTEXT();
    stream->capturing = 0, *graph = stream->graph;
    return SUCCESS;
}
int cuGraphInstantiateWithFlags(Graph **ready, Graph *graph, unsigned long long flags) {
    NEED_CONTEXT();
    *ready = malloc(sizeof(Graph)), **ready = *graph;
    return SUCCESS;
}
int cuGraphDestroy(Graph *graph) { NEED_CONTEXT(); free(graph); return SUCCESS; }
int cuGraphLaunch(Graph *ready, Stream *stream) {
    NEED_CONTEXT();
    for (int i = 0; i < ready->count; ++i) run(&ready->launches[i]);
    return broken ? broken : SUCCESS;
}
int cuGraphExecDestroy(Graph *ready) { NEED_CONTEXT(); free(ready); return SUCCESS; }

int cuEventCreate(Event **event, unsigned flags) { NEED_CONTEXT(); *event = calloc(1, sizeof(Event)); return 0; }
int cuEventDestroy_v2(Event *event) { NEED_CONTEXT(); free(event); return SUCCESS; }
int cuEventRecord(Event *event, void *stream) { NEED_CONTEXT(); return clock_gettime(CLOCK_MONOTONIC, &event->at); }
int cuEventSynchronize(Event *event) { NEED_CONTEXT(); return SUCCESS; }
int cuEventElapsedTime_v2(float *ms, const Event *from, const Event *to) {
    NEED_CONTEXT();
    *ms = (to->at.tv_sec - from->at.tv_sec) * 1e3f + (to->at.tv_nsec - from->at.tv_nsec) * 1e-6f;
    return SUCCESS;
}
