/* Preloaded into a process: counts its changes of the file system below one folder, and kills before one.

   What it counts, and what it is told, stands in a file that all processes of a start have mapped, so that
   children count on. Python reads the same layout: see disk.py. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define ROOM 20000 /* changes that a start may make */
#define NAME 480

struct change {
    char kind[16];
    int32_t process;
    int32_t unused;
    uint64_t inode; /* of the file that is open, or has the first name; 0: there is none */
    uint64_t over;  /* inode of the file that a rename replaces; 0: none */
    int64_t size;   /* of the first file, before the change */
    char path[NAME];
    char to[NAME];
};

struct state {
    atomic_long count;
    int64_t kill_at;   /* number of the change before which to kill, from 1; 0: none */
    int32_t whom;      /* 0: this process; else that process, or that group where it is negative */
    int32_t unused;
    char root[NAME];   /* "/" at its end; empty: nothing counts */
    struct change changes[ROOM];
};

static struct state *state;

/* Map the file that counts, and obey it from now on. */
void survive_use(const char *path) {
    int (*plain)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int file = plain(path, O_RDWR | O_CLOEXEC);
    void *mapped = file < 0 ? MAP_FAILED : mmap(0, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    state = mapped == MAP_FAILED ? 0 : mapped;
    if (file >= 0) close(file);
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SURVIVE_STATE");
    if (path) survive_use(path);
}

/* The absolute path of a name below an open folder; of the folder or file itself where name is empty. */
static void absolute(int folder, const char *name, char *out) {
    char base[PATH_MAX] = "", link[64];
    if (!name) name = "";
    if (*name != '/') {
        if (folder == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) *base = 0;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            ssize_t n = readlink(link, base, sizeof base - 1);
            base[n < 0 ? 0 : n] = 0;
        }
    }
    snprintf(out, NAME, "%s%s%s", base, *base && *name ? "/" : "", name);
}

static int below(const char *path) {
    return !strncmp(path, state->root, strlen(state->root));
}

static void count(const char *kind, const char *path, const char *to, const struct stat *known, uint64_t over) {
    if (!below(path) && !below(to)) return;
    long number = atomic_fetch_add(&state->count, 1);
    if (number < ROOM) {
        struct change *one = &state->changes[number];
        strncpy(one->kind, kind, sizeof one->kind - 1);
        strncpy(one->path, path, NAME - 1);
        strncpy(one->to, to, NAME - 1);
        one->process = getpid();
        one->over = over;
        one->inode = known ? known->st_ino : 0;
        one->size = known ? known->st_size : 0;
    }
    if (number + 1 == state->kill_at) {
        kill(state->whom ? state->whom : getpid(), SIGKILL);
        if (state->whom <= 0) for (;;) pause();
    }
}

static int counting(void) { return state && *state->root; }

static void named(const char *kind, int folder, const char *name) {
    char path[NAME];
    struct stat known;
    if (!counting()) return;
    absolute(folder, name, path);
    int there = !lstat(path, &known);
    if (there != !strcmp(kind, "mkdir")) count(kind, path, "", there ? &known : 0, 0); /* else it fails */
}

static void moved(const char *kind, int from, const char *name, int into, const char *other) {
    char path[NAME], to[NAME];
    struct stat known, taken;
    if (!counting()) return;
    absolute(from, name, path);
    absolute(into, other, to);
    count(kind, path, to, lstat(path, &known) ? 0 : &known, lstat(to, &taken) ? 0 : taken.st_ino);
}

static void open_file(const char *kind, int file) {
    char path[NAME];
    struct stat known;
    if (!counting() || file < 0) return;
    absolute(file, 0, path);
    if (below(path)) count(kind, path, "", fstat(file, &known) ? 0 : &known, 0);
}

/* Opening changes something where it makes a file or empties one. */
static void opened(int folder, const char *name, int makes, int empties) {
    char path[NAME];
    struct stat known;
    if (!counting() || !(makes || empties)) return;
    absolute(folder, name, path);
    if (!below(path)) return;
    int there = !stat(path, &known);
    if (there ? empties && known.st_size : makes) count(there ? "empty" : "create", path, "", there ? &known : 0, 0);
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }
#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); MODE(flags) opened(AT_FDCWD, path, flags & O_CREAT, flags & O_TRUNC); return real(path, flags, mode); }
#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(name); MODE(flags) opened(folder, path, flags & O_CREAT, flags & O_TRUNC); return real(folder, path, flags, mode); }
#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) { \
        REAL(name); opened(AT_FDCWD, path, *mode != 'r', *mode == 'w'); return real(path, mode); }
#define FD(type, name, kind, file, parameters, arguments) \
    type name parameters { REAL(name); open_file(kind, file); return real arguments; }
#define PATH(name, kind, folder, parameters, arguments) \
    int name parameters { REAL(name); named(kind, folder, path); return real arguments; }

OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64) FOPEN(fopen) FOPEN(fopen64)

FD(ssize_t, write, "write", file, (int file, const void *data, size_t size), (file, data, size))
FD(ssize_t, writev, "write", file, (int file, const struct iovec *data, int count), (file, data, count))
FD(ssize_t, pwrite, "write", file, (int file, const void *data, size_t size, off_t at), (file, data, size, at))
FD(ssize_t, pwrite64, "write", file, (int file, const void *data, size_t size, off64_t at), (file, data, size, at))
FD(ssize_t, sendfile, "write", file, (int file, int from, off_t *at, size_t size), (file, from, at, size))
FD(ssize_t, sendfile64, "write", file, (int file, int from, off64_t *at, size_t size), (file, from, at, size))
FD(ssize_t, copy_file_range, "write", file,
   (int from, off64_t *at, int file, off64_t *to, size_t size, unsigned flags), (from, at, file, to, size, flags))
FD(int, ftruncate, "truncate", file, (int file, off_t size), (file, size))
FD(int, ftruncate64, "truncate", file, (int file, off64_t size), (file, size))
FD(int, posix_fallocate, "allocate", file, (int file, off_t at, off_t size), (file, at, size))
FD(int, posix_fallocate64, "allocate", file, (int file, off64_t at, off64_t size), (file, at, size))
FD(int, fsync, "sync", file, (int file), (file))
FD(int, fdatasync, "sync", file, (int file), (file))
FD(int, futimens, "touch", file, (int file, const struct timespec times[2]), (file, times))
FD(int, fchmod, "touch", file, (int file, mode_t mode), (file, mode))

PATH(truncate, "truncate", AT_FDCWD, (const char *path, off_t size), (path, size))
PATH(truncate64, "truncate", AT_FDCWD, (const char *path, off64_t size), (path, size))
PATH(unlink, "remove", AT_FDCWD, (const char *path), (path))
PATH(remove, "remove", AT_FDCWD, (const char *path), (path))
PATH(rmdir, "remove", AT_FDCWD, (const char *path), (path))
PATH(unlinkat, "remove", folder, (int folder, const char *path, int flags), (folder, path, flags))
PATH(mkdir, "mkdir", AT_FDCWD, (const char *path, mode_t mode), (path, mode))
PATH(mkdirat, "mkdir", folder, (int folder, const char *path, mode_t mode), (folder, path, mode))
PATH(chmod, "touch", AT_FDCWD, (const char *path, mode_t mode), (path, mode))
PATH(utimensat, "touch", folder, (int folder, const char *path, const struct timespec times[2], int flags),
     (folder, path, times, flags))

/* Into a buffer: what of it reaches the file does between two calls, so one counts where the file has grown. */
size_t fwrite(const void *data, size_t size, size_t n, FILE *stream) {
    static ino_t inode;
    static off_t length;
    struct stat known;
    REAL(fwrite);
    if (counting() && !fstat(fileno(stream), &known) && (known.st_ino != inode || known.st_size != length)) {
        inode = known.st_ino;
        length = known.st_size;
        open_file("write", fileno(stream));
    }
    return real(data, size, n, stream);
}

int rename(const char *path, const char *to) {
    REAL(rename); moved("rename", AT_FDCWD, path, AT_FDCWD, to); return real(path, to);
}
int renameat(int from, const char *path, int into, const char *to) {
    REAL(renameat); moved("rename", from, path, into, to); return real(from, path, into, to);
}
int renameat2(int from, const char *path, int into, const char *to, unsigned flags) {
    REAL(renameat2); moved("rename", from, path, into, to); return real(from, path, into, to, flags);
}
int link(const char *path, const char *to) {
    REAL(link); moved("link", AT_FDCWD, path, AT_FDCWD, to); return real(path, to);
}
int linkat(int from, const char *path, int into, const char *to, int flags) {
    REAL(linkat); moved("link", from, path, into, to); return real(from, path, into, to, flags);
}
int symlink(const char *target, const char *path) {
    REAL(symlink); moved("link", AT_FDCWD, "", AT_FDCWD, path); return real(target, path);
}
int symlinkat(const char *target, int folder, const char *path) {
    REAL(symlinkat); moved("link", AT_FDCWD, "", folder, path); return real(target, folder, path);
}
