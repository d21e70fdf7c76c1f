/* Stands between a program and the system: counts the calls by which it reaches files below its working directory, and
 * lets one of them go wrong. Loaded by LD_PRELOAD; tests/faults/interposed.rs sets the variables and reads the counts.
 *
 * FAULT_COUNTS  file of CALLS + 1 numbers of 8 bytes: calls by kind, then how often the fault came
 * FAULT         "CALL N EFFECT [NUMBER]", such as "write 12 error 28"; without it calls are only counted
 * FAULT_CLOCK   frozen or backwards
 *
 * A sync is counted and not carried out: a killed process leaves its writes to the system all the same. What a cut of
 * power would lose is thrown away by the effect "cut". */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum call { WRITE, READ, OPEN, CLOSE, MKDIR, RENAME, REMOVE, SYNC, TRUNCATE, LOCK, LIST, STAT, CALLS };
static const char *const CALL_NAMES[CALLS] = {"write", "read", "open",     "close", "mkdir", "rename",
                                              "remove", "sync", "truncate", "lock",  "list",  "stat"};
enum effect { KILL, CUT, TORN, SHORT, ERROR, ERRORS, SIGNAL, EFFECTS };
static const char *const EFFECT_NAMES[EFFECTS] = {"kill", "cut", "torn", "short", "error", "errors", "signal"};
enum outcome { GOES_ON, FAILS, HALVED };

enum { FILES = 1024, COPIES = 512 };
static unsigned long *counts;
static char root[4096];
static int call_at = CALLS, effect = EFFECTS, number;
static unsigned long at;
/* By file descriptor. */
static char ours[FILES];
/* What was written to, whatever its name is by then, and how much of it has reached the disk. */
static struct written { ino_t file; int copy; off64_t synced; } written[FILES];
static int files_written;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int find(const char *name, const char *const *names, int count) {
    int i = 0;
    while (i < count && strcmp(name, names[i])) i++;
    return i;
}

__attribute__((constructor)) static void begin(void) {
    const char *file = getenv("FAULT_COUNTS"), *fault = getenv("FAULT");
    int fd = file ? REAL(open)(file, O_RDWR) : -1;
    if (fd < 0 || !getcwd(root, sizeof root)) return;
    void *page = REAL(mmap)(NULL, (CALLS + 1) * sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    REAL(close)(fd);
    if (page == MAP_FAILED) return;
    counts = page;
    char call[16], what[16];
    if (fault && sscanf(fault, "%15s %lu %15s %d", call, &at, what, &number) >= 3) {
        call_at = find(call, CALL_NAMES, CALLS);
        effect = find(what, EFFECT_NAMES, EFFECTS);
    }
}

static int is_ours(int fd) { return counts && fd >= 0 && fd < FILES && ours[fd]; }

static int is_inside(int folder, const char *path) {
    if (!counts || !path) return 0;
    if (path[0] != '/') return folder == AT_FDCWD || is_ours(folder);
    size_t length = strlen(root);
    return !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

/* The entry of an open file; for the effect "cut" alone, as each keeps a descriptor. */
static struct written *entry(int fd) {
    struct stat64 now;
    if (effect != CUT || REAL(fstat64)(fd, &now)) return NULL;
    int i = 0;
    while (i < files_written && written[i].file != now.st_ino) i++;
    if (i == FILES) return NULL;
    if (i == files_written) {
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, COPIES);
        if (copy < 0) return NULL;
        files_written++;
        written[i] = (struct written){now.st_ino, copy, 0};
    }
    return &written[i];
}

static void note_synced(int fd) {
    struct written *file = entry(fd);
    struct stat64 now;
    if (file && !REAL(fstat64)(fd, &now)) file->synced = now.st_size;
}

static void throw_away_what_was_not_synced(void) {
    for (int i = 0; i < files_written; i++) {
        struct stat64 now;
        int shorter = !REAL(fstat64)(written[i].copy, &now) && now.st_size > written[i].synced;
        if (shorter && REAL(ftruncate64)(written[i].copy, written[i].synced)) perror("cut");
    }
}

static void end(void) {
    for (;;) kill(getpid(), SIGKILL);
}

static enum outcome meet(enum call call) {
    unsigned long n = __atomic_add_fetch(&counts[call], 1, __ATOMIC_RELAXED);
    if ((int)call != call_at || n < at || (n > at && effect != ERRORS)) return GOES_ON;
    __atomic_add_fetch(&counts[CALLS], 1, __ATOMIC_RELAXED);
    switch (effect) {
    case CUT: throw_away_what_was_not_synced(), end(); break;
    case KILL: end(); break;
    case SIGNAL: kill(getpid(), number); break;
    case TORN:
    case SHORT: return HALVED;
    case ERROR:
    case ERRORS: errno = number; return FAILS;
    }
    return GOES_ON;
}

static int opened(int fd, int inside) {
    if (fd >= 0 && fd < FILES) ours[fd] = inside;
    return fd;
}

static int asks_for_mode(int flags) { return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE; }

#define MODE_OF(flags)                                        \
    mode_t mode = 0;                                          \
    if (asks_for_mode(flags)) {                               \
        va_list rest;                                         \
        va_start(rest, flags), mode = va_arg(rest, mode_t);   \
        va_end(rest);                                         \
    }

#define OPENS(name)                                           \
    int name(const char *path, int flags, ...) {              \
        MODE_OF(flags)                                        \
        int inside = is_inside(AT_FDCWD, path);               \
        if (inside && meet(OPEN)) return -1;                  \
        return opened(REAL(name)(path, flags, mode), inside); \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name)                                                \
    int name(int folder, const char *path, int flags, ...) {          \
        MODE_OF(flags)                                                \
        int inside = is_inside(folder, path);                         \
        if (inside && meet(OPEN)) return -1;                          \
        return opened(REAL(name)(folder, path, flags, mode), inside); \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

int close(int fd) {
    int is_open = is_ours(fd), fails = is_open && meet(CLOSE);
    opened(fd, 0);
    int closed = REAL(close)(fd);
    return fails ? (errno = number, -1) : closed;
}

ssize_t write(int fd, const void *bytes, size_t size) {
    if (!is_ours(fd)) return REAL(write)(fd, bytes, size);
    entry(fd);
    switch (meet(WRITE)) {
    case FAILS: return -1;
    case GOES_ON: return REAL(write)(fd, bytes, size);
    case HALVED: break;
    }
    ssize_t written = REAL(write)(fd, bytes, (size + 1) / 2);
    if (effect == TORN) end();
    return written;
}

#define ON_FILE(call, type, name, parameters, arguments)           \
    type name parameters {                                         \
        if (is_ours(fd) && meet(call)) return (type)-1;            \
        return REAL(name) arguments;                               \
    }
ON_FILE(WRITE, ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))
ON_FILE(WRITE, ssize_t, pwrite64, (int fd, const void *b, size_t size, off64_t to), (fd, b, size, to))
ON_FILE(READ, ssize_t, read, (int fd, void *bytes, size_t size), (fd, bytes, size))
ON_FILE(READ, ssize_t, readv, (int fd, const struct iovec *parts, int count), (fd, parts, count))
ON_FILE(READ, ssize_t, pread64, (int fd, void *bytes, size_t size, off64_t from), (fd, bytes, size, from))
ON_FILE(TRUNCATE, int, ftruncate64, (int fd, off64_t size), (fd, size))
ON_FILE(LOCK, int, flock, (int fd, int how), (fd, how))

#define SYNCS(name)                                 \
    int name(int fd) {                              \
        if (!is_ours(fd)) return REAL(name)(fd);    \
        if (meet(SYNC)) return -1;                  \
        note_synced(fd);                            \
        return 0;                                   \
    }
SYNCS(fsync)
SYNCS(fdatasync)

#define ON_PATH(call, name, parameters, arguments, folder, path)   \
    int name parameters {                                          \
        if (is_inside(folder, path) && meet(call)) return -1;      \
        return REAL(name) arguments;                               \
    }
ON_PATH(MKDIR, mkdir, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
ON_PATH(RENAME, rename, (const char *from, const char *to), (from, to), AT_FDCWD, to)
ON_PATH(REMOVE, unlink, (const char *path), (path), AT_FDCWD, path)
ON_PATH(REMOVE, rmdir, (const char *path), (path), AT_FDCWD, path)
ON_PATH(REMOVE, unlinkat, (int folder, const char *path, int flags), (folder, path, flags), folder, path)
ON_PATH(STAT, stat64, (const char *path, struct stat64 *to), (path, to), AT_FDCWD, path)
ON_PATH(STAT, lstat64, (const char *path, struct stat64 *to), (path, to), AT_FDCWD, path)
ON_PATH(STAT, statx, (int folder, const char *path, int flags, unsigned mask, struct statx *to),
        (folder, path, flags, mask, to), folder, path)

DIR *opendir(const char *path) {
    int inside = is_inside(AT_FDCWD, path);
    if (inside && meet(LIST)) return NULL;
    DIR *folder = REAL(opendir)(path);
    if (folder) opened(dirfd(folder), inside);
    return folder;
}

struct dirent64 *readdir64(DIR *folder) {
    if (is_ours(dirfd(folder)) && meet(LIST)) return NULL;
    return REAL(readdir64)(folder);
}

int closedir(DIR *folder) {
    opened(dirfd(folder), 0);
    return REAL(closedir)(folder);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static const char *how;
    static struct timespec first[16];
    static long turns;
    int result = REAL(clock_gettime)(clock, now);
    if (!how) how = getenv("FAULT_CLOCK") ? getenv("FAULT_CLOCK") : "";
    if (!strcmp(how, "frozen") && clock >= 0 && clock < 16) {
        if (!first[clock].tv_sec) first[clock] = *now;
        *now = first[clock];
    }
    if (!strcmp(how, "backwards") && clock == CLOCK_REALTIME) now->tv_sec -= 10 * turns++;
    return result;
}
