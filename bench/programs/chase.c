/* Pointer chasing: a list through 2 MiB in random order, so every load waits for the one before it, and
 * 512 pages are in use at once. */

#include "program.h"

#define NODES (128 << 10)

struct node {
    struct node *next;
    u64 value;
};

static struct node nodes[NODES];

/* Link the nodes in one cycle through all of them (Sattolo's shuffle of their order). */
static void link_nodes(void)
{
    static u32 order[NODES];
    u64 state = 88172645463325252ul;
    for (u32 i = 0; i < NODES; i++)
        order[i] = i;
    for (u32 i = NODES - 1; i > 0; i--) {
        u32 j = next_random(&state) % i, kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
    for (u32 i = 0; i < NODES; i++) {
        nodes[i].next = &nodes[order[i]];
        nodes[i].value = i;
    }
}

u64 program(u64 rounds)
{
    u64 sum = 1;
    link_nodes();
    while (rounds--) {
        struct node *at = nodes;
        u64 values = 0;
        for (u64 steps = 0; steps < NODES; steps++) {
            values += at->value;
            at = at->next;
        }
        if (at != nodes || values != (u64)NODES * (NODES - 1) / 2)
            return 0;
        sum = fold(sum, values);
    }
    return sum;
}
