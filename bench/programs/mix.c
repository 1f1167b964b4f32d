/* Programs for measuring the CPU engines. Freestanding: `kernel` runs the one that KERNEL names, for
 * ever; the benchmark stops it after a number of instructions. */

typedef unsigned long u64;

#define N 4096

static unsigned char flags[N];
static u64 numbers[N];
static double a[32][32], b[32][32], c[32][32];

/* Bytes and branches: the sieve of Eratosthenes. */
static u64 sieve(void)
{
    u64 count = 0;
    for (int i = 0; i < N; i++)
        flags[i] = 1;
    for (int i = 2; i < N; i++)
        if (flags[i]) {
            count++;
            for (int j = 2 * i; j < N; j += i)
                flags[j] = 0;
        }
    return count;
}

/* Calls, unpredictable branches: quicksort of pseudo-random numbers. */
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
                u64 t = *i;
                *i++ = *j;
                *j-- = t;
            }
        }
        sort(low, j);
        low = i;
    }
}

static u64 quicksort(void)
{
    u64 x = 88172645463325252;
    for (int i = 0; i < N; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        numbers[i] = x;
    }
    sort(numbers, numbers + N - 1);
    return numbers[0];
}

/* Double precision: matrix product. */
static u64 matmul(void)
{
    for (int i = 0; i < 32; i++)
        for (int j = 0; j < 32; j++) {
            a[i][j] = i + j;
            b[i][j] = i - j * 0.5;
        }
    for (int i = 0; i < 32; i++)
        for (int j = 0; j < 32; j++) {
            double s = 0;
            for (int k = 0; k < 32; k++)
                s += a[i][k] * b[k][j];
            c[i][j] = s;
        }
    return c[3][4] > 0;
}

/* A pointer chase over the numbers, and a hash. */
static u64 hash(void)
{
    u64 h = 14695981039346656037ul, at = 1;
    for (int i = 0; i < N; i++)
        numbers[i] = (i * 1597 + 51) % N;
    for (int i = 0; i < N; i++) {
        at = numbers[at];
        h = (h ^ at) * 1099511628211ul;
    }
    return h;
}

u64 result;

__attribute__((section(".text.start"), naked)) void _start(void)
{
    __asm__("la sp, _start + 0x80000\n\tandi sp, sp, -16\n\tli t0, 0x6000\n\tcsrs mstatus, t0\n\tj kernel");
}

void kernel(void)
{
    for (;;)
        result += KERNEL();
}
