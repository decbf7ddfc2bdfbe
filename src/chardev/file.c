/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Output into a file; no input. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "chardev/backend.h"

struct file_chardev {
    struct chardev cd;
    int fd;
    bool failed;      /* a write error was reported */
};

/* What cannot be written is lost: a full disk must not stop the guest. */
static size_t file_write(struct chardev *cd, const void *data, size_t n)
{
    struct file_chardev *f = container_of(cd, struct file_chardev, cd);
    const uint8_t *p = data;
    size_t left = n;

    while (left) {
        ssize_t done = write(f->fd, p, left);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0) {
            if (!f->failed)
                log_error(LOG_DEV, "serial output is lost: %s", strerror(errno));
            f->failed = true;
            break;
        }
        p += done;
        left -= (size_t)done;
    }
    return n;
}

static void file_destroy(struct chardev *cd)
{
    struct file_chardev *f = container_of(cd, struct file_chardev, cd);

    close(f->fd);
    free(f);
}

static const struct chardev_ops file_ops = { .write = file_write, .destroy = file_destroy };

int chardev_create_file(struct chardev **out, const char *path, char *err, size_t err_size)
{
    struct file_chardev *f = calloc(1, sizeof(*f));

    if (!f) {
        snprintf(err, err_size, "out of memory");
        return -ENOMEM;
    }
    /* O_NONBLOCK: a FIFO without a reader must not stop us. */
    f->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK, 0666);
    if (f->fd < 0) {
        int rc = -errno;

        snprintf(err, err_size, "cannot open '%s' for serial output: %s", path, strerror(errno));
        free(f);
        return rc;
    }
    f->cd.ops = &file_ops;
    *out = &f->cd;
    return 0;
}
