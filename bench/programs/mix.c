/* A mixture as embedded benchmarks have it: a linked list that is searched, sorted and reversed, a small
 * matrix of 16-bit numbers, a state machine that reads numbers in several notations, and a CRC over what
 * all of them found. The kind of work that CoreMark has; none of its text. */

#include "program.h"

#define ITEMS 200
#define N 24
#define STEPS 10

/* The CRC, bit by bit (CCITT). */
static u16 crc_word(u16 crc, u32 value)
{
    for (int bit = 0; bit < 16; bit++, value >>= 1) {
        int carry = (crc ^ value) & 1;
        crc >>= 1;
        if (carry)
            crc ^= 0x8408;
    }
    return crc;
}

/* The list. */

struct item {
    struct item *next;
    short data, place;
};

static struct item items[ITEMS];

static struct item *make_list(u64 *state)
{
    for (int i = 0; i < ITEMS; i++) {
        items[i].data = next_random(state) & 0x7fff;
        items[i].place = i;
        items[i].next = i + 1 < ITEMS ? &items[i + 1] : 0;
    }
    return items;
}

static struct item *find(struct item *list, int data)
{
    while (list && (list->data & 255) != data)
        list = list->next;
    return list;
}

static struct item *reverse(struct item *list)
{
    struct item *done = 0;
    while (list) {
        struct item *next = list->next;
        list->next = done;
        done = list;
        list = next;
    }
    return done;
}

static int by_data(const struct item *a, const struct item *b)
{
    return a->data - b->data;
}

static int by_place(const struct item *a, const struct item *b)
{
    return a->place - b->place;
}

/* Merge sort, from runs of one item upwards. */
static struct item *sort(struct item *list, int (*order)(const struct item *, const struct item *))
{
    for (int run = 1;; run *= 2) {
        struct item *a = list, **end = &list;
        int merges = 0;
        while (a) {
            struct item *b = a;
            int left = 0, right = run;
            merges++;
            while (left < run && b)
                left++, b = b->next;
            while (left > 0 || (right > 0 && b)) {
                struct item *least;
                if (left > 0 && (right == 0 || !b || order(a, b) <= 0))
                    least = a, a = a->next, left--;
                else
                    least = b, b = b->next, right--;
                *end = least;
                end = &least->next;
            }
            a = b;
        }
        *end = 0;
        if (merges <= 1)
            return list;
    }
}

static u16 work_on_list(struct item *list, u16 crc)
{
    int found = 0;
    for (int data = 0; data < 64; data++) {
        struct item *item = find(list, data * 4);
        if (item)
            found += item->place;
        list = reverse(list);
    }
    crc = crc_word(crc, found);
    list = sort(list, by_data);
    for (struct item *item = list; item->next; item = item->next) {
        if (item->data > item->next->data)
            return 0;
        crc = crc_word(crc, item->data ^ item->place);
    }
    list = sort(list, by_place);
    return list == items ? crc : 0;
}

/* The matrix. */

static short a[N][N], b[N][N];
static int c[N][N];

static u16 work_on_matrix(u64 *state, u16 crc)
{
    short seed = next_random(state);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i][j] = (seed + i * j) & 0xff;
            b[i][j] = (seed ^ (i + j)) & 0xff;
        }
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            int sum = 0;
            for (int k = 0; k < N; k++)
                sum += a[i][k] * b[k][j];
            c[i][j] = sum;
        }
    int above = 0, before = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            int bits = (c[i][j] >> 2 & 15) * (c[i][j] >> 5 & 127);
            above += bits > before ? 10 : bits < 100;
            before = bits;
        }
    return crc_word(crc, above);
}

/* The state machine. */

enum state { START, SIGNED, INTEGER, POINT, FRACTION, EXPONENT, SCIENTIFIC, INVALID, STATES };

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Read up to a comma; count the transitions; give the last state. */
static enum state scan(const char **text, u32 transitions[STATES])
{
    enum state state = START;
    const char *at = *text;
    for (; *at && *at != ','; at++) {
        enum state before = state;
        switch (state) {
        case START:
            state = is_digit(*at) ? INTEGER : *at == '+' || *at == '-' ? SIGNED : *at == '.' ? POINT : INVALID;
            break;
        case SIGNED:
            state = is_digit(*at) ? INTEGER : *at == '.' ? POINT : INVALID;
            break;
        case INTEGER:
            state = is_digit(*at) ? INTEGER : *at == '.' ? POINT : *at == 'e' ? EXPONENT : INVALID;
            break;
        case POINT:
        case FRACTION:
            state = is_digit(*at) ? FRACTION : *at == 'e' ? EXPONENT : INVALID;
            break;
        case EXPONENT:
            state = is_digit(*at) || *at == '+' || *at == '-' ? SCIENTIFIC : INVALID;
            break;
        case SCIENTIFIC:
            state = is_digit(*at) ? SCIENTIFIC : INVALID;
            break;
        default:
            break;
        }
        if (state != before)
            transitions[before]++;
    }
    *text = *at ? at + 1 : at;
    return state;
}

static const char *const words[] = {
    "5012,", "-874,", "+122,", "35.54400,", ".1234500,", "-110.700,", "5.500e+3,", "-.123e-2,",
    "+0.6e-12,", "T0.3e-1F,", "-T.T++Tq,", "1T3.4e4z,", "2021.5,", "e12,",
};

static u16 work_on_text(u64 *random, u16 crc)
{
    char text[512];
    u32 transitions[STATES] = {0}, ends[STATES] = {0};
    int used = 0;
    while (used < 480) {
        u64 which = next_random(random) % (sizeof words / sizeof *words);
        for (const char *from = words[which]; *from; from++)
            text[used++] = *from;
    }
    text[used] = 0;
    for (const char *at = text; *at;)
        ends[scan(&at, transitions)]++;
    for (int i = 0; i < STATES; i++)
        crc = crc_word(crc_word(crc, ends[i]), transitions[i]);
    return crc;
}

u64 program(u64 rounds)
{
    u64 state = 88172645463325252ul, sum = 1;
    while (rounds--) {
        u16 crc = 0xffff;
        struct item *list = make_list(&state);
        for (int step = 0; step < STEPS; step++) {
            crc = work_on_list(list, crc);
            if (crc == 0)
                return 0;
            for (int part = 0; part < 4; part++) {
                crc = work_on_matrix(&state, crc);
                crc = work_on_text(&state, crc);
            }
        }
        sum = fold(sum, crc);
    }
    return sum;
}
