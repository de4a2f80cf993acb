/*
 * What a program tells the disk, written down in one order.
 *
 * Preloaded before the C library. Calls that change files below the folder $HENGE_POWER_ROOT are
 * passed on, and noted in the file $HENGE_POWER_JOURNAL: an intent before the call, its outcome
 * with the data after it. One lock is held over all three, so the order of the notes is the order of
 * the calls. Syncs are noted at their beginning and at their end, and hold no lock in between: what
 * is written meanwhile is not covered by them.
 *
 * The journal is not synced. The program is killed, the machine is not.
 *
 * A call that could change a file past these notes ends the program, loudly. Calls that do not go
 * through the C library are not seen; the test compares the notes with the folder to find those.
 *
 * journal.rs reads what this writes.
 */
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE
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
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name)                                                              \
    ({                                                                          \
        static __typeof__(&name) found;                                         \
        if (!found) found = (__typeof__(&name))dlsym(RTLD_NEXT, #name);         \
        if (!found) refuse("the C library has no " #name, "");                  \
        found;                                                                  \
    })

enum { PARTS_MAX = 1024, NUMBERS_MAX = 1 << 20 };

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;
static char root[PATH_MAX];
static size_t root_len;
static dev_t device;
static uint64_t tickets;
/* Inode numbers of what was opened below the folder; open addressing, zero is empty. */
static uint64_t numbers[NUMBERS_MAX];
static size_t numbers_len;

static void refuse(const char *what, const char *name) {
    char text[PATH_MAX + 200];
    int len = snprintf(text, sizeof text, "power shim: %s: %s\n", what, name);
    syscall(SYS_write, 2, text, (size_t)len);
    abort();
}

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("HENGE_POWER_ROOT");
    const char *file = getenv("HENGE_POWER_JOURNAL");
    struct stat st;
    if (!folder || !file) return;
    if (!realpath(folder, root) || stat(root, &st)) refuse("no folder", folder);
    root_len = strlen(root);
    device = st.st_dev;
    journal = (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (journal < 0) refuse("no journal", file);
}

static void lock(void) { pthread_mutex_lock(&order); }

static void unlock(int error) {
    pthread_mutex_unlock(&order);
    errno = error;
}

/* A note: length of all of it, kind, three numbers, two names, data. */
static void note_parts(char kind, uint64_t a, uint64_t b, uint64_t c, const char *one,
                       const char *two, const struct iovec *data, int parts, size_t len) {
    struct {
        uint64_t len, kind, a, b, c, one, two;
    } head = {0, (uint64_t)kind, a, b, c, strlen(one), strlen(two)};
    struct iovec all[PARTS_MAX + 3] = {
        {&head, sizeof head}, {(void *)one, head.one}, {(void *)two, head.two}};
    int count = 3;
    size_t rest = len;
    if (parts > PARTS_MAX) refuse("too many parts", one);
    for (int i = 0; i < parts && rest; i++) {
        size_t piece = data[i].iov_len < rest ? data[i].iov_len : rest;
        all[count++] = (struct iovec){data[i].iov_base, piece};
        rest -= piece;
    }
    head.len = sizeof head + head.one + head.two + len;
    for (int i = 0; i < count;) {
        long done = syscall(SYS_writev, journal, all + i, (long)(count - i > 16 ? 16 : count - i));
        if (done < 0) refuse("the journal cannot be written", strerror(errno));
        while (i < count && (size_t)done >= all[i].iov_len) done -= (long)all[i++].iov_len;
        if (i < count) {
            all[i].iov_base = (char *)all[i].iov_base + done;
            all[i].iov_len -= (size_t)done;
        }
    }
}

static void note(char kind, uint64_t a, uint64_t b, uint64_t c, const char *one, const char *two) {
    note_parts(kind, a, b, c, one, two, NULL, 0, 0);
}

/* The call failed: its intent came to nothing. */
static void nothing(void) { note('X', 0, 0, 0, "", ""); }

/* The place of a number in the table, or of the empty slot where it would stand. */
static size_t slot(uint64_t number) {
    size_t at = (size_t)(number * 0x9E3779B97F4A7C15u) % NUMBERS_MAX;
    while (numbers[at] && numbers[at] != number) at = (at + 1) % NUMBERS_MAX;
    return at;
}

static uint64_t number_of(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_dev == device ? st.st_ino : 0;
}

static void watch(uint64_t number) {
    size_t at = slot(number);
    if (numbers[at]) return;
    if (++numbers_len > NUMBERS_MAX / 2) refuse("too many files", "");
    numbers[at] = number;
}

/* The inode behind a descriptor, zero if it is none of ours. */
static uint64_t watched(int fd) {
    if (journal < 0 || fd < 0 || fd == journal) return 0;
    int error = errno;
    uint64_t number = number_of(fd);
    if (number) {
        lock();
        number = numbers[slot(number)];
        unlock(error);
    }
    errno = error;
    return number;
}

/* Whether a path is below the folder; if so its name there, without a slash at either end. */
static int below(int dirfd, const char *path, char *name) {
    char whole[2 * PATH_MAX + 2], tidy[2 * PATH_MAX + 2];
    size_t len = 0;
    int error = errno;
    if (journal < 0 || !path) return 0;
    whole[0] = 0;
    if (path[0] != '/') {
        if (dirfd == AT_FDCWD) {
            if (!getcwd(whole, PATH_MAX)) whole[0] = 0;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
            ssize_t got = readlink(link, whole, PATH_MAX - 1);
            whole[got < 0 ? 0 : got] = 0;
        }
    }
    if (strlen(whole) + strlen(path) + 2 > sizeof whole) refuse("too long a path", path);
    strcat(strcat(whole, "/"), path);
    for (char *rest = whole, *part; (part = strsep(&rest, "/"));) {
        if (!*part || !strcmp(part, ".")) continue;
        if (!strcmp(part, "..")) {
            while (len && tidy[--len] != '/') {}
            continue;
        }
        tidy[len++] = '/';
        memcpy(tidy + len, part, strlen(part));
        len += strlen(part);
    }
    tidy[len] = 0;
    errno = error;
    if (strncmp(tidy, root, root_len) || (tidy[root_len] && tidy[root_len] != '/')) return 0;
    snprintf(name, PATH_MAX, "%s", tidy[root_len] ? tidy + root_len + 1 : "");
    return 1;
}

/* Opening and making. */

static int opened(int dirfd, const char *path, int flags, mode_t mode) {
    char name[PATH_MAX];
    struct stat st;
    if (!below(dirfd, path, name)) {
        int fd = REAL(openat64)(dirfd, path, flags, mode);
        uint64_t number = journal >= 0 && fd >= 0 && (flags & O_CREAT) ? number_of(fd) : 0;
        if (number) {
            /* A number that was ours may have gone to a new file elsewhere. */
            lock();
            if (numbers[slot(number)]) refuse("a number is used again outside", path);
            unlock(0);
        }
        return fd;
    }
    if (flags & O_DSYNC) refuse("O_SYNC is not modelled", name);
    if ((flags & O_TMPFILE) == O_TMPFILE) refuse("O_TMPFILE is not modelled", name);
    lock();
    int there = fstatat(dirfd, path, &st, 0) == 0;
    int created = (flags & O_CREAT) && !there;
    int emptied = (flags & O_TRUNC) && there && st.st_size > 0;
    uint64_t before = there ? st.st_ino : 0;
    if (created || emptied) note('I', before, 0, 0, name, "");
    int fd = REAL(openat64)(dirfd, path, flags, mode);
    int error = errno;
    if (fd >= 0) {
        uint64_t number = number_of(fd);
        watch(number);
        if (created || emptied) note('O', number, (uint64_t)created, 0, name, "");
    } else if (created || emptied) {
        nothing();
    }
    unlock(error);
    return fd;
}

#define MODE(flags)                                                             \
    mode_t mode = 0;                                                            \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                                    \
        va_list list;                                                           \
        va_start(list, flags);                                                  \
        mode = va_arg(list, mode_t);                                            \
        va_end(list);                                                           \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    return opened(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    MODE(flags)
    return opened(AT_FDCWD, path, flags, mode);
}
int openat(int dirfd, const char *path, int flags, ...) {
    MODE(flags)
    return opened(dirfd, path, flags, mode);
}
int openat64(int dirfd, const char *path, int flags, ...) {
    MODE(flags)
    return opened(dirfd, path, flags, mode);
}
int __open_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int __openat_2(int dirfd, const char *path, int flags) { return opened(dirfd, path, flags, 0); }
int __openat64_2(int dirfd, const char *path, int flags) { return opened(dirfd, path, flags, 0); }
int creat(const char *path, mode_t mode) {
    return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

/* Calls about names: one of them or two, then the note's kind. */
#define NAMED(kind, one, two, number, call)                                     \
    lock();                                                                     \
    note('I', 0, 0, 0, one, two);                                               \
    int outcome = (call);                                                       \
    int error = errno;                                                          \
    if (outcome == 0) note(kind, number, 0, 0, one, two); else nothing();       \
    unlock(error);                                                              \
    return outcome;

static uint64_t number_at(int dirfd, const char *path) {
    struct stat st;
    if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW)) return 0;
    watch(st.st_ino);
    return st.st_ino;
}

static int made(int dirfd, const char *path, mode_t mode) {
    char name[PATH_MAX];
    if (!below(dirfd, path, name)) return REAL(mkdirat)(dirfd, path, mode);
    NAMED('M', name, "", number_at(dirfd, path), REAL(mkdirat)(dirfd, path, mode))
}
int mkdir(const char *path, mode_t mode) { return made(AT_FDCWD, path, mode); }
int mkdirat(int dirfd, const char *path, mode_t mode) { return made(dirfd, path, mode); }

static int removed(int dirfd, const char *path, int flags) {
    char name[PATH_MAX];
    if (!below(dirfd, path, name)) return REAL(unlinkat)(dirfd, path, flags);
    NAMED('U', name, "", 0, REAL(unlinkat)(dirfd, path, flags))
}
int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }
int unlinkat(int dirfd, const char *path, int flags) { return removed(dirfd, path, flags); }
int rmdir(const char *path) { return removed(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char *path) {
    int outcome = unlink(path);
    return outcome && errno == EISDIR ? rmdir(path) : outcome;
}

static int moved(int olddir, const char *old, int newdir, const char *new, unsigned flags) {
    char from[PATH_MAX], to[PATH_MAX];
    int ours = below(olddir, old, from) + below(newdir, new, to);
    if (ours == 0) return REAL(renameat2)(olddir, old, newdir, new, flags);
    if (ours == 1) refuse("a rename across the folder's border", old);
    if (flags & ~(unsigned)RENAME_NOREPLACE) refuse("a rename that is not modelled", from);
    NAMED('R', from, to, 0, REAL(renameat2)(olddir, old, newdir, new, flags))
}
int rename(const char *old, const char *new) { return moved(AT_FDCWD, old, AT_FDCWD, new, 0); }
int renameat(int olddir, const char *old, int newdir, const char *new) {
    return moved(olddir, old, newdir, new, 0);
}
int renameat2(int olddir, const char *old, int newdir, const char *new, unsigned flags) {
    return moved(olddir, old, newdir, new, flags);
}

static int linked(int olddir, const char *old, int newdir, const char *new, int flags) {
    char from[PATH_MAX], to[PATH_MAX];
    int ours = below(olddir, old, from) + below(newdir, new, to);
    if (ours == 0) return REAL(linkat)(olddir, old, newdir, new, flags);
    if (ours == 1) refuse("a link across the folder's border", old);
    NAMED('L', from, to, 0, REAL(linkat)(olddir, old, newdir, new, flags))
}
int link(const char *old, const char *new) { return linked(AT_FDCWD, old, AT_FDCWD, new, 0); }
int linkat(int olddir, const char *old, int newdir, const char *new, int flags) {
    return linked(olddir, old, newdir, new, flags);
}

int symlinkat(const char *target, int dirfd, const char *path) {
    char name[PATH_MAX];
    if (below(dirfd, path, name)) refuse("symlinks are not modelled", name);
    return REAL(symlinkat)(target, dirfd, path);
}
int symlink(const char *target, const char *path) { return symlinkat(target, AT_FDCWD, path); }

/* Writing. */

/* After a call that wrote at the descriptor's own offset, or at `at` if that is not negative. */
static ssize_t wrote(int fd, uint64_t number, off_t at, const struct iovec *data, int parts,
                     ssize_t done) {
    int error = errno;
    if (done > 0) {
        if (at < 0) at = lseek(fd, 0, SEEK_CUR) - done;
        note_parts('W', number, (uint64_t)at, 0, "", "", data, parts, (size_t)done);
    } else {
        nothing();
    }
    unlock(error);
    return done;
}

#define WRITTEN(at, data, parts, call)                                          \
    uint64_t number = watched(fd);                                              \
    if (!number) return (call);                                                 \
    lock();                                                                     \
    note('I', number, 0, 0, "", "");                                            \
    return wrote(fd, number, at, data, parts, (call));

ssize_t write(int fd, const void *from, size_t len) {
    struct iovec one = {(void *)from, len};
    WRITTEN(-1, &one, 1, REAL(write)(fd, from, len))
}
ssize_t pwrite64(int fd, const void *from, size_t len, off64_t at) {
    struct iovec one = {(void *)from, len};
    WRITTEN(at, &one, 1, REAL(pwrite64)(fd, from, len, at))
}
ssize_t pwrite(int fd, const void *from, size_t len, off_t at) { return pwrite64(fd, from, len, at); }
ssize_t writev(int fd, const struct iovec *data, int parts) {
    WRITTEN(-1, data, parts, REAL(writev)(fd, data, parts))
}
ssize_t pwritev64(int fd, const struct iovec *data, int parts, off64_t at) {
    WRITTEN(at, data, parts, REAL(pwritev64)(fd, data, parts, at))
}
ssize_t pwritev(int fd, const struct iovec *data, int parts, off_t at) {
    return pwritev64(fd, data, parts, at);
}
ssize_t pwritev64v2(int fd, const struct iovec *data, int parts, off64_t at, int flags) {
    if (flags && watched(fd)) refuse("pwritev2 with flags is not modelled", "");
    WRITTEN(at, data, parts, REAL(pwritev64v2)(fd, data, parts, at, flags))
}
ssize_t pwritev2(int fd, const struct iovec *data, int parts, off_t at, int flags) {
    return pwritev64v2(fd, data, parts, at, flags);
}

#define SIZED(kind, b, c, call)                                                 \
    lock();                                                                     \
    note('I', number, 0, 0, "", "");                                            \
    int outcome = (call);                                                       \
    int error = errno;                                                          \
    if (outcome == 0) note(kind, number, b, c, "", ""); else nothing();         \
    unlock(error);                                                              \
    return outcome;

int ftruncate64(int fd, off64_t len) {
    uint64_t number = watched(fd);
    if (!number) return REAL(ftruncate64)(fd, len);
    SIZED('T', (uint64_t)len, 0, REAL(ftruncate64)(fd, len))
}
int ftruncate(int fd, off_t len) { return ftruncate64(fd, len); }
int truncate64(const char *path, off64_t len) {
    char name[PATH_MAX];
    if (!below(AT_FDCWD, path, name)) return REAL(truncate64)(path, len);
    uint64_t number = number_at(AT_FDCWD, path);
    SIZED('T', (uint64_t)len, 0, REAL(truncate64)(path, len))
}
int truncate(const char *path, off_t len) { return truncate64(path, len); }

/* Room kept beyond the end, and holes there, change nothing that can be read. */
int fallocate64(int fd, int mode, off64_t at, off64_t len) {
    uint64_t number = watched(fd);
    struct stat st;
    if (!number) return REAL(fallocate64)(fd, mode, at, len);
    if (mode == FALLOC_FL_KEEP_SIZE) return REAL(fallocate64)(fd, mode, at, len);
    if (mode == (FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)) {
        SIZED('H', (uint64_t)at, (uint64_t)len, REAL(fallocate64)(fd, mode, at, len))
    }
    if (mode) refuse("a way to allocate that is not modelled", "");
    if (fstat(fd, &st)) return -1;
    off64_t end = at + len > st.st_size ? at + len : st.st_size;
    SIZED('T', (uint64_t)end, 0, REAL(fallocate64)(fd, mode, at, len))
}
int fallocate(int fd, int mode, off_t at, off_t len) { return fallocate64(fd, mode, at, len); }
int posix_fallocate64(int fd, off64_t at, off64_t len) {
    return fallocate64(fd, 0, at, len) ? errno : 0;
}
int posix_fallocate(int fd, off_t at, off_t len) { return posix_fallocate64(fd, at, len); }

/* Syncing. sync_file_range makes nothing durable that a file needs to be found, and is not noted. */

#define SYNCED(call)                                                            \
    uint64_t number = watched(fd);                                              \
    if (!number) return (call);                                                 \
    lock();                                                                     \
    uint64_t ticket = ++tickets;                                                \
    note('S', number, ticket, 0, "", "");                                       \
    unlock(0);                                                                  \
    int outcome = (call);                                                       \
    int error = errno;                                                          \
    lock();                                                                     \
    if (outcome == 0) note('E', number, ticket, 0, "", "");                     \
    unlock(error);                                                              \
    return outcome;

int fsync(int fd) { SYNCED(REAL(fsync)(fd)) }
int fdatasync(int fd) { SYNCED(REAL(fdatasync)(fd)) }

/* What would go past the notes. */

void *mmap64(void *at, size_t len, int prot, int flags, int fd, off64_t offset) {
    int shared = (flags & MAP_TYPE) == MAP_SHARED || (flags & MAP_TYPE) == MAP_SHARED_VALIDATE;
    if (fd >= 0 && shared && (prot & PROT_WRITE) && watched(fd)) refuse("a file is mapped", "");
    return (void *)syscall(SYS_mmap, at, len, prot, flags, fd, offset);
}
void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset) {
    return mmap64(at, len, prot, flags, fd, offset);
}
ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *to_at, size_t len, unsigned flags) {
    if (watched(to)) refuse("copy_file_range is not modelled", "");
    return REAL(copy_file_range)(from, at, to, to_at, len, flags);
}
ssize_t sendfile64(int to, int from, off64_t *at, size_t len) {
    if (watched(to)) refuse("sendfile is not modelled", "");
    return REAL(sendfile64)(to, from, at, len);
}
ssize_t sendfile(int to, int from, off_t *at, size_t len) { return sendfile64(to, from, at, len); }
ssize_t splice(int from, off64_t *at, int to, off64_t *to_at, size_t len, unsigned flags) {
    if (watched(to)) refuse("splice is not modelled", "");
    return REAL(splice)(from, at, to, to_at, len, flags);
}
FILE *fopen64(const char *path, const char *mode) {
    char name[PATH_MAX];
    if (strpbrk(mode, "wa+") && below(AT_FDCWD, path, name)) refuse("stdio is not modelled", name);
    return REAL(fopen64)(path, mode);
}
FILE *fopen(const char *path, const char *mode) { return fopen64(path, mode); }
