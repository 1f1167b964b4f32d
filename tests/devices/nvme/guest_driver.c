/* An NVMe driver for a bare machine. It finds the drive, uses it, makes mistakes, and prints what it
 * sees; test_same_driver.py runs it here and on QEMU and compares.. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

#define ECAM 0x30000000ul
#define BAR 0x40100000ul
#define REG(at) (*(volatile u32 *)(BAR + (at)))
#define DEPTH 8

struct command { u8 opcode, flags; u16 cid; u32 nsid; u64 unused, meta, prp1, prp2; u32 cdw[6]; };
struct completion { u32 result, unused; u16 head, sqid, cid, status; };
struct ring { volatile struct command *sq; volatile struct completion *cq; int tail, head, phase; };

static struct ring rings[2];
static u8 *const data = (u8 *)0x80500000;

static void put(char c) {
    volatile u8 *uart = (volatile u8 *)0x10000000;
    while (!(uart[5] & 0x20)) {}
    uart[0] = c;
}

static void text(const char *s) { while (*s) put(*s++); }

static void number(u64 n, int digits) {
    while (digits--) put("0123456789abcdef"[n >> 4 * digits & 15]);
    put(' ');
}

static u32 run(int q, struct command c) {
    struct ring *r = &rings[q];
    c.cid = 0x40 + r->tail;
    r->sq[r->tail] = c;
    r->tail = (r->tail + 1) % DEPTH;
    __sync_synchronize();
    REG(0x1000 + 8 * q) = r->tail;
    volatile struct completion *done = &r->cq[r->head];
    while ((done->status & 1) != r->phase) {}
    u32 status = done->status >> 1 & 0x7ff;
    r->head = (r->head + 1) % DEPTH;
    if (r->head == 0) r->phase ^= 1;
    REG(0x1004 + 8 * q) = r->head;
    return status;
}

static void say(const char *what, u32 status) {
    text(what);
    number(status, 3);
    put('\n');
}

static void ring(int q, u64 base) {
    rings[q].sq = (void *)base;
    rings[q].cq = (void *)(base + 0x1000);
    rings[q].tail = rings[q].head = 0;
    rings[q].phase = 1;
}

static int find(void) {
    for (int device = 0; device < 32; device++) {
        volatile u32 *config = (volatile u32 *)(ECAM + (device << 15));
        if (config[0] == 0xffffffff || config[2] >> 8 != 0x010802) continue;
        config[4] = config[5] = 0xffffffff;
        u64 size = -((u64)config[5] << 32 | (config[4] & ~15u));
        text("drive, vendor and device ");
        number(config[0], 8);
        text("BAR of ");
        number(size, 8);
        put('\n');
        config[4] = (u32)BAR;
        config[5] = 0;
        config[1] = 6;
        return 1;
    }
    return 0;
}

static void enable(void) {
    REG(0x14) = 0;
    while (REG(0x1c) & 1) {}
    ring(0, 0x80400000);
    REG(0x24) = (DEPTH - 1) << 16 | (DEPTH - 1);
    REG(0x28) = 0x80400000;
    REG(0x2c) = 0;
    REG(0x30) = 0x80401000;
    REG(0x34) = 0;
    REG(0x14) = 0x460001;
    while (!(REG(0x1c) & 1)) {}
    text("ready\n");
}

#define ADMIN(...) run(0, (struct command){__VA_ARGS__})
#define IO(...) run(1, (struct command){__VA_ARGS__})
#define QUEUE(id) ((DEPTH - 1) << 16 | (id))

static void admin(void) {
    u64 d = (u64)data;
    say("identify controller ", ADMIN(.opcode = 6, .prp1 = d, .cdw = {1}));
    number(data[512] << 8 | data[513], 4);
    say("identify namespace ", ADMIN(.opcode = 6, .prp1 = d, .nsid = 1, .cdw = {0}));
    number(*(u64 *)data, 16);
    number(data[130], 2);
    say("unknown cns ", ADMIN(.opcode = 6, .prp1 = d, .cdw = {0x99}));
    say("no namespace ", ADMIN(.opcode = 6, .prp1 = d, .cdw = {0}));
    say("unknown opcode ", ADMIN(.opcode = 0x7f));
    say("unknown feature ", ADMIN(.opcode = 10, .cdw = {0x7f}));
    say("cq 0 ", ADMIN(.opcode = 5, .prp1 = 0x80411000, .cdw = {QUEUE(0), 3}));
    say("cq of one entry ", ADMIN(.opcode = 5, .prp1 = 0x80411000, .cdw = {1, 3}));
    say("sq without cq ", ADMIN(.opcode = 1, .prp1 = 0x80410000, .cdw = {QUEUE(1), 0x10001}));
    say("cq ", ADMIN(.opcode = 5, .prp1 = 0x80411000, .cdw = {QUEUE(1), 1}));
    say("cq again ", ADMIN(.opcode = 5, .prp1 = 0x80411000, .cdw = {QUEUE(1), 1}));
    say("sq ", ADMIN(.opcode = 1, .prp1 = 0x80410000, .cdw = {QUEUE(1), 0x10001}));
    ring(1, 0x80410000);
    say("queues too late ", ADMIN(.opcode = 9, .cdw = {7, 0x10001}));
    say("delete cq in use ", ADMIN(.opcode = 4, .cdw = {1}));
    say("delete sq 0 ", ADMIN(.opcode = 0, .cdw = {0}));
    say("health ", ADMIN(.opcode = 2, .nsid = 0xffffffff, .prp1 = d, .cdw = {0x7f0002}));
}

/* What both drives have, and what neither has. */
static void more_admin(void) {
    u64 d = (u64)data;
    say("active list ", ADMIN(.opcode = 6, .prp1 = d, .cdw = {2}));
    number(*(u64 *)data, 16);
    say("descriptors ", ADMIN(.opcode = 6, .prp1 = d, .nsid = 1, .cdw = {3}));
    say("namespace of the command set ", ADMIN(.opcode = 6, .prp1 = d, .nsid = 1, .cdw = {5}));
    say("controller of the command set ", ADMIN(.opcode = 6, .prp1 = d, .cdw = {6}));
    say("list of the command set ", ADMIN(.opcode = 6, .prp1 = d, .cdw = {7}));
    number(*(u64 *)data, 16);
    say("of another command set ", ADMIN(.opcode = 6, .prp1 = d, .cdw = {6, 5u << 24}));
    say("all namespaces ", ADMIN(.opcode = 6, .prp1 = d, .nsid = 0xffffffff));
    say("odd pointer ", ADMIN(.opcode = 6, .prp1 = d + 8, .prp2 = d + 8, .cdw = {1}));
    static const u8 features[] = {1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 14, 0x16};
    for (int i = 0; i < (int)sizeof features; i++) {
        text("get feature ");
        number(features[i], 2);
        say("", ADMIN(.opcode = 10, .nsid = features[i] == 5, .prp1 = d, .cdw = {features[i]}));
    }
    say("save a feature ", ADMIN(.opcode = 9, .cdw = {0x80000004, 300}));
    say("no such vector ", ADMIN(.opcode = 10, .cdw = {9, 0xffff}));
    say("too many queues ", ADMIN(.opcode = 9, .cdw = {7, 0xffffffff}));
    for (int log = 1; log <= 3; log++)
        say("log ", ADMIN(.opcode = 2, .nsid = 0xffffffff, .prp1 = d, .cdw = {0x7f0000 | log}));
    say("effects ", ADMIN(.opcode = 2, .nsid = 0xffffffff, .prp1 = d, .cdw = {0x3ff0005}));
    say("behind a log ", ADMIN(.opcode = 2, .nsid = 0xffffffff, .prp1 = d, .cdw = {0x7f0002, 0, 600}));
    say("abort nothing ", ADMIN(.opcode = 8, .cdw = {0x12340000}));
}

static u32 checksum(int n) {
    u32 sum = 0;
    for (int i = 0; i < n; i++) sum = sum * 31 + data[i];
    return sum;
}

static void io(void) {
    u64 d = (u64)data;
    say("read ", IO(.opcode = 2, .nsid = 1, .prp1 = d, .cdw = {3}));
    number(checksum(512), 8);
    u64 *list = (u64 *)0x80420000;
    for (int i = 0; i < 16; i++) list[i] = d + 4096 * (i + 1);
    say("read with a list ", IO(.opcode = 2, .nsid = 1, .prp1 = d, .prp2 = (u64)list, .cdw = {5, 0, 127}));
    number(checksum(65536), 8);
    say("two pages with an offset ",
        IO(.opcode = 2, .nsid = 1, .prp1 = d + 512, .prp2 = d + 4096, .cdw = {9, 0, 7}));
    number(checksum(8192), 8);
    for (int i = 0; i < 512; i++) data[i] = i * 7;
    say("write ", IO(.opcode = 1, .nsid = 1, .prp1 = d, .cdw = {40}));
    say("compare ", IO(.opcode = 5, .nsid = 1, .prp1 = d, .cdw = {40}));
    say("compare other ", IO(.opcode = 5, .nsid = 1, .prp1 = d, .cdw = {41}));
    say("write zeroes ", IO(.opcode = 8, .nsid = 1, .cdw = {42, 0, 1}));
    say("flush ", IO(.opcode = 0, .nsid = 1));
    say("past the end ", IO(.opcode = 2, .nsid = 1, .prp1 = d, .cdw = {0x7fffffff}));
    say("wrong namespace ", IO(.opcode = 2, .nsid = 0xfffff000, .prp1 = d));
    say("unknown command ", IO(.opcode = 0x7f, .nsid = 1));
    say("verify ", IO(.opcode = 12, .nsid = 1, .cdw = {3, 0, 7}));
    say("verify past the end ", IO(.opcode = 12, .nsid = 1, .cdw = {255, 0, 1}));
    volatile u32 *range = (u32 *)data;
    for (int i = 0; i < 32; i++) range[i] = 0;
    range[1] = 8, range[2] = 64;
    range[5] = 16, range[6] = 80;
    say("deallocate ", IO(.opcode = 9, .nsid = 1, .prp1 = d, .cdw = {1, 4}));
    for (int i = 0; i < 32; i++) range[i] = 0;
    range[2] = 10, range[4] = 3;
    range[10] = 20;
    say("copy ", IO(.opcode = 25, .nsid = 1, .prp1 = d, .cdw = {100, 0, 1}));
    say("copy of another format ", IO(.opcode = 25, .nsid = 1, .prp1 = d, .cdw = {100, 0, 0xf01}));
    say("zeroes past the end ", IO(.opcode = 8, .nsid = 1, .cdw = {255, 0, 1}));
    say("read too much ", IO(.opcode = 2, .nsid = 1, .prp1 = d, .prp2 = d, .cdw = {0, 0, 0xffff}));
    say("odd second page ", IO(.opcode = 2, .nsid = 1, .prp1 = d, .prp2 = d + 4104, .cdw = {0, 0, 15}));
    say("broadcast read ", IO(.opcode = 2, .nsid = 0xffffffff, .prp1 = d));
    say("flush all ", IO(.opcode = 0, .nsid = 0xffffffff));
    for (int i = 0; i < 2 * DEPTH; i++)
        IO(.opcode = 2, .nsid = 1, .prp1 = d + 512 * i, .cdw = {i});
    text("wrapped ");
    number(checksum(512 * 2 * DEPTH), 8);
    put('\n');
    say("delete sq ", ADMIN(.opcode = 0, .cdw = {1}));
    say("delete cq ", ADMIN(.opcode = 4, .cdw = {1}));
}

int main(void) {
    if (find()) {
        enable();
        more_admin();
        admin();
        io();
        REG(0x14) = 0x464001;
        while ((REG(0x1c) >> 2 & 3) != 2) {}
        text("shut down\n");
    }
    *(volatile u32 *)0x100000 = 0x5555;
    for (;;) {}
}

/* The linker puts this section first, and QEMU starts at the first byte. */
asm(".section .text.unlikely\n .globl _start\n _start: li sp, 0x80300000\n call main\n");
