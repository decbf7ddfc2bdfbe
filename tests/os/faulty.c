/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A failing disk, for LD_PRELOAD: calls on the file that FAULTY_IMAGE names fail
 * as long as the file that FAULTY_RULES names has a rule for them.  A rule is a
 * line "OPERATION ERRNO FROM TO": r, w, s (sync) or f (fallocate), the error's
 * number, and the range of bytes (TO is not in it).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static int is_image(int fd)
{
    const char *path = getenv("FAULTY_IMAGE");
    struct stat a, b;

    return path && stat(path, &a) == 0 && fstat(fd, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* The error that a rule has for this, or 0. */
static int fault(char op, int fd, long from, long len)
{
    const char *path = getenv("FAULTY_RULES");
    FILE *file = path && is_image(fd) ? fopen(path, "re") : NULL;
    int found = 0, error;
    long first, end;
    char which;

    if (!file)
        return 0;
    while (!found && fscanf(file, " %c %d %ld %ld", &which, &error, &first, &end) == 4)
        if (which == op && (op == 's' || (from < end && from + len > first)))
            found = error;
    fclose(file);
    return found;
}

static long total(const struct iovec *iov, int n)
{
    long len = 0;

    for (int i = 0; i < n; i++)
        len += (long)iov[i].iov_len;
    return len;
}

#define CALL(op, fd, from, len, ...)          \
    do {                                      \
        int error = fault(op, fd, from, len); \
                                              \
        if (!error)                           \
            return syscall(__VA_ARGS__);      \
        errno = error;                        \
        return -1;                            \
    } while (0)

EXPORT ssize_t preadv64(int fd, const struct iovec *iov, int n, off64_t at)
{
    CALL('r', fd, at, total(iov, n), SYS_preadv, fd, iov, n, at, 0);
}

EXPORT ssize_t pwritev64(int fd, const struct iovec *iov, int n, off64_t at)
{
    CALL('w', fd, at, total(iov, n), SYS_pwritev, fd, iov, n, at, 0);
}

EXPORT ssize_t pread64(int fd, void *data, size_t len, off64_t at)
{
    CALL('r', fd, at, (long)len, SYS_pread64, fd, data, len, at);
}

EXPORT ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at)
{
    CALL('w', fd, at, (long)len, SYS_pwrite64, fd, data, len, at);
}

EXPORT int fdatasync(int fd)
{
    CALL('s', fd, 0, 0, SYS_fdatasync, fd);
}

EXPORT int fallocate64(int fd, int mode, off64_t at, off64_t len)
{
    CALL('f', fd, at, len, SYS_fallocate, fd, mode, at, len);
}
