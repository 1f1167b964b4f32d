/* What system programs do between their loops: short functions that copy and compare strings and records,
 * with their own string functions. The kind of work that Dhrystone has; none of its text. */

#include "program.h"

#define LENGTH 32
#define RECORDS 64
#define STEPS 1000

struct record {
    struct record *next;
    int key, uses;
    char name[LENGTH], title[LENGTH];
};

static struct record records[RECORDS];
static struct record *chain;
static int clock_ticks;
static char last_name[LENGTH];

__attribute__((noinline)) static u64 length(const char *text)
{
    const char *end = text;
    while (*end)
        end++;
    return end - text;
}

__attribute__((noinline)) static void copy(char *to, const char *from)
{
    while ((*to++ = *from++))
        ;
}

__attribute__((noinline)) static int compare(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *(const u8 *)a - *(const u8 *)b;
}

__attribute__((noinline)) static void append(char *to, const char *from)
{
    copy(to + length(to), from);
}

/* `number` in decimal. */
__attribute__((noinline)) static void print(char *to, u64 number)
{
    char digits[24];
    int count = 0;
    do
        digits[count++] = '0' + number % 10;
    while (number /= 10);
    while (count)
        *to++ = digits[--count];
    *to = 0;
}

__attribute__((noinline)) static u64 parse(const char *text)
{
    u64 number = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        number = 10 * number + (*text - '0');
    return number;
}

__attribute__((noinline)) static int is_vowel(char c)
{
    switch (c) {
    case 'a': case 'e': case 'i': case 'o': case 'u':
        return 1;
    default:
        return 0;
    }
}

__attribute__((noinline)) static void capitalise(char *text)
{
    for (int start = 1; *text; text++) {
        if (start && *text >= 'a' && *text <= 'z')
            *text += 'A' - 'a';
        start = *text == ' ';
    }
}

__attribute__((noinline)) static struct record *find(const char *name)
{
    for (struct record *r = chain; r; r = r->next)
        if (compare(r->name, name) == 0)
            return r;
    return 0;
}

/* Copy a whole record, keeping the place in the chain. */
__attribute__((noinline)) static void update(struct record *to, const struct record *from, int ticks)
{
    struct record *next = to->next;
    *to = *from;
    to->next = next;
    to->uses = from->uses + 1;
    clock_ticks += ticks;
}

static void start(void)
{
    chain = 0;
    clock_ticks = 0;
    for (int i = 0; i < RECORDS; i++) {
        struct record *r = &records[i];
        r->key = i;
        r->uses = 0;
        copy(r->name, "record number ");
        print(r->name + length(r->name), i);
        copy(r->title, "the first of its kind");
        r->next = chain;
        chain = r;
    }
}

static u64 one_step(u64 step)
{
    char name[LENGTH], text[2 * LENGTH];
    struct record kept;
    copy(name, "record number ");
    print(name + length(name), step * 7 % RECORDS);
    struct record *found = find(name);
    if (!found || parse(found->name + 14) != (u64)found->key)
        return 0;
    copy(text, found->title);
    append(text, ", ");
    append(text, found->name);
    capitalise(text);
    int vowels = 0;
    for (const char *c = text; *c; c++)
        vowels += is_vowel(*c);
    update(&kept, found, vowels);
    update(found, &kept, compare(last_name, found->name) < 0);
    copy(last_name, found->name);
    return length(text) + vowels;
}

u64 program(u64 rounds)
{
    u64 sum = 1;
    while (rounds--) {
        start();
        for (u64 step = 0; step < STEPS; step++) {
            u64 value = one_step(step);
            if (value == 0)
                return 0;
            sum = fold(sum, value);
        }
        for (int i = 0; i < RECORDS; i++)
            sum = fold(sum, records[i].uses);
        sum = fold(sum, clock_ticks);
    }
    return sum;
}
