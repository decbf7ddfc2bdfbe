/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's ends of the network cards: from the configuration to the board. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "net/none.h"
#include "net/user.h"
#include "vm/internal.h"

/* QEMU's, whose scripts people have; each network of it has one guest. */
static const uint8_t default_mac[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };

static int open_user(const struct vm_net *n, struct net_backend **net, char *err, size_t err_size)
{
    const struct net_user_options options = {
        .net = n->net,
        .host = n->host,
        .dns = n->dns,
        .dhcpstart = n->dhcpstart,
        .hostname = n->hostname,
        .restricted = n->restricted,
        .no_ipv6 = !n->ipv6,
        .hostfwd = (const char *const *)n->hostfwd,
        .nhostfwd = n->nhostfwd,
    };
    struct net_user_config config;
    int rc = net_user_parse(&options, &config, err, err_size);

    return rc < 0 ? rc : net_user_create(net, &config, err, err_size);
}

static int open_net(const struct vm_net *n, struct net_backend **net, char *err, size_t err_size)
{
    int rc;

    if (strcmp(n->type, "user") == 0)
        return open_user(n, net, err, err_size);
    if (n->nhostfwd) {
        snprintf(err, err_size, "no port can be forwarded there; use --net user");
        return -EINVAL;
    }
    rc = net_none_create(net);
    if (rc < 0)
        snprintf(err, err_size, "%s", strerror(-rc));
    return rc;
}

int vm_open_nets(struct vm *vm, char *err, size_t err_size)
{
    struct virtio_set *set = &vm->virtio;
    char why[240];

    for (unsigned i = 0; i < vm->config.nnet; i++) {
        const struct vm_net *n = &vm->config.net[i];
        uint8_t *mac = set->nets[i].mac;
        int rc = 0;

        memcpy(mac, default_mac, sizeof(default_mac));
        mac[5] = (uint8_t)(mac[5] + i);
        if (n->mac)
            rc = net_mac_parse(n->mac, mac, why, sizeof(why));
        if (rc == 0)
            rc = open_net(n, &set->nets[i].net, why, sizeof(why));
        if (rc < 0) {
            snprintf(err, err_size, "--net %s: %s", n->type, why);
            return rc;
        }
        set->nnets++;
    }
    return 0;
}

void vm_close_nets(struct vm *vm)
{
    for (unsigned i = 0; i < vm->virtio.nnets; i++)
        net_destroy(vm->virtio.nets[i].net);
    vm->virtio.nnets = 0;
}
