/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine of RAM and two vCPUs of the translator. */
#ifndef TESTS_KEEPIN_MACHINE_H
#define TESTS_KEEPIN_MACHINE_H

#include "engine/bt/bt.h"

#define RAM       (64 * MiB)
#define NCPUS     2
#define DONE_PORT 0xf4

/* Everything that changes here while the guest runs. */
extern struct state {
    struct mem *mem;
    struct vm_clock clock;
    struct cpu_model model;
    struct engine_vm *vm;
    struct vcpu *vcpu[NCPUS];
    char serial[1 << 20], err[300];
    size_t nserial;
    unsigned ntests, nfailed;
} st;

/* A line of TAP. */
void tell(const char *name, bool good);
/* What the test itself needs cannot be had. */
void fail(const char *what) __attribute__((noreturn));

void make_vm(void);
void make_vcpu(unsigned n);
void destroy_vm(void);
struct soft_cpu *cpu(unsigned n);
struct cpu_run *page(unsigned n);
void set_state(unsigned n, const struct vcpu_state *s);
/* What the guest writes to DONE_PORT; ~0: it ends in another way.  What it
 * writes to COM1 is in st.serial. */
uint32_t run_guest(unsigned n);

#endif
