/* A supervisor program for four harts that tries the SBI, one line of output a trial. Hart 0 says
   everything; the others do what it puts into their mailboxes. */

typedef unsigned long u64;
typedef struct { long error, value; } Result;

enum { TIME = 0x54494d45, IPI = 0x735049, RFENCE = 0x52464e43, HSM = 0x48534d, SRST = 0x53525354,
       DBCN = 0x4442434e };
enum { START, STOP, STATUS, SUSPEND };

#define UART (*(volatile unsigned char *)0x10000000)
#define CSR_READ(name) ({ u64 v_; asm volatile("csrr %0, " #name : "=r"(v_)); v_; })
#define CSR_WRITE(name, v) asm volatile("csrw " #name ", %0" ::"r"((u64)(v)) : "memory")
#define CSR_SET(name, v) asm volatile("csrs " #name ", %0" ::"r"((u64)(v)) : "memory")
#define CSR_CLEAR(name, v) asm volatile("csrc " #name ", %0" ::"r"((u64)(v)) : "memory")
#define SSIP 2
#define STIP 32

static void say(const char *name, u64 value) {
    while (*name) UART = *name++;
    UART = ' ';
    for (int i = 60; i >= 0; i -= 4) UART = "0123456789abcdef"[value >> i & 15];
    UART = '\n';
}

static Result sbi(long extension, long function, u64 a, u64 b, u64 c, u64 d) {
    register u64 a0 asm("a0") = a, a1 asm("a1") = b, a2 asm("a2") = c, a3 asm("a3") = d;
    register u64 a6 asm("a6") = function, a7 asm("a7") = extension;
    asm volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a3), "r"(a6), "r"(a7) : "memory");
    return (Result){a0, a1};
}

static long error(long extension, long function, u64 a, u64 b, u64 c) {
    return sbi(extension, function, a, b, c, 0).error;
}

/* Interrupts stay masked: they only end WFI. What traps is a mistake of this file. */
void kern_trap(u64 *frame) {
    say("cause", frame[33]);
    say("pc", frame[32]);
    for (;;);
}

/* The other harts: their stack and mailbox by number. */

char stacks[4][4096] __attribute__((aligned(16)));
static u64 (*volatile mailbox[4])(u64);
static volatile u64 argument[4], answer[4], arrived[4], given[4];

asm(".globl other_start\nother_start:\n"
    "la sp, stacks\naddi t0, a0, 1\nslli t0, t0, 12\nadd sp, sp, t0\ncall other\n");
void other_start(void);

void other(u64 hart, u64 opaque) {
    given[hart] = opaque | (CSR_READ(satp) != 0) | (CSR_READ(sstatus) & 2);
    __sync_fetch_and_add(&arrived[hart], 1);
    for (;;) {
        while (!mailbox[hart]);
        __sync_synchronize();
        answer[hart] = mailbox[hart](argument[hart]);
        __sync_synchronize();
        mailbox[hart] = 0;
    }
}

static void ask(int hart, u64 (*work)(u64), u64 with) {
    argument[hart] = with;
    __sync_synchronize();
    mailbox[hart] = work;
}

static u64 answer_of(int hart) {
    while (mailbox[hart]);
    __sync_synchronize();
    return answer[hart];
}

static long start(int hart, u64 opaque) {
    u64 before = arrived[hart];
    long failed = error(HSM, START, hart, (u64)other_start, opaque);
    while (!failed && arrived[hart] == before);
    return failed;
}

static long status(int hart) {
    Result r = sbi(HSM, STATUS, hart, 0, 0, 0);
    return r.error ? r.error : r.value;
}

static u64 wait_for_ipi(u64 unused) {
    CSR_SET(sie, SSIP);
    while (!(CSR_READ(sip) & SSIP)) asm volatile("wfi");
    CSR_CLEAR(sie, SSIP);
    CSR_CLEAR(sip, SSIP);
    return CSR_READ(sip) & SSIP;
}

static u64 wait_for_timer(u64 ticks) {
    u64 then = CSR_READ(time) + ticks;
    sbi(TIME, 0, then, 0, 0, 0);
    CSR_SET(sie, STIP);
    while (!(CSR_READ(sip) & STIP)) asm volatile("wfi");
    CSR_CLEAR(sie, STIP);
    sbi(TIME, 0, -1, 0, 0, 0);
    return CSR_READ(time) >= then && !(CSR_READ(sip) & STIP);
}

static u64 suspend(u64 type) {
    CSR_SET(sie, SSIP);
    u64 failed = error(HSM, SUSPEND, type, (u64)other_start, 0x50);
    CSR_CLEAR(sie, SSIP);
    CSR_CLEAR(sip, SSIP);
    return failed;
}

static u64 stop(u64 unused) {
    mailbox[CSR_READ(sscratch)] = 0;
    return error(HSM, STOP, 0, 0, 0);
}

static u64 keep_number(u64 hart) {
    CSR_WRITE(sscratch, hart);
    return 0;
}

/* Code and page tables that hart 0 changes under hart 1. */

static unsigned code[2] __attribute__((aligned(8)));
static u64 root[512] __attribute__((aligned(4096))), middle[512] __attribute__((aligned(4096)));
static u64 leaves[512] __attribute__((aligned(4096))), pages[2][512] __attribute__((aligned(4096)));

static void set_code(int value) {
    code[0] = 0x513 | value << 20;  /* li a0, value */
    code[1] = 0x8067;               /* ret */
}

static u64 run_code(u64 unused) { return ((u64(*)(void))code)(); }

static void map(int page) { leaves[0] = (u64)pages[page] >> 2 | 0xcf; }

static u64 use_tables(u64 unused) {
    CSR_WRITE(satp, 8ul << 60 | (u64)root >> 12);
    asm volatile("sfence.vma" ::: "memory");
    return 0;
}

static u64 read_page(u64 unused) { return *(volatile u64 *)0x40000000; }

static void try_fences(void) {
    set_code(5);
    ask(1, run_code, 0);
    say("code", answer_of(1));
    set_code(6);
    say("remote fence.i", error(RFENCE, 0, 2, 0, 0));
    ask(1, run_code, 0);
    say("code", answer_of(1));
    root[0] = 0xcf;                         /* devices and memory where they are, */
    root[2] = 0x80000000ul >> 2 | 0xcf;
    root[1] = (u64)middle >> 2 | 1;         /* and one page at 0x40000000 */
    middle[0] = (u64)leaves >> 2 | 1;
    pages[0][0] = 0xa, pages[1][0] = 0xb;
    map(0);
    ask(1, use_tables, 0), answer_of(1);
    ask(1, read_page, 0);
    say("page", answer_of(1));
    map(1);
    say("remote sfence.vma", sbi(RFENCE, 1, 0, -1, 0x40000000, 4096).error);
    ask(1, read_page, 0);
    say("page", answer_of(1));
    say("remote sfence.vma asid", error(RFENCE, 2, 1, 1, 0));
    say("hypervisor fence", error(RFENCE, 3, 1, 1, 0));
    say("fence of no hart", error(RFENCE, 0, 1, 9, 0));
    say("masks of no meaning", error(RFENCE, 0, 3, 63, 0));
}

static void try_states(void) {
    for (int hart = 0; hart < 5; hart++) say("status", status(hart));
    say("start a started one", start(0, 0));
    say("start nobody", start(7, 0));
    for (int hart = 1; hart < 4; hart++) say("start", start(hart, 0x10 * hart));
    for (int hart = 1; hart < 4; hart++) say("opaque", given[hart]);
    for (int hart = 1; hart < 4; hart++) ask(hart, keep_number, hart), answer_of(hart);
    say("status", status(3));
    ask(2, stop, 0);
    while (status(2) != 1);
    say("start again", start(2, 0x80));
    say("opaque", given[2]);
    ask(3, suspend, 0);
    while (status(3) != 4);
    say("wake", error(IPI, 0, 1, 3, 0));
    say("suspended", answer_of(3));
    ask(3, suspend, 0x80000000);
    while (status(3) != 4);
    u64 before = arrived[3];
    say("wake", error(IPI, 0, 8, 0, 0));
    while (arrived[3] == before);
    say("resumed with", given[3]);
    mailbox[3] = 0;
    ask(3, suspend, 7);
    say("suspend how", answer_of(3));
    say("no such function", error(HSM, 9, 0, 0, 0));
}

static void try_console(void) {
    static const char text[] = "written\n";
    Result r = sbi(DBCN, 0, sizeof text - 1, (u64)text, 0, 0);
    say("write", r.error << 8 | r.value);
    say("write nowhere", error(DBCN, 0, 4, 0x1000, 0));
    say("write too much", error(DBCN, 0, -1, (u64)text, 0));
    say("write far away", error(DBCN, 0, 4, (u64)text, 1));
    r = sbi(DBCN, 1, 8, (u64)stacks, 0, 0);
    say("read", r.error << 8 | r.value);
    say("byte", error(DBCN, 2, '!', 0, 0));
    say("legacy putchar", error(1, 0, '?', 0, 0));
    say("legacy getchar", error(2, 0, 0, 0, 0));
}

void kernel_main(u64 hart, void *tree) {
    static const long known[] = {0x10, TIME, IPI, RFENCE, HSM, SRST, DBCN, 0, 8, 4, 0x504d55};
    say("hart", hart);
    say("version", sbi(0x10, 0, 0, 0, 0, 0).value);
    for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
        say("probe", sbi(0x10, 3, known[i], 0, 0, 0).value);
    say("vendor", sbi(0x10, 4, 0, 0, 0, 0).error);
    say("no such function", error(0x10, 7, 0, 0, 0));
    say("no such extension", error(0x12345, 0, 0, 0, 0));
    try_states();
    for (int i = 1; i < 4; i++) ask(i, wait_for_ipi, 0);
    say("send ipi", error(IPI, 0, 7, 1, 0));
    for (int i = 1; i < 4; i++) say("pending after", answer_of(i));
    say("ipi to all", error(IPI, 0, 0, -1, 0));
    say("here", wait_for_ipi(0));
    for (int i = 1; i < 4; i++) ask(i, wait_for_timer, 1000 * i);
    say("timer", wait_for_timer(2000));
    for (int i = 1; i < 4; i++) say("timer", answer_of(i));
    say("timer function", error(TIME, 1, 0, 0, 0));
    try_fences();
    try_console();
    say("reset how", error(SRST, 0, 9, 0, 0));
    error(SRST, 0, 0, 1, 0);
}

void kern_main(void) {}
