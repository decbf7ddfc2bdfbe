/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Image locks that QEMU and its tools understand: open file description locks
 * on single bytes.  Byte 100 + p says "I do p", byte 200 + p "nobody else may
 * do p", both as shared locks; whoever comes later looks for a lock in the
 * other's range.  We read, and write if the image is not read-only; others
 * may read, and none but us may write or resize.  The kernel drops the locks
 * with the last descriptor, so also when we are killed.
 */
#include <errno.h>
#include <fcntl.h>

#include "base/util.h"
#include "block/aio.h"

#define BASE_USES    100
#define BASE_FORBIDS 200
#define PERM_READ    0 /* consistent read */
#define PERM_WRITE   1
#define PERM_RESIZE  3

static int set(int fd, int byte)
{
    struct flock l = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

    return fcntl(fd, F_OFD_SETLK, &l) < 0 ? -errno : 0;
}

/* Does another hold a lock on that byte? */
static int test(int fd, int byte)
{
    struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

    if (fcntl(fd, F_OFD_GETLK, &l) < 0)
        return -errno;
    return l.l_type == F_UNLCK ? 0 : -EAGAIN;
}

int block_lock(int fd, bool readonly)
{
    static const int uses[] = { PERM_READ, PERM_WRITE, PERM_RESIZE };
    static const int forbids[] = { PERM_WRITE, PERM_RESIZE };
    unsigned nuses = readonly ? 1 : 2;
    int rc = 0;

    /* First take, then look: of two that come at once, both may give up, but
     * never do both go on. */
    for (unsigned i = 0; i < nuses && rc == 0; i++)
        rc = set(fd, BASE_USES + uses[i]);
    for (unsigned i = 0; i < ARRAY_SIZE(forbids) && rc == 0; i++)
        rc = set(fd, BASE_FORBIDS + forbids[i]);
    for (unsigned i = 0; i < nuses && rc == 0; i++)
        rc = test(fd, BASE_FORBIDS + uses[i]);
    for (unsigned i = 0; i < ARRAY_SIZE(forbids) && rc == 0; i++)
        rc = test(fd, BASE_USES + forbids[i]);
    return rc;
}
