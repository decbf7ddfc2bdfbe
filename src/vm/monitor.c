/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The monitor on the console after Ctrl-A c: a line editor with backspace,
 * and a table of commands.  A command runs while all vCPUs are parked; keys
 * that come meanwhile wait.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "vm/internal.h"

#define LINE_SIZE 256

struct monitor {
    struct vm *vm;
    char line[LINE_SIZE];
    size_t len;
    bool focused;
    bool busy;                  /* a command is about to run */
    char command[LINE_SIZE];
    uint8_t waiting[1024];      /* keys */
    size_t nwaiting;
};

struct command {
    const char *name;       /* may be two words */
    const char *args;       /* for help; NULL: takes none */
    const char *help;
    void (*run)(struct vm *vm, const char *args, FILE *out);
};

static void print(struct monitor *m, const char *text, size_t n)
{
    chardev_write(m->vm->console, text, n);
}

static void prompt(struct monitor *m)
{
    if (m->focused)
        print(m, "(bulkhead) ", 11);
}

static void info_registers(struct vm *vm, const char *args, FILE *out)
{
    struct vcpu_state s;

    (void)args;
    for (unsigned i = 0; i < vm->config.cpus; i++) {
        fprintf(out, "CPU %u\n", i);
        vm->engine->vcpu_get_state(vm->vcpus[i].vcpu, &s);
        vcpu_state_print(&s, out);
    }
}

static void info_mem(struct vm *vm, const char *args, FILE *out)
{
    (void)args;
    for (unsigned i = 0; i < vm->mem->nslots; i++) {
        const struct mem_slot *s = &vm->mem->slots[i];

        fprintf(out, "%012llx-%012llx  %s  %llu KiB\n", (unsigned long long)s->gpa,
                (unsigned long long)(s->gpa + s->size - 1), s->readonly ? "ROM" : "RAM",
                (unsigned long long)(s->size / KiB));
    }
    for (unsigned i = 0; i < vm->map.n; i++) {
        const struct e820_entry *e = &vm->map.entries[i];

        fprintf(out, "e820 %012llx-%012llx  %s\n", (unsigned long long)e->addr,
                (unsigned long long)(e->addr + e->size - 1),
                e->type == E820_RAM ? "usable" : "reserved");
    }
}

/* The interrupt controllers among the devices. */
static void info_irq(struct vm *vm, const char *args, FILE *out)
{
    (void)args;
    for (struct device *d = vm->bus->devices; d; d = d->next) {
        if (strcmp(d->cls->name, "i8259") != 0 && strcmp(d->cls->name, "ioapic") != 0)
            continue;
        fprintf(out, "%s\n", d->cls->name);
        if (d->cls->info)
            d->cls->info(d, out);
        else
            state_dump(d->cls->state, d, out);
    }
}

static void info_devices(struct vm *vm, const char *args, FILE *out)
{
    (void)args;
    bus_info(vm->bus, out);
}

static void info_cpus(struct vm *vm, const char *args, FILE *out)
{
    static const char *const states[] = { "running", "halted", "wait for SIPI", "mwait",
                                          "shutdown" };
    struct vcpu_state s;

    (void)args;
    for (unsigned i = 0; i < vm->config.cpus; i++) {
        vm->engine->vcpu_get_state(vm->vcpus[i].vcpu, &s);
        fprintf(out, "CPU %u: %s, RIP %016llx, %llu instructions\n", i,
                s.mp_state < ARRAY_SIZE(states) ? states[s.mp_state] : "?",
                (unsigned long long)s.rip, (unsigned long long)s.insn_count);
    }
}

static void info_engine(struct vm *vm, const char *args, FILE *out)
{
    (void)args;
    fprintf(out, "%s: %s\nCPU model %s, %s\n", vm->engine->name, vm->engine->description,
            vm->model.name, vm_is_stopped(vm) ? "stopped" : "running");
    for (unsigned i = 0; i < vm->config.cpus && vm->engine->vcpu_info; i++)
        vm->engine->vcpu_info(vm->vcpus[i].vcpu, out);
}

static void cmd_stop(struct vm *vm, const char *args, FILE *out)
{
    (void)args;
    (void)out;
    vm_stop(vm);
}

static void cmd_cont(struct vm *vm, const char *args, FILE *out)
{
    (void)args;
    (void)out;
    vm_cont(vm);
}

static void cmd_reset(struct vm *vm, const char *args, FILE *out)
{
    (void)args;
    (void)out;
    vm_reset(vm);
}

static void cmd_nmi(struct vm *vm, const char *args, FILE *out)
{
    (void)args;
    (void)out;
    vm_nmi(vm);
}

static void cmd_powerdown(struct vm *vm, const char *args, FILE *out)
{
    (void)args;
    (void)out;
    vm_powerdown(vm);
}

static void cmd_savestate(struct vm *vm, const char *args, FILE *out)
{
    char err[280];

    if (!*args)
        fprintf(out, "savestate needs a file name\n");
    else if (vm_save_file(vm, args, err, sizeof(err)) < 0)
        fprintf(out, "%s\n", err);
    else
        fprintf(out, "saved to %s\n", args);
}

static void cmd_quit(struct vm *vm, const char *args, FILE *out)
{
    (void)args;
    (void)out;
    vm_end(vm, VM_OK, "ended from the monitor");
}

static void cmd_help(struct vm *vm, const char *args, FILE *out);

static const struct command commands[] = {
    { "info registers", NULL, "registers of all CPUs", info_registers },
    { "info mem", NULL, "memory slots and the map that the guest was given", info_mem },
    { "info irq", NULL, "interrupt controllers", info_irq },
    { "info devices", NULL, "all devices with their state", info_devices },
    { "info cpus", NULL, "what each CPU does", info_cpus },
    { "info engine", NULL, "engine, CPU model, counters", info_engine },
    { "stop", NULL, "stop the CPUs and the clock", cmd_stop },
    { "cont", NULL, "let them run again", cmd_cont },
    { "reset", NULL, "reset the machine", cmd_reset },
    { "nmi", NULL, "send an NMI to CPU 0", cmd_nmi },
    { "powerdown", NULL, "press the power button", cmd_powerdown },
    { "savestate", "FILE", "save the whole state to FILE", cmd_savestate },
    { "quit", NULL, "end the machine at once", cmd_quit },
    { "help", NULL, "this list", cmd_help },
};

static void cmd_help(struct vm *vm, const char *args, FILE *out)
{
    (void)vm;
    (void)args;
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        const struct command *c = &commands[i];
        int n = fprintf(out, "%s %s", c->name, c->args ? c->args : "");

        fprintf(out, "%*s%s\n", 18 - n, "", c->help);
    }
    fprintf(out, "Ctrl-A c goes back to the console.\n");
}

/* The command that starts the line, or NULL; *args: what follows. */
static const struct command *find_command(const char *line, const char **args)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        size_t n = strlen(commands[i].name);

        if (strncmp(line, commands[i].name, n) == 0 && (line[n] == 0 || line[n] == ' ')) {
            *args = line + n + strspn(line + n, " ");
            return &commands[i];
        }
    }
    return NULL;
}

static void edit(struct monitor *m, char c);

/* While parked, with the bus lock held. */
static void execute(struct vm *vm, void *opaque)
{
    struct monitor *m = opaque;
    char *text = NULL;
    size_t size = 0;
    const char *args;
    const struct command *c = find_command(m->command, &args);
    FILE *out = open_memstream(&text, &size);

    if (out) {
        if (c)
            c->run(vm, args, out);
        else
            fprintf(out, "unknown command '%s'; try help\n", m->command);
        fclose(out);
        print(m, text, size);
        free(text);
    }
    prompt(m);
    m->busy = false;
    for (size_t used = 0; used < m->nwaiting; used++) {
        edit(m, (char)m->waiting[used]);
        if (m->busy) {
            m->nwaiting -= used + 1;
            memmove(m->waiting, m->waiting + used + 1, m->nwaiting);
            return;
        }
    }
    m->nwaiting = 0;
}

static void enter(struct monitor *m)
{
    print(m, "\n", 1);
    while (m->len && m->line[m->len - 1] == ' ')
        m->len--;
    m->line[m->len] = 0;
    snprintf(m->command, sizeof(m->command), "%s", m->line + strspn(m->line, " "));
    m->busy = m->len && vm_when_parked(m->vm, execute, m) == 0;
    m->len = 0;
    if (!m->busy)
        prompt(m);
}

static void erase(struct monitor *m)
{
    m->len--;
    print(m, "\b \b", 3);
}

/* One key. */
static void edit(struct monitor *m, char c)
{
    switch (c) {
    case '\r':
    case '\n': enter(m); break;
    case 0x7f:
    case '\b':
        if (m->len)
            erase(m);
        break;
    case 0x15: /* Ctrl-U */
        while (m->len)
            erase(m);
        break;
    default:
        if (c >= ' ' && m->len < LINE_SIZE - 1) {
            m->line[m->len++] = c;
            print(m, &c, 1);
        }
    }
}

void monitor_input(void *opaque, const uint8_t *data, size_t n)
{
    struct monitor *m = ((struct vm *)opaque)->monitor;

    for (size_t i = 0; i < n; i++)
        if (!m->busy)
            edit(m, (char)data[i]);
        else if (m->nwaiting < sizeof(m->waiting))
            m->waiting[m->nwaiting++] = data[i];
}

void monitor_focus(void *opaque, bool on)
{
    static const char hello[] = "\nBulkhead monitor; help lists commands, Ctrl-A c goes back.\n";
    struct monitor *m = ((struct vm *)opaque)->monitor;

    m->focused = on;
    m->len = 0;
    print(m, on ? hello : "\n", on ? sizeof(hello) - 1 : 1);
    prompt(m);
}

int monitor_create(struct monitor **out, struct vm *vm)
{
    struct monitor *m = calloc(1, sizeof(*m));

    if (!m)
        return -ENOMEM;
    m->vm = vm;
    *out = m;
    return 0;
}

void monitor_destroy(struct monitor *m)
{
    free(m);
}
