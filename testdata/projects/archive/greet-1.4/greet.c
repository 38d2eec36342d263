void greet(const char *name);

int main(int count, char **names)
{
    for (int i = 1; i < count; i++)
        greet(names[i]);
    return 0;
}
