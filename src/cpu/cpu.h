/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The CPU contract: the one interface between a VM and the engine that runs
 * its vCPUs.  It is KVM's with a split irqchip, on purpose: the local APIC
 * belongs to the engine, I/O APIC and PIC to the board.
 *
 * A vCPU belongs to the thread that runs it.  vcpu_run() enters the guest and
 * comes back with an exit in the vCPU's run page; the caller completes it
 * there (data of reads, vector of an acknowledge) and enters again.  As with
 * KVM, an I/O instruction is complete only after the next entry: before a
 * state is taken, enter once with immediate_exit set (vcpu_run then
 * completes it and returns CPU_EXIT_INTR).  The contract passes no pointers into
 * devices or VM structures, so that an engine can live in another process.
 */
#ifndef CPU_CPU_H
#define CPU_CPU_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/clock.h"
#include "cpu/model.h"
#include "cpu/state.h"
#include "mem/mem.h"

#define CPU_MAX_VCPUS 254
#define CPU_IO_PAGE 4096

/* KVM_EXIT_* with the same meaning unless said otherwise. */
enum cpu_exit {
    CPU_EXIT_NONE,
    CPU_EXIT_IO,            /* port access, see run->io */
    CPU_EXIT_MMIO,          /* access to a page without slot, see run->mmio */
    CPU_EXIT_EOI,           /* EOI of a vector in eoi_exit_bitmap, see run->eoi (KVM_EXIT_IOAPIC_EOI) */
    CPU_EXIT_EXTINT,        /* ExtINT window: acknowledge the PIC, store run->extint.vector
                               (or -1: spurious, request gone) */
    CPU_EXIT_FERR,          /* an x87 error waits with CR0.NE clear: the board raises IRQ 13
                               (software engines; KVM has no such exit) */
    CPU_EXIT_HALT,          /* HLT with nothing that could ever wake it (no APIC timer needed:
                               KVM waits inside; so do we; only reported if run->halt_exits) */
    CPU_EXIT_SHUTDOWN,      /* triple fault; the vCPU is in MP_SHUTDOWN */
    CPU_EXIT_DEBUG,         /* breakpoint or step of the host's debugger */
    CPU_EXIT_COUNT,         /* run->stop_count reached exactly (software engines) */
    CPU_EXIT_INTR,          /* vcpu_kick or immediate_exit */
    CPU_EXIT_RESET,         /* INIT on the bootstrap processor when asked for (unused by KVM) */
    CPU_EXIT_ERROR,         /* the engine cannot go on: run->error */
    CPU_EXIT_TAPE,          /* the tape is over (cpu/tape.h) */
};

/* Shared between VM and engine; written by one side at a time. */
struct cpu_run {
    /* in */
    _Atomic bool immediate_exit;    /* return CPU_EXIT_INTR before any guest instruction */
    bool halt_exits;
    uint64_t stop_count;            /* retired-instruction count to stop at; 0: none */
    /* out */
    enum cpu_exit exit;
    union {
        struct {
            uint16_t port;
            uint8_t size;           /* 1, 2 or 4 bytes an element */
            bool write;
            bool string;
            uint32_t count;         /* elements, in io_data; INS may be answered in part:
                                       the caller may lower count (>= 1) */
        } io;
        struct {
            uint64_t gpa;
            uint8_t size;           /* 1, 2, 4 or 8; larger accesses come in parts */
            bool write;
            uint64_t data;          /* in for writes, answer for reads */
        } mmio;
        struct { uint8_t vector; } eoi;
        struct { int vector; } extint;
        struct { uint64_t rip; uint32_t vector; uint64_t dr6; } debug;
        struct { char text[160]; } error;
    };
    uint8_t io_data[CPU_IO_PAGE];   /* the string page of I/O exits */
};

struct cpu_tape;
struct engine_vm;
struct vcpu;

/* What tests ask of an engine that translates: blocks of one instruction; to
 * forget all translations behind each block; to drop TLB entries at random. */
enum cpu_stress { STRESS_NONE, STRESS_ONE_INSN, STRESS_FLUSH, STRESS_EVICT };

struct engine_config {
    struct mem *mem;                /* borrowed; slots are final before vCPUs run */
    const struct vm_clock *clock;   /* borrowed */
    const struct cpu_model *model;  /* borrowed */
    unsigned ncpus;                 /* 1 to CPU_MAX_VCPUS; APIC ids are 0 to ncpus-1 */
    bool perf_map;                  /* name translated code for perf (/tmp/perf-PID.map) */
    uint64_t tb_size;               /* most bytes of translated code of a vCPU; 0: the engine's choice */
    enum cpu_stress stress;
    struct cpu_tape *tape;          /* borrowed; NULL: neither record nor play; else one vCPU */
};

/* A counter that the guest polls, answered inside the engine:
 * ((vm clock ns * hz / 1e9) + offset) & mask, for reads of exactly this size. */
struct cpu_counter {
    uint16_t port;
    uint8_t size;
    uint32_t hz, mask;
    uint64_t offset;
};

/* What engine_ops.probe gives beside 0 and errors: it can run, but so badly
 * that it has to be asked for by name. */
#define CPU_PROBE_POOR 1

struct engine_ops {
    const char *name;               /* "interp", "bt", "kvm" */
    const char *description;
    bool tapes;                     /* it can record and play (cpu/tape.h) */

    /* 0 if this engine can run on this host (*why may hold a remark), or
     * CPU_PROBE_POOR or a negative errno, and why.  May take two seconds. */
    int (*probe)(char *why, int why_size);
    /* The frequency of the guest TSC if wanted is asked for; the model has to
     * be made with it.  NULL: any will do. */
    uint64_t (*tsc_hz)(uint64_t wanted);
    /* Cut the model to what this engine can run; before vm_create.  NULL: all
     * that cpu_model_init gives.  Returns 0, or a negative errno and why. */
    int (*limit_model)(struct cpu_model *model, char *err, int err_size);

    int (*vm_create)(struct engine_vm **vm, const struct engine_config *config,
                     char *err, int err_size);
    void (*vm_destroy)(struct engine_vm *vm);          /* after its vCPUs */
    int (*vcpu_create)(struct vcpu **vcpu, struct engine_vm *vm, unsigned id);
    void (*vcpu_destroy)(struct vcpu *vcpu);

    /* On the vCPU's thread. */
    struct cpu_run *(*vcpu_page)(struct vcpu *vcpu);
    int (*vcpu_run)(struct vcpu *vcpu);                /* 0: see run->exit; else negative errno */
    /* While it is not in vcpu_run, any thread. */
    void (*vcpu_get_state)(struct vcpu *vcpu, struct vcpu_state *s);
    int (*vcpu_set_state)(struct vcpu *vcpu, const struct vcpu_state *s, char *err, size_t err_size);
    /* Guest-virtual to guest-physical with the vCPU's present paging, for debuggers;
     * no side effects.  Returns 0 or -EFAULT. */
    int (*vcpu_translate)(struct vcpu *vcpu, uint64_t gva, uint64_t *gpa);

    /* Any thread, at any time; none of these waits for a vCPU. */
    void (*vcpu_kick)(struct vcpu *vcpu);              /* vcpu_run returns CPU_EXIT_INTR soon */
    void (*vcpu_nmi)(struct vcpu *vcpu);
    void (*vcpu_extint)(struct vcpu *vcpu, bool request);
    /* A20 gate: bit 20 of physical addresses masked if !enabled.  NULL: the
     * engine cannot (KVM): the gate is always open. */
    void (*set_a20)(struct engine_vm *vm, bool enabled);
    void (*msi)(struct engine_vm *vm, uint64_t address, uint32_t data);
    /* Vectors (bit v of 256) whose EOI exits, synchronously on the vCPU.  The
     * I/O APIC calls it when its level-triggered entries change. */
    void (*set_eoi_exits)(struct engine_vm *vm, const uint64_t bitmap[4]);

    /* Doorbells (KVM_IOEVENTFD): a write of exactly size bytes (0: any size)
     * at addr, of value if match, signals fd instead of exiting. -ENOTSUP,
     * -ENOSPC, -EEXIST; del: -ENOENT. */
    int (*doorbell_add)(struct engine_vm *vm, bool pio, uint64_t addr, unsigned size,
                        bool match, uint64_t value, int fd);
    int (*doorbell_del)(struct engine_vm *vm, bool pio, uint64_t addr, unsigned size,
                        bool match, uint64_t value);
    /* Optional (NULL: all reads exit). */
    int (*counter_add)(struct engine_vm *vm, const struct cpu_counter *counter);

    /* Before mem_dirty_fetch: what the engine keeps in a log of its own goes
     * into mem's.  NULL: it has none. */
    void (*dirty_sync)(struct engine_vm *vm);
    /* After mem_dirty_fetch, mem_dirty_start and mem_dirty_stop: vCPUs lose the right
     * to write without logging.  May wait for vCPUs to pass a block boundary. */
    void (*dirty_revoke)(struct engine_vm *vm);

    /* The VM clock was stopped (all vCPUs out of vcpu_run) or started again. */
    void (*clock_changed)(struct engine_vm *vm);
    /* Counters for people. */
    void (*vcpu_info)(struct vcpu *vcpu, FILE *f);
};

extern const struct engine_ops engine_kvm, engine_interp, engine_bt;

/* NULL-terminated, in order of preference of "auto". */
extern const struct engine_ops *const engines[];

#endif
