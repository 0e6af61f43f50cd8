/* Runs kernels on recorded calls: reads the calls from the standard input, writes what they wrote to the output.

   A call is the kernel's number and its slots.  A slot is a number of bytes, whether the kernel may write them, and the
   bytes themselves.  The answer is the kernel's status, whether anything but the written arrays has changed, and those
   arrays.  All numbers are int64_t. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int32_t (*kernel)(void *argv);
extern const kernel kernels[];
void tilewright_set_num_threads(int32_t threads);

enum { MOST_SLOTS = 32, GUARD_BYTES = 64, MARK = 0xA5 };

typedef struct {
    int64_t bytes, written;
    char *memory, *before; /* the array between two guards; a copy of it */
} slot;

static void fetch(void *to, size_t bytes) {
    if (fread(to, 1, bytes, stdin) != bytes)
        exit(2);
}

static void answer(const void *from, size_t bytes) {
    if (fwrite(from, 1, bytes, stdout) != bytes)
        exit(3);
}

static slot fetch_slot(void) {
    slot s;
    fetch(&s.bytes, sizeof s.bytes);
    fetch(&s.written, sizeof s.written);
    size_t all = ((size_t)s.bytes + 3 * GUARD_BYTES) / GUARD_BYTES * GUARD_BYTES;
    s.memory = aligned_alloc(GUARD_BYTES, all);
    s.before = malloc((size_t)s.bytes + 1);
    if (!s.memory || !s.before)
        exit(4);
    memset(s.memory, MARK, all);
    fetch(s.before, (size_t)s.bytes);
    memcpy(s.memory + GUARD_BYTES, s.before, (size_t)s.bytes);
    return s;
}

static int64_t is_harmed(const slot *s) {
    const char *array = s->memory + GUARD_BYTES;
    for (int i = 0; i < GUARD_BYTES; i++)
        if (s->memory[i] != (char)MARK || array[s->bytes + i] != (char)MARK)
            return 1;
    return !s->written && memcmp(array, s->before, (size_t)s->bytes) != 0;
}

static void run_call(int64_t number) {
    static slot slots[MOST_SLOTS];
    void *argv[MOST_SLOTS];
    int64_t count, status, harmed = 0;
    fetch(&count, sizeof count);
    if (count > MOST_SLOTS)
        exit(5);
    for (int64_t i = 0; i < count; i++) {
        slots[i] = fetch_slot();
        argv[i] = slots[i].memory + GUARD_BYTES;
    }
    status = kernels[number](argv);
    for (int64_t i = 0; i < count; i++)
        harmed |= is_harmed(&slots[i]);
    answer(&status, sizeof status);
    answer(&harmed, sizeof harmed);
    for (int64_t i = 0; i < count; i++) {
        if (slots[i].written)
            answer(slots[i].memory + GUARD_BYTES, (size_t)slots[i].bytes);
        free(slots[i].memory);
        free(slots[i].before);
    }
    fflush(stdout); /* before the next call, which may not return */
}

int main(int argc, char **argv) {
    int64_t number;
    if (argc > 1)
        tilewright_set_num_threads(atoi(argv[1]));
    while (fread(&number, sizeof number, 1, stdin) == 1)
        run_call(number);
    return 0;
}
