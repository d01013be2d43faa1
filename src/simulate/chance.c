/* Random bytes that follow from DFKS_SEED, in place of the system's. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>

static uint64_t state;
static int is_seeded;

static uint64_t next(void)
{
    uint64_t mixed;
    if (!is_seeded) {
        const char *seed = getenv("DFKS_SEED");
        state = seed ? strtoull(seed, NULL, 10) : 0;
        is_seeded = 1;
    }
    state += 0x9e3779b97f4a7c15ULL;
    mixed = state;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
    return mixed ^ (mixed >> 31);
}

ssize_t getrandom(void *buffer, size_t length, unsigned int flags)
{
    unsigned char *bytes = buffer;
    size_t at;
    (void)flags;
    for (at = 0; at < length; at++)
        bytes[at] = (unsigned char)next();
    return (ssize_t)length;
}

int getentropy(void *buffer, size_t length)
{
    getrandom(buffer, length, 0);
    return 0;
}
