/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The field table of a vCPU's state, and its reset. */
#include "cpu/state.h"

#include <string.h>

#include "base/util.h"
#include "x86/x86.h"

#define APIC_BASE_ADDRESS 0xfee00000ULL
#define APIC_BASE_EN      BIT(11)
#define APIC_BASE_EXTD    BIT(10)
#define APIC_BASE_BSP     BIT(8)
#define LVT_MASKED        0x10000u
#define LVT_EXTINT        0x700u
#define PAT_RESET         0x0007040600070406ULL
/* Fast strings; branch trace and PEBS unavailable (SDM 4 IA32_MISC_ENABLE). */
#define MISC_ENABLE_RESET 0x1801ULL
/* SS, DS, ...: present, read/write, accessed; CS: code instead of data. */
#define ATTR_DATA 0x93u
#define ATTR_CODE 0x9bu
#define ATTR_LDT  0x82u
#define ATTR_TSS  0x8bu

/* clang-format off */
#define F(f) STATE_FIELD(struct vcpu_state, f, 0)
#define A(f) STATE_ARRAY(struct vcpu_state, f, 0)
/* A two-dimensional array as one row of 64-bit words. */
#define A2(f)                                                                  \
    { .name = #f, .type = STATE_U64, .count = sizeof(((struct vcpu_state *)0)->f) / 8, \
      .offset = offsetof(struct vcpu_state, f) }
#define NESTED(n, f)                                                           \
    { .name = n, .type = STATE_TYPE_OF(((struct vcpu_state *)0)->f), .count = 1, \
      .offset = offsetof(struct vcpu_state, f) }
#define SEG(n, i)                                                              \
    NESTED(n ".base", seg[i].base), NESTED(n ".limit", seg[i].limit),          \
    NESTED(n ".attr", seg[i].attr), NESTED(n ".selector", seg[i].selector)

/* Reset is vcpu_state_reset's: it depends on APIC id and on RESET or INIT. */
static const struct state_field fields[] = {
    A(gpr), F(rip), F(rflags),
    SEG("es", SEG_ES), SEG("cs", SEG_CS), SEG("ss", SEG_SS), SEG("ds", SEG_DS),
    SEG("fs", SEG_FS), SEG("gs", SEG_GS), SEG("ldtr", SEG_LDTR), SEG("tr", SEG_TR),
    F(gdtr.base), F(gdtr.limit), F(idtr.base), F(idtr.limit),
    F(cr0), F(cr2), F(cr3), F(cr4), F(cr8), A(dr), F(dr6), F(dr7), F(xcr0),

    F(efer), F(star), F(lstar), F(cstar), F(sfmask), F(kernel_gs_base), F(tsc_aux),
    F(sysenter_cs), F(sysenter_esp), F(sysenter_eip),
    F(pat), F(misc_enable), F(spec_ctrl), F(tsc_adjust), F(bios_sign_id),
    F(mtrr_def_type), A(mtrr_fix), A(mtrr_base), A(mtrr_mask), F(mcg_status),
    F(kvm_wall_clock), F(kvm_system_time), F(kvm_pv_eoi), F(tsc),

    F(fcw), F(fsw), F(fop), F(ftw), F(fip), F(fdp), F(fcs), F(fds), A(st_mant), A(st_exp),
    F(mxcsr), A2(xmm), A2(ymmh), A(opmask), A2(zmmh), A2(hi16_zmm),

    F(lapic.base), F(lapic.id), F(lapic.ldr), F(lapic.dfr), F(lapic.svr), F(lapic.tpr),
    F(lapic.esr), F(lapic.esr_pending), A(lapic.irr), A(lapic.isr), A(lapic.tmr),
    F(lapic.icr_low), F(lapic.icr_high), F(lapic.lvt_cmci), F(lapic.lvt_timer),
    F(lapic.lvt_thermal), F(lapic.lvt_perf), F(lapic.lvt_lint0), F(lapic.lvt_lint1),
    F(lapic.lvt_error), F(lapic.timer_icr), F(lapic.timer_dcr), F(lapic.timer_deadline_ns),
    F(lapic.tsc_deadline),

    F(mp_state), F(shadows), F(nmi_pending), F(smi_pending), F(init_pending), F(sipi_pending),
    F(sipi_vector), F(extint_request), F(exception_pending), F(exception_has_error),
    F(exception_vector), F(exception_error), F(exception_payload),
    F(insn_count),
    STATE_END
};
/* clang-format on */

static int post_load(void *obj, char *err, size_t err_size)
{
    return vcpu_state_check(obj, err, err_size);
}

const struct state_desc vcpu_state_desc = {
    .name = "vcpu",
    .version = 1,
    .fields = fields,
    .post_load = post_load,
};

/* SDM 3A 10.4.7: INIT leaves the APIC's mode and base, and so its id.  LINT0
 * of the bootstrap processor is ExtINT at reset: what firmware would set up
 * first (virtual wire mode), and what KVM and QEMU do too. */
void lapic_state_reset(struct lapic_state *a, uint32_t apic_id, bool bsp, bool init)
{
    uint64_t base = init ? a->base : APIC_BASE_ADDRESS | APIC_BASE_EN | (bsp ? APIC_BASE_BSP : 0);
    bool x2 = (base & (APIC_BASE_EN | APIC_BASE_EXTD)) == (APIC_BASE_EN | APIC_BASE_EXTD);

    *a = (struct lapic_state){
        .base = base,
        .id = x2 ? apic_id : apic_id << 24,
        .ldr = x2 ? (apic_id >> 4) << 16 | 1u << (apic_id & 15) : 0,
        .dfr = 0xffffffff,
        .svr = 0xff,
        .lvt_cmci = LVT_MASKED,
        .lvt_timer = LVT_MASKED,
        .lvt_thermal = LVT_MASKED,
        .lvt_perf = LVT_MASKED,
        .lvt_lint0 = bsp ? LVT_EXTINT : LVT_MASKED,
        .lvt_lint1 = LVT_MASKED,
        .lvt_error = LVT_MASKED,
    };
}

/* What only RESET changes (the columns that say "unchanged" for INIT). */
static void reset_kept(struct vcpu_state *s)
{
    memset(s, 0, sizeof(*s));
    s->cr0 = CR0_CD | CR0_NW;
    s->xcr0 = XCR0_X87;
    s->pat = PAT_RESET;
    s->misc_enable = MISC_ENABLE_RESET;
    s->fcw = 0x40;
    s->ftw = 0xff; /* 5555h: all valid, holding +0 */
    s->mxcsr = 0x1f80;
}

static void reset_segments(struct vcpu_state *s)
{
    for (unsigned i = 0; i < SEG_COUNT; i++)
        s->seg[i] = (struct seg_state){ .limit = 0xffff, .attr = ATTR_DATA };
    s->seg[SEG_CS].attr = ATTR_CODE;
    s->seg[SEG_CS].selector = 0xf000;
    s->seg[SEG_CS].base = 0xffff0000;
    s->seg[SEG_LDTR].attr = ATTR_LDT;
    s->seg[SEG_TR].attr = ATTR_TSS;
    s->gdtr = s->idtr = (struct table_state){ .limit = 0xffff };
}

static void reset_events(struct vcpu_state *s, bool bsp)
{
    s->mp_state = bsp ? MP_RUNNABLE : MP_WAIT_SIPI;
    s->shadows = 0;
    s->nmi_pending = s->smi_pending = s->init_pending = s->sipi_pending = false;
    s->sipi_vector = 0;
    s->exception_pending = s->exception_has_error = false;
    s->exception_vector = 0;
    s->exception_error = 0;
    s->exception_payload = 0;
}

/* SDM 3A 9.1.1, table 9-1. */
void vcpu_state_reset(struct vcpu_state *s, uint32_t apic_id, bool bsp, bool init)
{
    if (!init)
        reset_kept(s);
    memset(s->gpr, 0, sizeof(s->gpr));
    s->gpr[CPU_RDX] = 0x600; /* the engine knows the model's signature */
    s->rip = 0xfff0;
    s->rflags = X86_FLAGS_FIXED;
    reset_segments(s);
    s->cr0 = (s->cr0 & (CR0_CD | CR0_NW)) | CR0_ET;
    s->cr2 = s->cr3 = s->cr4 = s->cr8 = 0;
    memset(s->dr, 0, sizeof(s->dr));
    s->dr6 = 0xffff0ff0;
    s->dr7 = 0x400;
    s->efer = 0;
    /* The registration of a vCPU's clock is gone with its kernel's memory. */
    s->kvm_system_time = s->kvm_pv_eoi = 0;
    lapic_state_reset(&s->lapic, apic_id, bsp, init);
    reset_events(s, bsp);
}
