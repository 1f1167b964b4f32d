/* Machine mode in C: what traps, with which cause and value; the timer, software interrupts, WFI. */

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>

static volatile uint32_t *const msip = (void *)0x2000000;
static volatile uint64_t *const mtimecmp = (void *)0x2004000, *const mtime = (void *)0x200bff8;

enum { INTERRUPT = 63, SOFTWARE = 3, TIMER = 7 };

#define READ(csr) ({ uint64_t v_; asm volatile("csrr %0, " #csr : "=r"(v_)); v_; })
#define WRITE(csr, value) asm volatile("csrw " #csr ", %0" ::"r"(value) : "memory")
#define SET(csr, value) asm volatile("csrs " #csr ", %0" ::"r"(value) : "memory")
#define CLEAR(csr, value) asm volatile("csrc " #csr ", %0" ::"r"(value) : "memory")

static volatile uint64_t cause, value, traps;

__attribute__((interrupt("machine"), aligned(4))) static void handler(void) {
    cause = READ(mcause), value = READ(mtval), traps++;
    if (cause >> INTERRUPT) {
        if ((cause & 63) == SOFTWARE) *msip = 0;
        if ((cause & 63) == TIMER) *mtimecmp = UINT64_MAX;
    } else {
        uint16_t *at = (uint16_t *)READ(mepc);
        WRITE(mepc, (uint64_t)at + ((*at & 3) == 3 ? 4 : 2));
    }
}

static void report(const char *name) {
    printf("%s: %" PRIx64 " %" PRIx64 " after %" PRIu64 "\n", name, cause, value, traps);
    cause = value = traps = 0;
}

static void exceptions(void) {
    uint64_t data[2];
    asm volatile("ecall");
    report("ecall");
    asm volatile(".option push\n .option norvc\n ebreak\n .option pop");
    cause == 3 ? value = 0 : 0; /* mtval of a breakpoint may be its address or zero */
    report("ebreak");
    asm volatile("csrw cycle, zero");
    value = 0; /* mtval of an illegal instruction may be the instruction or zero */
    report("write of a read-only register");
    asm volatile(".word 0xffffffff");
    value = 0;
    report("no instruction");
    asm volatile("lr.d t0, (%0)" ::"r"((char *)data + 4) : "t0");
    value -= (uint64_t)data;
    report("misaligned lr");
    asm volatile("ld t0, (%0)" ::"r"(0x20000L << 20) : "t0");
    report("load from nowhere");
    asm volatile("sw t0, (%0)" ::"r"(0x20000L << 20));
    report("store to nowhere");
}

static void interrupts(void) {
    *mtimecmp = UINT64_MAX;
    WRITE(mie, 1 << SOFTWARE | 1 << TIMER);
    *msip = 1;
    printf("pending %d, taken %" PRIu64 "\n", (int)(READ(mip) >> SOFTWARE & 1), traps);
    SET(mstatus, 8);
    report("software interrupt");
    for (int i = 0; i < 20; i++) {
        CLEAR(mstatus, 8); /* or it might come between the look and the sleep */
        *mtimecmp = *mtime + 50 * i;
        while (traps == i) {
            asm volatile("wfi");
            SET(mstatus, 8);
            CLEAR(mstatus, 8);
        }
    }
    report("timer interrupts");
    *mtimecmp = *mtime + 100;
    asm volatile("wfi"); /* wakes although it may not be interrupted */
    printf("woken, pending %d, taken %" PRIu64 "\n", (int)(READ(mip) >> TIMER & 1), traps);
    *mtimecmp = UINT64_MAX;
}

static void user_mode(void) {
    WRITE(pmpaddr0, -1L);
    WRITE(pmpcfg0, 0x1f);
    CLEAR(mstatus, 3 << 11);
    asm volatile(
        "la t0, 1f\n csrw mepc, t0\n mret\n"
        "1: csrr t0, mstatus\n" /* not for user mode: the handler returns behind it */
        "la t0, 2f\n csrw mscratch, t0\n ecall\n 2:" ::: "t0", "memory");
    printf("user mode: cause %" PRIx64 " after %" PRIu64 "\n", cause, traps);
}

int main(void) {
    WRITE(mtvec, handler);
    exceptions();
    interrupts();
    user_mode();
    printf("user mode reaches the console too\n");
    return 0;
}
