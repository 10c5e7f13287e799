/*
 * The first process of a container that asks for an init: runs a program as its child, hands signals on to it, reaps
 * whatever is left to it, and ends with the program's exit status (128 + N after signal N).
 *
 *     init [--] PROGRAM [ARGUMENT...]
 *     init --version
 *
 * It stands where Docker has tini under the name docker-init, and behaves as that does without options: the program has a
 * process group of its own, which is the terminal's foreground one where there is a terminal; what can't be executed ends
 * with 127 (not there) or 126 (not allowed) and tini's message.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOT_THERE = 127, NOT_ALLOWED = 126, BY_SIGNAL = 128 };

/* Signals that the kernel sends for the program's own mistakes: those of this one are not to be waited for. */
static const int OWN[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS, SIGTTIN, SIGTTOU};

static void give_up(const char *what)
{
    fprintf(stderr, "[FATAL tini (%d)] %s: %s\n", (int)getpid(), what, strerror(errno));
    exit(1);
}

static void become(char **words, const sigset_t *mask)
{
    if (setpgid(0, 0) < 0)
        give_up("setpgid failed");
    /* Without a terminal there is nothing to be in the foreground of. */
    if (tcsetpgrp(STDIN_FILENO, getpgrp()) < 0 && errno != ENOTTY && errno != ENXIO && errno != EBADF)
        give_up("tcsetpgrp failed");
    signal(SIGTTIN, SIG_DFL);
    signal(SIGTTOU, SIG_DFL);
    if (sigprocmask(SIG_SETMASK, mask, NULL) < 0)
        give_up("sigprocmask failed");
    execvp(words[0], words);
    int why = errno;
    fprintf(stderr, "[FATAL tini (%d)] exec %s failed: %s\n", (int)getpid(), words[0], strerror(why));
    exit(why == ENOENT ? NOT_THERE : why == EACCES ? NOT_ALLOWED : 1);
}

/* Reap all that have ended; return the program's exit status once it is among them, else -1. */
static int reap(pid_t program)
{
    int found = -1;
    for (;;) {
        int status;
        pid_t ended = waitpid(-1, &status, WNOHANG);
        if (ended < 0 && errno == EINTR)
            continue;
        if (ended <= 0)
            return found;
        if (ended == program)
            found = WIFEXITED(status) ? WEXITSTATUS(status) : BY_SIGNAL + WTERMSIG(status);
    }
}

int main(int count, char **words)
{
    words++;
    if (count == 2 && strcmp(words[0], "--version") == 0) {
        puts("tini version 0.19.0+sixhops");
        return 0;
    }
    if (count > 1 && strcmp(words[0], "--") == 0)
        words++;
    if (*words == NULL) {
        fputs("Usage: init [--] PROGRAM [ARGUMENT...]\n", stderr);
        return 1;
    }

    sigset_t awaited, before;
    sigfillset(&awaited);
    for (size_t at = 0; at < sizeof OWN / sizeof *OWN; at++)
        sigdelset(&awaited, OWN[at]);
    if (sigprocmask(SIG_SETMASK, &awaited, &before) < 0)
        give_up("sigprocmask failed");
    /* The program takes the foreground from a group that is in the background: it would be stopped for that. */
    signal(SIGTTIN, SIG_IGN);
    signal(SIGTTOU, SIG_IGN);

    pid_t program = fork();
    if (program < 0)
        give_up("fork failed");
    if (program == 0)
        become(words, &before);

    for (;;) {
        int number = sigwaitinfo(&awaited, NULL);
        if (number > 0 && number != SIGCHLD)
            kill(program, number); /* that it has ended just now is what SIGCHLD will tell */
        int status = reap(program);
        if (status >= 0)
            return status;
    }
}
