/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One virtual machine: from its configuration to its end.
 *
 * Threads: the loop's (which calls vm_run) and one for each vCPU.  The bus
 * lock guards devices and everything here that says so; the control lock
 * inside guards whether vCPUs run.  Order: bus lock, then control lock.
 */
#ifndef VM_VM_H
#define VM_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "state/state.h"
#include "vm/config.h"

/* Exit statuses of `bulkhead run`.  A signal that ends it gives 128 + its number. */
enum vm_status {
    VM_OK = 0,              /* the guest powered off, or the user ended it */
    VM_HOST_FAILURE = 1,
    VM_WRONG_USAGE = 2,
    VM_GUEST_CRASHED = 3,
    VM_TIMEOUT = 4,
    VM_REPLAY_DIFFERS = 5,
};

/* One line for the user, and the status that goes with it. */
struct vm_error {
    char text[320];
    int status;
};

struct vm;

/* Makes the machine, loads the kernel; nothing runs yet.  config is borrowed
 * while the VM exists.  Prints the engine on stderr if all is well.  Returns
 * 0, or a negative errno with *error set. */
int vm_create(struct vm **vm, const struct vm_config *config, struct vm_error *error);
/* Not while vm_run runs.  vm may be NULL. */
void vm_destroy(struct vm *vm);

/* Runs until the machine ends and tells the exit status; the cause is the
 * last line on stderr.  Call on the main thread, once. */
int vm_run(struct vm *vm);

/* Ask for the end.  The first cause counts, but isa-debug-exit's wins.  Any
 * thread, with or without the bus lock. */
void vm_end(struct vm *vm, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Runs fn on the loop's thread, with the bus lock held, while all vCPUs are
 * out of the engine and the VM clock stands; soon.  Any thread.  Returns 0,
 * or -ENOSPC if too many are waiting. */
int vm_when_parked(struct vm *vm, void (*fn)(struct vm *vm, void *opaque), void *opaque);

/* For these: any thread; they take effect soon. */
void vm_stop(struct vm *vm);            /* vCPUs and clock stand until vm_cont */
void vm_cont(struct vm *vm);
void vm_reset(struct vm *vm);
void vm_nmi(struct vm *vm);
/* With the bus lock held. */
void vm_powerdown(struct vm *vm);
bool vm_is_stopped(struct vm *vm);

/* Everything but RAM, while parked.  Returns 0 or a negative errno; for load
 * the reason is in r->error, and the VM must be fresh. */
int vm_save(struct vm *vm, struct state_writer *w);
int vm_load(struct vm *vm, struct state_reader *r);
/* State and RAM in one file, while parked; a message in err. */
int vm_save_file(struct vm *vm, const char *path, char *err, size_t err_size);
int vm_load_file(struct vm *vm, const char *path, char *err, size_t err_size);

#endif
