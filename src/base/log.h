/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Logging: one channel for each subsystem, one level for each channel.
 *
 * Errors are of three classes (docs/architecture.md): a guest's mistake is
 * answered as the architecture says and traced with log_guest(), which is
 * rate-limited; a host failure is logged once with log_error(), where the
 * cause is known; our own bug is an assert.  Thread-safe; errno is kept.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

enum log_channel {
    LOG_VM,      /* configuration and lifecycle */
    LOG_CPU,     /* engines and vCPUs */
    LOG_MMU,     /* paging */
    LOG_APIC,    /* local APICs */
    LOG_MEM,     /* guest physical memory */
    LOG_BUS,     /* port, MMIO and PCI dispatch */
    LOG_DEV,     /* devices */
    LOG_BOARD,   /* machines and loaders */
    LOG_CHANNELS
};

extern unsigned char log_levels[LOG_CHANNELS];

/* Name in front of each line (the VM's); copied. */
void log_set_name(const char *name);
/* The calling thread runs this vCPU: its lines say so.  -1: none. */
void log_set_vcpu(int vcpu);

/* Apply "CHANNEL=LEVEL[,CHANNEL=LEVEL...]"; CHANNEL may be "all".
 * Returns 0, or -EINVAL with a message in err. */
int log_configure(const char *spec, char *err, int err_size);

void log_write(enum log_channel ch, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static inline bool log_on(enum log_channel ch, enum log_level level)
{
    return log_levels[ch] >= level;
}

#define log_at(ch, level, ...)                                                 \
    do {                                                                       \
        if (log_on(ch, level))                                                 \
            log_write(ch, level, __VA_ARGS__);                                 \
    } while (0)
#define log_error(ch, ...) log_at(ch, LOG_ERROR, __VA_ARGS__)
#define log_warn(ch, ...) log_at(ch, LOG_WARN, __VA_ARGS__)
#define log_info(ch, ...) log_at(ch, LOG_INFO, __VA_ARGS__)
#define log_debug(ch, ...) log_at(ch, LOG_DEBUG, __VA_ARGS__)
#define log_trace(ch, ...) log_at(ch, LOG_TRACE, __VA_ARGS__)

/* A guest's mistake: shown at LOG_DEBUG, at most 10 lines a second. */
void log_guest_write(enum log_channel ch, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
#define log_guest(ch, ...)                                                     \
    do {                                                                       \
        if (log_on(ch, LOG_DEBUG))                                             \
            log_guest_write(ch, __VA_ARGS__);                                  \
    } while (0)

#endif
