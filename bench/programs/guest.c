/* A program as an image for a RISC-V machine of the `virt` kind: machine mode, no C library, the console
 * is a 16550 UART, and the run ends through the test finisher. See program.h. */

#include "program.h"

#define UART (*(volatile u8 *)0x10000000)
#define FINISHER (*(volatile u32 *)0x100000)
#define PASS 0x5555

/* How much work: whoever runs the image writes it into the file, found by the symbol. */
volatile u64 rounds = 1;

/* Hart 0 alone goes on, with a stack, floating point and zeroed variables. */
__asm__(".section .text.start, \"ax\"\n"
        ".globl _start\n"
        "_start: csrr t0, mhartid\n"
        "1:      bnez t0, 1b\n"
        "        .option push\n"
        "        .option norelax\n"
        "        la   gp, __global_pointer$\n"
        "        .option pop\n"
        "        la   sp, __stack_top\n"
        "        li   t0, 0x6000\n" /* mstatus.FS = dirty */
        "        csrs mstatus, t0\n"
        "        la   t0, __bss_start\n"
        "        la   t1, __bss_end\n"
        "2:      bgeu t0, t1, 3f\n"
        "        sd   zero, 0(t0)\n"
        "        addi t0, t0, 8\n"
        "        j    2b\n"
        "3:      call main\n"
        "4:      j    4b\n"
        ".text\n");

/* gcc may call these for copies of structures and for clearing arrays. */
void *memcpy(void *to, const void *from, u64 count)
{
    u8 *t = to;
    const u8 *f = from;
    if ((((u64)t | (u64)f) & 7) == 0)
        for (; count >= 8; count -= 8, t += 8, f += 8)
            *(u64 *)t = *(const u64 *)f;
    while (count--)
        *t++ = *f++;
    return to;
}

void *memset(void *to, int byte, u64 count)
{
    u8 *t = to;
    while (count--)
        *t++ = byte;
    return to;
}

static void say(const char *text)
{
    while (*text)
        UART = *text++;
}

static void say_number(u64 number)
{
    UART = ' ';
    for (int shift = 60; shift >= 0; shift -= 4)
        UART = "0123456789abcdef"[number >> shift & 15];
}

static u64 instructions(void)
{
    u64 retired;
    __asm__ volatile("csrr %0, minstret" : "=r"(retired));
    return retired;
}

int main(void)
{
    say("begin\n");
    u64 before = instructions(), result = program(rounds), after = instructions();
    say("end");
    say_number(result);
    say_number(after - before); /* instructions where the machine counts them; QEMU counts time */
    say("\n");
    FINISHER = PASS;
    return 0;
}
