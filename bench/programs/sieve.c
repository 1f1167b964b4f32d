/* The sieve of Eratosthenes on bytes: stores with growing strides. */

#include "program.h"

#define N (1 << 20)
#define PRIMES 82025 /* below 2^20 */

static u8 composite[N];

static u64 sieve(void)
{
    u64 count = 0;
    for (u64 i = 0; i < N; i++)
        composite[i] = 0;
    for (u64 i = 2; i < N; i++)
        if (!composite[i]) {
            count++;
            for (u64 j = 2 * i; j < N; j += i)
                composite[j] = 1;
        }
    return count;
}

u64 program(u64 rounds)
{
    u64 sum = 1;
    while (rounds--) {
        u64 count = sieve();
        if (count != PRIMES)
            return 0;
        sum = fold(sum, count);
    }
    return sum;
}
