/* Interrupts under paging: a loop in supervisor mode over 1 MiB that Sv39 maps with 4 KiB pages, and an
 * interrupt every few hundred instructions. Every sixteenth begins with the timer, as in kernels whose
 * firmware hands it on: machine mode takes it and raises the supervisor's. When they come is decided by
 * the program alone, never by a clock, so every machine does the same work. Only for the bare machine:
 * a process has no interrupts. See program.h. */

#include "program.h"

#define RAM 0x80000000ul
#define PAGE 4096
#define TABLE_ENTRIES 512
#define MEGAPAGES 4 /* of RAM that are mapped, 2 MiB each */
#define WORDS (128 << 10)
#define BETWEEN 64 /* steps of the loop from one interrupt to the next */
#define INTERRUPTS 4096
#define TIMER_EVERY 16

#define MTIMECMP (*(volatile u64 *)0x2004000)

#define SOFTWARE 2ul /* bit of sip, mip: the supervisor's software interrupt */
#define TIMER 128ul  /* bit of mie: the machine's timer */
#define MACHINE_TIMER (1ul << 63 | 7)

enum { V = 1, R = 2, W = 4, X = 8, A = 64, D = 128, LEAF = V | R | W | X | A | D };

typedef u64 table[TABLE_ENTRIES];
static table root, devices, ram, pages[MEGAPAGES] __attribute__((aligned(PAGE)));

static u64 words[WORDS] __attribute__((aligned(PAGE)));
static volatile u64 taken, timers, service;
enum { ARM_TIMER, LEAVE };

#define csr_write(csr, value) __asm__ volatile("csrw " #csr ", %0" ::"r"(value) : "memory")
#define csr_set(csr, value) __asm__ volatile("csrs " #csr ", %0" ::"r"(value) : "memory")
#define csr_clear(csr, value) __asm__ volatile("csrc " #csr ", %0" ::"r"(value) : "memory")
#define csr_read(csr) ({ u64 value_; __asm__ volatile("csrr %0, " #csr : "=r"(value_)); value_; })

/* Every address is mapped to itself; devices with pages of 2 MiB. */
static void make_tables(void)
{
    root[0] = (u64)devices >> 2 | V;
    root[RAM >> 30] = (u64)ram >> 2 | V;
    for (u64 i = 0; i < TABLE_ENTRIES; i++)
        devices[i] = i << 21 >> 2 | LEAF;
    for (u64 i = 0; i < MEGAPAGES; i++) {
        ram[i] = (u64)pages[i] >> 2 | V;
        for (u64 j = 0; j < TABLE_ENTRIES; j++)
            pages[i][j] = (RAM + (i << 21) + j * PAGE) >> 2 | LEAF;
    }
}

__attribute__((interrupt("supervisor"), aligned(4))) static void supervisor_trap(void)
{
    csr_clear(sip, SOFTWARE);
    taken++;
}

extern void resume(void);

/* The timer, which becomes the supervisor's interrupt, or a call from there. */
__attribute__((interrupt("machine"), aligned(4))) static void machine_trap(void)
{
    if (csr_read(mcause) == MACHINE_TIMER) {
        MTIMECMP = ~0ul;
        timers++;
        csr_set(mip, SOFTWARE);
    } else if (service == ARM_TIMER) {
        MTIMECMP = 0;
        csr_write(mepc, csr_read(mepc) + 4);
    } else {
        csr_set(mstatus, 3ul << 11);
        csr_write(mepc, resume);
    }
}

/* supervise(work): call `work` in supervisor mode, and come back by a call of machine mode. */
void supervise(void (*work)(void));
__asm__("supervise:\n"
        "        addi sp, sp, -16\n"
        "        sd   ra, 0(sp)\n"
        "        csrw mepc, a0\n"
        "        li   t0, 3 << 11\n"
        "        csrc mstatus, t0\n"
        "        li   t0, 1 << 11\n" /* mstatus.MPP = S */
        "        csrs mstatus, t0\n"
        "        la   ra, 1f\n"
        "        mret\n"
        "        .balign 4\n"
        "1:      ecall\n"
        "        .balign 4\n"
        "resume: ld   ra, 0(sp)\n"
        "        addi sp, sp, 16\n"
        "        ret\n");

static u64 state, checksum;

static void work(void)
{
    u64 sum = checksum;
    for (u64 i = 1; i <= INTERRUPTS; i++) {
        for (int step = 0; step < BETWEEN; step++) {
            u64 x = next_random(&state);
            sum += words[x % WORDS] += x;
        }
        if (i % TIMER_EVERY) {
            csr_set(sip, SOFTWARE);
        } else {
            service = ARM_TIMER;
            __asm__ volatile("ecall" ::: "memory");
        }
    }
    checksum = fold(sum, taken);
    service = LEAVE;
}

u64 program(u64 rounds)
{
    state = 88172645463325252ul;
    make_tables();
    csr_write(pmpaddr0, ~0ul);
    csr_write(pmpcfg0, 0x1f); /* supervisor mode may access everything */
    MTIMECMP = ~0ul;
    csr_write(mtvec, machine_trap);
    csr_write(stvec, supervisor_trap);
    csr_write(mideleg, SOFTWARE);
    csr_write(mie, TIMER | SOFTWARE);
    csr_set(sstatus, 2);
    csr_write(satp, 8ul << 60 | (u64)root >> 12);
    __asm__ volatile("sfence.vma" ::: "memory");
    for (u64 round = 1; round <= rounds; round++) {
        supervise(work);
        if (taken != round * INTERRUPTS || timers != round * (INTERRUPTS / TIMER_EVERY))
            return 0;
    }
    return checksum;
}
