/* Preloaded into the agent: what a disk and a clock can do, for files below SHIM_PREFIX.
 *
 * SHIM_CONTROL is a file of 4096 bytes, mapped: 16 bytes of mode (ok, eio, enospc, erofs, short, hang), then a double
 * that is added to the wall clock. SHIM_SHADOW, where set, is a folder that holds what a power cut would leave: each
 * file as it was at its last fsync, and in `.names` the names that its folder had at the folder's own last fsync.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control { char mode[16]; double clock_s; };
static volatile struct control *control;
static const char *prefix, *shadow;

__attribute__((constructor)) static void begin(void) {
    prefix = getenv("SHIM_PREFIX");
    shadow = getenv("SHIM_SHADOW");
    const char *name = getenv("SHIM_CONTROL");
    int fd = name ? syscall(SYS_openat, AT_FDCWD, name, O_RDONLY, 0) : -1;
    if (fd >= 0) {
        void *at = mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);
        if (at != MAP_FAILED) control = at;
        syscall(SYS_close, fd);
    }
}

static int mode(const char *name) { return control && strcmp((const char *)control->mode, name) == 0; }

static int ours(const char *path) {
    size_t n = prefix ? strlen(prefix) : 0;
    return n && strncmp(path, prefix, n) == 0;
}

static int path_of(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, path, size - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return ours(path);
}

/* The error that a write gets now; 0 for none. */
static int refusal(void) {
    while (mode("hang")) usleep(20000);
    return mode("eio") ? EIO : mode("enospc") ? ENOSPC : mode("erofs") ? EROFS : 0;
}

ssize_t write(int fd, const void *data, size_t n) {
    char path[4096];
    if (control && path_of(fd, path, sizeof path)) {
        int error = refusal();
        if (error) { errno = error; return -1; }
        if (mode("short") && n > 1) n = n / 2;
    }
    return syscall(SYS_write, fd, data, n);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) {
    char path[4096];
    if (control && path_of(fd, path, sizeof path)) {
        int error = refusal();
        if (error) { errno = error; return -1; }
        if (mode("short") && n > 1) n = n / 2;
    }
    return syscall(SYS_pwrite64, fd, data, n, at);
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { return pwrite64(fd, data, n, at); }

static int creating(const char *path, int flags) {
    if (!control || !ours(path) || !(flags & (O_CREAT | O_WRONLY | O_RDWR))) return 0;
    int error = refusal();
    if (error == EIO) error = 0;
    if (error == ENOSPC && !(flags & O_CREAT)) error = 0;
    return error;
}

#define OPEN_BODY(call)                                   \
    int bits = 0;                                         \
    if (flags & (O_CREAT | O_TMPFILE)) {                  \
        va_list more; va_start(more, flags);              \
        bits = va_arg(more, int); va_end(more);           \
    }                                                     \
    int error = creating(path, flags);                    \
    if (error) { errno = error; return -1; }              \
    return call;

int open(const char *path, int flags, ...) { OPEN_BODY(syscall(SYS_openat, AT_FDCWD, path, flags, bits)) }
int open64(const char *path, int flags, ...) { OPEN_BODY(syscall(SYS_openat, AT_FDCWD, path, flags, bits)) }
int openat(int at, const char *path, int flags, ...) { OPEN_BODY(syscall(SYS_openat, at, path, flags, bits)) }
int openat64(int at, const char *path, int flags, ...) { OPEN_BODY(syscall(SYS_openat, at, path, flags, bits)) }

static void make_folders(char *path) {
    for (char *at = path + 1; (at = strchr(at, '/')); *at++ = '/') {
        *at = 0;
        syscall(SYS_mkdirat, AT_FDCWD, path, 0700);
    }
}

static void replace(const char *temporary, const char *final) {
    syscall(SYS_renameat2, AT_FDCWD, temporary, AT_FDCWD, final, 0);
}

static void keep(int fd, const char *path) {
    char to[4200], temporary[4300], buffer[65536];
    struct stat facts;
    snprintf(to, sizeof to, "%s%s", shadow, path + strlen(prefix));
    if (fstat(fd, &facts)) return;
    if (S_ISDIR(facts.st_mode)) {
        size_t n = strlen(to);
        snprintf(to + n, sizeof to - n, "/.names");
    }
    make_folders(to);
    snprintf(temporary, sizeof temporary, "%s.%ld.tmp", to, (long)syscall(SYS_gettid));
    int out = syscall(SYS_openat, AT_FDCWD, temporary, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (out < 0) return;
    if (S_ISDIR(facts.st_mode)) {
        DIR *folder = opendir(path);
        struct dirent *entry;
        while (folder && (entry = readdir(folder))) {
            syscall(SYS_write, out, entry->d_name, strlen(entry->d_name));
            syscall(SYS_write, out, "\n", 1);
        }
        if (folder) closedir(folder);
    } else {
        int in = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY, 0);
        ssize_t n;
        while (in >= 0 && (n = syscall(SYS_read, in, buffer, sizeof buffer)) > 0) syscall(SYS_write, out, buffer, n);
        if (in >= 0) syscall(SYS_close, in);
    }
    syscall(SYS_close, out);
    replace(temporary, to);
}

static int synced(int fd, long call) {
    char path[4096];
    int is_ours = (control || shadow) && path_of(fd, path, sizeof path);
    if (is_ours && control) {
        int error = refusal();
        if (error) { errno = EIO; return -1; }
    }
    int result = syscall(call, fd);
    if (is_ours && shadow && result == 0) keep(fd, path);
    return result;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

int clock_gettime(clockid_t which, struct timespec *out) {
    int result = syscall(SYS_clock_gettime, which, out);
    if (result == 0 && which == CLOCK_REALTIME && control && control->clock_s != 0.0) {
        double moved = (double)out->tv_sec + control->clock_s;
        out->tv_sec = (time_t)moved;
    }
    return result;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return (time_t)-1;
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
