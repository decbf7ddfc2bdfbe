/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board/ram_map.h"

struct state st;

void tell(const char *name, bool good)
{
    st.ntests++;
    st.nfailed += !good;
    printf("%sok %u - %s\n", good ? "" : "not ", st.ntests, name);
    fflush(stdout);
}

void fail(const char *what)
{
    printf("Bail out! %s: %s\n", what, st.err);
    exit(1);
}

struct soft_cpu *cpu(unsigned n)
{
    return (struct soft_cpu *)st.vcpu[n];
}

void make_vm(void)
{
    struct engine_config config = { .clock = &st.clock, .model = &st.model, .ncpus = NCPUS };
    struct ram_map map;

    if (cpu_model_init(&st.model, "host", NCPUS, 1000000000, st.err, sizeof(st.err)) ||
        mem_create(&st.mem, RAM, st.err, sizeof(st.err)))
        fail("no memory");
    ram_map_init(&map, RAM);
    if (ram_map_add_slots(&map, st.mem))
        fail("no slots");
    vm_clock_init(&st.clock);
    vm_clock_start(&st.clock);
    config.mem = st.mem;
    if (engine_bt.vm_create(&st.vm, &config, st.err, sizeof(st.err)))
        fail("no VM");
}

void make_vcpu(unsigned n)
{
    if (engine_bt.vcpu_create(&st.vcpu[n], st.vm, n))
        fail("no vCPU");
}

void destroy_vm(void)
{
    for (unsigned n = 0; n < NCPUS; n++)
        engine_bt.vcpu_destroy(st.vcpu[n]);
    engine_bt.vm_destroy(st.vm);
    mem_destroy(st.mem);
}

void set_state(unsigned n, const struct vcpu_state *s)
{
    if (engine_bt.vcpu_set_state(st.vcpu[n], s, st.err, sizeof(st.err)))
        fail("state");
}

struct cpu_run *page(unsigned n)
{
    return engine_bt.vcpu_page(st.vcpu[n]);
}

/* The serial port and the end; all others read as ones. */
static bool answer(struct cpu_run *run, uint32_t *value)
{
    if (run->exit != CPU_EXIT_IO)
        return false;
    if (!run->io.write) {
        memset(run->io_data, 0xff, (size_t)run->io.size * run->io.count);
        return true;
    }
    if (run->io.port == 0x3f8 && st.nserial < sizeof(st.serial) - 1)
        st.serial[st.nserial++] = (char)run->io_data[0];
    memcpy(value, run->io_data, run->io.size);
    return run->io.port != DONE_PORT;
}

uint32_t run_guest(unsigned n)
{
    struct cpu_run *run = page(n);
    uint32_t value = 0;

    do {
        if (engine_bt.vcpu_run(st.vcpu[n]))
            return ~0u;
    } while (answer(run, &value));
    return run->exit == CPU_EXIT_IO ? value : ~0u;
}
