/* A kernel in C that tries what asm/ offers, one line of output a trial. */

typedef unsigned long u64;

long guarded_call(long (*work)(void *), void *argument);
void guarded_abort(long code);
long guard_armed(void), abort_address(void);

#define UART (*(volatile unsigned char *)0x10000000)

static void say(const char *name, u64 value) {
    while (*name) UART = *name++;
    UART = ' ';
    for (int i = 60; i >= 0; i -= 4) UART = "0123456789abcdef"[value >> i & 15];
    UART = '\n';
}

/* A legacy call of the SBI, as the kernel makes them: only a0 is given. */
static long service(long number, long a) {
    register long a7 asm("a7") = number, a0 asm("a0") = a;
    asm volatile("ecall" : "+r"(a0) : "r"(a7) : "memory");
    return a0;
}

static u64 now(void) {
    u64 t;
    asm volatile("rdtime %0" : "=r"(t));
    return t;
}

/* The frame: x0..x31, pc, cause, address, status, f0..f31. */
void kern_trap(u64 *frame) {
    say("cause", frame[33]);
    if (frame[33] == 3) {
        say("s11", frame[27]);
        frame[32] += 4;
    } else {
        frame[10] = 77;
        frame[32] = abort_address();
    }
}

static long fault(void *argument) {
    say("argument", (u64)argument);
    asm volatile("csrw 0x7c0, zero");
    return 0;
}

static long abort_at_once(void *argument) {
    guarded_abort(5);
    return 0;
}

static long nested(void *argument) { return guarded_call(abort_at_once, 0) + 1; }

static long is_armed(void *argument) { return guard_armed() != 0; }

void kernel_main(long hart, void *tree) {
    say("hart", hart);
    say("tree", *(unsigned *)tree);
    register u64 kept asm("s11") = 0x1234;
    double before = hart + 0.5;
    asm volatile(".option push\n.option norvc\nebreak\n.option pop" : "+r"(kept));
    say("kept", kept == 0x1234 && before == 0.5);
    say("guarded", guarded_call(fault, (void *)42));
    say("nested", guarded_call(nested, 0));
    say("armed inside", guarded_call(is_armed, 0));
    say("armed outside", guard_armed());
    asm volatile("csrs sie, %0" ::"r"(0x20));
    u64 start = now();
    say("timer", service(0, start + 100000));
    asm volatile("wfi");
    say("slept", now() - start >= 100000);
    say("unknown service", service(5, 0));
    service(8, 0);
}

void kern_main(void) {}
