/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vm/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <jansson.h>
#include <liburing.h>

#include "base/util.h"
#include "cpu/cpu.h"
#include "engine/kvm/probe.h"

static const char *const level_names[] = { "good", "note", "missing" };

/* One more finding. */
__attribute__((format(printf, 5, 6))) static struct host_finding *add(struct host_report *r,
                                                                      const char *group,
                                                                      const char *name,
                                                                      enum host_level level,
                                                                      const char *fmt, ...)
{
    struct host_finding *f = &r->findings[r->n];
    va_list ap;

    r->n += r->n < HOST_MAX_FINDINGS;
    memset(f, 0, sizeof(*f));
    f->group = group;
    f->level = level;
    snprintf(f->name, sizeof(f->name), "%s", name);
    va_start(ap, fmt);
    vsnprintf(f->value, sizeof(f->value), fmt, ap);
    va_end(ap);
    return f;
}

__attribute__((format(printf, 2, 3))) static void advise(struct host_finding *f, const char *fmt,
                                                         ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(f->advice, sizeof(f->advice), fmt, ap);
    va_end(ap);
}

/* The first line of a file without its end; false: it cannot be read. */
static bool read_line(const char *path, char *text, size_t size)
{
    FILE *f = fopen(path, "re");
    bool good = f && fgets(text, (int)size, f);

    if (f)
        fclose(f);
    if (good)
        text[strcspn(text, "\n")] = 0;
    return good;
}

/* "key: value" or "key value" of a file; false: not there. */
static bool read_key(const char *path, const char *key, char *text, size_t size)
{
    FILE *f = fopen(path, "re");
    bool found = false;
    char line[4096];

    while (f && !found && fgets(line, sizeof(line), f)) {
        if (strncmp(line, key, strlen(key)) != 0)
            continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(text, size, "%s", line + strlen(key) + strspn(line + strlen(key), " \t:"));
        found = true;
    }
    if (f)
        fclose(f);
    return found;
}

/* ---- engines ------------------------------------------------------------------- */

static void add_kvm(struct host_report *r, const struct kvm_probe *p)
{
    /* One that is too slow can be had by name. */
    const bool slow = !p->fair && (p->status == 0 || p->status == -ETIMEDOUT);
    struct host_finding *f = add(r, "engines", "kvm", p->fair ? HOST_GOOD : HOST_MISSING, "%s (%s)",
                                 p->fair ? "can be used"
                                 : slow  ? "not taken by auto"
                                         : "cannot be used",
                                 p->why);

    if (slow)
        advise(f, "this /dev/kvm is a software variant; use the software engine, or ask the "
                  "host's owner for nested virtualization");
    if (p->fair && !r->engine[0])
        snprintf(r->engine, sizeof(r->engine), "kvm");
}

static void look_at_kvm(struct host_report *r, const struct kvm_probe *p)
{
    struct kvm_limits l;

    for (unsigned i = 0; i < PROBE_MODES; i++)
        if (p->ratio[i] > 0)
            add(r, "kvm", kvm_probe_modes[i], p->ratio[i] < KVM_PROBE_LIMIT ? HOST_GOOD : HOST_NOTE,
                "%.1f times native (limit %d)", p->ratio[i], KVM_PROBE_LIMIT);
    add(r, "kvm", "probe", HOST_GOOD, "%.1f ms", (double)p->ns / 1e6);
    if (kvm_limits(&l) < 0)
        return;
    add(r, "kvm", "limits", HOST_GOOD, "%d CPUs, %d memory slots, %u bits of guest addresses",
        l.max_vcpus, l.max_slots, l.phys_bits);
    add(r, "kvm", "TSC scaling", l.tsc_scaling ? HOST_GOOD : HOST_NOTE, "%s",
        l.tsc_scaling ? "yes" : "no: guests get this host's TSC frequency");
}

static void look_at_engines(struct host_report *r)
{
    struct kvm_probe p;

    kvm_probe_run(&p);
    for (unsigned i = 0; engines[i]; i++) {
        char why[240] = "";
        int rc;

        if (strcmp(engines[i]->name, "kvm") == 0) {
            add_kvm(r, &p);
            continue;
        }
        rc = engines[i]->probe(why, sizeof(why));
        add(r, "engines", engines[i]->name, rc == 0 ? HOST_GOOD : HOST_MISSING, "%s%s%s",
            rc == 0 ? "can be used (" : "cannot be used (",
            rc == 0 && !why[0] ? engines[i]->description : why, ")");
        if (rc == 0 && !r->engine[0])
            snprintf(r->engine, sizeof(r->engine), "%s", engines[i]->name);
    }
    add(r, "engines", "auto", r->engine[0] ? HOST_GOOD : HOST_MISSING, "takes %s",
        r->engine[0] ? r->engine : "none");
    look_at_kvm(r, &p);
}

/* ---- CPU --------------------------------------------------------------------------- */

static void look_at_features(struct host_report *r)
{
    static const struct {
        enum cpu_feature feature;
        const char *name;
    } wanted[] = { { F_SSE42, "SSE4.2" },
                   { F_AVX2, "AVX2" },
                   { F_AVX512F, "AVX-512" },
                   { F_BMI2, "BMI2" },
                   { F_AES, "AES" },
                   { F_FSGSBASE, "FSGSBASE" },
                   { F_INVARIANT_TSC, "invariant TSC" } };
    struct cpu_model m;
    char text[200] = "", err[160];

    if (cpu_model_init(&m, "host", 1, 1000000000, err, sizeof(err)) < 0)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
        if (cpu_has(&m, wanted[i].feature))
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", text[0] ? ", " : "",
                     wanted[i].name);
    add(r, "cpu", "guests can have", HOST_GOOD, "%s", text[0] ? text : "the baseline");
}

static void look_at_cpu(struct host_report *r)
{
    struct kvm_cpu_facts facts;
    struct host_finding *f;
    char text[160];

    kvm_cpu_facts(&facts);
    if (read_key("/proc/cpuinfo", "model name", text, sizeof(text)))
        add(r, "cpu", "model", HOST_GOOD, "%s, %ld online", text, sysconf(_SC_NPROCESSORS_ONLN));
    f = add(r, "cpu", "virtualization", facts.vmx || facts.svm ? HOST_GOOD : HOST_MISSING, "%s%s",
            facts.vmx   ? "VT-x"
            : facts.svm ? "AMD-V"
                        : "none",
            facts.hypervisor ? " (this host is a virtual machine)" : "");
    if (f->level == HOST_MISSING)
        advise(f, "%s",
               facts.hypervisor ? "nested virtualization is switched on in the host below "
                                  "this one; without it the software engine runs"
                                : "look in the firmware's setup for VT-x, AMD-V or SVM");
    look_at_features(r);
}

/* ---- memory ------------------------------------------------------------------------- */

static uint64_t meminfo(const char *key)
{
    char text[64];

    return read_key("/proc/meminfo", key, text, sizeof(text)) ? strtoull(text, NULL, 10) * KiB : 0;
}

static void look_at_memory(struct host_report *r)
{
    uint64_t total = meminfo("MemTotal"), available = meminfo("MemAvailable");
    uint64_t pages = meminfo("HugePages_Total") / KiB, size = meminfo("Hugepagesize");
    struct host_finding *f;
    char text[64];

    add(r, "memory", "RAM", HOST_GOOD, "%llu MiB, %llu MiB available",
        (unsigned long long)(total / MiB), (unsigned long long)(available / MiB));
    add(r, "memory", "swap", HOST_GOOD, "%llu MiB",
        (unsigned long long)(meminfo("SwapTotal") / MiB));
    if (read_line("/proc/sys/vm/overcommit_memory", text, sizeof(text))) {
        f = add(r, "memory", "overcommit", text[0] == '2' ? HOST_NOTE : HOST_GOOD, "%s",
                text[0] == '2' ? "strict" : "allowed");
        if (text[0] == '2')
            advise(f, "the software engine's tables need address space that is never used: as "
                      "root, sysctl vm.overcommit_memory=0");
    }
    add(r, "huge pages", "reserved", HOST_GOOD, "%llu of %llu KiB", (unsigned long long)pages,
        (unsigned long long)(size / KiB));
    /* Guest RAM is a memfd: shmem's setting counts. */
    if (read_line("/sys/kernel/mm/transparent_hugepage/shmem_enabled", text, sizeof(text))) {
        bool on = strstr(text, "[never]") == NULL && strstr(text, "[deny]") == NULL;

        f = add(r, "huge pages", "transparent, of memfds", on ? HOST_GOOD : HOST_NOTE, "%s", text);
        if (!on)
            advise(f, "guests with much memory run faster with them: as root, echo advise "
                      ">/sys/kernel/mm/transparent_hugepage/shmem_enabled");
    }
}

/* ---- limits and devices ---------------------------------------------------------------- */

static void look_at_limit(struct host_report *r, int resource, const char *name, uint64_t want,
                          const char *advice)
{
    struct rlimit l;
    struct host_finding *f;
    bool enough;

    if (getrlimit((__rlimit_resource_t)resource, &l) < 0)
        return;
    enough = l.rlim_cur == RLIM_INFINITY || l.rlim_cur >= want;
    if (l.rlim_cur == RLIM_INFINITY)
        f = add(r, "limits", name, HOST_GOOD, "none");
    else
        f = add(r, "limits", name, enough ? HOST_GOOD : HOST_NOTE, "%llu",
                (unsigned long long)l.rlim_cur);
    if (!enough)
        advise(f, "%s", advice);
}

static void look_at_uring(struct host_report *r)
{
    struct io_uring ring;
    struct host_finding *f;
    int rc = io_uring_queue_init(4, &ring, 0);

    if (rc == 0)
        io_uring_queue_exit(&ring);
    f = add(r, "devices", "io_uring", rc == 0 ? HOST_GOOD : HOST_NOTE, "%s",
            rc == 0 ? "yes" : strerror(-rc));
    if (rc < 0)
        advise(f, "disks use threads instead; kernel.io_uring_disabled or a container's seccomp "
                  "filter may forbid it");
}

static void look_at_device(struct host_report *r, const char *path, const char *advice)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct host_finding *f = add(r, "devices", path, fd >= 0 ? HOST_GOOD : HOST_NOTE, "%s",
                                 fd >= 0 ? "can be opened" : strerror(errno));

    if (fd >= 0)
        close(fd);
    else
        advise(f, "%s", advice);
}

void host_look(struct host_report *r)
{
    struct utsname u;

    memset(r, 0, sizeof(*r));
    look_at_engines(r);
    if (uname(&u) == 0)
        add(r, "system", "kernel", HOST_GOOD, "%s %s", u.sysname, u.release);
    look_at_cpu(r);
    look_at_memory(r);
    look_at_limit(
        r, RLIMIT_AS, "address space (ulimit -v)", UINT64_MAX,
        "the translator's tables reserve 1 TiB for each CPU; with a limit they are smaller "
        "and slower: ulimit -v unlimited");
    look_at_limit(r, RLIMIT_NOFILE, "open files (ulimit -n)", 1024, "raise it: ulimit -n 1024");
    look_at_limit(r, RLIMIT_SIGPENDING, "pending signals (ulimit -i)", 1024,
                  "each CPU of the software engine needs a timer: ulimit -i 1024");
    look_at_uring(r);
    look_at_device(r, "/dev/net/tun", "only needed for tap networks; user networks need nothing");
}

/* ---- printing --------------------------------------------------------------------------- */

void host_print(const struct host_report *r, FILE *f)
{
    const char *group = "";

    for (unsigned i = 0; i < r->n; i++) {
        const struct host_finding *x = &r->findings[i];

        if (strcmp(group, x->group) != 0)
            fprintf(f, "%s%s\n", i ? "\n" : "", x->group);
        group = x->group;
        fprintf(f, "  %-24s %s%s\n", x->name, x->level == HOST_MISSING ? "- " : "", x->value);
        if (x->advice[0])
            fprintf(f, "  %-24s   %s\n", "", x->advice);
    }
}

int host_print_json(const struct host_report *r, FILE *f)
{
    json_t *root = json_object();
    int rc;

    json_object_set_new(root, "auto", r->engine[0] ? json_string(r->engine) : json_null());
    for (unsigned i = 0; i < r->n; i++) {
        const struct host_finding *x = &r->findings[i];
        json_t *group = json_object_get(root, x->group);
        json_t *item = json_pack("{s:s, s:s}", "level", level_names[x->level], "value", x->value);

        if (!group) {
            group = json_object();
            json_object_set_new(root, x->group, group);
        }
        if (x->advice[0])
            json_object_set_new(item, "advice", json_string(x->advice));
        json_object_set_new(group, x->name, item);
    }
    rc = json_dumpf(root, f, JSON_INDENT(2) | JSON_ENSURE_ASCII) < 0 || fputc('\n', f) < 0;
    json_decref(root);
    return rc || ferror(f) ? -EIO : 0;
}
