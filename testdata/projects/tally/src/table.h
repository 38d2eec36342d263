/* How often words were seen. */
struct word { char *text; unsigned long count; };
struct table { struct word *words; size_t length, room; };

void table_add(struct table *table, const char *text);
void table_sort(struct table *table);
