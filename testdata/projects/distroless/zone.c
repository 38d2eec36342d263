#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
    time_t moment = 1000000000;
    char text[64], folder[64];
    strftime(text, sizeof text, "%F %T %z", localtime(&moment));
    printf("%s as %d in %s\n", text, getuid(), getcwd(folder, sizeof folder));
    return 0;
}
