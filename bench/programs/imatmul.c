/* Products of 256x256 matrices, integers, by the definition: a dot product for each element. */

#include "program.h"

#define N 256

static int a[N][N], b[N][N], c[N][N];

static void multiply(void)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            int sum = 0;
            for (int k = 0; k < N; k++)
                sum += a[i][k] * b[k][j];
            c[i][j] = sum;
        }
}

/* Whether c v = a (b v) for a vector of small integers (Freivalds); all sums are exact. */
static int right(u64 *state)
{
    static int v[N], bv[N];
    for (int i = 0; i < N; i++)
        v[i] = (int)(next_random(state) % 8);
    for (int i = 0; i < N; i++) {
        bv[i] = 0;
        for (int j = 0; j < N; j++)
            bv[i] += b[i][j] * v[j];
    }
    for (int i = 0; i < N; i++) {
        int abv = 0, cv = 0;
        for (int j = 0; j < N; j++) {
            abv += a[i][j] * bv[j];
            cv += c[i][j] * v[j];
        }
        if (abv != cv)
            return 0;
    }
    return 1;
}

u64 program(u64 rounds)
{
    u64 state = 88172645463325252ul, sum = 1;
    while (rounds--) {
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                a[i][j] = (int)(next_random(&state) % 64) - 32;
                b[i][j] = (int)(next_random(&state) % 64) - 32;
            }
        multiply();
        if (!right(&state))
            return 0;
        for (int i = 0; i < N; i++)
            sum = fold(sum, (u64)(long)c[i][(i * 7) % N]);
    }
    return sum;
}
