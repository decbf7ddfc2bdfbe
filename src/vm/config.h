/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What one virtual machine is: the structure behind the JSON document and the
 * options of `bulkhead run`.
 *
 * config_table.c has one row for each setting; reading and printing the
 * document, the options, their help and their completion all follow it, so a
 * new setting is a member here and a row there.  Paths are relative to the
 * working folder, wherever the document lies.
 */
#ifndef VM_CONFIG_H
#define VM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define VM_SERIAL_PORTS 4
#define VM_MAX_DISKS 16
#define VM_MAX_NETS 8
#define VM_MAX_HOSTFWD 64
#define VM_MAX_DEVICES 8
#define VM_MAX_LOG 16
#define VM_MIN_MEMORY (1ULL << 20)
#define VM_MAX_MEMORY (1ULL << 40)
/* Of a document; no real one is near it. */
#define CONFIG_MAX_BYTES (1u << 20)

struct vm_disk {
    char *file;
    char *format;               /* "raw" */
    bool readonly;
    char *serial;               /* at most 20 bytes; NULL: none */
    char *aio;                  /* "auto", "io_uring" or "threads" */
};

struct vm_net {
    char *type;                 /* "none" or "user" */
    char *model;                /* of the card: "virtio" */
    char *mac;                  /* NULL: 52:54:00:12:34:56, and one more for each card */
    /* Of the user network (net/options.h); NULL: its defaults. */
    char *net, *host, *dns, *dhcpstart, *hostname;
    bool restricted, ipv6;
    char *hostfwd[VM_MAX_HOSTFWD];  /* PROTO:[ADDR]:PORT-[ADDR]:PORT */
    unsigned nhostfwd;
};

struct vm_device {
    char *driver;               /* "isa-debug-exit" */
    uint16_t iobase;
    uint8_t iosize;
};

/* Strings are owned, from malloc; NULL: not given. */
struct vm_config {
    char *name;
    char *machine, *engine;     /* never NULL */
    char *cpu;                  /* the model; never NULL */
    unsigned cpus;
    uint64_t memory;            /* bytes, whole pages */
    char *kernel, *initrd, *append;
    char *serial[VM_SERIAL_PORTS];
    unsigned nserial;
    struct vm_disk disks[VM_MAX_DISKS];
    unsigned ndisks;
    struct vm_net net[VM_MAX_NETS];
    unsigned nnet;
    struct vm_device devices[VM_MAX_DEVICES];
    unsigned ndevices;
    uint64_t timeout_ns;        /* host time; 0: none */
    bool no_reboot;
    bool stats;                 /* print instructions and speed at the end */
    bool perf_map;              /* name translated code for perf */
    uint64_t tb_size;           /* bytes */
    char *stress;               /* never NULL */
    char *log[VM_MAX_LOG];      /* CHANNEL=LEVEL[,...]; each took effect when it was set */
    unsigned nlog;
    uint64_t stop_at;           /* instructions of vCPU 0 after which to end; 0: none */
    char *save_state;           /* file to write at the end by stop_at */
    char *load_state;           /* file to continue from */
    char *record;               /* file to write what comes to the CPU to */
    char *record_at;            /* where its state is kept: "events" or "blocks"; never NULL */
    char *replay;               /* file to take that from */
};

/* All defaults.  Returns 0 or -ENOMEM (free it all the same). */
int config_init(struct vm_config *config);
/* After config_init, or of a zeroed structure. */
void config_free(struct vm_config *config);

/* Fill in what depends on other settings (a console, if no serial port was
 * asked for) and find contradictions.  Returns 0, or a negative errno with
 * one line in err.  After the last setting. */
int config_finish(struct vm_config *config, char *err, size_t err_size);
/* Is there something to run?  0, or -EINVAL with one line in err. */
int config_runnable(const struct vm_config *config, char *err, size_t err_size);

/* Adds what the document says: values replace, lists grow.  name is for
 * messages.  The text is hostile: what it may cost is bounded.  Returns 0, or
 * a negative errno with one line in err, and some settings may have changed. */
int config_parse_json(struct vm_config *config, const char *text, size_t len, const char *name,
                      char *err, size_t err_size);
/* The same for a file; "-": the standard input. */
int config_read_json(struct vm_config *config, const char *path, char *err, size_t err_size);
/* Writes the document that gives this configuration.  Returns 0, -EIO, or
 * -EILSEQ with a message if a setting is not UTF-8, as JSON has to be. */
int config_print_json(const struct vm_config *config, FILE *f, char *err, size_t err_size);

#endif
