/* A virtio-blk driver for a bare machine. It finds the disk in any of the slots, in the modern or the
 * legacy layout, uses it, makes mistakes, and prints what it sees; test_same_driver.py runs it here
 * and on QEMU and compares. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

#define REG(at) (*(volatile u32 *)(base + (at)))
#define SIZE 8
#define PAGE 4096ul
enum { NEXT = 1, WRITE = 2, INDIRECT = 4, NO_INTERRUPT = 1 };
enum { IN, OUT, FLUSH = 4, GET_ID = 8, WRITE_ZEROES = 13, NONSENSE = 99 };

struct descriptor { u64 address; u32 length; u16 flags, next; };
struct header { u32 type, reserved; u64 sector; };

static u64 base;
static int modern;
static volatile struct descriptor *const table = (void *)0x80500000;
static volatile u16 *const available = (void *)0x80500080;      /* behind 8 descriptors */
static volatile u32 *const used = (void *)0x80501000;
static volatile struct descriptor *const inner = (void *)0x80503000;
static u8 *const data = (u8 *)0x80510000;
static volatile u8 *const status = (u8 *)0x80520000;
static struct header *const header = (void *)0x80530000;
static u16 posted, seen;

static void put(char c) {
    volatile u8 *uart = (volatile u8 *)0x10000000;
    while (!(uart[5] & 0x20)) {}
    uart[0] = c;
}

static void text(const char *s) { while (*s) put(*s++); }

static void number(u64 n) {
    for (int digits = 16; digits--;)
        if (n >> 4 * digits || !digits) put("0123456789abcdef"[n >> 4 * digits & 15]);
    put(' ');
}

static void set_up(u32 wanted) {
    REG(0x70) = 0;
    REG(0x70) = 1;
    REG(0x70) = 3;
    REG(0x14) = 0;
    u32 low = REG(0x10) & wanted;
    REG(0x24) = 0;
    REG(0x20) = low;
    if (modern) {
        REG(0x24) = 1;
        REG(0x20) = 1;
        REG(0x70) = 11;
        text(REG(0x70) & 8 ? "agreed " : "not agreed ");
    }
    for (int i = 0; i < 2 * PAGE / 4; i++) ((volatile u32 *)table)[i] = 0;
    REG(0x30) = 7;
    number(REG(0x34));                   /* there is no queue 7 */
    REG(0x30) = 0;
    number(REG(0x34));
    REG(0x38) = SIZE;
    if (modern) {
        REG(0x80) = (u32)(u64)table, REG(0x84) = 0;
        REG(0x90) = (u32)(u64)available, REG(0x94) = 0;
        REG(0xa0) = (u32)(u64)used, REG(0xa4) = 0;
        REG(0x44) = 1;
        number(REG(0x44));
    } else {
        REG(0x28) = PAGE;
        REG(0x3c) = PAGE;
        REG(0x40) = (u64)table / PAGE;
        number(REG(0x40));
    }
    REG(0x70) = modern ? 15 : 7;
    number(REG(0x70));
    put('\n');
    posted = seen = 0;
}

static void describe(volatile struct descriptor *d, volatile void *at, u32 length, int flags, int next) {
    d->address = (u64)at, d->length = length, d->flags = flags, d->next = next;
}

static void post(void) {
    available[2 + posted % SIZE] = 0;
    __sync_synchronize();
    available[1] = ++posted;
    __sync_synchronize();
    REG(0x50) = 0;
}

static void answer(const char *what) {
    while ((volatile u16)(used[0] >> 16) == seen) {}
    text(what);
    number(*status);
    number(used[1 + 2 * (seen % SIZE)]);
    number(used[2 + 2 * (seen % SIZE)]);
    seen++;
    number(REG(0x60));
    REG(0x64) = REG(0x60);
    number(REG(0x60));
    put('\n');
}

static void request(const char *what, u32 type, u64 sector, u32 length, int write) {
    *header = (struct header){type, 0, sector};
    *status = 0xee;
    describe(&table[0], header, 16, NEXT, 1);
    if (length) {
        describe(&table[1], data, length, NEXT | (write ? WRITE : 0), 2);
    } else {
        table[0].next = 2;
    }
    describe(&table[2], status, 1, WRITE, 0);
    post();
    answer(what);
}

static void sum(void) {
    u64 total = 0;
    for (int i = 0; i < 2048; i++) total = total * 31 + data[i];
    number(total);
    put('\n');
}

static void pieces(void) {               /* an indirect table, the header in three pieces */
    *header = (struct header){IN, 0, 5};
    *status = 0xee;
    describe(&table[0], inner, 6 * 16, INDIRECT, 0);
    describe(&inner[0], header, 3, NEXT, 1);
    describe(&inner[1], (u8 *)header + 3, 12, NEXT, 2);
    describe(&inner[2], (u8 *)header + 15, 1, NEXT, 3);
    describe(&inner[3], data, 700, NEXT | WRITE, 4);
    describe(&inner[4], data + 700, 324, NEXT | WRITE, 5);
    describe(&inner[5], status, 1, WRITE, 0);
    post();
    answer("indirect ");
    sum();
}

static void mistake(const char *what) {
    post();
    text(what);
    if (modern) {
        for (int i = 0; i < 1000000 && !(REG(0x70) & 64); i++) {}
        number(REG(0x70));
        number(REG(0x60) & 2);
    } else {
        for (volatile int i = 0; i < 100000; i++) {}
    }
    number(used[0] >> 16);               /* nothing was used */
    put('\n');
    set_up(0x10000644);
}

static void mistakes(void) {
    describe(&table[0], header, 16, NEXT, 1);
    describe(&table[1], data, 512, NEXT | WRITE, 1);
    mistake("loop ");
    describe(&table[0], header, 16, NEXT, SIZE);
    mistake("descriptor out of range ");
    describe(&table[0], header, 16, NEXT, 1);
    describe(&table[1], status, 1, NEXT | WRITE, 2);
    describe(&table[2], data, 512, 0, 0);
    mistake("read behind write ");
    describe(&table[0], status, 1, WRITE, 0);
    mistake("no header ");
    describe(&table[0], header, 16, 0, 0);
    mistake("no status ");
    describe(&table[0], inner, 17, INDIRECT, 0);
    mistake("odd indirect table ");
    describe(&table[0], inner, 16, INDIRECT, 0);
    describe(&inner[0], inner, 16, INDIRECT, 0);
    mistake("nested indirect table ");
    posted += SIZE;
    mistake("too many requests ");
}

void main(void) {
    for (int slot = 0; slot < 8 && !base; slot++) {
        base = 0x10001000ul + slot * 0x1000;
        if (REG(0) != 0x74726976 || REG(8) != 2) base = 0;
    }
    modern = REG(4) == 2;
    number(REG(4)), number(REG(0xc)), number(REG(0x100)), number(REG(0x104)), number(REG(0x114));
    put('\n');
    set_up(0x10000644 | 1 << 14);
    for (int i = 0; i < 1024; i++) data[i] = i * 7 >> 2;
    request("write ", OUT, 5, 1024, 0);
    for (int i = 0; i < 2048; i++) data[i] = 0x55;
    request("read ", IN, 4, 2048, 1);
    sum();
    pieces();
    request("id ", GET_ID, 0, 20, 1);
    text((char *)data), put('\n');
    request("flush ", FLUSH, 0, 0, 0);
    request("odd length ", IN, 0, 511, 1);
    request("behind the end ", IN, 255, 1024, 1);
    request("last ", IN, 255, 512, 1);
    request("far behind the end ", OUT, ~0ul, 512, 0);
    request("nonsense ", NONSENSE, 0, 512, 1);
    *(u64 *)data = 6, *(u64 *)(data + 8) = 1;
    request("zeroes ", WRITE_ZEROES, 0, 16, 0);
    *(u64 *)data = 255, *(u64 *)(data + 8) = 2;
    request("zeroes behind the end ", WRITE_ZEROES, 0, 16, 0);
    *(u64 *)data = 6, *(u64 *)(data + 8) = 1 | 2ul << 32;
    request("zeroes with a flag ", WRITE_ZEROES, 0, 16, 0);
    request("read ", IN, 4, 2048, 1);
    sum();
    available[0] = NO_INTERRUPT;
    request("quiet ", IN, 0, 512, 1);
    available[0] = 0;
    mistakes();
    request("read ", IN, 4, 2048, 1);
    sum();
    *(volatile u32 *)0x100000 = 0x5555;
    for (;;) {}
}

__attribute__((naked, section(".text.unlikely"))) void _start(void) {
    __asm__ volatile("li sp, 0x80400000\n j main");
}
