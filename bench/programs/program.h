/* What a program for measuring CPUs looks like.
 *
 * A program is one C file with one function, `program`: it does `rounds` times the same work, checks what
 * it can check by itself, and gives a number that depends on all it computed, or 0 when a check failed.
 * `host.c` makes a process of it, `guest.c` an image for a bare RISC-V machine. Nothing here may depend on
 * the C library, on time or on where it runs: every machine must give the same number. */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

u64 program(u64 rounds);

/* Pseudo-random numbers (xorshift, 64 bits); the state must not be 0. */
static inline u64 next_random(u64 *state)
{
    u64 x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* Let `value` count in a result (one step of FNV-1a on words). */
static inline u64 fold(u64 sum, u64 value)
{
    return (sum ^ value) * 1099511628211ul;
}
