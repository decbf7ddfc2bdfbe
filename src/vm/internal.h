/* SPDX-License-Identifier: GPL-2.0-or-later */
/* struct vm, for the files of this folder. */
#ifndef VM_INTERNAL_H
#define VM_INTERNAL_H

#include <pthread.h>

#include "base/clock.h"
#include "board/board.h"
#include "board/boot.h"
#include "board/ram_map.h"
#include "board/virtio_set.h"
#include "bus/bus.h"
#include "chardev/chardev.h"
#include "cpu/cpu.h"
#include "loop/loop.h"
#include "mem/mem.h"
#include "vm/vm.h"

#define VM_MAX_TASKS 16
/* The guest's TSC counts nanoseconds of the VM clock, if the engine can have it so. */
#define VM_TSC_HZ 1000000000ULL

struct monitor;
struct recorder;
struct player;

enum vm_want { VM_WANT_PARK, VM_WANT_RUN, VM_WANT_QUIT };

struct vm_vcpu {
    struct vm *vm;
    unsigned id;
    struct vcpu *vcpu;          /* the engine's */
    struct cpu_run *run;
    pthread_t thread;
    bool started;
};

struct vm_task {
    void (*fn)(struct vm *vm, void *opaque);
    void *opaque;
};

struct vm {
    struct vm_config config;
    const struct engine_ops *engine;
    char engine_note[300];      /* for the start line: why not another one */
    uint64_t tsc_hz;            /* of the guest */
    struct engine_vm *engine_vm;
    struct cpu_model model;
    struct vm_clock clock;
    struct mem *mem;
    struct ram_map map;
    struct bus *bus;
    struct loop *loop;
    struct board *board;
    struct virtio_set virtio;   /* the host's ends */
    struct boot_source *boot;
    struct chardev *serial[VM_SERIAL_PORTS];
    struct chardev *console;    /* the one on stdio, or NULL */
    struct monitor *monitor;
    struct recorder *recorder;  /* --record; NULL: none */
    struct player *player;      /* --replay; NULL: none */
    bool taping;                /* the recorder has begun */
    struct vm_tap {             /* what a serial port wrote, to be recorded; under the bus lock */
        _Atomic unsigned n;
        uint8_t data[256];
    } taps[VM_SERIAL_PORTS];
    struct vm_gate {            /* recording: device threads run while the vCPU does not */
        pthread_mutex_t lock;
        pthread_cond_t changed;
        unsigned wanting, inside;
        bool open;
    } gate;
    struct vm_vcpu *vcpus;
    int signal_fd, timeout_fd;
    uint64_t start_ns;          /* host time of vm_run */
    uint64_t past_insns;        /* counted before the last reset */

    pthread_mutex_t control;    /* of the members below */
    pthread_cond_t changed;
    enum vm_want want;
    unsigned nparked;
    bool park_posted;           /* the tasks are about to run */
    bool stopped;               /* by vm_stop */
    struct vm_task tasks[VM_MAX_TASKS];
    unsigned ntasks;
    bool ended, debug_exited;
    int status;
    char cause[200];
};

/* vcpu.c */
int vm_start_vcpus(struct vm *vm);
void vm_join_vcpus(struct vm *vm);
/* With the control lock held: make all vCPUs leave the engine. */
void vm_kick_all(struct vm *vm);
/* With the control lock held: all are out, run the tasks soon. */
void vm_post_tasks(struct vm *vm);
uint64_t vm_instructions(struct vm *vm);

/* tape.c.  Open the file, before the vCPUs are made; begin when the machine is as
 * it starts.  0, or a negative errno with a message in err. */
int vm_open_tape(struct vm *vm, char *err, size_t err_size);
struct cpu_tape *vm_tape(struct vm *vm);
int vm_begin_tape(struct vm *vm, char *err, size_t err_size);
/* False: not playing, or an exit that the VM answers in any case. */
bool vm_play_exit(struct vm_vcpu *v, bool *stop);
/* The replay is to end at --stop-at; false: there is none. */
bool vm_end_play_early(struct vm *vm);
/* An exit was answered. */
void vm_record_exit(struct vm_vcpu *v);
void vm_record_a20(struct vm *vm, bool enabled);
void vm_record_eoi_exits(struct vm *vm, const uint64_t bitmap[4]);
/* For struct bus; opaque: the VM. */
void vm_gate_enter(void *opaque);
void vm_gate_leave(void *opaque);
/* On the vCPU's thread, out of the engine with nothing half done: let device
 * threads in while it is parked, shut them out, or do both. */
void vm_gate_open(struct vm *vm);
void vm_gate_close(struct vm *vm);
void vm_gate_pass(struct vm *vm);
/* The vCPUs have ended. */
void vm_end_tape(struct vm *vm);
void vm_free_tape(struct vm *vm);

/* disks.c.  Returns 0, or a negative errno with a message in err. */
int vm_open_disks(struct vm *vm, char *err, size_t err_size);
void vm_close_disks(struct vm *vm);

/* nets.c.  The same. */
int vm_open_nets(struct vm *vm, char *err, size_t err_size);
void vm_close_nets(struct vm *vm);

/* engine.c: sets vm->engine and vm->engine_note.  Returns 0, -EINVAL if there
 * is no such engine, or another negative errno; a message in err. */
int vm_choose_engine(struct vm *vm, char *err, size_t err_size);

/* vm.c: kernel and tables into memory, reset states into the vCPUs. */
int vm_boot(struct vm *vm, char *err, size_t err_size);

/* monitor.c */
int monitor_create(struct monitor **m, struct vm *vm);
void monitor_destroy(struct monitor *m);
/* opaque: the VM */
void monitor_focus(void *opaque, bool on);
void monitor_input(void *opaque, const uint8_t *data, size_t n);

#endif
