/* Quicksort of 65536 pseudo-random numbers: branches that nobody can predict, and recursion. */

#include "program.h"

#define N 65536

static u64 numbers[N];

static void sort(u64 *low, u64 *high)
{
    while (low < high) {
        u64 pivot = low[(high - low) / 2], *i = low, *j = high;
        while (i <= j) {
            while (*i < pivot)
                i++;
            while (*j > pivot)
                j--;
            if (i <= j) {
                u64 kept = *i;
                *i++ = *j;
                *j-- = kept;
            }
        }
        sort(low, j);
        low = i;
    }
}

u64 program(u64 rounds)
{
    u64 state = 88172645463325252ul, sum = 1;
    while (rounds--) {
        u64 before = 0, after;
        for (int i = 0; i < N; i++)
            before += numbers[i] = next_random(&state);
        sort(numbers, numbers + N - 1);
        after = numbers[0];
        for (int i = 1; i < N; i++) {
            if (numbers[i - 1] > numbers[i])
                return 0;
            after += numbers[i];
        }
        if (before != after)
            return 0;
        sum = fold(sum, numbers[N / 2]);
    }
    return sum;
}
