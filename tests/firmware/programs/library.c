/* The C library at work: sorting, searching, memory, strings, long jumps, and input. */

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t seed = 12345;

static uint32_t random_number(void) {
    seed ^= seed << 13, seed ^= seed >> 17, seed ^= seed << 5;
    return seed;
}

static int ascending(const void *a, const void *b) {
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

static void sorting(void) {
    enum { COUNT = 3000 };
    int *numbers = malloc(COUNT * sizeof *numbers);
    for (int i = 0; i < COUNT; i++) numbers[i] = random_number() % 100000;
    qsort(numbers, COUNT, sizeof *numbers, ascending);
    int sorted = 1;
    for (int i = 1; i < COUNT; i++) sorted &= numbers[i - 1] <= numbers[i];
    int *found = bsearch(&numbers[1234], numbers, COUNT, sizeof *numbers, ascending);
    printf("sorted %d, first %d, median %d, last %d, found %d\n", sorted, numbers[0],
           numbers[COUNT / 2], numbers[COUNT - 1], *found == numbers[1234]);
    free(numbers);
}

static jmp_buf outside;

static double dive(int depth) {
    double here = depth * 0.5;
    if (depth == 0) longjmp(outside, 42);
    return depth > 0 ? dive(depth - 1) + here : 0;
}

static void jumping(void) {
    volatile int tries = 0;
    volatile double over = 1.25;
    int value = setjmp(outside);
    tries++;
    if (tries < 4) over += dive(10 * tries);
    printf("jumped %d times, value %d, %g kept\n", tries - 1, value, over);
}

struct node {
    struct node *next;
    char word[];
};

static void allocating(void) {
    struct node *list = NULL;
    char text[] = "the quick brown fox jumps over the lazy dog";
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
        struct node *node = malloc(sizeof *node + strlen(word) + 1);
        node->next = list, list = node;
        for (char *to = strcpy(node->word, word); *to; to++) *to = toupper((unsigned char)*to);
    }
    while (list) {
        struct node *next = list->next;
        printf("%s%c", list->word, next ? ' ' : '\n');
        free(list);
        list = next;
    }
}

static long sum(int count, ...) {
    va_list arguments;
    va_start(arguments, count);
    double total = 0;
    for (int i = 0; i < count; i++)
        total += i % 2 ? va_arg(arguments, double) : va_arg(arguments, int);
    va_end(arguments);
    return total * 100;
}

static void strings(void) {
    char buffer[64];
    int a, b;
    char word[16];
    snprintf(buffer, sizeof buffer, "%s/%05d/%-6s|", "path", 42, "end");
    printf("%s %zu %d %s\n", buffer, strlen(buffer), memcmp("abc", "abd", 3) < 0,
           strrchr(buffer, '/'));
    printf("%d", sscanf("17 apples 0x1f", "%d %15s %i", &a, word, &b));
    printf(" %d %s %d %ld\n", a, word, b, strtol("-7fz", NULL, 16));
    memmove(buffer + 3, buffer, 20);
    memset(buffer, '.', 3);
    printf("%s %ld\n", buffer, sum(9, 1, 2.5, 3, 4.5, 5, 6.5, 7, 8.5, 9));
}

static void echoing(void) {
    char line[80];
    while (fgets(line, sizeof line, stdin) && strcmp(line, "end\n"))
        printf("%zu: %s", strlen(line), line);
}

int main(void) {
    sorting();
    jumping();
    allocating();
    strings();
    echoing();
    exit(7);
}
