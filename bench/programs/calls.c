/* Recursive calls: Fibonacci, Ackermann, Takeuchi and the towers of Hanoi. */

#include "program.h"

static u64 fibonacci(u64 n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static u64 ackermann(u64 m, u64 n)
{
    if (m == 0)
        return n + 1;
    return n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}

static long takeuchi(long x, long y, long z)
{
    if (y >= x)
        return z;
    return takeuchi(takeuchi(x - 1, y, z), takeuchi(y - 1, z, x), takeuchi(z - 1, x, y));
}

static u64 height[3];

static void move_tower(int disks, int from, int to, int over)
{
    if (disks == 0)
        return;
    move_tower(disks - 1, from, over, to);
    height[from]--;
    height[to]++;
    move_tower(disks - 1, over, to, from);
}

u64 program(u64 rounds)
{
    u64 sum = 1;
    while (rounds--) {
        u64 f = fibonacci(24), a = ackermann(2, 250);
        long t = takeuchi(14, 9, 4);
        height[0] = 14;
        height[1] = height[2] = 0;
        move_tower(14, 0, 2, 1);
        if (f != 46368 || a != 503 || t != 9 || height[2] != 14)
            return 0;
        sum = fold(sum, f + a + t);
    }
    return sum;
}
