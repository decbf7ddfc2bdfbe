/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"

#define GUEST_LINES_PER_SECOND 10

unsigned char log_levels[LOG_CHANNELS] = {
    LOG_WARN, LOG_WARN, LOG_WARN, LOG_WARN, LOG_WARN, LOG_WARN, LOG_WARN, LOG_WARN,
};

static const char *const channel_names[LOG_CHANNELS] = {
    "vm", "cpu", "mmu", "apic", "mem", "bus", "dev", "board",
};
static const char *const level_names[] = { "error", "warn", "info", "debug", "trace" };

/* Guards the name and the counters of guest lines. */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_name[64];
static uint64_t guest_second;
static unsigned guest_lines;
static unsigned guest_dropped;
static _Thread_local int log_vcpu = -1;

void log_set_name(const char *name)
{
    pthread_mutex_lock(&log_lock);
    snprintf(log_name, sizeof(log_name), "%s", name ? name : "");
    pthread_mutex_unlock(&log_lock);
}

void log_set_vcpu(int vcpu)
{
    log_vcpu = vcpu;
}

static int find_name(const char *const names[], size_t n, const char *s, size_t len)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(names[i]) == len && !strncmp(names[i], s, len))
            return (int)i;
    return -1;
}

/* One CHANNEL=LEVEL of len bytes. */
static int configure_one(const char *s, size_t len, char *err, int err_size)
{
    const char *eq = memchr(s, '=', len);
    size_t name_len = eq ? (size_t)(eq - s) : len;
    bool all = name_len == 3 && !strncmp(s, "all", 3);
    int channel = find_name(channel_names, LOG_CHANNELS, s, name_len);
    int level = -1;

    if (eq)
        level = find_name(level_names, ARRAY_SIZE(level_names), eq + 1, len - name_len - 1);
    if (channel < 0 && !all) {
        snprintf(err, (size_t)err_size,
                 "no log channel '%.*s' (known: all vm cpu mmu apic mem bus dev board)",
                 (int)MIN(name_len, 40), s);
        return -EINVAL;
    }
    if (level < 0) {
        snprintf(err, (size_t)err_size,
                 "'%.*s': want CHANNEL=LEVEL, levels: error warn info debug trace",
                 (int)MIN(len, 40), s);
        return -EINVAL;
    }
    for (int i = 0; i < LOG_CHANNELS; i++)
        if (all || i == channel)
            log_levels[i] = (unsigned char)level;
    return 0;
}

int log_configure(const char *spec, char *err, int err_size)
{
    unsigned char old[LOG_CHANNELS];

    memcpy(old, log_levels, sizeof(old));
    for (;;) {
        size_t len = strcspn(spec, ",");
        int ret = configure_one(spec, len, err, err_size);

        if (ret) {
            memcpy(log_levels, old, sizeof(old));
            return ret;
        }
        if (!spec[len])
            return 0;
        spec += len + 1;
    }
}

static void write_line(enum log_channel ch, enum log_level level, const char *fmt, va_list ap)
{
    char line[1024], name[sizeof(log_name)], vcpu[24] = "";
    int saved = errno, n;

    pthread_mutex_lock(&log_lock);
    memcpy(name, log_name, sizeof(name));
    pthread_mutex_unlock(&log_lock);
    if (log_vcpu >= 0)
        snprintf(vcpu, sizeof(vcpu), " vcpu%d", log_vcpu);
    n = snprintf(line, sizeof(line), "%s%s: %s %s: ", name[0] ? name : "bulkhead", vcpu,
                 channel_names[ch], level_names[level]);
    errno = saved; /* for %m */
    n += vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
    n = MIN(n, (int)sizeof(line) - 2);
    line[n] = '\n';
    /* One write for each line, so that lines of threads do not mix.  If
     * stderr is gone there is nobody left to tell. */
    if (write(STDERR_FILENO, line, (size_t)n + 1) < 0)
        errno = saved;
    errno = saved;
}

void log_write(enum log_channel ch, enum log_level level, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    write_line(ch, level, fmt, ap);
    va_end(ap);
}

/* True if one more line may be shown in this second.  *dropped: lines not
 * shown in the second before, to be told once. */
static bool guest_line_allowed(unsigned *dropped)
{
    uint64_t second = host_ns() / NSEC_PER_SEC;
    bool allowed;

    pthread_mutex_lock(&log_lock);
    *dropped = 0;
    if (second != guest_second) {
        *dropped = guest_dropped;
        guest_second = second;
        guest_lines = guest_dropped = 0;
    }
    allowed = guest_lines < GUEST_LINES_PER_SECOND;
    guest_lines += allowed;
    guest_dropped += !allowed;
    pthread_mutex_unlock(&log_lock);
    return allowed;
}

void log_guest_write(enum log_channel ch, const char *fmt, ...)
{
    unsigned dropped;
    va_list ap;

    if (!guest_line_allowed(&dropped))
        return;
    if (dropped)
        log_write(ch, LOG_DEBUG, "(%u lines like the next not shown)", dropped);
    va_start(ap, fmt);
    write_line(ch, LOG_DEBUG, fmt, ap);
    va_end(ap);
}
