/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "chardev/chardev.h"
#include "cpu/cpu.h"

#define DEFAULT_MEMORY (512 * MiB)
#define MAX_TIMEOUT 1e9 /* seconds */

struct parse {
    struct vm_config *config;
    unsigned nserial;
    char option[64];        /* as it was written, for messages */
    char *err;
    size_t err_size;
};

__attribute__((format(printf, 2, 3))) static int fail(struct parse *p, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(p->err, p->err_size, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

int options_size(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    unsigned shift = 20;
    const char *unit;
    char *end;
    uint64_t n;

    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    errno = 0;
    n = strtoull(text, &end, 10);
    if (errno)
        return -EINVAL;
    if (*end) {
        unit = strchr(units, toupper((unsigned char)*end));
        if (!unit)
            return -EINVAL;
        shift = 10 * (unsigned)(unit - units + 1);
        end++;
        if (*end && strcasecmp(end, "B") != 0 && strcasecmp(end, "iB") != 0)
            return -EINVAL;
    }
    if (n > UINT64_MAX >> shift)
        return -EINVAL;
    *bytes = n << shift;
    return 0;
}

/* A number in any C notation up to max. */
static int get_number(const char *text, uint64_t max, uint64_t *out)
{
    char *end;

    errno = 0;
    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    *out = strtoull(text, &end, 0);
    return errno || *end || *out > max ? -EINVAL : 0;
}

/* Setters of the options */

static int set_kernel(struct parse *p, const char *v)
{
    p->config->kernel = v;
    return 0;
}

static int set_initrd(struct parse *p, const char *v)
{
    p->config->initrd = v;
    return 0;
}

static int set_append(struct parse *p, const char *v)
{
    p->config->append = v;
    return 0;
}

static int set_memory(struct parse *p, const char *v)
{
    uint64_t size;

    if (options_size(v, &size) < 0)
        return fail(p, "%s: '%s' is not a size; write for example 512M or 2G", p->option, v);
    if (size < VM_MIN_MEMORY || size > VM_MAX_MEMORY)
        return fail(p, "%s: %s is out of range; give 1M to 1T", p->option, v);
    p->config->memory = align_up(size, MEM_PAGE_SIZE);
    return 0;
}

static int set_cpus(struct parse *p, const char *v)
{
    const char *number = strncmp(v, "cpus=", 5) == 0 ? v + 5 : v;
    uint64_t n;

    if (get_number(number, CPU_MAX_VCPUS, &n) < 0 || n < 1)
        return fail(p, "%s: '%s' is not a number of CPUs from 1 to %d", p->option, v,
                    CPU_MAX_VCPUS);
    p->config->cpus = (unsigned)n;
    return 0;
}

static int set_cpu(struct parse *p, const char *v)
{
    p->config->cpu = v;
    return 0;
}

static int set_engine(struct parse *p, const char *v)
{
    p->config->engine = v;
    return 0;
}

static int set_machine(struct parse *p, const char *v)
{
    if (strcmp(v, "pc") != 0)
        return fail(p, "%s: unknown machine '%s'; there is only pc", p->option, v);
    p->config->machine = v;
    return 0;
}

static int set_serial(struct parse *p, const char *v)
{
    char err[256];

    if (p->nserial == VM_SERIAL_PORTS)
        return fail(p, "%s: there are only %d serial ports", p->option, VM_SERIAL_PORTS);
    if (chardev_check(v, err, sizeof(err)) < 0)
        return fail(p, "%s: %s", p->option, err);
    for (unsigned i = 0; i < p->nserial; i++)
        if (strcmp(v, "stdio") == 0 && strcmp(p->config->serial[i], "stdio") == 0)
            return fail(p, "%s: only one port can be on stdio", p->option);
    p->config->serial[p->nserial++] = v;
    return 0;
}

/* ",key=value" of a device; *list moves past it. */
static int get_property(const char **list, const char *key, uint64_t max, uint64_t *out)
{
    const size_t n = strlen(key);
    char number[24];
    size_t len;

    if (strncmp(*list + 1, key, n) != 0 || (*list)[1 + n] != '=')
        return -ENOENT;
    *list += 2 + n;
    len = strcspn(*list, ",");
    if (len >= sizeof(number))
        return -EINVAL;
    memcpy(number, *list, len);
    number[len] = 0;
    *list += len;
    return get_number(number, max, out);
}

static int set_device(struct parse *p, const char *v)
{
    static const char name[] = "isa-debug-exit";
    const char *rest = v + strcspn(v, ",");
    uint64_t port = 0xf4, size = 4;

    if ((size_t)(rest - v) != strlen(name) || strncmp(v, name, strlen(name)) != 0)
        return fail(p, "%s: unknown device '%.*s'; there is only %s", p->option, (int)(rest - v),
                    v, name);
    while (*rest) {
        const char *start = rest + 1;
        int rc = get_property(&rest, "iobase", 0xfff8, &port);

        if (rc == -ENOENT)
            rc = get_property(&rest, "iosize", 4, &size);
        if (rc < 0 || size < 1)
            return fail(p, "%s: '%s' is not iobase=PORT or iosize=1 to 4", p->option, start);
    }
    p->config->debug_exit = true;
    p->config->debug_exit_port = (uint16_t)port;
    p->config->debug_exit_size = (uint8_t)size;
    return 0;
}

static int set_name(struct parse *p, const char *v)
{
    if (!*v || strlen(v) > 63)
        return fail(p, "%s: a name has 1 to 63 characters", p->option);
    p->config->name = v;
    log_set_name(v);
    return 0;
}

static int set_timeout(struct parse *p, const char *v)
{
    char *end;
    double seconds = strtod(v, &end);

    if (end == v || *end || !(seconds > 0) || seconds > MAX_TIMEOUT)
        return fail(p, "%s: '%s' is not a number of seconds above 0", p->option, v);
    p->config->timeout_ns = MAX((uint64_t)(seconds * NSEC_PER_SEC), 1);
    return 0;
}

static int set_no_reboot(struct parse *p, const char *v)
{
    (void)v;
    p->config->no_reboot = true;
    return 0;
}

static int set_stats(struct parse *p, const char *v)
{
    (void)v;
    p->config->stats = true;
    return 0;
}

static int set_log(struct parse *p, const char *v)
{
    char err[256];

    return log_configure(v, err, sizeof(err)) < 0 ? fail(p, "%s: %s", p->option, err) : 0;
}

static int set_stop_at(struct parse *p, const char *v)
{
    if (get_number(v, UINT64_MAX, &p->config->stop_at) < 0 || !p->config->stop_at)
        return fail(p, "%s: '%s' is not a number of instructions above 0", p->option, v);
    return 0;
}

static int set_save_state(struct parse *p, const char *v)
{
    p->config->save_state = v;
    return 0;
}

static int set_load_state(struct parse *p, const char *v)
{
    p->config->load_state = v;
    return 0;
}

static const struct option {
    const char *name;       /* --name */
    const char *qemu;       /* -qemu, as users of QEMU write it; may be NULL */
    const char *arg;        /* NULL: takes none */
    const char *help;       /* NULL: not shown */
    int (*set)(struct parse *p, const char *value);
} options[] = {
    { "kernel", "kernel", "FILE", "kernel: bzImage, vmlinux (ELF), Multiboot", set_kernel },
    { "initrd", "initrd", "FILE", "initial RAM disk; Multiboot: \"FILE ARGS,FILE ARGS\"",
      set_initrd },
    { "append", "append", "STRING", "kernel command line", set_append },
    { "memory", "m", "SIZE", "guest memory, such as 512M or 2G (default 512M)", set_memory },
    { "cpus", "smp", "N", "number of CPUs, 1 to 254 (default 1)", set_cpus },
    { "cpu", "cpu", "MODEL", "host, x86-64-v2 or x86-64-v3 (default host)", set_cpu },
    { "engine", NULL, "NAME", "auto or interp (default auto)", set_engine },
    { "machine", "machine", "TYPE", "pc (default)", set_machine },
    { "serial", "serial", "WHERE", "serial port: stdio, none, file:PATH, unix:PATH; up to four\n"
      "times (default: one on stdio)", set_serial },
    { "device", "device", "DEVICE", "isa-debug-exit[,iobase=0xf4][,iosize=4]: a write of V ends\n"
      "with status 2*V+1", set_device },
    { "name", "name", "NAME", "name in messages", set_name },
    { "timeout", NULL, "SECONDS", "end with status 4 after that time", set_timeout },
    { "no-reboot", "no-reboot", NULL, "end when the guest reboots", set_no_reboot },
    { "stats", NULL, NULL, "print instructions, time and speed at the end", set_stats },
    { "log", NULL, "CHANNEL=LEVEL", "vm, cpu, mmu, apic, mem, bus, dev, board or all, at error,\n"
      "warn, info, debug or trace", set_log },
    { "load-state", NULL, "FILE", "continue from a saved state (same memory and CPUs)",
      set_load_state },
    { "stop-at", NULL, "N", "end after N instructions of CPU 0", set_stop_at },
    { "save-state", NULL, "FILE", "save the state there when --stop-at ends the machine",
      set_save_state },
};

void options_help(FILE *f)
{
    fprintf(f, "Usage: bulkhead run --kernel FILE [option]...\n"
               "Boot a kernel in a new virtual machine, with its console on this terminal.\n\n");
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        const struct option *o = &options[i];
        const char *line = o->help;
        char left[48];

        if (o->qemu && strcmp(o->qemu, o->name) != 0)
            snprintf(left, sizeof(left), "-%s, --%s %s", o->qemu, o->name, o->arg ? o->arg : "");
        else
            snprintf(left, sizeof(left), "--%s %s", o->name, o->arg ? o->arg : "");
        while (line) {
            const char *next = strchr(line, '\n');

            fprintf(f, "  %-24s %.*s\n", left, next ? (int)(next - line) : INT_MAX, line);
            left[0] = 0;
            line = next ? next + 1 : NULL;
        }
    }
    fprintf(f, "  %-24s %s\n", "-h, --help", "this text");
    fprintf(f, "\nKeys on the console: Ctrl-A x ends, Ctrl-A c monitor, Ctrl-A h help.\n"
               "Exit status: 0 guest powered off, 1 host failure, 2 wrong usage, 3 guest crashed,\n"
               "4 timeout, 128+N ended by signal N; isa-debug-exit's value wins.\n");
}

/* Levenshtein distance of two words, with words over 31 characters cut. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[32], n = (unsigned)MIN(strlen(b), 31u);

    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 0; i < 31 && a[i]; i++) {
        unsigned diagonal = row[0];

        row[0] = i + 1;
        for (unsigned j = 0; j < n; j++) {
            unsigned change = diagonal + (a[i] != b[j]);

            diagonal = row[j + 1];
            row[j + 1] = MIN(change, MIN(row[j], row[j + 1]) + 1);
        }
    }
    return row[n];
}

const char *options_nearest(const char *word, const char *const *list)
{
    unsigned best = (unsigned)strlen(word) / 3 + 2;
    const char *found = NULL;

    for (; *list; list++) {
        unsigned d = distance(word, *list);

        if (d < best) {
            best = d;
            found = *list;
        }
    }
    return found;
}

static int unknown(struct parse *p, const char *word)
{
    const char *names[ARRAY_SIZE(options) + 2] = { "help" };
    const char *near;

    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        names[i + 1] = options[i].name;
    near = options_nearest(word, names);
    if (near)
        return fail(p, "unknown option %s; did you mean --%s?", p->option, near);
    return fail(p, "unknown option %s; see bulkhead run --help", p->option);
}

/* The option that arg names, with *value after its '=', if it has one. */
static const struct option *find_option(const char *arg, const char **value)
{
    bool two = arg[1] == '-';
    const char *word = arg + (two ? 2 : 1);
    size_t len = strcspn(word, "=");

    *value = word[len] ? word + len + 1 : NULL;
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        const struct option *o = &options[i];

        if (strlen(o->name) == len && strncmp(word, o->name, len) == 0 && (two || o->qemu))
            return o;
        if (o->qemu && !two && strlen(o->qemu) == len && strncmp(word, o->qemu, len) == 0)
            return o;
    }
    return NULL;
}

/* One argument and perhaps its value; *used: how many were taken. */
static int parse_one(struct parse *p, int n, char *const *args, int *used)
{
    const struct option *o;
    const char *value;

    *used = 1;
    if (args[0][0] != '-' || !args[0][1])
        return fail(p, "'%s' is not an option; see bulkhead run --help", args[0]);
    o = find_option(args[0], &value);
    snprintf(p->option, sizeof(p->option), "%.*s", (int)strcspn(args[0], "="), args[0]);
    if (!o)
        return unknown(p, p->option + strspn(p->option, "-"));
    if (!o->arg && value)
        return fail(p, "%s takes no value", p->option);
    if (o->arg && !value) {
        if (n < 2)
            return fail(p, "%s needs a value: %s %s", p->option, p->option, o->arg);
        value = args[1];
        *used = 2;
    }
    return o->set(p, value);
}

static int check(struct parse *p)
{
    const struct vm_config *c = p->config;

    if (!c->kernel && !c->load_state)
        return fail(p, "no kernel; give one with --kernel FILE (firmware boot is not there yet)");
    if (!c->kernel && (c->initrd || c->append))
        return fail(p, "%s needs --kernel FILE", c->initrd ? "--initrd" : "--append");
    if (c->save_state && !c->stop_at)
        return fail(p, "--save-state needs --stop-at N");
    return 0;
}

int options_parse(struct vm_config *config, int n, char *const *args, char *err, size_t err_size)
{
    struct parse p = { .config = config, .err = err, .err_size = err_size };
    int used;

    *config = (struct vm_config){ .memory = DEFAULT_MEMORY, .cpus = 1, .cpu = "host",
                                  .engine = "auto", .machine = "pc" };
    for (int i = 0; i < n; i++)
        if (strcmp(args[i], "--help") == 0 || strcmp(args[i], "-h") == 0)
            return OPTIONS_HELP;
    for (int i = 0; i < n; i += used) {
        int rc = parse_one(&p, n - i, args + i, &used);

        if (rc < 0)
            return rc;
    }
    if (!p.nserial)
        config->serial[0] = "stdio";
    return check(&p);
}
