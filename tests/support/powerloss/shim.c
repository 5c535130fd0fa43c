/*
 * Records what a process does to the files below a folder, in the order in which it happens.
 *
 *     LD_PRELOAD=shim.so POWERLOSS_ROOT=/folder POWERLOSS_TRACE=/elsewhere/trace program
 *
 * Several processes may share a trace. A call and its record are made under one lock on the trace, so that the trace is
 * an order in which things may have happened; a flush has two records, begin and end, and the lock is free in between:
 * only what was written before it began is durable once it has ended.
 *
 * Record, little-endian: u32 length of what follows, u8 kind, u64 inode, u64 number (offset, size or process), u32 length of
 * a, a, rest is b. a is a path below the root; b is data, the new path, or for a flush what the program says of it.
 *
 * What it can't see it reports, so that a test can insist that there was none of it: shared writable mappings (M), calls
 * that write by other ways (X). Marks (!) are what the program itself has to say: powerloss_mark().
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 65536
#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

enum kind {
    CREATE = 'c', WRITE = 'w', TRUNCATE = 't', RENAME = 'r', LINK = 'l', UNLINK = 'u', MKDIR = 'm', RMDIR = 'd',
    FLUSH_BEGIN = 'f', FLUSH_END = 'F', FOLDER_BEGIN = 'g', FOLDER_END = 'G', MAPPED = 'M', UNSEEN = 'X', MARK = '!',
};

static char root[PATH_MAX];
static size_t root_length;
static int trace = -1;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned char watched[FILES];

static void release_after_fork(void) { pthread_mutex_init(&mutex, NULL); }

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("POWERLOSS_ROOT"), *file = getenv("POWERLOSS_TRACE");
    if (!folder || !file || !realpath(folder, root)) return;
    root_length = strlen(root);
    int opened = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    trace = syscall(SYS_fcntl, opened, F_DUPFD_CLOEXEC, 900);
    if (trace < 0) { perror("powerloss: trace"); abort(); }
    syscall(SYS_close, opened);
    pthread_atfork(NULL, NULL, release_after_fork);
}

/* flock belongs to the open file description, which a fork shares: each process opens its own when it first needs it. */
static pid_t owner;
static void lock(void) {
    pthread_mutex_lock(&mutex);
    if (owner != getpid()) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", trace);
        int own = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
        if (own < 0 || syscall(SYS_dup3, own, trace, O_CLOEXEC) < 0) { perror("powerloss: trace"); abort(); }
        syscall(SYS_close, own);
        owner = getpid();
    }
    while (flock(trace, LOCK_EX) < 0 && errno == EINTR) {}
}
static void unlock(void) {
    int kept = errno;
    flock(trace, LOCK_UN);
    pthread_mutex_unlock(&mutex);
    errno = kept;
}

/* With the lock held. */
static void record(enum kind kind, uint64_t inode, uint64_t number, const void *a, size_t a_size, const void *b, size_t b_size) {
    int kept = errno;
    uint32_t a_length = a_size, length = 1 + 8 + 8 + 4 + a_size + b_size;
    unsigned char head[4 + 1 + 8 + 8 + 4];
    memcpy(head, &length, 4);
    head[4] = kind;
    memcpy(head + 5, &inode, 8);
    memcpy(head + 13, &number, 8);
    memcpy(head + 21, &a_length, 4);
    struct iovec parts[3] = {{head, sizeof head}, {(void *)a, a_size}, {(void *)b, b_size}};
    if (syscall(SYS_writev, trace, parts, 3) != (long)(sizeof head + a_size + b_size)) { perror("powerloss: trace"); abort(); }
    errno = kept;
}

/* The path below the root, or NULL; resolves the folder, not the name itself. */
static const char *inside(int folder, const char *path, char *buffer) {
    if (trace < 0 || !path) return NULL;
    char whole[PATH_MAX], resolved[PATH_MAX];
    if (path[0] == '/') snprintf(whole, sizeof whole, "%s", path);
    else if (folder == AT_FDCWD) {
        if (!getcwd(resolved, sizeof resolved)) return NULL;
        snprintf(whole, sizeof whole, "%s/%s", resolved, path);
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, resolved, sizeof resolved - 1);
        if (length < 0) return NULL;
        resolved[length] = 0;
        snprintf(whole, sizeof whole, "%s/%s", resolved, path);
    }
    size_t length = strlen(whole);
    while (length > 1 && whole[length - 1] == '/') whole[--length] = 0;
    char *name = strrchr(whole, '/');
    if (!name) return NULL;
    *name++ = 0;
    int kept = errno;
    const char *found = realpath(whole[0] ? whole : "/", resolved);
    errno = kept;
    if (!found) return NULL;
    if (snprintf(buffer, PATH_MAX, "%s/%s", resolved, name) >= PATH_MAX) return NULL;
    if (strncmp(buffer, root, root_length) || buffer[root_length] != '/') return NULL;
    return buffer + root_length + 1;
}
static uint64_t inode_of(int fd) { struct stat status; return fstat(fd, &status) ? 0 : status.st_ino; }
static uint64_t inode_at(const char *path) {
    char whole[PATH_MAX];
    struct stat status;
    snprintf(whole, sizeof whole, "%s/%s", root, path);
    int kept = errno;
    uint64_t found = lstat(whole, &status) ? 0 : status.st_ino;
    errno = kept;
    return found;
}
static int is_watched(int fd) { return trace >= 0 && fd >= 0 && fd < FILES && watched[fd]; }
static void watch(int fd) {
    if (fd >= FILES) { fprintf(stderr, "powerloss: descriptor %d\n", fd); abort(); }
    watched[fd] = 1;
}

/* --- opening */

static int opened(int folder, const char *path, int flags, mode_t mode) {
    char buffer[PATH_MAX];
    const char *name = inside(folder, path, buffer);
    if (!name) return syscall(SYS_openat, folder, path, flags, mode);
    lock();
    uint64_t before = inode_at(name);
    int fd = syscall(SYS_openat, folder, path, flags, mode);
    if (fd >= 0) {
        watch(fd);
        uint64_t inode = inode_of(fd);
        if (!before && (flags & O_CREAT)) record(CREATE, inode, getpid(), name, strlen(name), NULL, 0);
        else if ((flags & O_TRUNC) && (flags & O_ACCMODE) != O_RDONLY) record(TRUNCATE, inode, 0, NULL, 0, NULL, 0);
    }
    unlock();
    return fd;
}
#define MODE mode_t mode = 0; if (flags & (O_CREAT | __O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, int); va_end(rest); }
int open(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE return opened(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE return opened(folder, path, flags, mode); }
int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

/* glibc's fortified programs call these. */
int __open_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int __openat_2(int folder, const char *path, int flags) { return opened(folder, path, flags, 0); }
int __openat64_2(int folder, const char *path, int flags) { return opened(folder, path, flags, 0); }

int close(int fd) {
    if (trace >= 0 && fd == trace) return 0;
    if (fd >= 0 && fd < FILES) watched[fd] = 0;
    return syscall(SYS_close, fd);
}
static int copied(int from, int to) {
    if (to >= 0 && to < FILES) watched[to] = is_watched(from);
    return to;
}
int dup(int fd) { return copied(fd, syscall(SYS_dup, fd)); }
int dup2(int fd, int other) { REAL(dup2); return copied(fd, real(fd, other)); }
int dup3(int fd, int other, int flags) { return copied(fd, syscall(SYS_dup3, fd, other, flags)); }
static int controlled(int fd, int command, void *argument) {
    int result = syscall(SYS_fcntl, fd, command, argument);
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? copied(fd, result) : result;
}
int fcntl(int fd, int command, ...) {
    va_list rest; va_start(rest, command); void *argument = va_arg(rest, void *); va_end(rest);
    return controlled(fd, command, argument);
}
int fcntl64(int fd, int command, ...) {
    va_list rest; va_start(rest, command); void *argument = va_arg(rest, void *); va_end(rest);
    return controlled(fd, command, argument);
}

/* --- contents */

ssize_t write(int fd, const void *data, size_t size) {
    if (!is_watched(fd)) return syscall(SYS_write, fd, data, size);
    lock();
    ssize_t taken = syscall(SYS_write, fd, data, size);
    if (taken > 0) record(WRITE, inode_of(fd), lseek(fd, 0, SEEK_CUR) - taken, NULL, 0, data, taken);
    unlock();
    return taken;
}
static ssize_t written_at(int fd, const void *data, size_t size, off_t offset) {
    if (!is_watched(fd)) return syscall(SYS_pwrite64, fd, data, size, offset);
    lock();
    ssize_t taken = syscall(SYS_pwrite64, fd, data, size, offset);
    if (taken > 0) record(WRITE, inode_of(fd), offset, NULL, 0, data, taken);
    unlock();
    return taken;
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return written_at(fd, data, size, offset); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return written_at(fd, data, size, offset); }
static int truncated(int fd, off_t size) {
    if (!is_watched(fd)) return syscall(SYS_ftruncate, fd, size);
    lock();
    int result = syscall(SYS_ftruncate, fd, size);
    if (!result) record(TRUNCATE, inode_of(fd), size, NULL, 0, NULL, 0);
    unlock();
    return result;
}
int ftruncate(int fd, off_t size) { return truncated(fd, size); }
int ftruncate64(int fd, off64_t size) { return truncated(fd, size); }

/* --- flushes */

/* What the program says of the flushes that this thread makes next: see powerloss_flushing(). */
static __thread char flushing[32];

static int flushed(int fd, long call) {
    if (!is_watched(fd)) return syscall(call, fd);
    struct stat status;
    int folder = !fstat(fd, &status) && S_ISDIR(status.st_mode);
    char buffer[PATH_MAX] = "", link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, buffer, sizeof buffer - 1);
    const char *path = length > (ssize_t)root_length ? buffer + root_length + 1 : "";
    lock();
    record(folder ? FOLDER_BEGIN : FLUSH_BEGIN, status.st_ino, getpid(), path, strlen(path), flushing, strlen(flushing));
    unlock();
    int result = syscall(call, fd);
    lock();
    if (!result) record(folder ? FOLDER_END : FLUSH_END, status.st_ino, getpid(), path, strlen(path), flushing, strlen(flushing));
    unlock();
    return result;
}
int fsync(int fd) { return flushed(fd, SYS_fsync); }
int fdatasync(int fd) { return flushed(fd, SYS_fdatasync); }

/* --- names */

static int renamed(int from, const char *old, int to, const char *new, unsigned flags) {
    char one[PATH_MAX], other[PATH_MAX];
    const char *a = inside(from, old, one), *b = inside(to, new, other);
    if (!a && !b) return syscall(SYS_renameat2, from, old, to, new, flags);
    lock();
    int result = syscall(SYS_renameat2, from, old, to, new, flags);
    if (!result && a && b && !flags) record(RENAME, inode_at(b), getpid(), a, strlen(a), b, strlen(b));
    else if (!result) record(UNSEEN, 0, 0, "rename in or out", 16, NULL, 0);
    unlock();
    return result;
}
int rename(const char *old, const char *new) { return renamed(AT_FDCWD, old, AT_FDCWD, new, 0); }
int renameat(int from, const char *old, int to, const char *new) { return renamed(from, old, to, new, 0); }
int renameat2(int from, const char *old, int to, const char *new, unsigned flags) { return renamed(from, old, to, new, flags); }

static int linked(int from, const char *old, int to, const char *new, int flags) {
    char buffer[PATH_MAX];
    const char *name = inside(to, new, buffer);
    if (!name) return syscall(SYS_linkat, from, old, to, new, flags);
    lock();
    int result = syscall(SYS_linkat, from, old, to, new, flags);
    if (!result) record(LINK, inode_at(name), getpid(), name, strlen(name), NULL, 0);
    unlock();
    return result;
}
int link(const char *old, const char *new) { return linked(AT_FDCWD, old, AT_FDCWD, new, 0); }
int linkat(int from, const char *old, int to, const char *new, int flags) { return linked(from, old, to, new, flags); }

static int removed(int folder, const char *path, int flags) {
    char buffer[PATH_MAX];
    const char *name = inside(folder, path, buffer);
    if (!name) return syscall(SYS_unlinkat, folder, path, flags);
    lock();
    int result = syscall(SYS_unlinkat, folder, path, flags);
    if (!result) record(flags & AT_REMOVEDIR ? RMDIR : UNLINK, 0, getpid(), name, strlen(name), NULL, 0);
    unlock();
    return result;
}
int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char *path, int flags) { return removed(folder, path, flags); }
int rmdir(const char *path) { return removed(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char *path) {
    struct stat status;
    return removed(AT_FDCWD, path, !lstat(path, &status) && S_ISDIR(status.st_mode) ? AT_REMOVEDIR : 0);
}

static int made(int folder, const char *path, mode_t mode) {
    char buffer[PATH_MAX];
    const char *name = inside(folder, path, buffer);
    if (!name) return syscall(SYS_mkdirat, folder, path, mode);
    lock();
    int result = syscall(SYS_mkdirat, folder, path, mode);
    if (!result) record(MKDIR, inode_at(name), getpid(), name, strlen(name), NULL, 0);
    unlock();
    return result;
}
int mkdir(const char *path, mode_t mode) { return made(AT_FDCWD, path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) { return made(folder, path, mode); }

/* --- what is not followed */

static void unseen(int fd, const char *what) {
    if (!is_watched(fd)) return;
    lock();
    record(UNSEEN, inode_of(fd), 0, what, strlen(what), NULL, 0);
    unlock();
}
static void *mapped(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
    if (is_watched(fd) && (flags & MAP_SHARED) && (protection & PROT_WRITE)) {
        char buffer[PATH_MAX] = "", link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (readlink(link, buffer, sizeof buffer - 1) > (ssize_t)root_length) {
            lock();
            record(MAPPED, inode_of(fd), size, buffer + root_length + 1, strlen(buffer + root_length + 1), NULL, 0);
            unlock();
        }
    }
    return (void *)syscall(SYS_mmap, address, size, protection, flags, fd, offset);
}
void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset) { return mapped(address, size, protection, flags, fd, offset); }
void *mmap64(void *address, size_t size, int protection, int flags, int fd, off64_t offset) { return mapped(address, size, protection, flags, fd, offset); }

#define PASS(type, name, parameters, arguments, fd) \
    type name parameters { REAL(name); unseen(fd, #name); return real arguments; }
PASS(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count), fd)
PASS(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t offset), (fd, parts, count, offset), fd)
PASS(ssize_t, pwritev64, (int fd, const struct iovec *parts, int count, off64_t offset), (fd, parts, count, offset), fd)
PASS(ssize_t, pwritev2, (int fd, const struct iovec *parts, int count, off_t offset, int flags), (fd, parts, count, offset, flags), fd)
PASS(ssize_t, sendfile, (int to, int from, off_t *offset, size_t size), (to, from, offset, size), to)
PASS(ssize_t, sendfile64, (int to, int from, off64_t *offset, size_t size), (to, from, offset, size), to)
PASS(ssize_t, copy_file_range, (int from, off64_t *a, int to, off64_t *b, size_t size, unsigned flags), (from, a, to, b, size, flags), to)
PASS(int, fallocate, (int fd, int mode, off_t offset, off_t size), (fd, mode, offset, size), fd)
PASS(int, posix_fallocate, (int fd, off_t offset, off_t size), (fd, offset, size), fd)
PASS(int, sync_file_range, (int fd, off64_t offset, off64_t size, unsigned flags), (fd, offset, size, flags), fd)

/* --- what the program has to say */

void powerloss_flushing(const char *what) { snprintf(flushing, sizeof flushing, "%s", what); }

void powerloss_mark(const char *text, size_t size) {
    if (trace < 0) return;
    lock();
    record(MARK, 0, getpid(), text, size, NULL, 0);
    unlock();
}
