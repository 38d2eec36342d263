#include <stdio.h>
#include <string.h>
#include "table.h"

int main(int count, char **arguments)
{
    if (count > 1 && strcmp(arguments[1], "--version") == 0) {
        puts("tally " VERSION);
        return 0;
    }
    if (count > 1) {
        puts("usage: tally < text");
        return strcmp(arguments[1], "--help") != 0;
    }
    struct table table = { 0 };
    char word[256];
    while (scanf("%255s", word) == 1)
        table_add(&table, word);
    table_sort(&table);
    for (size_t i = 0; i < table.length; i++)
        printf("%lu %s\n", table.words[i].count, table.words[i].text);
    return 0;
}
