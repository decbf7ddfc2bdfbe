/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine side: a vCPU at CPL 3 with the same code and data at the same
 * addresses, through cpu/cpu.h alone, so that each engine can be tested.
 *
 * All 256 gates of the IDT lead to a stub for each vector that writes to a
 * port: that exit ends the case, its RIP says the vector, and the frame on
 * the supervisor stack has the rest.  What belongs to the supervisor lies in
 * the upper half, where user mode natively has nothing to see either.
 */
#include "diff.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "cpu/cpu.h"
#include "cpu/state.h"
#include "mem/mem.h"
#include "x86/x86.h"

#define MEM_SIZE 0x200000u
#define KBASE 0xffffffff80000000u
enum { PML4 = 0x1000, PDPT_LOW = 0x2000, PD_LOW = 0x3000, PT_LOW = 0x4000, PT_CODE = 0x5000, PT_DATA = 0x6000,
       PDPT_HIGH = 0x7000, PD_HIGH = 0x8000, GDT = 0x9000, TSS = 0xa000, LDT = 0xa800, IDT = 0xb000,
       STUBS = 0xc000, STACK_TOP = 0xf000, CODE_PA = 0x10000, DATA_PA = 0x14000 };
/* More iterations than any case needs: an endless one ends here. */
#define MAX_COUNT 200000

static const struct engine_ops *ops;
static struct engine_vm *vm;
static struct vcpu *vcpu;
static struct mem *mem;
static struct vm_clock vclock;
static struct cpu_run *run;
static struct vcpu_state base_state, state;
static uint8_t *code_pages, *data_pages, *stack_page;

static void put64(uint64_t gpa, uint64_t v)
{
    mem_write(mem, gpa, &v, 8);
}

static void build_tables(void)
{
    const uint64_t user = PTE_P | PTE_W | PTE_U;

    put64(PML4, PDPT_LOW | user);
    put64(PML4 + 511 * 8, PDPT_HIGH | PTE_P | PTE_W);
    put64(PDPT_LOW, PD_LOW | user);
    put64(PDPT_HIGH + 510 * 8, PD_HIGH | PTE_P | PTE_W);
    put64(PD_HIGH, PTE_P | PTE_W | PTE_PS);
    put64(PD_LOW, PT_LOW | user);
    put64(PD_LOW + (CODE_BASE >> 21) * 8, PT_CODE | user);
    put64(PD_LOW + (DATA_BASE >> 21) * 8, PT_DATA | user);
    for (unsigned i = 0; i < CODE_SIZE >> 12; i++)
        put64(PT_CODE + i * 8, (CODE_PA + (i << 12)) | PTE_P | PTE_U);
    for (unsigned i = 0; i < DATA_SIZE >> 12; i++) {
        uint64_t pte = (DATA_PA + (i << 12)) | PTE_P | PTE_U | PTE_NX;

        if (i << 12 < DATA_RW)
            pte |= PTE_W;
        put64(PT_DATA + i * 8, pte);
        put64(PT_LOW + ((LOW_BASE >> 12) + i) * 8, pte);
    }
}

/* Descriptors where 64-bit Linux has them, so that LAR and its like see the
 * same; the accessed bits are set there. */
static void build_descriptors(void)
{
    static const uint64_t gdt[16] = {
        [1] = 0x00cf9b000000ffff, [2] = 0x00af9b000000ffff, [3] = 0x00cf93000000ffff,
        [4] = 0x00cffb000000ffff, [5] = 0x00cff3000000ffff, [6] = 0x00affb000000ffff,
    };

    mem_write(mem, GDT, gdt, sizeof(gdt));
    put64(GDT + (SEL_CPU & ~7u), native_cpu_descriptor());
    put64(GDT + 8 * 8, 0x0000890000000067 | (uint64_t)(TSS & 0xffff) << 16 | 0x80ULL << 56);
    put64(GDT + 9 * 8, 0xffffffff);
    put64(GDT + 10 * 8, 0x0000820000000007 | (uint64_t)(LDT & 0xffff) << 16 | 0x80ULL << 56);
    put64(GDT + 11 * 8, 0xffffffff);
    /* 16-bit code at CODE_BASE. */
    put64(LDT, 0x0000fb000000ffff | (uint64_t)(CODE_BASE & 0xffffff) << 16 | (uint64_t)(CODE_BASE >> 24) << 56);
    put64(TSS + 4, KBASE + STACK_TOP);
    put64(TSS + 0x64, 0x00680000);      /* I/O map behind the limit: no port is open */
}

static void build_idt(void)
{
    for (unsigned v = 0; v < 256; v++) {
        /* out %al, $0xf0; hlt */
        static const uint8_t stub[] = {0xe6, 0xf0, 0xf4};
        uint64_t at = KBASE + STUBS + v * 16;
        bool user = v == VEC_BP || v == VEC_OF;

        mem_write(mem, STUBS + v * 16, stub, sizeof(stub));
        put64(IDT + v * 16, (at & 0xffff) | 0x10 << 16 | (user ? 0xeeULL : 0x8eULL) << 40 |
              (at >> 16 & 0xffff) << 48);
        put64(IDT + v * 16 + 8, at >> 32);
    }
}

static void build_state(const struct cpu_model *model)
{
    struct vcpu_state *s = &base_state;

    vcpu_state_reset(s, 0, true, false);
    s->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
    s->cr3 = PML4;
    s->cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_FSGSBASE | CR4_OSXSAVE;
    s->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
    s->xcr0 = model->xcr0_mask & native_xcr0();
    s->gdtr = (struct table_state){KBASE + GDT, 16 * 8 - 1};
    s->idtr = (struct table_state){KBASE + IDT, 256 * 16 - 1};
    s->seg[SEG_TR] = (struct seg_state){KBASE + TSS, 0x67, 0x8b, 0x40};
    s->seg[SEG_LDTR] = (struct seg_state){KBASE + LDT, 7, 0x82, 0x50};
}

static const struct engine_ops *find_engine(const char *name)
{
    for (unsigned i = 0; engines[i]; i++)
        if (!strcmp(engines[i]->name, name))
            return engines[i];
    return NULL;
}

int guest_init(const char *engine, const struct cpu_model *model, enum cpu_stress stress, uint64_t tb_size)
{
    static struct cpu_model m;
    struct engine_config config = {.clock = &vclock, .model = &m, .ncpus = 1,
                                   .stress = stress, .tb_size = tb_size};
    char err[200] = "";

    m = *model;
    ops = find_engine(engine);
    if (!ops) {
        fprintf(stderr, "difftest: no engine %s\n", engine);
        return -EINVAL;
    }
    vm_clock_init(&vclock);
    vm_clock_start(&vclock);
    if (mem_create(&mem, MEM_SIZE, err, sizeof(err)) || mem_add_slot(mem, 0, MEM_SIZE, 0, false))
        goto fail;
    build_tables();
    build_descriptors();
    build_idt();
    mem_fill(mem, CODE_PA, 0xcc, CODE_SIZE);
    code_pages = mem_get(mem, CODE_PA, CODE_SIZE, true);
    data_pages = mem_get(mem, DATA_PA, DATA_SIZE, true);
    stack_page = mem_get(mem, STACK_TOP - 0x1000, 0x1000, false);
    config.mem = mem;
    if (ops->vm_create(&vm, &config, err, sizeof(err)) || ops->vcpu_create(&vcpu, vm, 0))
        goto fail;
    run = ops->vcpu_page(vcpu);
    build_state(model);
    return 0;
fail:
    fprintf(stderr, "difftest: cannot make a VM: %s\n", err);
    return -ENOMEM;
}

bool guest_ready(void)
{
    return ops != NULL;
}

void guest_exit(void)
{
    if (!ops)
        return;
    ops->vcpu_destroy(vcpu);
    ops->vm_destroy(vm);
    mem_destroy(mem);
}

static struct seg_state segment(uint16_t sel, uint64_t base)
{
    static const struct {
        uint16_t sel;
        uint32_t limit, attr;
    } known[] = {{SEL_CS64, 0xffffffff, 0xa0fb}, {SEL_CS32, 0xffffffff, 0xc0fb},
                 {SEL_CS16, 0xffff, 0x00fb}, {SEL_DATA, 0xffffffff, 0xc0f3}};

    for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
        if (known[i].sel == sel)
            return (struct seg_state){base, known[i].limit, known[i].attr, sel};
    return (struct seg_state){base, 0, SEG_ATTR_UNUSABLE, sel};
}

static void put_vector(struct vcpu_state *s, const struct regs *in)
{
    s->fcw = in->fcw;
    s->fsw = in->fsw;
    s->fop = in->fop;
    s->ftw = in->ftw;
    s->fip = in->fip;
    s->fdp = in->fdp;
    for (unsigned i = 0; i < 8; i++) {
        memcpy(&s->st_mant[i], in->st[i], 8);
        memcpy(&s->st_exp[i], in->st[i] + 8, 2);
    }
    s->mxcsr = in->mxcsr;
    memcpy(s->opmask, in->k, sizeof(s->opmask));
    for (unsigned i = 0; i < 16; i++) {
        memcpy(s->xmm[i], in->zmm[i], 16);
        memcpy(s->ymmh[i], in->zmm[i] + 16, 16);
        memcpy(s->zmmh[i], in->zmm[i] + 32, 32);
        memcpy(s->hi16_zmm[i], in->zmm[16 + i], 64);
    }
}

static void take_vector(const struct vcpu_state *s, struct regs *o)
{
    o->fcw = s->fcw;
    o->fsw = s->fsw;
    o->fop = s->fop;
    o->ftw = s->ftw;
    o->fip = s->fip;
    o->fdp = s->fdp;
    for (unsigned i = 0; i < 8; i++) {
        memcpy(o->st[i], &s->st_mant[i], 8);
        memcpy(o->st[i] + 8, &s->st_exp[i], 2);
    }
    o->mxcsr = s->mxcsr;
    memcpy(o->k, s->opmask, sizeof(o->k));
    for (unsigned i = 0; i < 16; i++) {
        memcpy(o->zmm[i], s->xmm[i], 16);
        memcpy(o->zmm[i] + 16, s->ymmh[i], 16);
        memcpy(o->zmm[i] + 32, s->zmmh[i], 32);
        memcpy(o->zmm[16 + i], s->hi16_zmm[i], 64);
    }
}

static void load(const struct test_case *t)
{
    struct vcpu_state *s = &state;
    static const uint8_t seg[DS_COUNT] = {SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS};

    memcpy(code_pages + t->entry, t->code, SEQ_BYTES);
    mem_written(mem, CODE_PA + t->entry, SEQ_BYTES);
    memcpy(data_pages, t->mem, DATA_SIZE);
    *s = base_state;
    memcpy(s->gpr, t->in.gpr, sizeof(s->gpr));
    s->rip = t->in.rip;
    s->rflags = t->in.rflags;
    for (unsigned i = 0; i < DS_COUNT; i++)
        s->seg[seg[i]] = segment(t->in.sel[i], i == DS_FS ? t->in.fs_base : i == DS_GS ? t->in.gs_base :
                                 i == DS_CS && t->mode == MODE_16 ? CODE_BASE : 0);
    put_vector(s, &t->in);
}

static bool has_error(unsigned v)
{
    return v == VEC_DF || (v >= VEC_TS && v <= VEC_PF) || v == VEC_AC || v == 21;
}

/* The supervisor's stack has what user mode had. */
static void take(struct outcome *o)
{
    const struct vcpu_state *s = &state;
    struct regs *out = &o->out;
    uint64_t frame[6];

    memcpy(out->gpr, s->gpr, sizeof(out->gpr));
    memcpy(frame, stack_page + 0x1000 - sizeof(frame), sizeof(frame));
    o->error = has_error(o->vector) ? (uint32_t)frame[0] : 0;
    o->cr2 = o->vector == VEC_PF ? s->cr2 : 0;
    out->rip = frame[1];
    out->sel[DS_CS] = (uint16_t)frame[2];
    out->rflags = frame[3];
    out->gpr[CPU_RSP] = frame[4];
    out->sel[DS_SS] = (uint16_t)frame[5];
    out->sel[DS_ES] = s->seg[SEG_ES].selector;
    out->sel[DS_DS] = s->seg[SEG_DS].selector;
    out->sel[DS_FS] = s->seg[SEG_FS].selector;
    out->sel[DS_GS] = s->seg[SEG_GS].selector;
    out->fs_base = s->seg[SEG_FS].base;
    out->gs_base = s->seg[SEG_GS].base;
    take_vector(s, out);
    memcpy(o->mem, data_pages, DATA_SIZE);
}

static bool run_to_stub(struct outcome *o, uint64_t *stub)
{
    char err[100];
    int r = ops->vcpu_set_state(vcpu, &state, err, sizeof(err));

    if (r) {
        snprintf(o->text, sizeof(o->text), "set_state: %.48s", err);
        return false;
    }
    run->stop_count = state.insn_count + MAX_COUNT;
    r = ops->vcpu_run(vcpu);
    if (r || run->exit != CPU_EXIT_IO || run->io.port != 0xf0) {
        if (!r && run->exit == CPU_EXIT_COUNT)
            o->status = ST_HUNG;
        snprintf(o->text, sizeof(o->text), "exit %d, returned %d %.40s", run->exit, r,
                 run->exit == CPU_EXIT_ERROR ? run->error.text : "");
        return false;
    }
    /* Let the OUT finish: only then is the state whole. */
    run->immediate_exit = true;
    r = ops->vcpu_run(vcpu);
    run->immediate_exit = false;
    ops->vcpu_get_state(vcpu, &state);
    *stub = state.rip - KBASE - STUBS;
    if (r || *stub >= 256 * 16)
        snprintf(o->text, sizeof(o->text), "ends at %#llx", (unsigned long long)state.rip);
    return !r && *stub < 256 * 16;
}

void guest_run(const struct test_case *t, struct outcome *o)
{
    uint64_t stub = 0;

    load(t);
    memset(o, 0, offsetof(struct outcome, mem));
    o->status = ST_BROKEN;
    if (run_to_stub(o, &stub)) {
        o->status = ST_OK;
        o->vector = (uint8_t)(stub / 16);
        take(o);
    }
    memset(code_pages + t->entry, 0xcc, SEQ_BYTES);
    mem_written(mem, CODE_PA + t->entry, SEQ_BYTES);
}
