/* Stands where another program is looked for, tells a tap with what it was started, and runs that program.
 *
 * It is DIRECTORY/NAME; the program is DIRECTORY/real/NAME, the tap listens on the socket DIRECTORY/tap.sock. The program
 * gets everything as it was given: arguments, environment, directory, descriptors, signals; its end becomes ours, exit
 * status or signal. It is a child, because nobody but a parent is told how a process ends; so that it can't outlive us
 * where it would not have done so itself, it gets SIGKILL when we do. Nobody else notices: it is in our session and group,
 * and what it leaves behind goes to the same subreaper.
 *
 * Talk with the tap, every message a length (4 bytes, big-endian) and as many bytes, text ended by zeros:
 *
 *   we     NAME, number of arguments, arguments, number of variables, variables, directory, pid, parent's pid,
 *          number of descriptors, and for each: number, type and target
 *   tap    "pass" or "capture", then variables (NAME=VALUE) to be set for the program
 *   we     wait status, microseconds; with "capture" also what came on stdin as far as it could be looked at, and what
 *          was written to stdout: length, bytes
 *   tap    anything; what was captured is passed on only then
 *
 * Without a tap, or when it doesn't answer within TIMEOUT, the program runs unobserved. "capture" takes stdout into memory
 * until the program has ended, or CAPTURE_LIMIT bytes are there; stdin is only looked at, and only when it is a pipe. */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT 10000
#define STDIN_TIMEOUT 500
#define CAPTURE_LIMIT (1 << 20)
#define ANSWER_LIMIT (1 << 20)
/* Our own descriptors are above this, where no program looks for those that it was given. */
#define HIGH 200

extern char **environ;

struct buffer {
    char *bytes;
    size_t length, room;
};

static void put(struct buffer *to, const void *bytes, size_t length)
{
    if (to->length + length > to->room) {
        size_t room = (to->length + length) * 2 + 4096;
        char *grown = realloc(to->bytes, room);
        if (!grown)
            _exit(125);
        to->bytes = grown;
        to->room = room;
    }
    memcpy(to->bytes + to->length, bytes, length);
    to->length += length;
}

static void put_text(struct buffer *to, const char *text)
{
    put(to, text, strlen(text) + 1);
}

static void put_number(struct buffer *to, long long number)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", number);
    put_text(to, text);
}

/* Moves a descriptor out of the way; it is closed by exec. */
static int high(int descriptor)
{
    int moved = fcntl(descriptor, F_DUPFD_CLOEXEC, HIGH);
    if (moved < 0)
        return descriptor;
    close(descriptor);
    return moved;
}

static int write_all(int to, const char *bytes, size_t length)
{
    while (length) {
        ssize_t done = write(to, bytes, length);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0 && errno == EAGAIN) {
            struct pollfd wait = {.fd = to, .events = POLLOUT};
            poll(&wait, 1, -1);
            continue;
        }
        if (done <= 0)
            return -1;
        bytes += done;
        length -= (size_t)done;
    }
    return 0;
}

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000LL + time.tv_nsec / 1000;
}

static int send_message(int tap, const struct buffer *message)
{
    unsigned char length[4] = {(unsigned char)(message->length >> 24), (unsigned char)(message->length >> 16),
                               (unsigned char)(message->length >> 8), (unsigned char)message->length};
    struct buffer whole = {0};
    put(&whole, length, 4);
    put(&whole, message->bytes, message->length);
    size_t at = 0;
    while (at < whole.length) {
        /* MSG_NOSIGNAL: a tap that has gone must not end us */
        ssize_t done = send(tap, whole.bytes + at, whole.length - at, MSG_NOSIGNAL);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            break;
        at += (size_t)done;
    }
    int result = at == whole.length ? 0 : -1;
    free(whole.bytes);
    return result;
}

static int receive(int tap, char *to, size_t length, long long deadline)
{
    while (length) {
        long long left = (deadline - now()) / 1000;
        struct pollfd wait = {.fd = tap, .events = POLLIN};
        if (left < 0 || poll(&wait, 1, (int)left) == 0)
            return -1;
        ssize_t done = recv(tap, to, length, MSG_DONTWAIT);
        if (done < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (done <= 0)
            return -1;
        to += done;
        length -= (size_t)done;
    }
    return 0;
}

/* Returns an answer, ended by a zero; NULL when none came. */
static char *receive_message(int tap, size_t *length)
{
    long long deadline = now() + TIMEOUT * 1000LL;
    unsigned char head[4];
    if (receive(tap, (char *)head, 4, deadline))
        return NULL;
    *length = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    if (*length > ANSWER_LIMIT)
        return NULL;
    char *answer = malloc(*length + 1);
    if (!answer || receive(tap, answer, *length, deadline)) {
        free(answer);
        return NULL;
    }
    answer[*length] = 0;
    return answer;
}

static int connect_tap(const char *directory)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if ((size_t)snprintf(address.sun_path, sizeof address.sun_path, "%s/tap.sock", directory) >= sizeof address.sun_path)
        return -1;
    int tap = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (tap < 0)
        return -1;
    tap = high(tap);
    if (connect(tap, (struct sockaddr *)&address, sizeof address)) {
        close(tap);
        return -1;
    }
    return tap;
}

static const char *type_of(int descriptor)
{
    struct stat status;
    if (fstat(descriptor, &status))
        return "unknown";
    switch (status.st_mode & S_IFMT) {
    case S_IFSOCK: return "socket";
    case S_IFLNK: return "link";
    case S_IFREG: return "file";
    case S_IFBLK: return "block";
    case S_IFDIR: return "directory";
    case S_IFCHR: return "character";
    case S_IFIFO: return "fifo";
    default: return "anonymous";
    }
}

static void put_descriptors(struct buffer *to)
{
    struct buffer list = {0};
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        char *end, path[64], target[PATH_MAX];
        long number = strtol(entry->d_name, &end, 10);
        if (*end || end == entry->d_name || number == dirfd(directory))
            continue;
        int flags = fcntl((int)number, F_GETFD);
        if (flags < 0 || flags & FD_CLOEXEC)
            continue;
        snprintf(path, sizeof path, "/proc/self/fd/%ld", number);
        ssize_t length = readlink(path, target, sizeof target - 1);
        target[length < 0 ? 0 : length] = 0;
        put_number(&list, number);
        put_text(&list, type_of((int)number));
        put_text(&list, target);
        count++;
    }
    if (directory)
        closedir(directory);
    put_number(to, count);
    if (count)
        put(to, list.bytes, list.length);
    free(list.bytes);
}

static void put_start(struct buffer *to, const char *name, int argc, char **argv)
{
    put_text(to, name);
    put_number(to, argc);
    for (int at = 0; at < argc; at++)
        put_text(to, argv[at]);
    int count = 0;
    while (environ[count])
        count++;
    put_number(to, count);
    for (int at = 0; at < count; at++)
        put_text(to, environ[at]);
    char *directory = getcwd(NULL, 0);
    put_text(to, directory ? directory : "");
    free(directory);
    put_number(to, getpid());
    put_number(to, getppid());
    put_descriptors(to);
}

/* Copies what is in the pipe that is our stdin, without taking it out: it stays for the program. */
static void peek_stdin(struct buffer *to)
{
    struct stat status;
    if (fstat(0, &status) || !S_ISFIFO(status.st_mode))
        return;
    /* Whoever starts us writes a few bytes and closes its end. */
    struct pollfd wait = {.fd = 0, .events = 0};
    poll(&wait, 1, STDIN_TIMEOUT);
    int copy[2];
    if (pipe2(copy, O_CLOEXEC | O_NONBLOCK))
        return;
    copy[0] = high(copy[0]);
    copy[1] = high(copy[1]);
    ssize_t there = tee(0, copy[1], 65536, SPLICE_F_NONBLOCK);
    char bytes[4096];
    while (there > 0) {
        ssize_t part = read(copy[0], bytes, sizeof bytes);
        if (part <= 0)
            break;
        put(to, bytes, (size_t)part);
        there -= part;
    }
    close(copy[0]);
    close(copy[1]);
}

static _Noreturn void run(const char *program, char **argv)
{
    execve(program, argv, environ);
    int error = errno;
    fprintf(stderr, "%s: %s\n", program, strerror(error));
    _exit(error == ENOENT ? 127 : 126);
}

static _Noreturn void die_like(int status)
{
    if (!WIFSIGNALED(status))
        _exit(WEXITSTATUS(status));
    int number = WTERMSIG(status);
    struct rlimit none = {0};
    setrlimit(RLIMIT_CORE, &none);
    signal(number, SIG_DFL);
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, number);
    sigprocmask(SIG_UNBLOCK, &only, NULL);
    kill(getpid(), number);
    _exit(128 + number);
}

/* What is known of the running program. */
struct child {
    pid_t pid;
    int ended, status;
};

static void look_at(struct child *child)
{
    int status;
    pid_t found;
    while (!child->ended && (found = waitpid(child->pid, &status, WNOHANG | WUNTRACED)) > 0) {
        if (WIFSTOPPED(status)) {
            raise(SIGSTOP);
        } else {
            child->ended = 1;
            child->status = status;
        }
    }
}

/* Passes a signal on, but for those of the terminal, which the program has got itself. */
static void take_signal(int signals, struct child *child)
{
    struct signalfd_siginfo got;
    if (read(signals, &got, sizeof got) != (ssize_t)sizeof got)
        return;
    if (got.ssi_signo == SIGCHLD)
        look_at(child);
    else if (!child->ended && (got.ssi_code != SI_KERNEL || got.ssi_signo == SIGCONT))
        kill(child->pid, (int)got.ssi_signo);
}

/* Takes what the program wrote. Returns 0 when there will be no more. */
static int take_output(int from, struct buffer *output, int *flushed)
{
    char bytes[65536];
    ssize_t done = read(from, bytes, sizeof bytes);
    if (done < 0)
        return errno == EINTR || errno == EAGAIN;
    if (done == 0)
        return 0;
    if (!*flushed && output->length + (size_t)done > CAPTURE_LIMIT) {
        *flushed = 1;
        write_all(1, output->bytes, output->length);
    }
    if (*flushed)
        write_all(1, bytes, (size_t)done);
    else
        put(output, bytes, (size_t)done);
    return 1;
}

static void await(struct child *child, int signals, int from, struct buffer *output, int *flushed)
{
    struct pollfd waits[2] = {{.fd = signals, .events = POLLIN}, {.fd = from, .events = POLLIN}};
    while (!child->ended || waits[1].fd >= 0) {
        if (poll(waits, 2, -1) < 0)
            continue;
        if (waits[1].revents && !take_output(from, output, flushed))
            waits[1].fd = -1;
        if (waits[0].revents)
            take_signal(signals, child);
    }
}

int main(int argc, char **argv)
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash = length > 0 ? (self[length] = 0, strrchr(self, '/')) : NULL;
    if (!slash) {
        fputs("exectap: /proc/self/exe can't be read\n", stderr);
        return 125;
    }
    *slash = 0;
    const char *name = slash + 1;
    char program[PATH_MAX + 8];
    snprintf(program, sizeof program, "%s/real/%s", self, name);

    int tap = connect_tap(self);
    if (tap < 0)
        run(program, argv);
    struct buffer start = {0};
    put_start(&start, name, argc, argv);
    size_t answered = 0;
    char *answer = send_message(tap, &start) ? NULL : receive_message(tap, &answered);
    free(start.bytes);
    if (!answer) {
        close(tap);
        run(program, argv);
    }
    int capture = strcmp(answer, "capture") == 0 && fcntl(1, F_GETFD) >= 0;
    struct buffer input = {0}, output = {0};
    int ends[2] = {-1, -1};
    if (capture) {
        peek_stdin(&input);
        if (pipe2(ends, O_CLOEXEC))
            capture = 0;
        else
            ends[0] = high(ends[0]), ends[1] = high(ends[1]);
    }

    sigset_t all, before;
    struct sigaction child_before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    /* Ignored, it would make the program's exit status be lost. */
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigaction(SIGCHLD, &plain, &child_before);
    int signals = high(signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
    long long began = now();
    pid_t parent = getpid();
    struct child child = {.pid = fork()};
    if (child.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(137);
        if (capture)
            dup2(ends[1], 1);
        for (char *at = answer + strlen(answer) + 1; at < answer + answered; at += strlen(at) + 1)
            putenv(at);
        sigaction(SIGCHLD, &child_before, NULL);
        sigprocmask(SIG_SETMASK, &before, NULL);
        run(program, argv);
    }
    if (child.pid < 0 || signals < 0) {
        fprintf(stderr, "%s: %s\n", program, strerror(errno));
        if (child.pid > 0)
            kill(child.pid, SIGKILL);
        return 125;
    }
    if (capture)
        close(ends[1]);
    int flushed = 0;
    await(&child, signals, ends[0], &output, &flushed);

    struct buffer end = {0};
    put_number(&end, child.status);
    put_number(&end, now() - began);
    if (capture) {
        put_number(&end, (long long)input.length);
        if (input.length)
            put(&end, input.bytes, input.length);
        put_number(&end, (long long)output.length);
        if (output.length)
            put(&end, output.bytes, output.length);
    }
    if (!send_message(tap, &end))
        free(receive_message(tap, &answered));
    if (capture && !flushed)
        write_all(1, output.bytes, output.length);
    die_like(child.status);
}
