/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rows: every setting, and everything that is known about it. */
#include "vm/config_table.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "chardev/chardev.h"
#include "cpu/cpu.h"
#include "net/options.h"

/* Where the value is, and how large. */
#define AT(struct_type, member)                                                                    \
    .offset = offsetof(struct_type, member), .size = sizeof(((struct_type *)0)->member)
#define IN(member) AT(struct vm_config, member)
#define LIST_OF(struct_type, array, counter, table)                                                \
    AT(struct_type, array), .count = offsetof(struct_type, counter), .items = (table),             \
        .item_size = sizeof(((struct_type *)0)->array[0]),                                         \
        .max_items = sizeof(((struct_type *)0)->array) / sizeof(((struct_type *)0)->array[0])
#define END { .type = SETTING_ACTION }

static const char *const machines[] = { "pc", "micro", NULL };
/* engine/bt/cache.c takes what it is given. */
#define BT_MIN_SIZE (128u << 10)
#define BT_MAX_SIZE (1u << 30)
static const char *const stress_modes[] = { "none", "one-insn", "flush", "evict", NULL };
static const char *const engine_names[] = { "auto", "kvm", "interp", "bt", NULL };
static const char *const cpu_models[] = { "host", "x86-64-v2", "x86-64-v3", NULL };
static const char *const disk_formats[] = { "raw", NULL };
static const char *const disk_aio[] = { "auto", "io_uring", "threads", NULL };
static const char *const net_types[] = { "none", "user", NULL };
static const char *const net_models[] = { "virtio", NULL };
static const char *const record_at[] = { "events", "blocks", NULL };
static const char *const drivers[] = { "isa-debug-exit", NULL };

static int check_name(const char *text, char *err, size_t err_size)
{
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f) {
            snprintf(err, err_size, "a name has no control characters");
            return -EINVAL;
        }
    return 0;
}

static int check_log(const char *text, char *err, size_t err_size)
{
    return log_configure(text, err, (int)err_size);
}

static int check_mac(const char *text, char *err, size_t err_size)
{
    uint8_t mac[6];

    return net_mac_parse(text, mac, err, err_size);
}

static int check_hostfwd(const char *text, char *err, size_t err_size)
{
    struct net_hostfwd fwd;

    return net_hostfwd_parse(text, &fwd, err, err_size);
}

static const struct setting serial_item[] = {
    { .key = "", .type = SETTING_TEXT, .min = 1, .check = chardev_check, .offset = 0,
      .size = sizeof(char *) },
    END
};

static const struct setting hostfwd_item[] = {
    { .key = "", .type = SETTING_TEXT, .min = 1, .max = 255, .check = check_hostfwd, .offset = 0,
      .size = sizeof(char *) },
    END
};

static const struct setting log_item[] = {
    { .key = "", .type = SETTING_TEXT, .min = 1, .max = 255, .check = check_log, .offset = 0,
      .size = sizeof(char *) },
    END
};

static const struct setting disk_item[] = {
    { .key = "file", .type = SETTING_FILE, .min = 1, .required = true, AT(struct vm_disk, file),
      .help = "the image", .arg = "FILE" },
    { .key = "format", .type = SETTING_CHOICE, .choices = disk_formats, .fallback = "raw",
      AT(struct vm_disk, format), .help = "format of the image" },
    { .key = "readonly", .type = SETTING_FLAG, AT(struct vm_disk, readonly),
      .help = "the guest cannot write" },
    { .key = "serial", .type = SETTING_TEXT, .min = 1, .max = 20, AT(struct vm_disk, serial),
      .help = "serial number for the guest", .arg = "TEXT" },
    { .key = "aio", .type = SETTING_CHOICE, .choices = disk_aio, .fallback = "auto",
      AT(struct vm_disk, aio), .help = "how the host reads and writes" },
    END
};

static const struct setting net_item[] = {
    { .key = "type", .type = SETTING_CHOICE, .choices = net_types, .required = true,
      AT(struct vm_net, type), .help = "kind of network" },
    { .key = "model", .type = SETTING_CHOICE, .choices = net_models, .fallback = "virtio",
      AT(struct vm_net, model), .help = "kind of card" },
    { .key = "mac", .type = SETTING_TEXT, .check = check_mac, AT(struct vm_net, mac),
      .help = "address of the guest's card", .arg = "ADDRESS" },
    { .key = "net", .type = SETTING_TEXT, .min = 1, .max = 63, AT(struct vm_net, net),
      .help = "addresses (default 10.0.2.0/24)", .arg = "ADDR/BITS" },
    { .key = "host", .type = SETTING_TEXT, .min = 1, .max = 63, AT(struct vm_net, host),
      .help = "the host's address for the guest (default: second of net)", .arg = "ADDR" },
    { .key = "dns", .type = SETTING_TEXT, .min = 1, .max = 63, AT(struct vm_net, dns),
      .help = "address of the name server (default: third)", .arg = "ADDR" },
    { .key = "dhcpstart", .type = SETTING_TEXT, .min = 1, .max = 63,
      AT(struct vm_net, dhcpstart), .help = "address of the guest (default: 15th)",
      .arg = "ADDR" },
    { .key = "hostname", .type = SETTING_TEXT, .min = 1, .max = 255, AT(struct vm_net, hostname),
      .help = "the guest's name, told by DHCP", .arg = "NAME" },
    { .key = "restrict", .type = SETTING_FLAG, AT(struct vm_net, restricted),
      .help = "let the guest reach nothing; forwarded ports work" },
    { .key = "ipv6", .type = SETTING_FLAG, .fallback = "on", AT(struct vm_net, ipv6),
      .help = "IPv6 as well" },
    { .key = "hostfwd", .type = SETTING_LIST, LIST_OF(struct vm_net, hostfwd, nhostfwd, hostfwd_item),
      .help = "forward a port of the host", .arg = "PROTO:[ADDR]:PORT-[ADDR]:PORT" },
    END
};

static const struct setting device_item[] = {
    { .key = "driver", .type = SETTING_CHOICE, .choices = drivers, .required = true,
      AT(struct vm_device, driver), .help = "kind of device" },
    { .key = "iobase", .type = SETTING_NUMBER, .min = 1, .max = 0xfff8, .fallback = "0xf4",
      AT(struct vm_device, iobase), .help = "first port", .arg = "PORT" },
    { .key = "iosize", .type = SETTING_NUMBER, .min = 1, .max = 4, .fallback = "4",
      AT(struct vm_device, iosize), .help = "number of ports", .arg = "N" },
    END
};

/* "[ADDR:]HOST:GUEST[/udp]" as a hostfwd of the first network, which is made. */
static int publish(struct vm_config *config, const char *text, char *err, size_t err_size)
{
    const struct setting *net = config_setting("net"), *forward = net->items;
    char rule[NET_HOSTFWD_TEXT];
    struct net_hostfwd fwd;
    int rc = net_publish_parse(text, &fwd, err, err_size);

    if (rc < 0)
        return rc;
    if (!config->nnet)
        rc = setting_set(net, config, "user", err, err_size);
    net_hostfwd_text(&fwd, rule);
    while (strcmp(forward->key, "hostfwd") != 0)
        forward++;
    return rc == 0 ? setting_set(forward, &config->net[0], rule, err, err_size) : rc;
}

const struct setting config_table[] = {
    { .group = "Configuration", .option = "config", .arg = "FILE", .type = SETTING_ACTION,
      .help = "read settings from a JSON document; - is the standard input" },
    { .option = "print-config", .type = SETTING_ACTION,
      .help = "print all settings as a JSON document, and end" },
    { .key = "name", .option = "name", .alias = "name", .arg = "NAME", .type = SETTING_TEXT,
      .min = 1, .max = 63, .check = check_name, IN(name), .help = "name in messages" },

    { .group = "Machine", .key = "machine", .option = "machine", .alias = "machine", .arg = "TYPE",
      .type = SETTING_CHOICE, .choices = machines, .fallback = "pc", IN(machine),
      .help = "kind of machine" },
    { .key = "engine", .option = "engine", .arg = "NAME", .type = SETTING_CHOICE,
      .choices = engine_names, .fallback = "auto", IN(engine), .help = "what runs the CPUs" },
    { .key = "cpu.model", .option = "cpu", .alias = "cpu", .arg = "MODEL", .type = SETTING_CHOICE,
      .choices = cpu_models, .fallback = "host", IN(cpu), .help = "CPU model" },
    { .key = "cpu.count", .option = "cpus", .alias = "smp", .arg = "N", .type = SETTING_NUMBER,
      .min = 1, .max = CPU_MAX_VCPUS, .fallback = "1", .skip = "cpus=", IN(cpus),
      .help = "number of CPUs" },
    { .key = "memory", .option = "memory", .alias = "m", .arg = "SIZE", .type = SETTING_SIZE,
      .min = VM_MIN_MEMORY, .max = VM_MAX_MEMORY, .fallback = "512M", IN(memory),
      .help = "guest memory, such as 512M or 2G; plain numbers count MiB" },

    { .group = "Boot", .key = "kernel", .option = "kernel", .alias = "kernel", .arg = "FILE",
      .type = SETTING_FILE, .min = 1, IN(kernel),
      .help = "kernel: bzImage, vmlinux (ELF) or Multiboot" },
    /* Several names and their arguments for Multiboot. */
    { .key = "initrd", .option = "initrd", .alias = "initrd", .arg = "FILE", .type = SETTING_FILE,
      .min = 1, .max = 65535, IN(initrd),
      .help = "initial RAM disk; Multiboot: \"FILE ARGS,FILE ARGS\"" },
    { .key = "append", .option = "append", .alias = "append", .arg = "STRING",
      .type = SETTING_TEXT, .max = 65535, IN(append), .help = "kernel command line" },

    { .group = "Devices", .key = "serial", .option = "serial", .alias = "serial", .arg = "WHERE",
      .type = SETTING_LIST, LIST_OF(struct vm_config, serial, nserial, serial_item),
      .help = "serial port: stdio, none, file:PATH, unix:PATH; up to four (default: one on "
      "stdio)" },
    { .key = "disks", .option = "disk", .arg = "FILE", .type = SETTING_LIST,
      LIST_OF(struct vm_config, disks, ndisks, disk_item), .help = "disk, once for each" },
    { .key = "net", .option = "net", .alias = "net", .arg = "TYPE", .type = SETTING_LIST,
      LIST_OF(struct vm_config, net, nnet, net_item), .help = "network card, once for each" },
    { .option = "publish", .alias = "p", .arg = "[ADDR:]HOST:GUEST[/udp]",
      .type = SETTING_ACTION, .apply = publish, .help = "forward a port of the host (of "
      "127.0.0.1, or ADDR) to the guest's; makes a user network if there is no --net" },
    { .key = "devices", .option = "device", .alias = "device", .arg = "DRIVER",
      .type = SETTING_LIST, LIST_OF(struct vm_config, devices, ndevices, device_item),
      .help = "another device (with isa-debug-exit, a guest's write of V ends with status "
      "2*V+1)" },

    { .group = "Lifecycle", .key = "timeout", .option = "timeout", .arg = "SECONDS",
      .type = SETTING_SECONDS, IN(timeout_ns), .help = "end with status 4 after that time" },
    { .key = "no-reboot", .option = "no-reboot", .alias = "no-reboot", .type = SETTING_FLAG,
      IN(no_reboot), .help = "end when the guest reboots" },
    { .key = "load-state", .option = "load-state", .arg = "FILE", .type = SETTING_FILE, .min = 1,
      IN(load_state), .help = "continue from a saved state (same memory and CPUs)" },
    { .key = "stop-at", .option = "stop-at", .arg = "N", .type = SETTING_NUMBER, .min = 1,
      .max = INT64_MAX, IN(stop_at), .help = "end after N instructions of CPU 0" },
    { .key = "save-state", .option = "save-state", .arg = "FILE", .type = SETTING_FILE, .min = 1,
      IN(save_state), .help = "save the state there when --stop-at ends the machine" },
    { .key = "record.file", .option = "record", .arg = "FILE", .type = SETTING_FILE, .min = 1,
      IN(record), .help = "record the run of one CPU in software" },
    { .key = "record.at", .option = "record-at", .arg = "WHERE", .type = SETTING_CHOICE,
      .choices = record_at, .fallback = "events", IN(record_at),
      .help = "where the CPU's state is kept with it, to be compared" },
    { .key = "replay", .option = "replay", .arg = "FILE", .type = SETTING_FILE, .min = 1,
      IN(replay), .help = "run as recorded, on any software engine, and compare" },

    { .group = "Messages", .key = "stats", .option = "stats", .type = SETTING_FLAG, IN(stats),
      .help = "print instructions, time and speed at the end" },
    { .key = "tb-size", .option = "tb-size", .arg = "SIZE", .type = SETTING_SIZE, .min = BT_MIN_SIZE,
      .max = BT_MAX_SIZE, .fallback = "64M", IN(tb_size),
      .help = "engine bt: most memory for the translated code of each CPU, such as 16M" },
    { .key = "stress", .option = "stress", .arg = "MODE", .type = SETTING_CHOICE, .choices = stress_modes,
      .fallback = "none", IN(stress),
      .help = "engine bt, for tests: blocks of one instruction, no translation kept, TLB entries "
      "dropped at random" },
    { .key = "perf-map", .option = "perf-map", .type = SETTING_FLAG, IN(perf_map),
      .help = "engine bt: name translated code in /tmp/perf-PID.map, for perf" },
    { .key = "log", .option = "log", .arg = "CHANNEL=LEVEL", .type = SETTING_LIST,
      LIST_OF(struct vm_config, log, nlog, log_item),
      .help = "vm, cpu, mmu, apic, mem, bus, dev, board or all, at error, warn, info, debug or "
      "trace" },
    END
};

const struct setting *config_setting(const char *key)
{
    const struct setting *s = config_table;

    while (!setting_is_last(s) && (!s->key || strcmp(s->key, key) != 0))
        s++;
    return s;
}
