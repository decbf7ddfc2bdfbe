/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vCPU's state goes from one engine to another and back, over the same
 * memory, through struct vcpu_state alone.
 *
 *     transfer [-e ENGINE,ENGINE] [-s SEED] [-k] FOLDER [GUEST...]
 *
 * A tiny guest runs under each of two engines alone and then in turns; they
 * change places after a random number of exits or in the middle of its code,
 * and it must print what it prints alone.  With each change, the state that an engine was
 * given is taken back from it at once and has to be the same.  -k: only that,
 * with states that interp reaches, where KVM cannot run them.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "board/boot.h"
#include "cpu/cpu.h"
#include "x86/x86.h"

#define MEMORY       (16 * MiB)
#define OUTPUT_MAX   65536
#define RUN_LIMIT_NS (40 * NSEC_PER_SEC)
#define ENGINES      2

enum { COM1 = 0x3f8, COM1_LSR = 0x3fd, DEBUG_EXIT = 0xf4 };

struct machine {
    const struct engine_ops *ops[ENGINES];
    struct engine_vm *vm[ENGINES];
    struct vcpu *cpu[ENGINES];
    struct mem *mem;
    struct vm_clock clock;
    struct cpu_model model;
    char output[OUTPUT_MAX];
    size_t len;
    int status; /* -1: runs */
    bool only_compare;
    unsigned changes, differences;
    char why[200];
    _Atomic(struct vcpu *) kicked; /* by the kicking thread */
    _Atomic unsigned kick_engine;
    _Atomic bool quit;
};

static unsigned checks, failures;
static uint64_t seed = 1;

static uint32_t rnd(uint32_t n)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(seed >> 33) % n;
}

static void check(bool good, const char *name, const char *what, const char *detail)
{
    checks++;
    failures += !good;
    printf("%sok %u - %s: %s\n", good ? "" : "not ", checks, name, what);
    if (!good && detail[0])
        printf("# %s\n", detail);
    fflush(stdout);
}

/* ---- states -------------------------------------------------------------------- */

/* What the clock moves, or what has no meaning for one of the two. */
static bool may_differ(const char *field)
{
    static const char *const free[] = { "tsc",
                                        "lapic.timer_deadline_ns",
                                        "lapic.timer_icr",
                                        "lapic.tsc_deadline",
                                        "kvm_wall_clock",
                                        "fcs",
                                        "fds",
                                        "bios_sign_id",
                                        "lapic.esr_pending" };

    for (size_t i = 0; i < ARRAY_SIZE(free); i++)
        if (strcmp(field, free[i]) == 0)
            return true;
    return false;
}

/* Of an unusable segment only base (FS, GS) and selector count; AMD has the
 * limit's granularity as it must be. */
static void normalise(struct vcpu_state *s)
{
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        struct seg_state *g = &s->seg[i];

        if ((g->attr & SEG_ATTR_UNUSABLE) || !(g->attr & SEG_ATTR_P)) {
            g->attr = SEG_ATTR_UNUSABLE | (i == SEG_SS ? g->attr & 3u << SEG_ATTR_DPL_SHIFT : 0);
            g->limit = 0;
        }
        g->attr &= ~SEG_ATTR_AVL;
        if (g->limit <= 0xfffff)
            g->attr &= ~SEG_ATTR_G;
    }
    s->dr6 |= 0xffff0ff0;
    if (!s->exception_pending) {
        s->exception_vector = 0;
        s->exception_has_error = false;
        s->exception_error = 0;
        s->exception_payload = 0;
    }
    /* AMD has one shadow for both. */
    if (s->shadows & (SHADOW_STI | SHADOW_MOV_SS))
        s->shadows |= SHADOW_STI | SHADOW_MOV_SS;
}

static const uint8_t *element(const struct vcpu_state *s, const struct state_field *f, unsigned i,
                              size_t *size)
{
    static const size_t sizes[] = {
        [STATE_U8] = 1, [STATE_U16] = 2, [STATE_U32] = 4, [STATE_U64] = 8, [STATE_BOOL] = 1
    };

    *size = sizes[f->type];
    return (const uint8_t *)s + f->offset + i * *size;
}

static void compare(struct machine *m, const struct vcpu_state *gave, const char *from,
                    const char *to, unsigned engine)
{
    struct vcpu_state a = *gave, b;

    m->ops[engine]->vcpu_get_state(m->cpu[engine], &b);
    normalise(&a);
    normalise(&b);
    for (const struct state_field *f = vcpu_state_desc.fields; f->name; f++)
        for (unsigned i = 0; i < f->count && !may_differ(f->name); i++) {
            size_t size;
            uint64_t x = 0, y = 0;

            memcpy(&x, element(&a, f, i, &size), element(&a, f, i, &size) ? size : 0);
            memcpy(&y, element(&b, f, i, &size), size);
            if (x == y)
                continue;
            if (m->differences++ < 10)
                printf("# %s to %s at RIP %#llx: %s[%u] was %#llx, is %#llx\n", from, to,
                       (unsigned long long)a.rip, f->name, i, (unsigned long long)x,
                       (unsigned long long)y);
        }
}

/* ---- running ---------------------------------------------------------------------- */

static void write_port(struct machine *m, uint16_t port, uint64_t value)
{
    if (port == COM1 && m->len < OUTPUT_MAX - 1)
        m->output[m->len++] = (char)value;
    if (port == DEBUG_EXIT)
        m->status = (int)(uint32_t)value;
}

static void answer_io(struct machine *m, struct cpu_run *run)
{
    for (unsigned i = 0; i < run->io.count; i++) {
        uint8_t *p = run->io_data + (size_t)i * run->io.size;
        uint64_t value = 0;

        if (run->io.write) {
            memcpy(&value, p, run->io.size);
            write_port(m, run->io.port, value);
        } else {
            value = run->io.port == COM1_LSR ? 0x60 : ~0ULL;
            memcpy(p, &value, run->io.size);
        }
    }
}

static void answer(struct machine *m, struct cpu_run *run)
{
    switch (run->exit) {
    case CPU_EXIT_IO: answer_io(m, run); break;
    case CPU_EXIT_MMIO:
        if (!run->mmio.write)
            run->mmio.data = ~0ULL;
        break;
    case CPU_EXIT_EXTINT: run->extint.vector = -1; break;
    case CPU_EXIT_SHUTDOWN: m->status = -2; break;
    case CPU_EXIT_ERROR:
        m->status = -3;
        snprintf(m->why, sizeof(m->why), "%s", run->error.text);
        break;
    default: break;
    }
}

static void clock_run(struct machine *m, bool run)
{
    if (run)
        vm_clock_start(&m->clock);
    else
        vm_clock_stop(&m->clock);
    for (unsigned i = 0; i < ENGINES; i++)
        if (m->vm[i])
            m->ops[i]->clock_changed(m->vm[i]);
}

/* Until n exits, a kick or the end. */
static int run_piece(struct machine *m, unsigned engine, unsigned n)
{
    struct vcpu *cpu = m->cpu[engine];
    struct cpu_run *run = m->ops[engine]->vcpu_page(cpu);
    int rc = 0;

    atomic_store(&m->kick_engine, engine);
    atomic_store(&m->kicked, cpu);
    while (rc == 0 && m->status == -1 && n--) {
        rc = m->ops[engine]->vcpu_run(cpu);
        if (rc < 0 || run->exit == CPU_EXIT_INTR)
            break;
        answer(m, run);
    }
    atomic_store(&m->kicked, NULL);
    /* Complete the last exit. */
    atomic_store(&run->immediate_exit, true);
    while (rc == 0 && m->status == -1) {
        rc = m->ops[engine]->vcpu_run(cpu);
        if (run->exit == CPU_EXIT_INTR)
            break;
        answer(m, run);
    }
    atomic_store(&run->immediate_exit, false);
    return rc;
}

static void *kicker(void *opaque)
{
    struct machine *m = opaque;

    while (!atomic_load(&m->quit)) {
        struct vcpu *cpu = atomic_load(&m->kicked);

        if (cpu)
            m->ops[atomic_load(&m->kick_engine)]->vcpu_kick(cpu);
        usleep(3000);
    }
    return NULL;
}

static int change(struct machine *m, unsigned from, unsigned to)
{
    struct vcpu_state s;
    char err[160] = "";
    int rc;

    clock_run(m, false);
    m->ops[from]->vcpu_get_state(m->cpu[from], &s);
    rc = m->ops[to]->vcpu_set_state(m->cpu[to], &s, err, sizeof(err));
    if (rc < 0)
        snprintf(m->why, sizeof(m->why), "%s does not take it: %s", m->ops[to]->name, err);
    else
        compare(m, &s, m->ops[from]->name, m->ops[to]->name, to);
    clock_run(m, true);
    m->changes++;
    return rc;
}

static int run_guest(struct machine *m, bool both)
{
    const uint64_t end = host_ns() + RUN_LIMIT_NS;
    unsigned engine = 0;
    int rc = 0;

    clock_run(m, true);
    while (rc == 0 && m->status == -1 && host_ns() < end) {
        rc = run_piece(m, engine, both ? 1 + rnd(rnd(8) ? 20 : 200) : 1000000);
        if (rc < 0) {
            snprintf(m->why, sizeof(m->why), "%s cannot run: %s", m->ops[engine]->name,
                     strerror(-rc));
        } else if (both && m->status == -1) {
            rc = change(m, engine, !engine);
            engine = m->only_compare ? engine : !engine;
        }
    }
    clock_run(m, false);
    return rc;
}

/* ---- a machine -------------------------------------------------------------------------- */

static int load(struct machine *m, const char *path, struct vcpu_state *s)
{
    struct boot_source *source;
    struct ram_map map;
    char err[280];
    int rc;

    ram_map_init(&map, MEMORY);
    rc = ram_map_add_slots(&map, m->mem);
    if (rc == 0)
        rc = boot_open(&source, path, NULL, NULL, err, sizeof(err));
    if (rc < 0) {
        snprintf(m->why, sizeof(m->why), "%.190s", err);
        return rc;
    }
    vcpu_state_reset(s, 0, true, false);
    rc = boot_load(source, m->mem, &map, 0, s, err, sizeof(err));
    if (rc < 0)
        snprintf(m->why, sizeof(m->why), "%.190s", err);
    boot_close(source);
    return rc;
}

static int create(struct machine *m, const char *path, uint64_t tsc_hz,
                  const struct engine_ops *const limits[ENGINES])
{
    struct engine_config config = { .clock = &m->clock, .model = &m->model, .ncpus = 1 };
    struct vcpu_state s;
    int rc;

    m->status = -1;
    vm_clock_init(&m->clock);
    rc = mem_create(&m->mem, MEMORY, m->why, sizeof(m->why));
    if (rc == 0)
        rc = load(m, path, &s);
    config.mem = m->mem;
    if (rc == 0)
        rc = cpu_model_init(&m->model, "host", 1, tsc_hz, m->why, sizeof(m->why));
    /* Both have to show the guest the same CPU. */
    for (unsigned i = 0; i < ENGINES && rc == 0; i++)
        if (limits[i]->limit_model)
            rc = limits[i]->limit_model(&m->model, m->why, sizeof(m->why));
    for (unsigned i = 0; i < ENGINES && rc == 0; i++) {
        if (!m->ops[i])
            continue;
        rc = m->ops[i]->vm_create(&m->vm[i], &config, m->why, sizeof(m->why));
        if (rc == 0)
            rc = m->ops[i]->vcpu_create(&m->cpu[i], m->vm[i], 0);
    }
    return rc == 0 ? m->ops[0]->vcpu_set_state(m->cpu[0], &s, m->why, sizeof(m->why)) : rc;
}

static void destroy(struct machine *m)
{
    for (unsigned i = 0; i < ENGINES; i++) {
        if (m->cpu[i])
            m->ops[i]->vcpu_destroy(m->cpu[i]);
        if (m->vm[i])
            m->ops[i]->vm_destroy(m->vm[i]);
    }
    mem_destroy(m->mem);
}

/* ---- a guest ------------------------------------------------------------------------------ */

struct test {
    const char *folder;
    const struct engine_ops *ops[ENGINES];
    uint64_t tsc_hz;
    bool only_compare;
};

enum { BOTH = ENGINES };

/* Under one engine, or in turns. */
static void run_one(struct machine *m, const struct test *t, const char *path, unsigned which)
{
    const bool both = which == BOTH;
    pthread_t thread;
    int rc;

    m->ops[0] = both ? t->ops[0] : t->ops[which];
    m->ops[1] = both ? t->ops[1] : NULL;
    m->only_compare = t->only_compare;
    rc = create(m, path, t->tsc_hz, t->ops);
    if (rc == 0) {
        if (both)
            pthread_create(&thread, NULL, kicker, m);
        rc = run_guest(m, both);
        atomic_store(&m->quit, true);
        if (both)
            pthread_join(thread, NULL);
    }
    if (rc < 0 && !m->why[0])
        snprintf(m->why, sizeof(m->why), "%s", strerror(-rc));
    destroy(m);
}

static bool has_line(const char *text, const char *line, size_t n)
{
    for (; *text; text += strcspn(text, "\n") + 1)
        if (!strncmp(text, line, n))
            return true;
        else if (!strchr(text, '\n'))
            break;
    return false;
}

/* Each line is one that one of the engines gives alone: they may judge a check
 * differently.  The last line counts checks. */
static bool same_output(const struct machine *m, const struct machine *a, const struct machine *b)
{
    const char *p = m->output;

    while (*p && strncmp(p, "end ", 4) != 0) {
        size_t n = strcspn(p, "\n");

        if (!p[n] || (!has_line(a->output, p, n + 1) && !has_line(b->output, p, n + 1))) {
            printf("# not alone: %.*s\n", (int)n, p);
            return false;
        }
        p += n + 1;
    }
    return *p != 0;
}

static void test_guest(const struct test *t, const char *name)
{
    struct machine *alone[ENGINES], *m = calloc(1, sizeof(*m));
    char path[400], what[120];
    bool good = m != NULL;

    snprintf(path, sizeof(path), "%s/%s.elf", t->folder, name);
    for (unsigned i = 0; i < ENGINES; i++) {
        alone[i] = calloc(1, sizeof(*m));
        good = good && alone[i];
        if (good && !(i && t->only_compare))
            run_one(alone[i], t, path, i);
    }
    if (good) {
        run_one(m, t, path, BOTH);
        snprintf(what, sizeof(what), "same state after each of %u changes", m->changes);
        check(m->changes && !m->differences, name, what, m->why);
        snprintf(what, sizeof(what), "the same run in turns of %s and %s", t->ops[0]->name,
                 t->ops[1]->name);
        good = m->status >= 0 && same_output(m, alone[0], alone[!t->only_compare]);
        check(good, name, what, m->why[0] ? m->why : alone[0]->why);
        if (!good)
            printf("# status %d, alone %d; the end of its output: %.*s\n", m->status,
                   alone[0]->status, (int)MIN(m->len, 300u),
                   m->output + m->len - MIN(m->len, 300u));
    }
    for (unsigned i = 0; i < ENGINES; i++)
        free(alone[i]);
    free(m);
}

static const struct engine_ops *find(const char *name)
{
    for (unsigned i = 0; engines[i]; i++)
        if (strcmp(engines[i]->name, name) == 0)
            return engines[i];
    fprintf(stderr, "transfer: no engine %s\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    static const char *const all[] = { "hello32",    "hello64",    "exceptions32", "exceptions64",
                                       "segments32", "segments64", "paging32",     "paging64",
                                       "rings64",    "tasks",      "v86",          "real",
                                       "sys64",      "precise64",  "smc32" };
    struct test t = { .ops = { find("interp"), find("kvm") } };
    char *second;
    int c;

    while ((c = getopt(argc, argv, "e:s:k")) != -1) {
        switch (c) {
        case 's': seed = strtoull(optarg, NULL, 0); break;
        case 'k': t.only_compare = true; break;
        case 'e':
            second = strchr(optarg, ',');
            if (second)
                *second++ = 0;
            t.ops[0] = find(optarg);
            t.ops[1] = find(second ? second : optarg);
            break;
        default: return 2;
        }
    }
    if (optind == argc)
        return 2;
    t.folder = argv[optind++];
    t.tsc_hz = 1000000000;
    for (unsigned i = 0; i < ENGINES; i++)
        if (t.ops[i]->tsc_hz)
            t.tsc_hz = t.ops[i]->tsc_hz(t.tsc_hz);
    printf("# seed %llu\n", (unsigned long long)seed);
    for (size_t i = 0; i < ARRAY_SIZE(all) && optind == argc; i++)
        test_guest(&t, all[i]);
    for (; optind < argc; optind++)
        test_guest(&t, argv[optind]);
    printf("1..%u\n", checks);
    return failures != 0;
}
