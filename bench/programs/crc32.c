/* CRC-32 (as in IEEE 802.3) of 64 KiB, a table look-up a byte: each step waits for the one before. */

#include "program.h"

#define BYTES (64 << 10)
#define POLYNOMIAL 0xedb88320u /* reflected */

static u32 table[256];
static u8 message[BYTES];

static void make_table(void)
{
    for (u32 i = 0; i < 256; i++) {
        u32 value = i;
        for (int bit = 0; bit < 8; bit++)
            value = value >> 1 ^ (value & 1 ? POLYNOMIAL : 0);
        table[i] = value;
    }
}

static u32 crc(const u8 *data, u64 count)
{
    u32 value = ~0u;
    while (count--)
        value = value >> 8 ^ table[(value ^ *data++) & 255];
    return ~value;
}

u64 program(u64 rounds)
{
    u64 state = 88172645463325252ul, sum = 1;
    make_table();
    if (crc((const u8 *)"123456789", 9) != 0xcbf43926)
        return 0;
    for (int i = 0; i < BYTES; i++)
        message[i] = next_random(&state);
    while (rounds--) {
        sum = fold(sum, crc(message, BYTES));
        message[sum % BYTES]++;
    }
    return sum;
}
