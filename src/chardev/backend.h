/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a backend of chardev.h implements; for the files of this folder. */
#ifndef CHARDEV_BACKEND_H
#define CHARDEV_BACKEND_H

#include "chardev/chardev.h"

struct chardev_ops {
    size_t (*write)(struct chardev *cd, const void *data, size_t n);
    /* The guest can take input: a new handler, or room again.  May be NULL. */
    void (*receive_ready)(struct chardev *cd);
    void (*destroy)(struct chardev *cd);
};

/* Each backend's struct starts with this. */
struct chardev {
    const struct chardev_ops *ops;
    struct loop *loop;
    struct chardev_handler handler;
    void (*tap)(void *opaque, const void *data, size_t n);
    void *tap_opaque;
};

/* How many of n bytes the guest's side takes now. */
size_t chardev_room(const struct chardev *cd, size_t n);

int chardev_create_file(struct chardev **cd, const char *path, char *err, size_t err_size);
int chardev_create_unix(struct chardev **cd, struct loop *loop, const char *path, char *err,
                        size_t err_size);
int chardev_create_stdio(struct chardev **cd, struct loop *loop,
                         const struct chardev_console *console, char *err, size_t err_size);

#endif
