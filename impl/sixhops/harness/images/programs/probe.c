/* Reports from inside a container, as one JSON document on standard output.
 *
 *   probe [--sysctl NAME]... [--syscall NAME]... [--exit CODE]
 *
 * It only looks: what it can't read is null, never a failure. Bytes that are not UTF-8 become \u00XX, one a byte.
 *
 * --syscall calls the named system call with arguments that the kernel refuses or that change nothing, and reports the
 * error's number: EPERM or ENOSYS can come from the seccomp filter, other errors mean that the call got through. */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

extern char **environ;

static void text(const char *bytes, size_t length)
{
    putchar('"');
    for (size_t at = 0; at < length; at++) {
        unsigned char byte = (unsigned char)bytes[at];
        size_t tail = byte >= 0xc2 && byte <= 0xdf ? 1 : byte >= 0xe0 && byte <= 0xef ? 2 : byte >= 0xf0 && byte <= 0xf4 ? 3 : 0;
        size_t good = 0;
        while (good < tail && at + good + 1 < length && ((unsigned char)bytes[at + good + 1] & 0xc0) == 0x80)
            good++;
        unsigned char next = at + 1 < length ? (unsigned char)bytes[at + 1] : 0;
        int overlong = (byte == 0xe0 && next < 0xa0) || (byte == 0xed && next > 0x9f) || (byte == 0xf0 && next < 0x90) ||
                       (byte == 0xf4 && next > 0x8f);
        if (byte == '"' || byte == '\\')
            printf("\\%c", byte);
        else if (byte == '\n')
            fputs("\\n", stdout);
        else if (byte == '\t')
            fputs("\\t", stdout);
        else if (byte >= 0x20 && byte < 0x7f)
            putchar(byte);
        else if (tail && good == tail && !overlong) {
            fwrite(bytes + at, 1, tail + 1, stdout);
            at += tail;
        } else
            printf("\\u%04x", byte);
    }
    putchar('"');
}

static void string(const char *value)
{
    if (value)
        text(value, strlen(value));
    else
        fputs("null", stdout);
}

static void key(const char *name)
{
    printf(",\n ");
    string(name);
    fputs(": ", stdout);
}

static char *slurp(const char *path, size_t *length)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    size_t room = 4096, used = 0;
    char *data = file < 0 ? NULL : malloc(room + 1);
    while (data) {
        ssize_t got = read(file, data + used, room - used);
        if (got < 0) {
            free(data);
            data = NULL;
        }
        if (got <= 0)
            break;
        used += (size_t)got;
        if (used == room)
            data = realloc(data, (room *= 2) + 1);
    }
    if (file >= 0)
        close(file);
    if (data) {
        data[used] = '\0';
        *length = used;
    }
    return data;
}

/* A file as a list of its lines, or null. */
static void lines(const char *path)
{
    size_t length;
    char *data = slurp(path, &length), *at = data, *end;
    if (!data) {
        fputs("null", stdout);
        return;
    }
    putchar('[');
    for (; *at; at = end) {
        end = strchrnul(at, '\n');
        fputs(at == data ? "\n  " : ",\n  ", stdout);
        text(at, (size_t)(end - at));
        if (*end)
            end++;
    }
    putchar(']');
    free(data);
}

/* A file's text without the last newline, or null. */
static void line(const char *path)
{
    size_t length;
    char *data = slurp(path, &length);
    if (data)
        text(data, length && data[length - 1] == '\n' ? length - 1 : length);
    else
        fputs("null", stdout);
    free(data);
}

static void vector(char **items)
{
    putchar('[');
    for (int at = 0; items[at]; at++) {
        fputs(at ? ", " : "", stdout);
        string(items[at]);
    }
    putchar(']');
}

static const char *link_of(const char *directory, const char *name, char *buffer)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    ssize_t length = readlink(path, buffer, PATH_MAX - 1);
    if (length < 0)
        return NULL;
    buffer[length] = '\0';
    return buffer;
}

/* Members of /proc/self/status that are worth having; hexadecimal sets stay text. */
static void status(void)
{
    static const char *const wanted[] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "SigBlk", "SigIgn",
                                         "NoNewPrivs", "Seccomp", "Seccomp_filters", "Cpus_allowed_list", "Mems_allowed_list"};
    size_t length;
    char *data = slurp("/proc/self/status", &length);
    const char *separator = "";
    if (!data) {
        fputs("null", stdout);
        return;
    }
    putchar('{');
    for (char *save, *row = strtok_r(data, "\n", &save); row; row = strtok_r(NULL, "\n", &save)) {
        char *value = strchr(row, ':');
        if (!value)
            continue;
        *value++ = '\0';
        value += strspn(value, " \t");
        for (size_t at = 0; at < sizeof wanted / sizeof *wanted; at++)
            if (strcmp(row, wanted[at]) == 0) {
                printf("%s\"%s\": ", separator, row);
                string(value);
                separator = ", ";
            }
    }
    putchar('}');
    free(data);
}

static void limits(void)
{
    static const struct { const char *name; int resource; } all[] = {
        {"cpu", RLIMIT_CPU}, {"fsize", RLIMIT_FSIZE}, {"data", RLIMIT_DATA}, {"stack", RLIMIT_STACK},
        {"core", RLIMIT_CORE}, {"rss", RLIMIT_RSS}, {"nproc", RLIMIT_NPROC}, {"nofile", RLIMIT_NOFILE},
        {"memlock", RLIMIT_MEMLOCK}, {"as", RLIMIT_AS}, {"locks", RLIMIT_LOCKS}, {"sigpending", RLIMIT_SIGPENDING},
        {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE}, {"rtprio", RLIMIT_RTPRIO}, {"rttime", RLIMIT_RTTIME}};
    putchar('{');
    for (size_t at = 0; at < sizeof all / sizeof *all; at++) {
        struct rlimit limit;
        if (getrlimit((__rlimit_resource_t)all[at].resource, &limit) != 0)
            continue;
        printf("%s\"%s\": {\"soft\": ", at ? ", " : "", all[at].name);
        limit.rlim_cur == RLIM_INFINITY ? printf("-1") : printf("%llu", (unsigned long long)limit.rlim_cur);
        fputs(", \"hard\": ", stdout);
        limit.rlim_max == RLIM_INFINITY ? printf("-1}") : printf("%llu}", (unsigned long long)limit.rlim_max);
    }
    putchar('}');
}

static int by_name(const struct dirent **left, const struct dirent **right)
{
    return strcmp((*left)->d_name, (*right)->d_name);
}

static void links(const char *directory)
{
    struct dirent **found;
    char buffer[PATH_MAX];
    const char *separator = "";
    int count = scandir(directory, &found, NULL, by_name);
    if (count < 0) {
        fputs("null", stdout);
        return;
    }
    putchar('{');
    for (int at = 0; at < count; at++) {
        const char *target = link_of(directory, found[at]->d_name, buffer);
        /* The descriptor that scandir itself used is gone by now and has no target. */
        if (target) {
            fputs(separator, stdout);
            string(found[at]->d_name);
            fputs(": ", stdout);
            string(target);
            separator = ", ";
        }
        free(found[at]);
    }
    free(found);
    putchar('}');
}

static void devices(void)
{
    struct dirent **found;
    const char *separator = "";
    int count = scandir("/dev", &found, NULL, by_name);
    if (count < 0) {
        fputs("null", stdout);
        return;
    }
    putchar('[');
    for (int at = 0; at < count; at++) {
        char path[PATH_MAX], buffer[PATH_MAX];
        struct stat node;
        snprintf(path, sizeof path, "/dev/%s", found[at]->d_name);
        if (found[at]->d_name[0] != '.' && lstat(path, &node) == 0) {
            const char *kind = S_ISCHR(node.st_mode) ? "char" : S_ISBLK(node.st_mode) ? "block" : S_ISDIR(node.st_mode)
                ? "dir" : S_ISLNK(node.st_mode) ? "link" : S_ISFIFO(node.st_mode) ? "fifo" : "file";
            printf("%s\n  {\"path\": ", separator);
            string(path);
            printf(", \"type\": \"%s\", \"mode\": \"%04o\", \"uid\": %u, \"gid\": %u", kind,
                   (unsigned)(node.st_mode & 07777), node.st_uid, node.st_gid);
            if (S_ISCHR(node.st_mode) || S_ISBLK(node.st_mode))
                printf(", \"major\": %u, \"minor\": %u", major(node.st_rdev), minor(node.st_rdev));
            if (S_ISLNK(node.st_mode)) {
                fputs(", \"target\": ", stdout);
                string(link_of("/dev", found[at]->d_name, buffer));
            }
            putchar('}');
            separator = ",";
        }
        free(found[at]);
    }
    free(found);
    putchar(']');
}

static void terminal(void)
{
    struct winsize size;
    char name[PATH_MAX];
    if (!isatty(0)) {
        fputs("null", stdout);
        return;
    }
    fputs("{\"name\": ", stdout);
    string(ttyname_r(0, name, sizeof name) == 0 ? name : NULL);
    if (ioctl(0, TIOCGWINSZ, &size) == 0)
        printf(", \"rows\": %u, \"columns\": %u", size.ws_row, size.ws_col);
    putchar('}');
}

/* Calls that change nothing with these arguments whatever the answer is. */
static const struct { const char *name; long number; long arguments[6]; } calls[] = {
    {"getpid", SYS_getpid, {0}},
    {"mount", SYS_mount, {0, 0, 0, 0, 0}},
    {"umount2", SYS_umount2, {0, 0}},
    {"pivot_root", SYS_pivot_root, {0, 0}},
    {"unshare", SYS_unshare, {0x10000000 /* CLONE_NEWUSER */ | 0x00000080 /* and CLONE_NEWTIME: never together */ | 0x1}},
    {"setns", SYS_setns, {-1, 0}},
    {"ptrace", SYS_ptrace, {-1, 0, 0, 0}},
    {"reboot", SYS_reboot, {0, 0, 0, 0}},
    {"swapon", SYS_swapon, {0, 0}},
    {"swapoff", SYS_swapoff, {0}},
    {"init_module", SYS_init_module, {0, 0, 0}},
    {"delete_module", SYS_delete_module, {0, 0}},
    {"kexec_load", SYS_kexec_load, {0, -1, 0, -1}},
    {"bpf", SYS_bpf, {-1, 0, 0}},
    {"perf_event_open", SYS_perf_event_open, {0, -1, -1, -1, -1}},
    {"keyctl", SYS_keyctl, {-1, 0, 0, 0, 0}},
    {"add_key", SYS_add_key, {0, 0, 0, 0, 0}},
    {"request_key", SYS_request_key, {0, 0, 0, 0}},
    {"userfaultfd", SYS_userfaultfd, {-1}},
    {"clock_settime", SYS_clock_settime, {-1, 0}},
    {"settimeofday", SYS_settimeofday, {-1, -1}},
    {"acct", SYS_acct, {-1}},
    {"open_by_handle_at", SYS_open_by_handle_at, {-1, 0, 0}},
    {"name_to_handle_at", SYS_name_to_handle_at, {-1, 0, 0, 0, 0}},
    {"process_vm_readv", SYS_process_vm_readv, {-1, 0, 0, 0, 0, 0}},
    {"quotactl", SYS_quotactl, {-1, 0, 0, 0}},
    {"sethostname", SYS_sethostname, {0, -1}},
    {"setdomainname", SYS_setdomainname, {0, -1}},
    {"chroot", SYS_chroot, {0}},
    {"io_uring_setup", SYS_io_uring_setup, {0, 0}},
    {"personality", SYS_personality, {0xffffffff}},
};

static void try(const char *name)
{
    string(name);
    for (size_t at = 0; at < sizeof calls / sizeof *calls; at++)
        if (strcmp(calls[at].name, name) == 0) {
            const long *value = calls[at].arguments;
            errno = 0;
            long result = syscall(calls[at].number, value[0], value[1], value[2], value[3], value[4], value[5]);
            fputs(": {\"error\": ", stdout);
            string(result < 0 ? strerrorname_np(errno) : NULL);
            putchar('}');
            return;
        }
    fputs(": null", stdout);
}

static void asked(int argc, char **argv, const char *option)
{
    const char *separator = "";
    putchar('{');
    for (int at = 1; at + 1 < argc; at += 2) {
        if (strcmp(argv[at], option) != 0)
            continue;
        fputs(separator, stdout);
        separator = ", ";
        if (strcmp(option, "--syscall") == 0) {
            try(argv[at + 1]);
            continue;
        }
        char path[PATH_MAX] = "/proc/sys/";
        size_t prefix = strlen(path);
        strncat(path, argv[at + 1], sizeof path - prefix - 1);
        for (char *dot = path + prefix; *dot; dot++)
            if (*dot == '.')
                *dot = '/';
        string(argv[at + 1]);
        fputs(": ", stdout);
        line(path);
    }
    putchar('}');
}

int main(int argc, char **argv)
{
    gid_t groups[NGROUPS_MAX];
    uid_t real, effective, saved;
    gid_t real_group, effective_group, saved_group;
    char path[PATH_MAX];
    struct utsname system;
    int code = 0;
    for (int at = 1; at < argc; at += 2) {
        int known = strcmp(argv[at], "--sysctl") == 0 || strcmp(argv[at], "--syscall") == 0 || strcmp(argv[at], "--exit") == 0;
        if (!known || at + 1 == argc) {
            fprintf(stderr, "probe: what is %s?\n", argv[at]);
            return 2;
        }
        if (strcmp(argv[at], "--exit") == 0)
            code = atoi(argv[at + 1]);
    }
    mode_t mask = umask(0);
    umask(mask);
    getresuid(&real, &effective, &saved);
    getresgid(&real_group, &effective_group, &saved_group);
    uname(&system);
    printf("{\"pid\": %d, \"ppid\": %d, \"pgid\": %d, \"sid\": %d", getpid(), getppid(), getpgrp(), getsid(0));
    printf(",\n \"uid\": {\"real\": %u, \"effective\": %u, \"saved\": %u}", real, effective, saved);
    printf(",\n \"gid\": {\"real\": %u, \"effective\": %u, \"saved\": %u}", real_group, effective_group, saved_group);
    key("groups");
    int count = getgroups(NGROUPS_MAX, groups);
    putchar('[');
    for (int at = 0; at < count; at++)
        printf("%s%u", at ? ", " : "", groups[at]);
    putchar(']');
    key("argv"), vector(argv);
    key("env"), vector(environ);
    key("cwd"), string(getcwd(path, sizeof path));
    key("exe"), string(link_of("/proc/self", "exe", path));
    key("root"), string(link_of("/proc/self", "root", path));
    printf(",\n \"umask\": \"%04o\"", (unsigned)mask);
    key("hostname"), string(system.nodename);
    key("domainname"), string(system.domainname);
    key("machine"), string(system.machine);
    key("status"), status();
    key("rlimits"), limits();
    key("oom_score_adj"), line("/proc/self/oom_score_adj");
    key("apparmor"), line("/proc/self/attr/current");
    key("namespaces"), links("/proc/self/ns");
    key("descriptors"), links("/proc/self/fd");
    key("cgroup"), lines("/proc/self/cgroup");
    key("mountinfo"), lines("/proc/self/mountinfo");
    key("terminal"), terminal();
    key("devices"), devices();
    key("sysctls"), asked(argc, argv, "--sysctl");
    key("syscalls"), asked(argc, argv, "--syscall");
    fputs("}\n", stdout);
    return fflush(stdout) == 0 ? code : 1;
}
