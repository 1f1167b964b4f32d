/* A program as a process of the host: the number of rounds is its argument. See program.h. */

#include <stdio.h>
#include <stdlib.h>

#include "program.h"

int main(int count, char **arguments)
{
    u64 rounds = count > 1 ? strtoul(arguments[1], 0, 10) : 1;
    puts("begin");
    fflush(stdout);
    printf("end %016lx\n", program(rounds));
    return 0;
}
