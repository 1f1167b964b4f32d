/* Floating point: special values, every rounding mode, the exception flags, and libm on top. */

#include <fenv.h>
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const double values[] = {
    0.0,   -0.0,       1.0,         -1.5,        0.1,         1.0 / 3,  1e308, -1e-308, 5e-324,
    1e-45, 3.40282e38, -1.17549e-38, 2147483647.5, -9.3e18,    16777217, NAN,   INFINITY, -INFINITY,
};
enum { COUNT = sizeof values / sizeof *values };

static const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};

static uint64_t bits_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static uint32_t bits_of_single(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static uint64_t hash;

static void note(uint64_t value) {
    hash = (hash ^ value) * 0x100000001b3u;
    hash = (hash ^ fetestexcept(FE_ALL_EXCEPT)) * 0x100000001b3u;
    feclearexcept(FE_ALL_EXCEPT);
}

static __attribute__((noinline)) void doubles(volatile double a, volatile double b) {
    note(bits_of(a + b));
    note(bits_of(a - b));
    note(bits_of(a * b));
    note(bits_of(a / b));
    note(bits_of(__builtin_sqrt(a)));
    note(bits_of(__builtin_fma(a, b, a)));
    note(a < b);
    note(a == b);
    note(bits_of(fmin(a, b)));
    note((int64_t)(a < 9e18 && a > -9e18 ? a : 0));
    note(bits_of_single(a));
}

static __attribute__((noinline)) void singles(volatile float a, volatile float b) {
    note(bits_of_single(a + b));
    note(bits_of_single(a * b));
    note(bits_of_single(a / b));
    note(bits_of_single(__builtin_sqrtf(a)));
    note(bits_of_single(__builtin_fmaf(a, b, b)));
    note(bits_of(a));
}

/* What C calls undefined and RISC-V saturates. */
static void conversions(double x) {
    int64_t l;
    uint64_t ul;
    int32_t w;
    uint32_t uw;
    asm("fcvt.l.d %0, %1, dyn" : "=r"(l) : "f"(x));
    asm("fcvt.lu.d %0, %1, dyn" : "=r"(ul) : "f"(x));
    asm("fcvt.w.d %0, %1, dyn" : "=r"(w) : "f"(x));
    asm("fcvt.wu.d %0, %1, dyn" : "=r"(uw) : "f"(x));
    printf("%016" PRIx64 " %" PRId64 " %" PRIu64 " %" PRId32 " %" PRIu32 " %x\n", bits_of(x), l, ul,
           w, uw, fetestexcept(FE_ALL_EXCEPT));
    feclearexcept(FE_ALL_EXCEPT);
}

static void library(void) {
    for (double x = -3; x <= 3; x += 0.75)
        printf("%.17g %.17g %.17g %a %.6e %g\n", sin(x), exp(x), atan2(x, 2), cbrt(x), pow(2.5, x),
               fmod(x, 0.7));
    printf("[%f] [%.0f] [%10.3f] [%-12e] [%G] [%g] [%f] [%f]\n", 1e15 / 3, 2.5, -3.14159, 6.02e23,
           1e-10, 1e100, INFINITY, NAN);
    double back;
    sscanf("-12.625e3", "%lf", &back);
    printf("%a\n", back);
}

int main(void) {
    for (int m = 0; m < 4; m++) {
        fesetround(modes[m]);
        for (int i = 0; i < COUNT; i++) {
            hash = 0xcbf29ce484222325u;
            for (int j = 0; j < COUNT; j++) {
                doubles(values[i], values[j]);
                singles(values[i], values[j]);
            }
            fesetround(FE_TONEAREST); /* printf's own arithmetic is not the subject */
            printf("%d %2d %016" PRIx64 "\n", m, i, hash);
            fesetround(modes[m]);
        }
    }
    fesetround(FE_TONEAREST);
    for (int i = 0; i < COUNT; i++) conversions(values[i]);
    library();
    return 0;
}
