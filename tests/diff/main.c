/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Options, schedule and counts.  Forms take turns: the one that has run least
 * comes next, until each has run at least MIN_RUNS times and the number of
 * cases is reached.  All follows from the seed.
 */
#include "diff.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"

#define MIN_RUNS 50
#define MAX_REPORTS 400

static struct options {
    uint64_t cases, seed;
    const char *engine, *form;
    enum cpu_stress stress;
    uint64_t tb_size;
    unsigned modes, reports, single, runs;
    bool brief, quiet;
} opt = {.cases = 200000, .engine = "interp", .modes = 7, .reports = 20, .runs = MIN_RUNS};

static struct totals {
    uint64_t cases, insns, failed, hung, killed, unmade;
} total;

static unsigned *active[MODE_COUNT], nactive[MODE_COUNT];
static unsigned *order, norder;         /* all forms that are to run */

static unsigned pick_filler(struct rng *r, enum mode mode)
{
    unsigned best = active[mode][rnd_below(r, nactive[mode])];

    /* Of two, the one that has run less. */
    for (unsigned i = 0; i < 2; i++) {
        unsigned k = active[mode][rnd_below(r, nactive[mode])];

        if (form_get(k)->ran < form_get(best)->ran)
            best = k;
    }
    return best;
}

static void select_forms(void)
{
    regex_t re;
    unsigned n = forms_count();

    if (opt.form && regcomp(&re, opt.form, REG_EXTENDED | REG_NOSUB)) {
        fprintf(stderr, "difftest: bad regular expression '%s'\n", opt.form);
        exit(2);
    }
    order = calloc(n + 1, sizeof(*order));
    for (unsigned m = 0; m < MODE_COUNT; m++)
        active[m] = calloc(n + 1, sizeof(*active[m]));
    for (unsigned i = 0; i < n; i++) {
        struct form *f = form_get(i);
        struct insn_text name = form_text(&f->key);

        if (f->excluded || (opt.form && regexec(&re, name.s, 0, NULL, 0)))
            continue;
        active[f->key.mode][nactive[f->key.mode]++] = i;
        order[norder++] = i;
    }
    if (opt.form)
        regfree(&re);
}

/* A byte pair that would call the host's kernel must not be there to jump into. */
static bool has_system_call(const struct test_case *t)
{
    for (unsigned i = 0; i + 1 < SEQ_BYTES; i++) {
        const uint8_t *p = t->code + i;

        if ((p[0] == 0xcd && p[1] == 0x80) || (p[0] == 0x0f && (p[1] == 0x05 || p[1] == 0x34)))
            return true;
    }
    return false;
}

static unsigned next_form(struct rng *r)
{
    static unsigned at;

    /* In turn, but forms that have run often enough wait for the others. */
    for (unsigned i = 0; i < norder; i++) {
        at = (at + 1) % norder;
        if (form_get(order[at])->ran < opt.runs)
            return order[at];
    }
    return order[rnd_below(r, norder)];
}

static void make_case(struct test_case *t, uint64_t id)
{
    struct rng seed = {opt.seed}, r = {rnd(&seed) + id * 0xd1342543de82ef95u};

    for (;;) {
        unsigned form = next_form(&r);

        if (gen_case(t, &r, form, opt.single || rnd_pct(&r, 60), pick_filler) && !has_system_call(t)) {
            if (opt.single && t->n > 1) {
                memset(t->code + t->off[1], 0xcc, SEQ_BYTES - t->off[1]);
                t->n = 1;
            }
            t->id = id;
            return;
        }
        if (++total.unmade > opt.cases * 4 + 100000) {
            fprintf(stderr, "difftest: cannot make cases of form %s\n", form_text(&form_get(form)->key).s);
            exit(1);
        }
    }
}

static void count_case(const struct test_case *t, const struct outcome *o)
{
    bool retired;
    unsigned n = case_ran(t, o, &retired);

    for (unsigned i = 0; i < n; i++) {
        struct form *f = form_get(t->form[i]);

        f->ran++;
        if (i + 1 < n || retired)
            f->retired++;
    }
    total.insns += n;
}

static void report_failure(struct test_case *t)
{
    static struct outcome guest;
    bool retired;
    unsigned n;

    minimise(t);
    if (run_pair(t, &guest))
        return;
    n = case_ran(t, native_outcomes(), &retired);
    while (n > 1 && t->code[t->off[n - 1]] == 0x90)     /* dropped */
        n--;
    printf("case %" PRIu64 " differs (%s):\n", t->id, form_text(&form_get(t->form[n ? n - 1 : 0])->key).s);
    report_case(t, stdout);
    if (!compare(t, native_outcomes(), &guest, stdout))
        printf("    (not again)\n");
    fflush(stdout);
}

static struct test_case failures[MAX_REPORTS];
static unsigned nfailures;
static struct outcome guest_out[BATCH];

/* One report for a form is enough. */
static void note_failure(const struct test_case *t, const struct outcome *o)
{
    bool retired;
    unsigned n = case_ran(t, o, &retired);
    struct form *f = form_get(t->form[n ? n - 1 : 0]);

    total.failed++;
    if (!f->failed++ && nfailures < MIN(opt.reports, MAX_REPORTS))
        failures[nfailures++] = *t;
}

/* Both sides of a batch; the child has a processor of its own, if there are two. */
static int run_both(unsigned n)
{
    struct test_case *t = native_cases();
    int r = native_start(n);

    if (r)
        return r;
    if (guest_ready()) {
        for (unsigned i = 0; i < n; i++)
            guest_run(&t[i], &guest_out[i]);
        return native_wait();
    }
    /* The host against itself: what differs here is this program's fault. */
    r = native_wait();
    if (r)
        return r;
    memcpy(guest_out, native_outcomes(), n * sizeof(guest_out[0]));
    r = native_start(n);
    return r ? r : native_wait();
}

static int run_batch(unsigned n)
{
    struct test_case *t = native_cases();
    const struct outcome *o = native_outcomes();
    int r;

    for (unsigned i = 0; i < n; i++)
        make_case(&t[i], total.cases + i);
    r = run_both(n);
    if (r)
        return r;
    for (unsigned i = 0; i < n; i++) {
        total.hung += o[i].status == ST_HUNG;
        total.killed += o[i].status == ST_KILLED;
        if (o[i].status != ST_OK)
            continue;
        count_case(&t[i], &o[i]);
        if (compare(&t[i], &o[i], &guest_out[i], NULL))
            note_failure(&t[i], &o[i]);
    }
    total.cases += n;
    return 0;
}

static bool all_ran(void)
{
    for (unsigned i = 0; i < norder; i++)
        if (form_get(order[i])->ran < opt.runs)
            return false;
    return true;
}

static unsigned print_forms(void)
{
    unsigned few = 0, excluded = 0, never = 0;

    for (unsigned i = 0; i < forms_count(); i++) {
        const struct form *f = form_get(i);

        excluded += f->excluded != NULL;
        if (!opt.brief && (f->ran || !opt.form))
            printf("%7u %7u %6u  %s%s%s\n", f->ran, f->retired, f->failed, form_text(&f->key).s,
                   f->excluded ? "  excluded: " : "", f->excluded ? f->excluded : "");
    }
    for (unsigned i = 0; i < norder; i++) {
        const struct form *f = form_get(order[i]);

        never += !f->retired;
        if (f->ran < opt.runs) {
            few++;
            printf("form ran %u times only: %s\n", f->ran, form_text(&f->key).s);
        }
    }
    printf("%u forms, %u excluded, %u always fault, %u ran fewer than %u times\n", forms_count(), excluded,
           never, few, opt.runs);
    return few;
}

static void progress(uint64_t start)
{
    static uint64_t last;
    uint64_t now = host_ns();

    if (opt.quiet || now - last < 2 * NSEC_PER_SEC)
        return;
    last = now;
    fprintf(stderr, "%" PRIu64 " cases, %" PRIu64 " instructions, %" PRIu64 " differ, %" PRIu64 " cases/s\n",
            total.cases, total.insns, total.failed,
            total.cases * 1000 / MAX((now - start) / 1000000, 1));
}

static int usage(int status)
{
    fprintf(status ? stderr : stdout,
            "usage: difftest [--cases N] [--seed N] [--form REGEX] [--mode 64|32|16]...\n"
            "                [--engine NAME] [--reports N] [--runs N] [--single]\n"
            "                [--stress one-insn|flush|evict] [--tb-size BYTES] [--brief] [--quiet]\n"
            "Runs generated instruction sequences on the host CPU and in an engine.\n"
            "  --runs N  each form runs at least so often (50)\n"
            "  --engine native  the host against itself\n"
            "  --single  sequences of one instruction\n"
            "  --brief   no counts of each form (ran, retired, differed)\n");
    return status;
}

static uint64_t random_seed(void)
{
    uint64_t v = host_ns() ^ (uint64_t)getpid() << 40;
    struct rng r = {v};

    return rnd(&r) & 0xffffffff;
}

static bool parse_mode(const char *s, bool *first)
{
    unsigned m = !strcmp(s, "64") ? MODE_64 : !strcmp(s, "32") ? MODE_32 : !strcmp(s, "16") ? MODE_16 : MODE_COUNT;

    if (m == MODE_COUNT)
        return false;
    opt.modes = (*first ? 0 : opt.modes) | 1u << m;
    *first = false;
    return true;
}

static bool parse_stress(const char *s)
{
    opt.stress = !strcmp(s, "one-insn") ? STRESS_ONE_INSN : !strcmp(s, "flush") ? STRESS_FLUSH :
                 !strcmp(s, "evict") ? STRESS_EVICT : STRESS_NONE;
    return opt.stress != STRESS_NONE;
}

static int parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"cases", 1, NULL, 'c'}, {"seed", 1, NULL, 's'}, {"form", 1, NULL, 'f'}, {"mode", 1, NULL, 'm'},
        {"engine", 1, NULL, 'e'}, {"reports", 1, NULL, 'r'}, {"runs", 1, NULL, 'n'}, {"single", 0, NULL, '1'}, {"brief", 0, NULL, 'b'},
        {"stress", 1, NULL, 'S'}, {"tb-size", 1, NULL, 't'}, {"quiet", 0, NULL, 'q'}, {"help", 0, NULL, 'h'}, {0},
    };
    bool first_mode = true;
    int c;

    opt.seed = random_seed();
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'c': opt.cases = strtoull(optarg, NULL, 0); break;
        case 's': opt.seed = strtoull(optarg, NULL, 0); break;
        case 'f': opt.form = optarg; break;
        case 'e': opt.engine = optarg; break;
        case 'r': opt.reports = (unsigned)strtoul(optarg, NULL, 0); break;
        case 'n': opt.runs = (unsigned)strtoul(optarg, NULL, 0); break;
        case '1': opt.single = 1; break;
        case 'b': opt.brief = true; break;
        case 'q': opt.quiet = true; break;
        case 't': opt.tb_size = strtoull(optarg, NULL, 0); break;
        case 'S':
            if (parse_stress(optarg))
                break;
            return usage(2);
        case 'h': exit(usage(0));
        case 'm':
            if (parse_mode(optarg, &first_mode))
                break;
            return usage(2);
        default: return usage(2);
        }
    }
    return optind == argc ? 0 : usage(2);
}

static int run_all(void)
{
    uint64_t start = host_ns();

    while (total.cases < opt.cases || (!all_ran() && total.cases < opt.cases * 2 + 60 * (uint64_t)norder)) {
        int r = run_batch(BATCH);

        if (r) {
            fprintf(stderr, "difftest: the native side failed: %s\n", strerror(-r));
            return 1;
        }
        progress(start);
    }
    for (unsigned i = 0; i < nfailures; i++)
        report_failure(&failures[i]);
    return 0;
}

int main(int argc, char **argv)
{
    static struct cpu_model model;
    char err[200];
    unsigned few;
    int r = parse(argc, argv);

    if (r)
        return r;
    setvbuf(stdout, NULL, _IOLBF, 0);
    compare_init();
    r = native_init();
    if (r)
        return r == -ENOTSUP ? 77 : 1;
    if (cpu_model_init(&model, "host", 1, 1000000000, err, sizeof(err))) {
        fprintf(stderr, "difftest: %s\n", err);
        return 1;
    }
    if (strcmp(opt.engine, "native") && guest_init(opt.engine, &model, opt.stress, opt.tb_size))
        return 1;
    forms_init(&model, opt.modes);
    select_forms();
    printf("seed %" PRIu64 ", %u forms, engine %s\n", opt.seed, norder, opt.engine);
    if (!norder)
        return usage(2);
    if (run_all())
        return 1;
    exclude_print(stdout);
    few = print_forms();
    printf("%" PRIu64 " instructions; %" PRIu64 " cases dropped (%" PRIu64 " endless, %" PRIu64 " killed the process)\n",
           total.insns, total.hung + total.killed, total.hung, total.killed);
    guest_exit();
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n",
           total.cases - total.failed - total.hung - total.killed, total.failed + few);
    return total.failed || few;
}
