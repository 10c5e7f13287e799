/* Prints what the hello-world image prints, with one write(2), and exits 0.
 *
 * Built without libc: no start-up code, no allocation, so that a measurement of `docker run` measures the path and
 * not this program. */

#define TEXT \
    "\nHello from Docker!\n" \
    "This message shows that your installation appears to be working correctly.\n\n" \
    "To generate this message, Docker took the following steps:\n" \
    " 1. The Docker client contacted the Docker daemon.\n" \
    " 2. The Docker daemon pulled the \"hello-world\" image from the Docker Hub.\n" \
    "    (" ARCHITECTURE ")\n" \
    " 3. The Docker daemon created a new container from that image which runs the\n" \
    "    executable that produces the output you are currently reading.\n" \
    " 4. The Docker daemon streamed that output to the Docker client, which sent it\n" \
    "    to your terminal.\n\n" \
    "To try something more ambitious, you can run an Ubuntu container with:\n" \
    " $ docker run -it ubuntu bash\n\n" \
    "Share images, automate workflows, and more with a free Docker ID:\n" \
    " https://hub.docker.com/\n\n" \
    "For more examples and ideas, visit:\n" \
    " https://docs.docker.com/get-started/\n\n"

#if defined(__x86_64__)
#define ARCHITECTURE "amd64"
static long call(long number, long a, const void *b, long c)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
enum { WRITE = 1, EXIT_GROUP = 231 };
#elif defined(__aarch64__)
#define ARCHITECTURE "arm64v8"
static long call(long number, long a, const void *b, long c)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register const void *x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}
enum { WRITE = 64, EXIT_GROUP = 94 };
#else
#error "hello.c knows amd64 and arm64"
#endif

static const char text[] = TEXT;

__attribute__((noreturn)) void _start(void)
{
    long written = call(WRITE, 1, text, sizeof text - 1);
    call(EXIT_GROUP, written == (long)(sizeof text - 1) ? 0 : 1, 0, 0);
    __builtin_unreachable();
}
