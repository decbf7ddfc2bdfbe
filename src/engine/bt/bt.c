/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The translator as an engine: the dispatcher around translated code.
 *
 * 64-bit code runs translated, and 32-bit code with flat segments.  Other
 * modes, and moments in which something
 * has to be looked at between two instructions (single step, breakpoints,
 * alignment checks, shadows, exact counts), run on decoded blocks
 * (engine/soft/blocks.c).
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/bt/bt.h"
#include "engine/bt/host.h"
#include "engine/soft/blocks.h"
#include "engine/soft/contract.h"
#include "engine/soft/seg.h"
#include "engine/soft/simd.h"

#define SIGNAL_STACK (64 * KiB)
#define REP_BATCH 65536
/* A guest idles that executes less in at least this time. */
#define IDLE_NS 1000000000u
#define IDLE_COUNT 20000000u
/* Added to 32 bits: not canonical, so no table has it, or the host faults. */
#define NO_ADDRESS (1ULL << 47)
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)     /* <linux/signal.h> */
#endif

static inline uint64_t read_fs_base(void)
{
    uint64_t v;

    __asm__ volatile("rdfsbase %0" : "=r"(v));
    return v;
}

static inline uint64_t read_gs_base(void)
{
    uint64_t v;

    __asm__ volatile("rdgsbase %0" : "=r"(v));
    return v;
}

static inline void write_fs_base(uint64_t v)
{
    __asm__ volatile("wrfsbase %0" : : "r"(v));
}

static inline void write_gs_base(uint64_t v)
{
    __asm__ volatile("wrgsbase %0" : : "r"(v));
}

/* ---- finding translations --------------------------------------------------------------------------- */

static unsigned block_mode(const struct soft_cpu *c)
{
    unsigned mode = c->mode_key | (c->cpl == 3 ? BT_MODE_USER : 0);

    if (c->code64 && (c->s.cr4 & CR4_FSGSBASE))
        mode |= BT_MODE_FSGSBASE;
    if (c->s.cr0 & CR0_TS)
        return mode;
    if (!(c->s.cr0 & CR0_EM) && (c->s.cr4 & CR4_OSFXSR))
        mode |= BT_MODE_SSE;
    if (!(c->s.cr0 & CR0_EM) && (c->s.cr0 & CR0_NE))
        mode |= BT_MODE_X87;
    if ((c->s.cr4 & CR4_OSXSAVE) && (c->s.xcr0 & 6) == 6)
        mode |= BT_MODE_AVX | ((c->s.xcr0 & 0xe6) == 0xe6 ? BT_MODE_AVX512 : 0);
    return mode;
}

#define PART_SETS (BT_JUMP_SETS / BT_SPACE_PARTS)

static void empty_jumps(struct bt_space *s)
{
    for (; s->touched; s->touched &= s->touched - 1)
        memset(s->jumps.set[(unsigned)__builtin_ctzll(s->touched) * PART_SETS], 0,
               PART_SETS * sizeof(s->jumps.set[0]));
    bt_jump_empty(&s->jumps, 0, 0);
    bt_jump_empty(&s->jumps, 0, 1);
}

/* The jump table of a privilege, for user code of the present address space.  It
 * holds nothing that is out of date: gen is that of its code now. */
static struct bt_space *space_of(struct soft_cpu *c, bool user, uint64_t gen)
{
    const struct bt *bt = bt_of(c);
    struct bt_space *s = &bt_of(c)->spaces[(c->code64 ? 0 : 1 + ASID_MAX) + (user ? 1 + c->asid_slot : 0)];

    /* A jump table has one privilege, but blocks of one mode only. */
    if (unlikely(s->gen != gen) || unlikely(s->mode != bt->mode)) {
        empty_jumps(s);
        s->gen = gen;
        s->mode = bt->mode;
    }
    return s;
}

static struct bt_space *present_space(struct soft_cpu *c)
{
    return space_of(c, c->cpl == 3, c->fetch_gen);
}

static void enter_jump(struct soft_cpu *c, uint64_t pc, const struct tblock *b)
{
    const struct bt *bt = bt_of(c);
    struct bt_space *s = present_space(c);
    unsigned set = bt_jump_set(pc);
    struct bt_jump *j = s->jumps.set[set];

    s->touched |= 1ULL << set / PART_SETS;
    if (j[0].target != pc)
        j[1] = j[0];
    j[0] = (struct bt_jump){ .target = pc, .entry = (uint64_t)(uintptr_t)(bt->rx + bt_saved_entry(b)) };
}

/* An instruction that crosses into the next page; NULL: it cannot be fetched, or
 * there is no room. */
static struct tblock *find_crossing(struct soft_cpu *c, const struct ftlb_entry *first, unsigned offset,
                                    unsigned mode)
{
    const struct ftlb_entry *page2;
    struct tblock *b;

    if (!c->code64 && soft_rip(c) > UINT32_MAX - MEM_PAGE_SIZE)
        return NULL;            /* beyond the limit of CS */
    if (soft_fetch_page(c, (soft_rip(c) & MEM_PAGE_MASK) + MEM_PAGE_SIZE, &page2)) {
        c->exc.vector = 0;      /* whoever runs it will raise it again */
        return NULL;
    }
    b = bt_lookup_crossing(c, first->page, page2->page, offset, mode);
    return b ? b : bt_translate_crossing(c, first, page2, offset, mode);
}

static struct tblock *find_in_page(struct soft_cpu *c, const struct ftlb_entry *page, unsigned offset,
                                   unsigned mode)
{
    const struct ftlb_entry first = *page;      /* the next look-up may replace it */
    struct tblock *b = bt_lookup(c, page->page, offset, mode);
    bool crosses;

    if (b)
        return b;
    crosses = bt_lookup_crossing(c, page->page, BT_NO_PAGE, offset, mode);
    if (!crosses)
        b = bt_translate(c, page, offset, mode, &crosses);
    return crosses ? find_crossing(c, &first, offset, mode) : b;
}

/* The translation at rip: NULL with *r = 0 if it has to run otherwise, with *r
 * = SOFT_FAULT if the fetch faults. */
static struct tblock *find(struct soft_cpu *c, bool plain, int *r)
{
    struct bt *bt = bt_of(c);
    uint64_t pc = soft_rip(c);
    unsigned offset = pc & (MEM_PAGE_SIZE - 1), mode = block_mode(c) | (plain ? BT_MODE_PLAIN : 0);
    const struct ftlb_entry *page;
    struct tblock *b;

    *r = soft_fetch_page(c, pc, &page);
    if (*r)
        return NULL;
    b = find_in_page(c, page, offset, mode);
    if (b && !bt->unchained && !plain)
        enter_jump(c, pc, b);
    return b;
}

/* For tests: what a TLB has lost nobody may notice. */
static void evict(struct soft_cpu *c)
{
    struct bt *bt = bt_of(c);

    bt->random = bt->random * 0x5851f42d4c957f2dULL + 0x14057b7ef767814fULL;
    if (bt->random >> 62 == 0)
        soft_flush_all(c);
}

/* Bring in what happened outside translated code. */
static void catch_up(struct soft_cpu *c)
{
    struct bt *bt = bt_of(c);

    bt->mode = block_mode(c) & ~BT_MODE_USER;
    if (unlikely(c->vm->stress == STRESS_EVICT))
        evict(c);
    if (unlikely(atomic_load(&c->code_changed)) && atomic_exchange(&c->code_changed, false))
        bt_drop_stale(c);
}

/* 32-bit protected mode where only FS and GS may have a base or a limit. */
static bool flat32(const struct soft_cpu *c)
{
    const uint8_t flat = BIT(SEG_ES) | BIT(SEG_SS) | BIT(SEG_DS);
    const struct seg_state *cs = &c->s.seg[SEG_CS];

    return c->mode_key == (1 | MODE_PROT) && (c->flat_segs & flat) == flat && c->ss_mask == UINT32_MAX &&
           !cs->base && cs->limit == UINT32_MAX;
}

static bool translatable(const struct soft_cpu *c)
{
    return (c->code64 || flat32(c)) && (c->cpl == 0 || c->cpl == 3) && !c->single &&
           !(c->shadow & (SHADOW_STI | SHADOW_MOV_SS)) && !c->db_pending &&
           c->tlb != c->tlbs[VIEW_SLOW] && c->s.mp_state == MP_RUNNABLE;
}

/* With an exact count to stop at, blocks come back one by one, and the last
 * instructions are not translated. */
static bool within_count(struct soft_cpu *c)
{
    struct bt *bt = bt_of(c);
    uint64_t stop = c->stop_count;

    bool unchained = stop || c->vm->stress == STRESS_FLUSH;

    if (bt->unchained != unchained || c->vm->stress == STRESS_FLUSH) {
        bt->unchained = unchained;
        bt_cache_flush(bt);
    }
    c->rep_limit = REP_BATCH;
    if (!stop)
        return true;
    if (stop <= c->insn_count + 2 * BT_BLOCK_MAX)
        return false;
    c->rep_limit = MIN(stop - c->insn_count - BT_BLOCK_MAX, REP_BATCH);
    return true;
}

/* Three words: a view's TLB and its tables. */
static void note_view(struct soft_cpu *c, unsigned word, const struct tlb_entry *tlb)
{
    const struct bt_view *v = &bt_of(c)->views[(tlb - c->tlbs[0]) / TLB_SIZE];

    c->words[word] = (uint64_t)(uintptr_t)tlb;
    c->words[word + 1] = (uint64_t)(uintptr_t)v->read;
    c->words[word + 2] = (uint64_t)(uintptr_t)v->write;
}

static void note_base(struct soft_cpu *c, unsigned word, const struct seg_state *s)
{
    c->words[word] = (uint32_t)s->base;
    c->words[word + 1] = seg_is_unlimited(s) ? 0 : NO_ADDRESS;
}

/* What STAC and CLAC (system.c), SYSCALL and SYSRET (syscall.c) go over to. */
static void note_sides(struct soft_cpu *c)
{
    uint64_t kernel = c->shared.fetch_gen, user = c->asids[c->asid_slot].fetch_gen;

    note_view(c, W_AC_VIEWS, c->tlbs[c->s.cr4 & CR4_SMAP ? VIEW_KERNEL : VIEW_KERNEL_AC]);
    note_view(c, W_AC_VIEWS + 3, c->tlbs[VIEW_KERNEL_AC]);
    note_view(c, W_USER_VIEW, c->tlbs[VIEW_USER + c->asid_slot]);
    c->words[W_KERNEL_GEN] = kernel;
    c->words[W_USER_GEN] = user;
    c->words[W_KERNEL_JUMPS] = (uint64_t)(uintptr_t)&space_of(c, false, kernel)->jumps;
    c->words[W_USER_JUMPS] = (uint64_t)(uintptr_t)&space_of(c, true, user)->jumps;
    c->words[W_SIDES_DROPS] = c->drops;
}

static void prepare(struct soft_cpu *c)
{
    note_view(c, W_TLB, c->tlb);
    note_sides(c);
    if (!c->code64) {
        note_base(c, W_BASE_FS, &c->s.seg[SEG_FS]);
        note_base(c, W_BASE_GS, &c->s.seg[SEG_GS]);
    }
    c->words[W_JUMPS] = c->words[c->cpl == 3 ? W_USER_JUMPS : W_KERNEL_JUMPS];
    c->words[W_PAGE] = soft_rip(c) & MEM_PAGE_MASK;
}

/* ---- functions ------------------------------------------------------------------------ */

/* Blocks of the present mode at rip, or NULL: for the dispatcher. */
static const uint8_t *present_code(struct soft_cpu *c)
{
    const struct bt_jump *j = present_space(c)->jumps.set[bt_jump_set(soft_rip(c))];
    const struct tblock *b;
    int r;

    for (unsigned way = 0; way < 2; way++)
        if (j[way].target == soft_rip(c))
            return (const uint8_t *)(uintptr_t)bt_start_of(j[way].entry);
    b = find(c, false, &r);
    if (r)
        c->exc.vector = 0;      /* the dispatcher will raise it again */
    return b ? bt_of(c)->rx + b->start : NULL;
}

/*
 * After an instruction that changed modes, rights or RIP (a system call, a
 * return from one, a fault): where to go on in translated code at once, with
 * the tables of the present mode; NULL if something waits for the dispatcher.
 * C code has no use for GS, and the context is the same below each table.
 */
static const uint8_t *go_on(struct soft_cpu *c)
{
    const uint8_t *code;

    if (bt_of(c)->unchained || bt_of(c)->plain || !translatable(c) ||
        atomic_load_explicit(&c->attention, memory_order_relaxed) ||
        atomic_load_explicit(&c->run->immediate_exit, memory_order_relaxed))
        return NULL;
    catch_up(c);
    code = present_code(c);
    if (code) {
        prepare(c);
        write_gs_base(c->words[W_WTABLE]);
        c->rflags &= ~(uint32_t)X86_RF;
    }
    return code;
}

/* The function's result asks for more than to go on behind it. */
static const uint8_t *settle_function(struct soft_cpu *c, const struct bt_function *f, int r)
{
    const uint8_t *code = NULL;
    unsigned mnemonic = f->mnemonic;    /* f goes with its block if that is evicted */

    if (r == SOFT_NEXT || r == SOFT_STOP)
        soft_rip(c) = (soft_rip(c) + f->insn.len) & c->rip_mask;
    if (r == SOFT_NEXT || r == SOFT_STOP || r == SOFT_JUMP)
        c->insn_count++;
    if (r == SOFT_AGAIN)
        c->rflags |= X86_RF;
    c->pending_exit = soft_settle(c, r);
    if (likely(!c->pending_exit && r != SOFT_AGAIN))
        code = go_on(c);
    if (!code)
        bt_of(c)->calls[mnemonic].left++;
    return code;
}

/* Where code of a block goes on behind a site, or NULL: by a look-up. */
static const uint8_t *behind(const struct bt *bt, const struct tblock *b, const struct site *s)
{
    return s->cont && (s->kind & SITE_BRANCH) != SITE_RET ? bt->rx + b->start + s->cont : NULL;
}

/* Called from translated code, by the `slow` trampoline.  A block does not go
 * on if rights were dropped, since its shared probes would not notice. */
static const uint8_t *call_function(struct soft_cpu *c, uint64_t id)
{
    struct bt *bt = bt_of(c);
    const struct tblock *b = bt_block(bt, (uint32_t)id);
    const struct site *s = &bt_sites(b)[bt_number((uint32_t)id)];
    const uint8_t *cont = behind(bt, b, s);
    const struct bt_function *f;
    uint64_t drops = c->drops, count = c->insn_count;
    bool stale;
    int r;

    soft_rip(c) = c->words[W_PAGE] + s->offset;
    f = bt_lowered(c, (uint32_t)id, &stale);
    if (unlikely(!f)) {
        c->insn_count += s->index;
        c->pending_exit = 0;
        return go_on(c);
    }
    bt->functions++;
    if (s->kind & SITE_FUNCTION)
        bt->calls[f->mnemonic].always++;
    else
        bt->calls[f->mnemonic].missed++;
    c->block_end = &f->insn;
    c->rflags &= ~(uint32_t)X86_RF;
    r = f->insn.fn(c, &f->insn);
    bt->iterations += c->insn_count - count;
    if (likely(r == SOFT_NEXT && c->block_end && (uint64_t)(uintptr_t)c->tlb == c->words[W_TLB] &&
               c->drops == drops && cont && !stale)) {
        soft_io_done(c);
        return cont;
    }
    c->insn_count += s->index;
    return settle_function(c, f, r);
}

/* A direct jump between blocks of one page, once its target is known. */
static const uint8_t *call_link(struct soft_cpu *c, uint64_t id)
{
    struct bt *bt = bt_of(c);
    const struct link *l = &bt_links(bt_block(bt, (uint32_t)id))[bt_number((uint32_t)id)];
    uint64_t discards = bt->discards;
    bool plain = l->target & LINK_PLAIN;
    struct tblock *b;
    int r;

    soft_rip(c) = c->words[W_PAGE] + (l->target & LINK_TARGET);
    c->pending_exit = 0;
    catch_up(c);
    b = find(c, plain, &r);
    if (r)
        c->exc.vector = 0;      /* the dispatcher will raise it again */
    bt->plain = plain;
    if (!b || bt->unchained)
        return NULL;
    if (bt->discards == discards)   /* else the link may be gone */
        bt_link_bind(bt, (uint32_t)id, b);
    bt->plain = false;
    return bt->rx + b->start + b->code;
}

/* A branch to an address that is not canonical faults itself: take it back.  What
 * a call has written below the stack stays, as on CPUs. */
static int undo_branch(struct soft_cpu *c)
{
    uint32_t w = (uint32_t)c->words[W_SITE];
    bool direct = w & MISS_DIRECT;
    const struct site *s = direct ? NULL : &bt_sites(bt_block(bt_of(c), w))[bt_number(w)];
    unsigned branch = !direct ? s->kind & SITE_BRANCH : w & MISS_CALL ? SITE_CALL : SITE_OTHER;

    c->insn_count--;
    soft_rip(c) = c->words[W_PAGE] + (direct ? w & (MEM_PAGE_SIZE - 1) : s->offset);
    if (branch == SITE_RET)
        c->gpr[CPU_RSP] -= 8u + s->cont;
    else if (branch == SITE_CALL)
        c->gpr[CPU_RSP] += 8;
    return soft_settle(c, soft_gp0(c));
}

static const uint8_t *call_miss(struct soft_cpu *c, uint64_t arg)
{
    (void)arg;
    c->pending_exit = 0;
    bt_of(c)->misses++;
    if (unlikely(!x86_canonical(soft_rip(c))) && c->words[W_SITE]) {
        c->pending_exit = undo_branch(c);
        return NULL;
    }
    return go_on(c);
}

/* Called from translated code while each block is recorded: arg is the block's
 * offset in its page, behind 16 bits the flags that are right there, and
 * behind 32 where the code goes on. */
static const uint8_t *call_record(struct soft_cpu *c, uint64_t arg)
{
    soft_rip(c) = c->words[W_PAGE] + (arg & 0xffff);
    soft_tape_block(c, arg >> 16 & 0xffff);
    return bt_of(c)->rx + (arg >> 32);
}

/* ---- the dispatcher --------------------------------------------------------------------- */

static int decoded_piece(struct soft_cpu *c)
{
    struct bt *bt = bt_of(c);
    uint64_t count = c->insn_count;
    int r = soft_run_piece(c);

    bt->decoded += c->insn_count - count;
    return r;
}

/* A guest that has little to do gets by with less code. */
static void look_for_idleness(struct soft_cpu *c)
{
    struct bt *bt = bt_of(c);
    struct timespec t;
    uint64_t now, ran = c->insn_count - bt->looked_count;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    now = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
    if (likely(now - bt->looked_ns < IDLE_NS))
        return;
    if (ran < IDLE_COUNT)
        bt_cache_shrink(bt);
    bt->looked_ns = now;
    bt->looked_count = c->insn_count;
}

static int piece(struct soft_cpu *c)
{
    struct bt *bt = bt_of(c);
    bool plain = bt->plain;
    struct tblock *b;
    uint64_t count;
    uint32_t rf;
    int r;

    bt->plain = false;
    if (!translatable(c) || !within_count(c))
        return decoded_piece(c);
    catch_up(c);
    look_for_idleness(c);
    b = find(c, plain, &r);
    if (r)
        return soft_settle(c, r);
    if (!b)
        return decoded_piece(c);
    prepare(c);
    bt->entries++;
    count = c->insn_count;
    rf = c->rflags & X86_RF;
    c->rflags &= ~(uint32_t)X86_RF;
    r = bt->enter(c, bt->rx + b->start);
    if (unlikely(rf) && r == LEAVE_ATTENTION && count == c->insn_count)
        c->rflags |= rf;        /* it had no time for an instruction */
    return r == LEAVE_FUNCTION ? c->pending_exit : 0;
}

/* ---- host faults ---------------------------------------------------------------------------- */

/*
 * An inline access whose guest address was not canonical, a division that
 * faults: the instruction's function raises what the architecture says.  The
 * handler runs with the FS and GS of translated code, on a stack of its own
 * since RSP is the guest's: no thread-local storage here.
 */
static const int fault_signals[] = { SIGSEGV, SIGBUS, SIGFPE };
static struct sigaction old_action[ARRAY_SIZE(fault_signals)];

static const struct sigaction *old_action_of(int sig)
{
    unsigned n = 0;

    while (fault_signals[n] != sig)
        n++;
    return &old_action[n];
}

static struct soft_cpu *cpu_at(uintptr_t pc)
{
    uint64_t gs = read_gs_base();
    struct soft_cpu *c;

    if (!gs)
        return NULL;
    c = (struct soft_cpu *)(uintptr_t)*(const uint64_t *)(gs + (uint64_t)(int64_t)CTX_WORD(W_SELF));
    return pc - (uintptr_t)bt_of(c)->rx < bt_of(c)->code_size ? c : NULL;
}

/* The trampoline that calls the site's function; R11 has to be the id. */
static const uint8_t *call_of_site(const struct bt *bt, uint32_t id)
{
    unsigned kind = bt_sites(bt_block(bt, id))[bt_number(id)].kind;

    return bt->rx + (bt->slow[!!(kind & SITE_SAVED)][kind >> SITE_LIVE_SHIFT] - bt->rw);
}

static void on_fault(int sig, siginfo_t *info, void *opaque)
{
    ucontext_t *uc = opaque;
    uintptr_t pc = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
    struct soft_cpu *c = cpu_at(pc);
    uint32_t id = c ? bt_find_site(bt_of(c), pc) : 0;
    const struct sigaction *old = old_action_of(sig);

    if (id) {
        uc->uc_mcontext.gregs[REG_R11] = id;
        uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)call_of_site(bt_of(c), id);
        return;
    }
    if (c)
        write_fs_base(c->words[W_HOST_FS]);
    /* SIGFPE may be that of a stub (soft/stub.c).  Ours is a bug: let it happen
     * again without this handler. */
    if (sig == SIGFPE && !c && (old->sa_flags & SA_SIGINFO))
        old->sa_sigaction(sig, info, opaque);
    else
        sigaction(sig, old, NULL);
    /* Sent by a process (kill), it does not happen again by itself. */
    if (info->si_code <= 0)
        syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), sig);
}

/* The signal stack that a thread had before comes back when it ends: whoever
 * gave it one, such as a sanitizer, takes it away then. */
static pthread_key_t former_stack;
static int no_key;              /* errno of its creation */

static void give_back(void *former)
{
    sigaltstack(former, NULL);
    free(former);
}

static void install_handlers(void)
{
    struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };

    sigemptyset(&sa.sa_mask);
    for (unsigned n = 0; n < ARRAY_SIZE(fault_signals); n++)
        sigaction(fault_signals[n], &sa, &old_action[n]);
    no_key = pthread_key_create(&former_stack, give_back);
}

/* On the vCPU's thread, once for each. */
static int thread_setup(struct soft_cpu *c)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct bt *bt = bt_of(c);
    stack_t ss = { .ss_size = SIGNAL_STACK, .ss_flags = (int)SS_AUTODISARM }, *former;

    c->words[W_HOST_FS] = read_fs_base();
    if (bt->threaded && pthread_equal(bt->thread, pthread_self()))
        return 0;
    pthread_once(&once, install_handlers);
    if (no_key)
        return -no_key;
    former = pthread_getspecific(former_stack);
    if (!former) {
        former = malloc(sizeof(*former));
        if (!former || sigaltstack(NULL, former) || pthread_setspecific(former_stack, former)) {
            free(former);
            return -ENOMEM;
        }
    }
    ss.ss_sp = bt->signal_stack;
    bt->thread = pthread_self();
    bt->threaded = true;
    return sigaltstack(&ss, NULL) ? -errno : 0;
}

/* ---- the contract ----------------------------------------------------------------------------- */

static int probe(char *why, int why_size)
{
    if (!bt_host_fits()) {
        snprintf(why, (size_t)why_size, "it needs BMI1, BMI2 and FSGSBASE, which this host does not offer");
        return -ENOTSUP;
    }
    return 0;
}

/* Somebody wrote to code: vCPUs look at the versions before their next block. */
static void code_changed(void *opaque, uint64_t page)
{
    struct soft_vm *vm = opaque;

    for (unsigned n = 0; n < vm->ncpus; n++)
        if (vm->cpus[n]) {
            code_pages_add(&vm->cpus[n]->changed, page);
            atomic_store(&vm->cpus[n]->code_changed, true);
            atomic_fetch_or(&vm->cpus[n]->attention, ATT_CHANGED);
        }
}

static int vm_create(struct engine_vm **vm, const struct engine_config *config, char *err, int err_size)
{
    int ret = soft_op_vm_create(vm, config, err, err_size);

    if (!ret) {
        config->mem->code_opaque = &(*vm)->soft;
        config->mem->code_changed = code_changed;
    }
    return ret;
}

static void vm_destroy(struct engine_vm *vm)
{
    vm->soft.mem->code_changed = NULL;
    soft_op_vm_destroy(vm);
}

static void translator_destroy(struct soft_cpu *c)
{
    struct bt *bt = bt_of(c);

    c->tables = NULL;
    c->translator = NULL;
    if (!bt)
        return;
    bt_tables_destroy(bt);
    bt_cache_destroy(bt);
    if (bt->perf_map)
        fclose(bt->perf_map);
    free(bt->signal_stack);
    free(bt->forms);
    free(bt->scratch);
    free(bt);
}

static int translator_create(struct soft_cpu *c)
{
    static const struct bt_calls_of_code calls = { .function = call_function, .record = call_record,
                                                   .miss = call_miss, .link = call_link };
    struct bt *bt = calloc(1, sizeof(*bt));

    c->translator = bt;
    if (!bt)
        return -ENOMEM;
    bt->block_max = c->vm->stress == STRESS_ONE_INSN ? 1 : BT_BLOCK_MAX;
    bt->scratch = bt_translation_create();
    bt->forms = bt_forms_create();
    bt->signal_stack = malloc(SIGNAL_STACK);
    if (!bt->scratch || !bt->signal_stack || bt_cache_create(bt, c->vm->tb_size) || bt_tables_create(c))
        return -ENOMEM;
    bt_emit_trampolines(bt, c->vm->model, &calls);
    if (c->vm->perf_map)
        bt_perf_open(bt);
    soft_flush_all(c);
    c->tables = &bt_tables;
    return 0;
}

static void vcpu_destroy(struct vcpu *vcpu)
{
    translator_destroy((struct soft_cpu *)vcpu);
    soft_vcpu_destroy(vcpu);
}

/* Without memory for the translator the guest runs all the same, more slowly. */
static int vcpu_create(struct vcpu **out, struct engine_vm *vm, unsigned id)
{
    struct soft_cpu *c;
    int ret = soft_vcpu_create(out, vm, id);
    unsigned slots;

    if (ret)
        return ret;
    c = (struct soft_cpu *)*out;
    slots = c->asid_slots;
    c->words[W_SELF] = (uint64_t)(uintptr_t)c;
    c->words[W_LOW_AWAY] = c->words[W_HIGH_AWAY] = c->words[W_X87_AWAY] = 1;
    c->words[W_HOST_MXCSR] = MXCSR_DEFAULT;
    if (translator_create(c)) {
        translator_destroy(c);
        c->asid_slots = slots;
        log_warn(LOG_CPU, "CPU %u: no memory for translated code, so it is interpreted and slow; "
                          "more memory (ulimit -v, the container's limit) helps", id);
    }
    return 0;
}

static int vcpu_run(struct vcpu *vcpu)
{
    struct soft_cpu *c = (struct soft_cpu *)vcpu;
    int ret;

    if (!bt_of(c))
        return soft_run(c, soft_run_piece);
    ret = thread_setup(c);
    return ret ? ret : soft_run(c, piece);
}

/* Where instructions were executed.  One REP instruction is a call; its
 * iterations, which the guest's count has too, stand by themselves. */
static void run_info(struct soft_cpu *c, FILE *f)
{
    const struct bt *bt = bt_of(c);
    uint64_t all = c->insn_count - bt->iterations, outside = bt->functions + bt->decoded;
    uint64_t inside = all > outside ? all - outside : 0;

    fprintf(f, "cpu %u: executed %llu in translated code (%.3f %%), %llu in functions, %llu in decoded blocks; "
            "%llu iterations of string instructions\n", c->id, (unsigned long long)inside,
            all ? 100.0 * (double)inside / (double)all : 0.0, (unsigned long long)bt->functions,
            (unsigned long long)bt->decoded, (unsigned long long)bt->iterations);
}

static void vcpu_info(struct vcpu *vcpu, FILE *f)
{
    struct soft_cpu *c = (struct soft_cpu *)vcpu;
    const struct bt *bt = bt_of(c);

    soft_blocks_info(c, f);
    if (!bt) {
        fprintf(f, "cpu %u: nothing is translated: there was no memory for it\n", c->id);
        return;
    }
    bt_tables_info(c, f);
    run_info(c, f);
    bt_cache_info(bt, c->id, f);
    fprintf(f, "cpu %u: entries %llu, functions called %llu, jumps not in the jump table %llu\n", c->id,
            (unsigned long long)bt->entries, (unsigned long long)bt->functions, (unsigned long long)bt->misses);
    bt_calls_info(bt, f);
}

const struct engine_ops engine_bt = {
    .name = "bt",
    .description = "software, binary translation",
    .probe = probe,
    .vm_create = vm_create,
    .vm_destroy = vm_destroy,
    .vcpu_create = vcpu_create,
    .vcpu_destroy = vcpu_destroy,
    .vcpu_run = vcpu_run,
    .vcpu_info = vcpu_info,
    SOFT_COMMON_OPS,
};
