#include <stdio.h>
#include <stdlib.h>

int main(void) {
    const char *who = getenv("WHO");
    printf("%s, %s\n", GREETING, who ? who : "nobody");
    return 0;
}
