/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the software engines share: the vCPU, the lowered instruction, and one
 * C function for each instruction (the interpreter's body and the
 * translator's fallback).
 *
 * An instruction function gets the vCPU with rip at its own first byte and
 * returns an enum soft_result.  Commit rule: it changes nothing that the
 * guest can see before its last access that can fault.  An access to MMIO or
 * a port returns SOFT_EXIT; the instruction is then executed again from its
 * start, and soft_mem's log answers the accesses that were made already, so
 * such functions must be deterministic until they commit.
 *
 * Threads: a soft_cpu belongs to the thread that runs it.  Other threads only
 * touch its `attention` word and the atomics of `struct soft_inbox`.
 */
#ifndef ENGINE_SOFT_SOFT_H
#define ENGINE_SOFT_SOFT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/util.h"
#include "cpu/cpu.h"
#include "cpu/tape.h"
#include "x86/x86.h"

struct soft_cpu;
struct insn;

enum soft_result {
    SOFT_NEXT,      /* done; rip goes on by len */
    SOFT_JUMP,      /* done; rip is set */
    SOFT_STOP,      /* done, rip goes on by len; modes, rights or shadows changed: leave the block */
    SOFT_AGAIN,     /* REP iterations done, more to do; rip stays, iterations are counted */
    SOFT_FAULT,     /* c->exc is set, nothing else has changed; not retired */
    SOFT_EXIT,      /* c->run holds an exit; to be executed again */
};

typedef int (*insn_fn)(struct soft_cpu *c, const struct insn *i);

/*
 * A lowered instruction.  reg, rm, vreg, base and index of general registers
 * are byte offsets into c->gpr (so that AH is 1 and "no register" is the slot
 * that is always 0); of other registers (segment, control, SIMD) reg, rm and
 * vreg are numbers.
 */
struct insn {
    insn_fn fn;
    union {
        uint64_t imm;       /* immediate, sign-extended; moffs: the offset; branch: displacement */
        const void *aux;    /* what a class of instructions needs beside */
    };
    int32_t disp;           /* rip-relative: from the instruction's start */
    uint8_t len;            /* bytes */
    uint8_t reg;            /* ModRM.reg, or the register in the opcode, or an implied one */
    uint8_t rm;             /* ModRM.rm if it is a register */
    uint8_t vreg;           /* VEX.vvvv */
    uint8_t base, index;    /* of the memory operand */
    uint8_t scale;          /* shift: 0 to 3 */
    uint8_t seg;            /* SEG_* of the memory operand, overrides applied */
    uint8_t osize;          /* operand size in bytes */
    uint8_t asize;          /* address size in bytes: 2, 4, 8 */
    uint16_t flags;         /* INSN_* */
};

#define INSN_MEM (1u << 0)      /* has a memory operand (ModRM or moffs) */
#define INSN_LOCK (1u << 1)
#define INSN_REP (1u << 2)      /* F3 */
#define INSN_REPNE (1u << 3)    /* F2 */
#define INSN_FLAT (1u << 4)     /* linear address = base + index + disp: 64-bit, no FS or GS */
#define INSN_CODE64 (1u << 5)   /* decoded in 64-bit mode */
#define INSN_O16 (1u << 6)      /* has a 66 prefix */
#define INSN_FAR (1u << 7)
#define INSN_SIMD (1u << 8)     /* aux is a struct simd_op */

#define GPR_RIP (16 * 8)        /* byte offsets into gpr */
#define GPR_ZERO (17 * 8)
#define GPR_STEP (19 * 8)        /* a constant: makes room in a displacement */
#define GPR_STEP_VALUE 16
#define GPR_SCRATCH (18 * 8)     /* of the running instruction */

/*
 * Software TLB: for each view, direct mapped.  A tag is the page's linear
 * address (canonical), or an impossible one.  The views: supervisor mode with
 * EFLAGS.AC clear and set (SMAP), one that is never filled, for modes in which
 * each access needs checks (alignment, data breakpoints), and user mode once
 * for each address space that is kept (VIEW_USER + its slot; see tlb.c).
 */
#define TLB_BITS 10
#define TLB_SIZE (1u << TLB_BITS)
#define TLB_NONE 1ULL           /* never equal to a page address */
#define ASID_MAX 8u
enum tlb_view { VIEW_KERNEL, VIEW_KERNEL_AC, VIEW_SLOW, VIEW_USER, VIEW_COUNT = VIEW_USER + ASID_MAX };

struct tlb_entry {
    uint64_t read, write;       /* tags */
    uintptr_t addend;           /* host address - linear address */
    uint64_t global;            /* a global page */
};

/* Fetch TLB. */
#define FTLB_SIZE 512u
struct ftlb_entry {
    uint64_t tag;               /* linear page, TLB_NONE: empty */
    const uint8_t *hva;         /* of the page */
    uint64_t page;              /* page number in the memfd */
    uint64_t owner;             /* id of the address space; global supervisor pages: of what all share */
    bool user;                  /* filled for CPL 3 */
};

/* A set of numbers that may say yes for a few more (a Bloom filter). */
struct page_set { uint64_t bits[64]; };

/* An address space that is kept: what was filled with its PCID. */
struct soft_asid {
    bool ready;                 /* the user view's tags are set up */
    bool live;
    uint16_t pcid;
    bool local_fetch;           /* supervisor code was fetched from pages that are not global */
    uint8_t nglobals;
    uint64_t globals[4];        /* global pages in the user view, the first few */
    uint64_t used;              /* when it was left */
    uint64_t id;                /* owner of its entries in the fetch TLB */
    uint64_t fetch_gen;         /* of user code */
    struct page_set fetched;    /* pages that user code was fetched from */
    struct page_set large;      /* 2 MiB regions filled from large pages */
};

/* What all address spaces share. */
struct soft_shared {
    uint64_t id;
    uint64_t fetch_gen;         /* of supervisor code */
    struct page_set fetched, large;
    struct page_set huge;       /* 1 GiB regions, of all address spaces */
};

struct soft_tlb_stats {
    uint64_t fills;             /* walks that filled an entry */
    uint64_t empty;             /* misses: nothing there, */
    uint64_t no_write;          /* or no right to write */
    uint64_t from_tables;       /* answered from the translator's tables, no walk */
    uint64_t fetch_fills, fetch_gens;
    uint64_t flush_all, flush_local, flush_page, flush_large, flush_other;
    uint64_t switch_kept, switch_new, evicted;
    uint64_t revoked, revoked_all, asked;   /* pages' write rights; others asked */
};

enum access { ACCESS_READ, ACCESS_WRITE, ACCESS_FETCH };

/* A pending exception, before delivery. */
struct soft_exc {
    uint8_t vector;
    bool has_error;
    uint32_t error;
    uint64_t payload;           /* CR2 for #PF; bits to set in DR6 for #DB */
};

/* Accesses outside RAM that the present instruction has made: answered from
 * here when it is executed again. */
#define SOFT_IO_LOG 80
struct soft_io_entry {
    uint64_t addr;
    uint64_t data;
    uint32_t count;             /* string I/O: elements done */
    uint8_t size;
    uint8_t kind;               /* enum soft_io_kind */
};
enum soft_io_kind { IO_MMIO_READ, IO_MMIO_WRITE, IO_PORT_IN, IO_PORT_OUT, IO_PORT_INS, IO_PORT_OUTS,
                    IO_EOI /* addr: the vector whose EOI exit was made */ };
struct soft_io_log {
    unsigned made;              /* entries answered */
    unsigned used;              /* entries that this execution has met again */
    bool pending;               /* entry [made] is out as an exit */
    struct soft_io_entry e[SOFT_IO_LOG];
};

/* FPU and SIMD registers in the form that native execution wants. */
struct soft_fpu {
    _Alignas(64) uint8_t zmm[32][64];
    uint64_t k[8];
    /* x87 and MXCSR, FXSAVE64 layout (SDM 1 table 10-2); XMM part unused.
     * FOP, FIP, FDP are the guest's, kept by us, never the host's. */
    _Alignas(64) uint8_t fx[512];
    uint16_t fcs, fds;
    bool ferr;                  /* FERR# is asserted (CR0.NE clear); not part of the state */
};

/* Reasons in c->attention. */
#define ATT_KICK (1u << 0)      /* vcpu_kick */
#define ATT_EVENT (1u << 1)     /* INIT, SIPI, NMI, ExtINT or an APIC interrupt may be deliverable */
#define ATT_TIMER (1u << 2)     /* the APIC timer's host timer has expired */
#define ATT_CODE (1u << 3)      /* code appeared on a page: give up write rights */
#define ATT_FLUSH (1u << 4)     /* flush all TLBs (A20, slots, dirty log) */
#define ATT_EXCLUSIVE (1u << 5) /* another vCPU wants to run alone */
#define ATT_CHANGED (1u << 6)   /* code that may have been translated was written */

/* What other threads leave for a vCPU; then they set ATT_EVENT. */
struct soft_inbox {
    _Atomic uint64_t irr_edge[4], irr_level[4];
    _Atomic bool nmi, init, sipi, extint;
    _Atomic bool extint_msg;    /* an ExtINT message: one acknowledge cycle whatever LINT0 says */
    _Atomic uint8_t sipi_vector;
};

struct soft_vm;
struct soft_cpu;

/* A translator's own form of the TLBs, kept in step with them.  It may hold
 * more than they do. */
struct soft_tables {
    /* The view may read (and if write, write) the page at la, whose host
     * address is la + addend. */
    void (*fill)(struct soft_cpu *c, unsigned view, uint64_t la, uintptr_t addend, bool write,
                 bool global);
    /* What the view holds for the page at la; false: not that right. */
    bool (*lookup)(struct soft_cpu *c, unsigned view, uint64_t la, bool write, struct tlb_entry *e);
    /* Forget a view. */
    void (*clear)(struct soft_cpu *c, unsigned view);
    /* Forget the supervisor entries that are not global. */
    void (*clear_local)(struct soft_cpu *c);
    /* Put these away for a slot, and bring them back. */
    void (*park)(struct soft_cpu *c, unsigned slot);
    void (*unpark)(struct soft_cpu *c, unsigned slot);
    /* Forget what is put away in [la, la + mask], la aligned. */
    void (*clear_parked)(struct soft_cpu *c, unsigned slot, uint64_t la, uint64_t mask);
    void (*clear_range)(struct soft_cpu *c, unsigned view, uint64_t la, uint64_t mask);
    /* The right to write: of one page in one view; everywhere. */
    void (*revoke)(struct soft_cpu *c, unsigned view, uint64_t la);
    void (*revoke_all)(struct soft_cpu *c);
};

/* Such a set of guest pages, which any thread may add to. */
#define CODE_PAGES_BITS 4096
struct code_pages {
    _Atomic uint64_t words[CODE_PAGES_BITS / 64];
};

static inline void code_pages_add(struct code_pages *s, uint64_t page)
{
    atomic_fetch_or(&s->words[page % CODE_PAGES_BITS / 64], 1ULL << page % 64);
}

static inline bool code_pages_have(const struct code_pages *s, uint64_t page)
{
    return atomic_load_explicit(&s->words[page % CODE_PAGES_BITS / 64], memory_order_relaxed) >> page % 64 & 1;
}

struct soft_cpu {
    /* hot */
    uint64_t gpr[20];           /* 16: rip; 17: always 0; 18: scratch; 19: GPR_STEP_VALUE */
    uint16_t ax_flags;          /* arithmetic flags as LAHF + SETO leave them in AX */
    uint8_t cpl;
    bool code64;                /* CS.L and EFER.LMA */
    uint32_t rflags;            /* the other flags; arithmetic bits 0, bit 1 set */
    struct tlb_entry *tlb;      /* the present view */
    uint64_t ss_mask;           /* stack pointer mask: 64, 32 or 16 bits */
    uint64_t rip_mask;
    uint8_t flat_segs;          /* bit SEG_*: base 0, limit 4 GiB, usable for read and write */
    uint8_t mode_key;           /* part of the key of decoded code: see soft_mode_changed */
    bool single;                /* one instruction at a time: TF, breakpoints, shadows, counts */
    _Atomic uint32_t attention;
    uint64_t insn_count;
    uint64_t rep_limit;         /* most REP iterations in one call; at least 1 */
    uint64_t stop_count;        /* instruction count to stop at exactly; 0: none */
    uint64_t fetch_gen;         /* of the present privilege and address space: changes when any fetch
                                 * translation may have; each value stands for one of them */
    uint64_t drops;             /* changes when any TLB entry was dropped */
    const struct insn *block_end;   /* end of the running block; NULL: leave it now (own code was written) */
    uint64_t words[48];         /* the engine's own, in this struct's first page (bt/bt.h) */
    const struct soft_tables *tables;   /* NULL: none */
    struct cpu_tape *tape;      /* NULL: none */
    uint64_t deliveries;        /* events delivered: with insn_count, a place in the run */

    /* the rest of the state; gpr, rip, rflags, insn_count, SIMD and x87 are
     * only valid above and in fpu, lapic is the APIC's own */
    struct vcpu_state s;
    struct soft_fpu fpu;
    /* Of the translator: pages whose code was written since it last looked. */
    struct code_pages changed;
    atomic_bool code_changed;   /* there are some */
    struct soft_exc exc;
    struct soft_exc delivering; /* the event under delivery, for #DF */
    bool in_delivery;
    uint8_t shadow;             /* SHADOW_STI, SHADOW_MOV_SS: of the instruction just retired */
    bool event_waiting;         /* an interrupt is pending but blocked by IF, shadow or TPR */
    bool step;                  /* a single-step trap is due behind the running instruction */
    uint64_t db_pending;        /* DR6 bits of data and I/O breakpoints hit by this instruction */
    unsigned lapic_timer_armed;
    bool pv_eoi;                /* the guest may end the interrupt in service by PV EOI */

    struct soft_vm *vm;
    unsigned id;                /* APIC id */
    pthread_t thread;
    _Atomic uint32_t running;   /* executing guest code or about to without looking at attention */
    _Atomic uint64_t code_ack, code_asked;  /* epochs: see soft_code_revoke */
    timer_t timer;              /* of the APIC, SIGEV_THREAD_ID */
    bool timer_created;
    struct soft_inbox inbox;
    struct cpu_run *run;
    struct soft_io_log io;

    /* events */
    _Atomic uint32_t waiting;   /* sleeps on attention (HLT): soft_wake has to wake it */
    bool extint_ack;            /* CPU_EXIT_EXTINT is out */
    uint16_t extint_vector;     /* acknowledged, to be delivered: vector + 1; 0: none */
    int timer_tid;              /* thread that timer signals */
    uint64_t timer_armed;       /* deadline that timer is set for; 0: none */

    /* tlb.c */
    unsigned asid_slot;         /* the present one */
    unsigned asid_slots;        /* that may be used */
    uint64_t tlb_clock;         /* ids, generations and times are drawn from here */
    struct soft_asid asids[ASID_MAX];
    struct soft_shared shared;
    struct soft_tlb_stats stats;
    struct soft_rights *rights; /* rights.c: who may write where */
    uint64_t tlb_used[VIEW_COUNT][TLB_SIZE / 64];   /* entries filled since the view was dropped */
    uint64_t tlb_local[VIEW_SLOW][TLB_SIZE / 64];   /* of these the ones that are not global */
    struct tlb_entry tlbs[VIEW_COUNT][TLB_SIZE];
    struct ftlb_entry ftlb[FTLB_SIZE];
    struct soft_blocks *blocks; /* blocks.c: decoded code */
    struct bt *translator;      /* engine/bt, or NULL */
    int pending_exit;           /* bt: what the function that left translated code asks for */
    int fd;                     /* memfd that holds this struct, page aligned */
};

#define SOFT_MAX_DOORBELLS 256
#define SOFT_MAX_COUNTERS 8
struct soft_doorbell {
    uint64_t addr, value;
    int fd;
    uint8_t size;
    bool pio, match;
};

struct soft_vm {
    struct mem *mem;
    const struct vm_clock *clock;
    const struct cpu_model *model;
    unsigned ncpus;
    bool perf_map;
    uint64_t tb_size;
    enum cpu_stress stress;
    struct cpu_tape *tape;             /* of the one vCPU; NULL: none */
    struct soft_cpu *cpus[CPU_MAX_VCPUS];
    _Atomic uint64_t a20_mask;
    _Atomic uint64_t code_epoch;
    _Atomic uint64_t eoi_exits[4];
    /* guest TSC = vm clock ns * hz / 1e9 + tsc_base, see tsc.c */
    uint64_t tsc_base;

    pthread_rwlock_t tables_lock;      /* doorbells, counters */
    struct soft_doorbell doorbells[SOFT_MAX_DOORBELLS];
    unsigned ndoorbells;
    struct cpu_counter counters[SOFT_MAX_COUNTERS];
    unsigned ncounters;

    pthread_mutex_t excl_lock;         /* exclusive.c */
    pthread_cond_t excl_cond;
    struct soft_cpu *_Atomic excl_owner;
};

/* ---- registers ---------------------------------------------------------- */

static inline uint8_t *gpr8(struct soft_cpu *c, unsigned off) { return (uint8_t *)c->gpr + off; }
static inline uint16_t *gpr16(struct soft_cpu *c, unsigned off) { return (uint16_t *)((uint8_t *)c->gpr + off); }
static inline uint32_t *gpr32(struct soft_cpu *c, unsigned off) { return (uint32_t *)((uint8_t *)c->gpr + off); }
static inline uint64_t *gpr64(struct soft_cpu *c, unsigned off) { return (uint64_t *)((uint8_t *)c->gpr + off); }

/* Value of a general register (byte offset) at 1, 2, 4 or 8 bytes. */
static inline uint64_t gpr_get(struct soft_cpu *c, unsigned off, unsigned size)
{
    return size == 8 ? *gpr64(c, off) : size == 4 ? *gpr32(c, off) :
           size == 2 ? *gpr16(c, off) : *gpr8(c, off);
}

/* Write as the architecture does: 32 bits clear the upper half, 8 and 16 keep the rest. */
static inline void gpr_set(struct soft_cpu *c, unsigned off, unsigned size, uint64_t v)
{
    if (size == 8)
        *gpr64(c, off) = v;
    else if (size == 4)
        *gpr64(c, off) = (uint32_t)v;
    else if (size == 2)
        *gpr16(c, off) = (uint16_t)v;
    else
        *gpr8(c, off) = (uint8_t)v;
}

#define soft_rip(c) ((c)->gpr[16])

/* RFLAGS <-> the two parts. */
uint64_t soft_get_rflags(const struct soft_cpu *c);
/* Sets all; the caller has applied the rules of privilege.  Tells the engine
 * what follows from TF, IF, AC and VM (soft_mode_changed where needed). */
void soft_set_rflags(struct soft_cpu *c, uint64_t v);
static inline unsigned soft_arith_flags(const struct soft_cpu *c)   /* CF PF AF ZF SF OF in RFLAGS places */
{
    return ((c->ax_flags >> 8) & 0xd5u) | ((c->ax_flags & 1u) << 11);
}
static inline void soft_set_arith_flags(struct soft_cpu *c, unsigned f)
{
    c->ax_flags = (uint16_t)(((f & 0xd5u) << 8) | 0x200u | ((f >> 11) & 1u));
}
static inline unsigned soft_iopl(const struct soft_cpu *c) { return (c->rflags >> 12) & 3; }
static inline bool soft_pe(const struct soft_cpu *c) { return c->s.cr0 & CR0_PE; }
static inline bool soft_v86(const struct soft_cpu *c) { return c->rflags & X86_VM; }
/* Protected mode proper: not real, not virtual-8086. */
static inline bool soft_prot(const struct soft_cpu *c) { return soft_pe(c) && !soft_v86(c); }
static inline bool soft_lma(const struct soft_cpu *c) { return c->s.efer & EFER_LMA; }

/* ---- exceptions (exc.c) -------------------------------------------------- */

/* Set c->exc and return SOFT_FAULT, so that functions can return the call. */
int soft_raise(struct soft_cpu *c, unsigned vector);
int soft_raise_err(struct soft_cpu *c, unsigned vector, uint32_t error);
int soft_raise_pf(struct soft_cpu *c, uint64_t la, uint32_t error);
#define soft_ud(c) soft_raise(c, VEC_UD)
#define soft_gp0(c) soft_raise_err(c, VEC_GP, 0)

/* Deliver c->exc (rip at the faulting instruction for faults, behind it for
 * traps), with double and triple faults.  Returns 0, or SOFT_EXIT with
 * CPU_EXIT_SHUTDOWN in run. */
int soft_deliver_exception(struct soft_cpu *c);
/* INT n, INT3, INTO, INT1 (software): next_rip is the return address.
 * Returns SOFT_JUMP or SOFT_FAULT. */
enum soft_int_kind { INT_SOFT, INT_BP_OF, INT_1, INT_EXTERNAL };
int soft_interrupt(struct soft_cpu *c, unsigned vector, enum soft_int_kind kind, uint64_t next_rip);
/* Deliver an external interrupt or NMI (rip = next instruction); 0 or SOFT_EXIT. */
int soft_deliver_interrupt(struct soft_cpu *c, unsigned vector);
/* #DB trap with these DR6 bits after a retired instruction; 0 or SOFT_EXIT. */
int soft_deliver_db(struct soft_cpu *c, uint64_t dr6_bits);
/* A delivery that needed an exit (stack or IDT in MMIO) left c->in_delivery
 * set: before anything else is executed, go on with it. 0 or SOFT_EXIT. */
int soft_resume_delivery(struct soft_cpu *c);

/* ---- memory (mmu.c) ------------------------------------------------------- */

/*
 * Accesses by linear address with the present privilege; soft_sys_* with
 * supervisor privilege whatever CPL is (descriptor tables, TSS).  1, 2, 4 or
 * 8 bytes; may cross pages (both checked before the first byte is written).
 * Return 0, SOFT_FAULT or SOFT_EXIT.
 */
int soft_read(struct soft_cpu *c, uint64_t la, unsigned size, uint64_t *v);
int soft_write(struct soft_cpu *c, uint64_t la, unsigned size, uint64_t v);
int soft_sys_read(struct soft_cpu *c, uint64_t la, unsigned size, uint64_t *v);
int soft_sys_write(struct soft_cpu *c, uint64_t la, unsigned size, uint64_t v);
/* First half of a read-modify-write: read, and fault as the write would. */
int soft_read_rmw(struct soft_cpu *c, uint64_t la, unsigned size, uint64_t *v);
/* Any length up to 4096 bytes (SIMD, FXSAVE, XSAVE, ...): all pages are
 * checked first. */
int soft_read_bytes(struct soft_cpu *c, uint64_t la, void *buf, unsigned len);
int soft_write_bytes(struct soft_cpu *c, uint64_t la, const void *buf, unsigned len);
/* Check only: would len bytes fault?  (Commit rule for multi-part writes.) */
int soft_probe(struct soft_cpu *c, uint64_t la, unsigned len, enum access access);
/* #AC if alignment checks are on and la is not aligned to its size (1 to 64). */
int soft_align_slow(struct soft_cpu *c, uint64_t la, unsigned len);
static inline int soft_align(struct soft_cpu *c, uint64_t la, unsigned len)
{
    return unlikely(c->rflags & X86_AC) ? soft_align_slow(c, la, len) : 0;
}
/*
 * Host pointer to len bytes inside one page of RAM, with all rights checked
 * and A/D bits set; NULL with *r = SOFT_FAULT, or NULL with *r = 0 if it is
 * MMIO, crosses a page or the access needs checks: then use the functions
 * above.  After a write through it call soft_wrote().
 */
void *soft_ptr(struct soft_cpu *c, uint64_t la, unsigned len, enum access access, int *r);
void soft_wrote(struct soft_cpu *c, void *p, unsigned len);

/* Guest-physical accesses of the engine itself (page walk, kvmclock): RAM
 * only, dirty log and code tracking kept. 0 or -EFAULT. */
int soft_phys_read(struct soft_cpu *c, uint64_t gpa, void *buf, unsigned len);
int soft_phys_write(struct soft_cpu *c, uint64_t gpa, const void *buf, unsigned len);

/* Segment part: offset to linear address, with limit, type and canonical
 * checks for an access of size bytes.  Returns 0 or SOFT_FAULT. */
int soft_linear(struct soft_cpu *c, unsigned seg, uint64_t off, unsigned size, bool write, uint64_t *la);

/* Effective address of the memory operand: offset in its segment, cut to the
 * address size. */
static inline uint64_t insn_offset(struct soft_cpu *c, const struct insn *i)
{
    uint64_t ea = *gpr64(c, i->base) + (*gpr64(c, i->index) << i->scale) + (uint64_t)(int64_t)i->disp;

    return i->asize == 8 ? ea : i->asize == 4 ? (uint32_t)ea : (uint16_t)ea;
}

/* Linear address of the memory operand for an access of size bytes. */
int insn_linear_slow(struct soft_cpu *c, const struct insn *i, unsigned size, bool write, uint64_t *la);
static inline __attribute__((always_inline)) int insn_linear(struct soft_cpu *c, const struct insn *i, unsigned size, bool write, uint64_t *la)
{
    *la = *gpr64(c, i->base) + (*gpr64(c, i->index) << i->scale) + (uint64_t)(int64_t)i->disp;
    if (likely((i->flags & INSN_FLAT) && x86_canonical(*la) && x86_canonical(*la + size - 1)))
        return 0;
    return insn_linear_slow(c, i, size, write, la);
}

/* TLB probes: host pointer if [la, la+size) lies in one page that the view
 * lets us read (write) without asking; else NULL. */
static inline void *tlb_read_ptr(struct soft_cpu *c, uint64_t la, unsigned size)
{
    const struct tlb_entry *e = &c->tlb[(la >> MEM_PAGE_SHIFT) & (TLB_SIZE - 1)];

    return likely(((la + size - 1) & MEM_PAGE_MASK) == e->read) ? (void *)(la + e->addend) : NULL;
}
static inline void *tlb_write_ptr(struct soft_cpu *c, uint64_t la, unsigned size)
{
    const struct tlb_entry *e = &c->tlb[(la >> MEM_PAGE_SHIFT) & (TLB_SIZE - 1)];

    return likely(((la + size - 1) & MEM_PAGE_MASK) == e->write) ? (void *)(la + e->addend) : NULL;
}

/* Memory operand as a value of size 1, 2, 4, 8. */
static inline __attribute__((always_inline)) int insn_load(struct soft_cpu *c, const struct insn *i, unsigned size, uint64_t *v)
{
    uint64_t la;
    int r = insn_linear(c, i, size, false, &la);
    const void *p;

    if (unlikely(r))
        return r;
    p = tlb_read_ptr(c, la, size);
    if (unlikely(!p))
        return soft_read(c, la, size, v);
    *v = size == 8 ? *(const volatile uint64_t *)p : size == 4 ? *(const volatile uint32_t *)p :
         size == 2 ? *(const volatile uint16_t *)p : *(const volatile uint8_t *)p;
    return 0;
}
static inline __attribute__((always_inline)) int insn_store(struct soft_cpu *c, const struct insn *i, unsigned size, uint64_t v)
{
    uint64_t la;
    int r = insn_linear(c, i, size, true, &la);
    void *p;

    if (unlikely(r))
        return r;
    p = tlb_write_ptr(c, la, size);
    if (unlikely(!p))
        return soft_write(c, la, size, v);
    switch (size) {
    case 8: *(volatile uint64_t *)p = v; break;
    case 4: *(volatile uint32_t *)p = (uint32_t)v; break;
    case 2: *(volatile uint16_t *)p = (uint16_t)v; break;
    default: *(volatile uint8_t *)p = (uint8_t)v; break;
    }
    return 0;
}

/* TLB maintenance (tlb.c), on the vCPU's thread. */
void soft_flush_all(struct soft_cpu *c);
/* The present address space, but for global pages. */
void soft_flush_nonglobal(struct soft_cpu *c);
/* The page at la: in the present address space, and if it is global in all. */
void soft_flush_page(struct soft_cpu *c, uint64_t la);
/* CR3 was written: go to the address space of its PCID; keep what was filled
 * there, or forget it. */
void soft_switch_space(struct soft_cpu *c, bool keep);
/* INVPCID: an address space, a page there, all address spaces; not what is global. */
void soft_flush_pcid(struct soft_cpu *c, unsigned pcid);
void soft_flush_pcid_page(struct soft_cpu *c, unsigned pcid, uint64_t la);
void soft_flush_spaces(struct soft_cpu *c);
/* c->cpl was set: soft_mode_changed does this. */
static inline void soft_pick_fetch_gen(struct soft_cpu *c)
{
    c->fetch_gen = c->cpl == 3 ? c->asids[c->asid_slot].fetch_gen : c->shared.fetch_gen;
}
/* A way of saying what all this did. */
void soft_tlb_info(const struct soft_cpu *c, FILE *f);
/* Walk without side effects (debugger): 0 or -EFAULT. */
int soft_translate(struct soft_cpu *c, uint64_t la, uint64_t *gpa);
/* Fetch: host page, memfd page number for the page of linear address la with
 * the present privilege; 0 or SOFT_FAULT (c->exc set). */
int soft_fetch_page(struct soft_cpu *c, uint64_t la, const struct ftlb_entry **entry);

/*
 * CR0, CR4, EFER, CS, SS, CPL, EFLAGS.VM/AC/TF, DR7, segments or XCR0 have changed: derive the hot
 * fields (cpl stays the caller's: set c->cpl first).  Does not flush TLBs.
 */
void soft_mode_changed(struct soft_cpu *c);

/* ---- stack ----------------------------------------------------------------- */
/* At the present SS:(R/E)SP with stack-size mask; sizes 2, 4, 8. */
int soft_push(struct soft_cpu *c, unsigned size, uint64_t v);
int soft_pop(struct soft_cpu *c, unsigned size, uint64_t *v);
/* Read [sp + off] without changing sp. */
int soft_peek(struct soft_cpu *c, unsigned off, unsigned size, uint64_t *v);
static inline void soft_set_sp(struct soft_cpu *c, uint64_t sp)
{
    if (c->ss_mask == 0xffff)
        *gpr16(c, CPU_RSP * 8) = (uint16_t)sp;
    else
        c->gpr[CPU_RSP] = sp & c->ss_mask;
}

/* ---- segments and control transfer (seg.c, far.c, task.c) ------------------- */
/* MOV/POP/LxS to a data segment register or SS with all checks. 0 or SOFT_FAULT. */
int soft_load_seg(struct soft_cpu *c, unsigned seg, uint16_t selector);
/* Near branch target: check limit or canonical, set rip. Returns SOFT_JUMP or SOFT_FAULT (#GP). */
static inline int soft_branch(struct soft_cpu *c, uint64_t target);
int soft_branch_slow(struct soft_cpu *c, uint64_t target);
static inline int soft_branch(struct soft_cpu *c, uint64_t target)
{
    if (likely(c->code64 && x86_canonical(target))) {
        soft_rip(c) = target;
        return SOFT_JUMP;
    }
    return soft_branch_slow(c, target);
}

/* ---- control registers, MSRs, CPUID (sys.c, msr.c) --------------------------- */
int soft_write_cr(struct soft_cpu *c, unsigned n, uint64_t v);      /* 0 or SOFT_FAULT */
int soft_rdmsr(struct soft_cpu *c, uint32_t msr, uint64_t *v);      /* 0 or SOFT_FAULT */
int soft_wrmsr(struct soft_cpu *c, uint32_t msr, uint64_t v);
static inline bool soft_has(const struct soft_cpu *c, enum cpu_feature f) { return cpu_has(c->vm->model, f); }

/* Guest TSC now (tsc.c): never backwards on any vCPU; TSC_ADJUST of this one added. */
uint64_t soft_tsc(struct soft_cpu *c);
/* The same at a time of the VM clock. */
uint64_t soft_tsc_at(struct soft_cpu *c, uint64_t ns);
/* Guest TSC value to VM clock ns. */
uint64_t soft_tsc_to_ns(struct soft_cpu *c, uint64_t tsc);
/* After c->s was loaded with the VM clock standing still: go on from this
 * guest TSC (TSC_ADJUST included).  Ignored while the clock runs. */
void soft_tsc_load(struct soft_cpu *c, uint64_t tsc);
/* kvmclock (kvmclock.c): MSR writes, and refresh when the clock was changed. */
int kvmclock_wrmsr(struct soft_cpu *c, uint32_t msr, uint64_t v);
void kvmclock_update(struct soft_cpu *c);
/* MSR_KVM_PV_EOI (pv_eoi.c): 0 or SOFT_FAULT. */
int pv_eoi_wrmsr(struct soft_cpu *c, uint64_t v);

/* ---- port I/O (io.c): 0, SOFT_FAULT or SOFT_EXIT; permission is checked by
 * soft_io_allowed (CPL, IOPL, TSS bitmap). ------------------------------------ */
int soft_io_allowed(struct soft_cpu *c, uint16_t port, unsigned size);
int soft_io_in(struct soft_cpu *c, uint16_t port, unsigned size, uint64_t *v);
int soft_io_out(struct soft_cpu *c, uint16_t port, unsigned size, uint64_t v);
/* MMIO at a guest-physical address (no RAM): local APIC, doorbells, exits. */
int soft_mmio_read(struct soft_cpu *c, uint64_t gpa, unsigned size, uint64_t *v);
int soft_mmio_write(struct soft_cpu *c, uint64_t gpa, unsigned size, uint64_t v);
/* String I/O in batches.  Both exit with the whole batch; executed again they
 * return 0 with the number of elements (>= 1) that went through. */
int soft_io_ins(struct soft_cpu *c, uint16_t port, unsigned size, void *data, unsigned max,
                unsigned *got);
int soft_io_outs(struct soft_cpu *c, uint16_t port, unsigned size, const void *data,
                 unsigned count, unsigned *done);
/* The EOI exit of a vector; 0: it has been made. */
int soft_io_eoi(struct soft_cpu *c, uint8_t vector);
/* On vCPU entry, first of all: take the answer to the last exit from run. */
void soft_io_complete(struct soft_cpu *c);
/* Bodies of the engine_ops of the same names; any thread. */
int soft_doorbell_add(struct soft_vm *vm, bool pio, uint64_t addr, unsigned size, bool match,
                      uint64_t value, int fd);
int soft_doorbell_del(struct soft_vm *vm, bool pio, uint64_t addr, unsigned size, bool match,
                      uint64_t value);
int soft_counter_add(struct soft_vm *vm, const struct cpu_counter *counter);
/* The instruction retired or faulted: forget the log. */
static inline void soft_io_done(struct soft_cpu *c)
{
    if (unlikely(c->io.made))
        c->io.made = 0;
    c->io.used = 0;
}

/* ---- local APIC (lapic.c) ----------------------------------------------------- */
void lapic_reset(struct soft_cpu *c, bool init);
/* Take in what the inbox and the timer have left; on the vCPU's thread. */
void lapic_poll(struct soft_cpu *c);
/* Highest deliverable vector by PPR, or -1. */
int lapic_pending(struct soft_cpu *c);
/* Move it from IRR to ISR; returns the vector. */
int lapic_acknowledge(struct soft_cpu *c);
/* Would LINT0 or a disabled APIC let ExtINT through? */
bool lapic_accepts_extint(struct soft_cpu *c);
int lapic_mmio_read(struct soft_cpu *c, unsigned off, unsigned size, uint64_t *v);   /* 0 or SOFT_EXIT */
int lapic_mmio_write(struct soft_cpu *c, unsigned off, unsigned size, uint64_t v);
/* x2APIC MSRs and IA32_APIC_BASE, IA32_TSC_DEADLINE: 0, SOFT_FAULT or SOFT_EXIT (EOI). */
int lapic_rdmsr(struct soft_cpu *c, uint32_t msr, uint64_t *v);
int lapic_wrmsr(struct soft_cpu *c, uint32_t msr, uint64_t v);
uint64_t lapic_get_cr8(struct soft_cpu *c);
void lapic_set_cr8(struct soft_cpu *c, uint64_t v);
/* From any thread. */
void lapic_msi(struct soft_vm *vm, uint64_t address, uint32_t data);
/* Timer state after set_state or a clock change; any thread. */
void lapic_rearm(struct soft_cpu *c);
/* The NMI input LINT1, as its LVT entry says; any thread. */
void lapic_lint1(struct soft_cpu *c);
/* Free the host timer. */
void lapic_destroy(struct soft_cpu *c);
static inline void soft_attention(struct soft_cpu *c, uint32_t bits);

/* ---- events and threads (event.c) ---------------------------------------------- */
/* Set bits and wake the vCPU if it is halted; any thread. */
void soft_wake(struct soft_cpu *c);
static inline void soft_attention(struct soft_cpu *c, uint32_t bits)
{
    atomic_fetch_or(&c->attention, bits);
    soft_wake(c);
}
/* IF, TPR or a shadow may let a waiting interrupt in now. */
static inline void soft_recheck_events(struct soft_cpu *c)
{
    if (c->event_waiting)
        atomic_fetch_or(&c->attention, ATT_EVENT);
}
/*
 * At a block boundary with attention or a shadow or mp_state set: flushes,
 * INIT, SIPI, NMI, ExtINT, APIC interrupts, HLT wait.  Returns 0 to go on in
 * the guest, or SOFT_EXIT with run filled.
 */
int soft_events(struct soft_cpu *c);
/* While the vCPU does not run: what the inbox holds goes into c->s (before
 * c->s is read), and what c->s holds becomes live (after it was written). */
void soft_events_collect(struct soft_cpu *c);
void soft_events_loaded(struct soft_cpu *c);
/* Run alone: all other vCPUs stand at block boundaries between these two
 * (exclusive.c).  Used for split locks. */
void soft_exclusive_begin(struct soft_cpu *c);
void soft_exclusive_end(struct soft_cpu *c);
/* Parking around waits: this vCPU executes no guest code in between, and
 * pointers from its TLB are stale after unpark.  vcpu_run unparks first and
 * parks last. */
void soft_park(struct soft_cpu *c);
void soft_unpark(struct soft_cpu *c);
/* The part of attention that only drops TLB entries: at any point where no
 * pointers from the TLB are held. */
void soft_take_flushes(struct soft_cpu *c);

/* ---- record and play (tape.c) ----------------------------------------------------- */

uint64_t soft_tape_input(struct soft_cpu *c, enum tape_input what, uint64_t v);
/* Whatever does not follow from the guest's own instructions goes through this,
 * on the vCPU's thread: v is what it is now. */
static inline uint64_t soft_input(struct soft_cpu *c, enum tape_input what, uint64_t v)
{
    return likely(!c->tape) ? v : soft_tape_input(c, what, v);
}
/* The VM clock for the guest. */
static inline uint64_t soft_now(struct soft_cpu *c)
{
    return soft_input(c, TAPE_TIME, vm_clock_ns(c->vm->clock));
}
static inline bool soft_playing(const struct soft_cpu *c)
{
    return unlikely(c->tape != NULL) && c->tape->playing;
}
/* RFLAGS for an event's frame. */
uint64_t soft_tape_flags(struct soft_cpu *c, uint64_t flags);
/* A stop; false: the tape is over. */
bool soft_tape_point(struct soft_cpu *c, enum tape_stop what, uint64_t known);
/* Recording, from translated code: at the start of a block, with RIP set. */
void soft_tape_block(struct soft_cpu *c, uint64_t known);
/* Recording, in the frame of soft_run: a stop if the tape wants one. */
void soft_tape_crowded(struct soft_cpu *c);
/* Playing: a piece of the way to the next stop, or what is to be done there. */
int soft_tape_piece(struct soft_cpu *c, int (*piece)(struct soft_cpu *c));
/* The clock was stopped or started while the vCPU stood. */
void soft_tape_clock(struct soft_cpu *c);

/* ---- debug registers (sys.c) --------------------------------------------------- */
/* Is there an enabled execute breakpoint at la (and RF clear)? DR6 bits or 0. */
uint64_t soft_code_breakpoint(const struct soft_cpu *c, uint64_t la);
/* Note data and I/O breakpoints that an access hits in c->db_pending. */
void soft_data_breakpoints(struct soft_cpu *c, uint64_t la, unsigned len, bool write);
void soft_io_breakpoints(struct soft_cpu *c, uint16_t port, unsigned size);

/* ---- SIMD and x87 (simd*.c, x87.c, xsave.c) --------------------------------------- */
void soft_fpu_reset(struct soft_cpu *c, bool init);
void soft_fpu_get(const struct soft_cpu *c, struct vcpu_state *s);
void soft_fpu_set(struct soft_cpu *c, const struct vcpu_state *s);

/* ---- life (vm.c) ------------------------------------------------------------------------- */
void soft_vm_init(struct soft_vm *vm, const struct engine_config *config);
void soft_vm_fini(struct soft_vm *vm);
/* c is zeroed but for engine and run. */
int soft_cpu_init(struct soft_cpu *c, struct soft_vm *vm, unsigned id);   /* 0 or -ENOMEM */
void soft_cpu_fini(struct soft_cpu *c);
/* Have every vCPU flush its TLBs before its next block; any thread. */
void soft_flush_every(struct soft_vm *vm);

/* ---- whole state (cpu.c) -------------------------------------------------------------- */
void soft_get_state(struct soft_cpu *c, struct vcpu_state *s);
int soft_set_state(struct soft_cpu *c, const struct vcpu_state *s, char *err, size_t err_size);

#endif
