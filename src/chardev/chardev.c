/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "chardev/chardev.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/util.h"
#include "chardev/backend.h"

void chardev_set_handler(struct chardev *cd, const struct chardev_handler *handler)
{
    cd->handler = handler ? *handler : (struct chardev_handler){ 0 };
    chardev_receive_ready(cd);
}

size_t chardev_write(struct chardev *cd, const void *data, size_t n)
{
    size_t taken = cd->ops->write(cd, data, n);

    if (cd->tap && taken)
        cd->tap(cd->tap_opaque, data, taken);
    return taken;
}

void chardev_set_tap(struct chardev *cd, void (*fn)(void *opaque, const void *data, size_t n),
                     void *opaque)
{
    cd->tap = fn;
    cd->tap_opaque = opaque;
}

void chardev_receive_ready(struct chardev *cd)
{
    if (cd->handler.receive && cd->ops->receive_ready)
        cd->ops->receive_ready(cd);
}

size_t chardev_room(const struct chardev *cd, size_t n)
{
    size_t room;

    if (!cd->handler.receive)
        return 0;
    if (!cd->handler.can_receive)
        return n;
    room = cd->handler.can_receive(cd->handler.opaque);
    return MIN(n, room);
}

void chardev_destroy(struct chardev *cd)
{
    if (cd)
        cd->ops->destroy(cd);
}

static size_t none_write(struct chardev *cd, const void *data, size_t n)
{
    (void)cd;
    (void)data;
    return n;
}

static void none_destroy(struct chardev *cd)
{
    free(cd);
}

static const struct chardev_ops none_ops = { .write = none_write, .destroy = none_destroy };

static int create_none(struct chardev **out)
{
    struct chardev *cd = calloc(1, sizeof(*cd));

    if (!cd)
        return -ENOMEM;
    cd->ops = &none_ops;
    *out = cd;
    return 0;
}

/* The text after prefix, or NULL. */
static const char *after(const char *spec, const char *prefix)
{
    size_t n = strlen(prefix);

    return strncmp(spec, prefix, n) == 0 ? spec + n : NULL;
}

int chardev_check(const char *spec, char *err, size_t err_size)
{
    const size_t unix_max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
    const char *path;

    if (strcmp(spec, "none") == 0 || strcmp(spec, "stdio") == 0)
        return 0;
    path = after(spec, "file:");
    if (path && *path)
        return 0;
    path = after(spec, "unix:");
    if (path && *path && strlen(path) <= unix_max)
        return 0;
    if (path && *path)
        snprintf(err, err_size, "the socket path '%s' is longer than %zu bytes; use a shorter one",
                 path, unix_max);
    else
        snprintf(err, err_size, "'%s' is not one of stdio, none, file:PATH, unix:PATH", spec);
    return -EINVAL;
}

int chardev_create(struct chardev **cd, struct loop *loop, const char *spec,
                   const struct chardev_console *console, char *err, size_t err_size)
{
    int rc = chardev_check(spec, err, err_size);

    if (rc < 0)
        return rc;
    if (strcmp(spec, "stdio") == 0)
        return chardev_create_stdio(cd, loop, console, err, err_size);
    if (after(spec, "file:"))
        return chardev_create_file(cd, after(spec, "file:"), err, err_size);
    if (after(spec, "unix:"))
        return chardev_create_unix(cd, loop, after(spec, "unix:"), err, err_size);
    rc = create_none(cd);
    if (rc < 0)
        snprintf(err, err_size, "out of memory");
    return rc;
}
