/* Integer arithmetic at its edges, widths and signs mixed, as the compiler chooses instructions. */

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>

static const int64_t values[] = {
    0,         1,         -1,         2,           -2,          7,
    -7,        10,        255,        INT32_MAX,   INT32_MIN,   INT64_MAX,
    INT64_MIN, 1LL << 32, 0x5555aaaa, -0x12345678, 0x123456789, -0xabcdef0123456,
};
enum { COUNT = sizeof values / sizeof *values };

/* The quotients that C leaves undefined are RISC-V's to say; the compiler must not know. */
static int64_t divide(int64_t a, int64_t b) {
    int64_t q;
    asm("div %0, %1, %2" : "=r"(q) : "r"(a), "r"(b));
    return q;
}

static int64_t remainder32(int64_t a, int64_t b) {
    int64_t r;
    asm("remw %0, %1, %2" : "=r"(r) : "r"(a), "r"(b));
    return r;
}

static uint64_t mix(uint64_t hash, uint64_t value) {
    return (hash ^ value) * 0x100000001b3u;
}

static void pairs(void) {
    for (int i = 0; i < COUNT; i++) {
        uint64_t hash = 0xcbf29ce484222325u;
        for (int j = 0; j < COUNT; j++) {
            int64_t a = values[i], b = values[j];
            hash = mix(hash, divide(a, b));
            hash = mix(hash, remainder32(a, b));
            hash = mix(hash, (__int128)a * b >> 64);
            hash = mix(hash, (unsigned __int128)(uint64_t)a * (uint64_t)b >> 64);
            hash = mix(hash, b ? (uint64_t)a / (uint64_t)b + (uint64_t)a % (uint64_t)b : 0);
            hash = mix(hash, b ? (uint32_t)a / ((uint32_t)b | 1) : 0);
            hash = mix(hash, (uint64_t)a << (b & 63) ^ (uint32_t)a >> (b & 31));
            hash = mix(hash, a >> (b & 63) ^ (int32_t)a >> (b & 31));
            hash = mix(hash, (a < b) + 2 * ((uint64_t)a < (uint64_t)b) + 4 * (int8_t)a);
        }
        printf("%20" PRId64 " %016" PRIx64 "\n", values[i], hash);
    }
}

static void bits(void) {
    for (int i = 0; i < COUNT; i++) {
        uint64_t v = values[i];
        printf("%d %d %d %016" PRIx64 " %016" PRIx64 "\n", v ? __builtin_clzll(v) : 64,
               v ? __builtin_ctzll(v) : 64, __builtin_popcountll(v), __builtin_bswap64(v),
               v << 13 | v >> 51);
    }
}

static void formats(void) {
    printf("[%d] [%-8d] [%08d] [%+d] [% d] [%x] [%#X] [%#o] [%c] [%s] [%.3s] [%p]\n", -42, 42, 42,
           42, 42, 0xbeefu, 0xbeefu, 8u, 'q', "word", "cutoff", (void *)0x80000000);
    printf("[%hhd] [%hd] [%ld] [%ld] [%zu] [%5.3d] [%-5d|] [%*d]\n", (char)200, (short)40000,
           INT64_MIN, INT64_MAX, sizeof values, 7, 3, 6, 11);
}

int main(void) {
    pairs();
    bits();
    formats();
    return 0;
}
