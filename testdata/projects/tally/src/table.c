#include <stdlib.h>
#include <string.h>
#include "table.h"

void table_add(struct table *table, const char *text)
{
    for (size_t i = 0; i < table->length; i++) {
        if (strcmp(table->words[i].text, text) == 0) {
            table->words[i].count++;
            return;
        }
    }
    if (table->length == table->room) {
        table->room = table->room ? 2 * table->room : 16;
        table->words = realloc(table->words, table->room * sizeof *table->words);
    }
    table->words[table->length++] = (struct word) { strdup(text), 1 };
}

static int by_count(const void *a, const void *b)
{
    const struct word *left = a, *right = b;
    if (left->count != right->count)
        return left->count < right->count ? 1 : -1;
    return strcmp(left->text, right->text);
}

void table_sort(struct table *table)
{
    if (table->length)
        qsort(table->words, table->length, sizeof *table->words, by_count);
}
