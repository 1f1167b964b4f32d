/* An interpreter of byte code on a stack: an indirect jump for each of a handful of operations. What it
 * interprets counts the primes below 3000 by trial division:
 *
 *     for (n = 2; n < 3000; n++) {
 *         for (d = 2; d * d < n + 1; d++)
 *             if (n % d == 0)
 *                 goto next;
 *         count++;
 *     next:;
 *     }
 */

#include "program.h"

#define LIMIT 3000
#define PRIMES 430

enum { PUSH, LOAD, STORE, ADD, MULTIPLY, REMAINDER, LESS, JUMP, UNLESS, HALT };
enum { COUNT, N, D, VARIABLES };

/* An operation is a byte, its operand, if it has one, two bytes. */
#define OPERATION(what, operand) what, (operand) & 255, (operand) >> 8
enum { OUTER = 6, INNER = 22, PRIME = 63, NEXT = 73, END = 86 }; /* where the labels are */

static const u8 code[] = {
    /* 0 */
    OPERATION(PUSH, 2), OPERATION(STORE, N),
    /* OUTER: leave unless n < LIMIT */
    OPERATION(LOAD, N), OPERATION(PUSH, LIMIT), LESS, OPERATION(UNLESS, END),
    OPERATION(PUSH, 2), OPERATION(STORE, D),
    /* INNER: it is prime unless d * d < n + 1 */
    OPERATION(LOAD, D), OPERATION(LOAD, D), MULTIPLY, OPERATION(LOAD, N), OPERATION(PUSH, 1), ADD, LESS,
    OPERATION(UNLESS, PRIME),
    OPERATION(LOAD, N), OPERATION(LOAD, D), REMAINDER, OPERATION(UNLESS, NEXT),
    OPERATION(LOAD, D), OPERATION(PUSH, 1), ADD, OPERATION(STORE, D), OPERATION(JUMP, INNER),
    /* PRIME */
    OPERATION(LOAD, COUNT), OPERATION(PUSH, 1), ADD, OPERATION(STORE, COUNT),
    /* NEXT */
    OPERATION(LOAD, N), OPERATION(PUSH, 1), ADD, OPERATION(STORE, N), OPERATION(JUMP, OUTER),
    /* END */
    HALT, 0, 0, /* an operand is read before the operation is known */
};

static u64 interpret(void)
{
    u64 stack[16], *top = stack, variables[VARIABLES] = {0};
    const u8 *at = code;
    for (;;) {
        u64 operand = at[1] | at[2] << 8;
        switch (*at) {
        case PUSH:
            *top++ = operand;
            at += 3;
            break;
        case LOAD:
            *top++ = variables[operand];
            at += 3;
            break;
        case STORE:
            variables[operand] = *--top;
            at += 3;
            break;
        case ADD:
            top--;
            top[-1] += top[0];
            at++;
            break;
        case MULTIPLY:
            top--;
            top[-1] *= top[0];
            at++;
            break;
        case REMAINDER:
            top--;
            top[-1] %= top[0];
            at++;
            break;
        case LESS:
            top--;
            top[-1] = top[-1] < top[0];
            at++;
            break;
        case JUMP:
            at = code + operand;
            break;
        case UNLESS:
            at = *--top ? at + 3 : code + operand;
            break;
        default:
            return variables[COUNT];
        }
    }
}

u64 program(u64 rounds)
{
    u64 sum = 1;
    while (rounds--) {
        u64 count = interpret();
        if (count != PRIMES)
            return 0;
        sum = fold(sum, count);
    }
    return sum;
}
