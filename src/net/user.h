/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The user network: a private network of one guest whose gateway is this
 * process, by libslirp.  The guest's connections become this process's own
 * sockets, so it needs no rights on the host.
 *
 * All work is done on the backend's thread, or on the card's inside send().
 * Time is the host's: connections go on while the VM stands.
 */
#ifndef NET_USER_H
#define NET_USER_H

#include <stddef.h>

#include "net/net.h"
#include "net/options.h"

/* Opens the forwarded ports and starts the thread.  SIGPIPE must be ignored by
 * the process.  Returns 0, or a negative errno with one phrase in err. */
int net_user_create(struct net_backend **net, const struct net_user_config *config, char *err,
                    size_t err_size);

#endif
