/* Prints the name of each signal that arrives, and does with it what its arguments say.
 *
 *   signals [--exit NAME=CODE]... [--default NAME]... [--ignore NAME]...
 *
 * First it prints "ready" (handlers are in place: whoever sends a signal waits for this line). Each signal that can be
 * caught prints its name on a line of its own. --exit ends the program with CODE when NAME arrives; --default leaves
 * NAME its ordinary meaning; --ignore ignores it. Names are TERM, HUP, RTMIN+1 ...; bad arguments exit 2.
 *
 * Signals are taken one by one with sigwaitinfo, in no handler, so printing is safe and none is lost between two. */

#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *name_of(int number, char *buffer, size_t size)
{
    const char *known = number < SIGRTMIN ? sigabbrev_np(number) : NULL;
    if (known)
        snprintf(buffer, size, "%s", known);
    else if (number >= SIGRTMIN && number <= SIGRTMAX)
        snprintf(buffer, size, number == SIGRTMIN ? "RTMIN" : "RTMIN+%d", number - SIGRTMIN);
    else
        snprintf(buffer, size, "%d", number);
    return buffer;
}

static int number_of(const char *name)
{
    char buffer[32];
    for (int number = 1; number <= SIGRTMAX; number++)
        if (strcmp(name_of(number, buffer, sizeof buffer), name) == 0)
            return number;
    fprintf(stderr, "signals: no signal is called %s\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    int codes[_NSIG];
    sigset_t caught;
    char buffer[32];
    for (int number = 0; number < _NSIG; number++)
        codes[number] = -1;
    sigfillset(&caught);
    for (int at = 1; at < argc; at += 2) {
        char *value = at + 1 < argc ? argv[at + 1] : NULL;
        char *equals = value ? strchr(value, '=') : NULL;
        if (value && strcmp(argv[at], "--exit") == 0 && equals) {
            *equals = '\0';
            codes[number_of(value)] = atoi(equals + 1);
        } else if (value && strcmp(argv[at], "--default") == 0) {
            sigdelset(&caught, number_of(value));
        } else if (value && strcmp(argv[at], "--ignore") == 0) {
            sigdelset(&caught, number_of(value));
            signal(number_of(value), SIG_IGN);
        } else {
            fprintf(stderr, "signals: what is %s?\n", argv[at]);
            return 2;
        }
    }
    sigprocmask(SIG_SETMASK, &caught, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    puts("ready");
    for (;;) {
        int number = sigwaitinfo(&caught, NULL);
        if (number < 0 && errno == EINTR)
            continue;
        if (number < 0)
            return 1;
        puts(name_of(number, buffer, sizeof buffer));
        if (codes[number] >= 0)
            return codes[number];
    }
}
