/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Model-specific registers (SDM 4 2; APM 2 A).  One that does not exist is
 * #GP(0).  Those of AMD that kernels touch without asking first read as KVM
 * has them: as a CPU that needs no workaround.
 */
#include "engine/soft/soft.h"

#include "base/log.h"
#include "engine/soft/lapic.h"

enum {
    MSR_PLATFORM_ID = 0x17,
    MSR_DEBUGCTL = 0x1d9,
    MSR_LASTBRANCH_FROM = 0x1db,
    MSR_LASTINT_TO = 0x1de,
};
#define MSR_SYSCFG       0xc0010010u
#define MSR_HWCR         0xc0010015u
#define MSR_IORR_BASE0   0xc0010016u
#define MSR_TOP_MEM      0xc001001au
#define MSR_TOP_MEM2     0xc001001du
#define MSR_NB_CFG       0xc001001fu
#define MSR_PATCH_LOADER 0xc0010020u
#define MSR_INT_PENDING  0xc0010055u
#define MSR_TSEG_ADDR    0xc0010112u
#define MSR_TSEG_MASK    0xc0010113u
#define MSR_VM_CR        0xc0010114u
#define MSR_LS_CFG       0xc0011020u
#define MSR_DE_CFG       0xc0011029u
#define MSR_AMD_CFG_LAST 0xc001102fu

#define HWCR_TSC_FREQ_SEL       BIT(24) /* the TSC counts at P0's rate, whatever happens */
#define HWCR_WRITABLE           (BIT(3) | BIT(6) | BIT(8) | BIT(18) | BIT(24))
#define DE_CFG_LFENCE_SERIALIZE BIT(1)
#define VM_CR_SVMDIS            BIT(4)
/* RDCL_NO, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO,
 * FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO: what a guest
 * would do against these has no effect on code that an engine runs for it. */
#define ARCH_CAPABILITIES                                                                          \
    (BIT(0) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(13) | BIT(14) | BIT(15) | BIT(20) | \
     BIT(24) | BIT(26) | BIT(27) | BIT(62))
#define FEATURE_CONTROL_LOCKED BIT(0)
#define MISC_ENABLE_READONLY   (BIT(7) | BIT(11) | BIT(12))
#define MISC_ENABLE_WRITABLE   (BIT(0) | BIT(3) | BIT(16) | BIT(18) | BIT(22) | BIT(23) | BIT(34))
#define MTRRCAP                0x508u /* 8 variable ranges, fixed ranges, write combining */
/* What KVM reports, for want of a patch level of our own. */
#define PATCH_LEVEL_AMD   0x01000065u
#define PATCH_LEVEL_INTEL 0x100000000ULL
#define DEBUGCTL_LBR_BTF  3u

static int unknown(struct soft_cpu *c, const char *what, uint32_t msr)
{
    log_guest(LOG_CPU, "%s of unknown MSR %#x at rip %#llx", what, msr,
              (unsigned long long)soft_rip(c));
    return soft_gp0(c);
}

/* ---- plain storage ------------------------------------------------------------ */

/* MSRs of 64 bits that are stored and read back, or NULL. */
__attribute__((nonnull)) static uint64_t *plain(struct soft_cpu *c, uint32_t msr)
{
    switch (msr) {
    case MSR_STAR: return &c->s.star;
    case MSR_LSTAR: return &c->s.lstar;
    case MSR_CSTAR: return &c->s.cstar;
    case MSR_SFMASK: return &c->s.sfmask;
    case MSR_FS_BASE: return &c->s.seg[SEG_FS].base;
    case MSR_GS_BASE: return &c->s.seg[SEG_GS].base;
    case MSR_KERNEL_GS_BASE: return &c->s.kernel_gs_base;
    case MSR_SYSENTER_CS: return &c->s.sysenter_cs;
    case MSR_SYSENTER_ESP: return &c->s.sysenter_esp;
    case MSR_SYSENTER_EIP: return &c->s.sysenter_eip;
    case MSR_PAT: return &c->s.pat;
    case MSR_MCG_STATUS: return &c->s.mcg_status;
    default: return NULL;
    }
}

static bool holds_address(uint32_t msr)
{
    switch (msr) {
    case MSR_LSTAR:
    case MSR_CSTAR:
    case MSR_FS_BASE:
    case MSR_GS_BASE:
    case MSR_KERNEL_GS_BASE:
    case MSR_SYSENTER_ESP:
    case MSR_SYSENTER_EIP: return true;
    default: return false;
    }
}

/* ---- memory types: checked and kept (SDM 3A 11.11, 11.12) ------------------------- */

static bool memory_type(unsigned t, bool pat)
{
    return t <= 1 || (t >= 4 && t <= 6) || (pat && t == 7);
}

static bool memory_types(uint64_t v, bool pat)
{
    for (unsigned i = 0; i < 8; i++)
        if (!memory_type(v >> (i * 8) & 0xff, pat))
            return false;
    return true;
}

__attribute__((nonnull)) static uint64_t *mtrr(struct soft_cpu *c, uint32_t msr)
{
    switch (msr) {
    case MSR_MTRR_DEF_TYPE: return &c->s.mtrr_def_type;
    case MSR_MTRR_FIX64K: return &c->s.mtrr_fix[0];
    case MSR_MTRR_FIX16K_80000: return &c->s.mtrr_fix[1];
    case MSR_MTRR_FIX16K_A0000: return &c->s.mtrr_fix[2];
    case MSR_MTRR_FIX4K ... MSR_MTRR_FIX4K + 7: return &c->s.mtrr_fix[3 + msr - MSR_MTRR_FIX4K];
    case MSR_MTRR_PHYSBASE0 ... MSR_MTRR_PHYSBASE0 + 15:
        return msr & 1 ? &c->s.mtrr_mask[(msr - MSR_MTRR_PHYSBASE0) / 2]
                       : &c->s.mtrr_base[(msr - MSR_MTRR_PHYSBASE0) / 2];
    default: return NULL;
    }
}

static bool mtrr_valid(const struct soft_cpu *c, uint32_t msr, uint64_t v)
{
    const uint64_t address = size_mask(8) >> (64 - c->vm->model->phys_bits);

    if (msr == MSR_MTRR_DEF_TYPE)
        return !(v & ~0xcffULL) && memory_type(v & 0xff, false);
    if (msr >= MSR_MTRR_FIX64K)
        return memory_types(v, false);
    if (v & ~address)
        return false;
    return msr & 1 ? !(v & 0x7ff) : !(v & 0xf00) && memory_type(v & 0xff, false);
}

/* ---- EFER (SDM 3A 2.2.1) ------------------------------------------------------------ */

static int write_efer(struct soft_cpu *c, uint64_t v)
{
    uint64_t allowed = EFER_LMA, old = c->s.efer;

    if (soft_has(c, F_SYSCALL))
        allowed |= EFER_SCE;
    if (soft_has(c, F_LM))
        allowed |= EFER_LME;
    if (soft_has(c, F_NX))
        allowed |= EFER_NXE;
    if (v & ~allowed)
        return soft_gp0(c);
    if ((c->s.cr0 & CR0_PG) && ((v ^ old) & EFER_LME))
        return soft_gp0(c);
    c->s.efer = (v & ~EFER_LMA) | (old & EFER_LMA);
    if ((v ^ old) & EFER_NXE)
        soft_flush_all(c);
    soft_mode_changed(c);
    return 0;
}

/* ---- AMD's own ------------------------------------------------------------------------ */

/* False: not one of these. */
static bool read_amd(uint32_t msr, uint64_t *v)
{
    *v = 0;
    switch (msr) {
    case MSR_HWCR: *v = HWCR_TSC_FREQ_SEL; return true;
    case MSR_DE_CFG: *v = DE_CFG_LFENCE_SERIALIZE; return true;
    case MSR_VM_CR: *v = VM_CR_SVMDIS; return true;
    case MSR_SYSCFG:
    case MSR_IORR_BASE0 ... MSR_IORR_BASE0 + 3:
    case MSR_TOP_MEM:
    case MSR_TOP_MEM2:
    case MSR_NB_CFG:
    case MSR_INT_PENDING:
    case MSR_TSEG_ADDR:
    case MSR_TSEG_MASK:
    case MSR_LS_CFG ... MSR_DE_CFG - 1:
    case MSR_DE_CFG + 1 ... MSR_AMD_CFG_LAST: return true;
    default: return false;
    }
}

/* Writes that would switch something on are #GP(0), others have no effect. */
static bool write_amd(uint32_t msr, uint64_t v)
{
    switch (msr) {
    case MSR_HWCR: return !(v & ~HWCR_WRITABLE);
    case MSR_DE_CFG: return !(v & ~DE_CFG_LFENCE_SERIALIZE);
    case MSR_SYSCFG:
    case MSR_NB_CFG:
    case MSR_PATCH_LOADER:
    case MSR_INT_PENDING:
    case MSR_LS_CFG ... MSR_DE_CFG - 1:
    case MSR_DE_CFG + 1 ... MSR_AMD_CFG_LAST: return true;
    default: return false;
    }
}

/* ---- Intel's own ------------------------------------------------------------------------ */

static bool read_intel(struct soft_cpu *c, uint32_t msr, uint64_t *v)
{
    switch (msr) {
    case MSR_PLATFORM_ID: *v = 0; return true;
    case MSR_FEATURE_CONTROL: *v = FEATURE_CONTROL_LOCKED; return true;
    case MSR_ARCH_CAPABILITIES: *v = ARCH_CAPABILITIES; return true;
    case MSR_MISC_ENABLE: *v = c->s.misc_enable; return true;
    default: return false;
    }
}

static bool write_intel(struct soft_cpu *c, uint32_t msr, uint64_t v)
{
    if (msr != MSR_MISC_ENABLE)
        return false;
    c->s.misc_enable = (v & MISC_ENABLE_WRITABLE) | (c->s.misc_enable & MISC_ENABLE_READONLY);
    return true;
}

/* ---- the two doors ------------------------------------------------------------------------ */

static bool is_lapic(uint32_t msr)
{
    return msr == MSR_APIC_BASE || msr == MSR_TSC_DEADLINE || msr - MSR_X2APIC <= 0xff;
}

static int read_other(struct soft_cpu *c, uint32_t msr, uint64_t *v)
{
    switch (msr) {
    case MSR_TSC: *v = soft_tsc(c); return 0;
    case MSR_TSC_ADJUST: *v = c->s.tsc_adjust; return soft_has(c, F_TSC_ADJUST) ? 0 : soft_gp0(c);
    case MSR_TSC_AUX: *v = c->s.tsc_aux; return soft_has(c, F_RDTSCP) ? 0 : soft_gp0(c);
    case MSR_EFER: *v = c->s.efer; return 0;
    case MSR_MTRRCAP: *v = MTRRCAP; return 0;
    case MSR_MCG_CAP: *v = 0; return 0; /* no banks */
    case MSR_BIOS_SIGN_ID: *v = c->vm->model->amd ? PATCH_LEVEL_AMD : PATCH_LEVEL_INTEL; return 0;
    case MSR_DEBUGCTL:
    case MSR_LASTBRANCH_FROM ... MSR_LASTINT_TO: *v = 0; return 0;
    case MSR_KVM_WALL_CLOCK:
    case MSR_KVM_WALL_CLOCK_OLD: *v = c->s.kvm_wall_clock; return 0;
    case MSR_KVM_SYSTEM_TIME:
    case MSR_KVM_SYSTEM_TIME_OLD: *v = c->s.kvm_system_time; return 0;
    case MSR_KVM_PV_EOI: *v = c->s.kvm_pv_eoi; return 0;
    }
    if (c->vm->model->amd ? read_amd(msr, v) : read_intel(c, msr, v))
        return 0;
    return unknown(c, "read", msr);
}

int soft_rdmsr(struct soft_cpu *c, uint32_t msr, uint64_t *v)
{
    const uint64_t *p = plain(c, msr);

    if (!p)
        p = mtrr(c, msr);
    if (p) {
        *v = *p;
        return 0;
    }
    return is_lapic(msr) ? lapic_rdmsr(c, msr, v) : read_other(c, msr, v);
}

static int write_plain(struct soft_cpu *c, uint32_t msr, uint64_t *p, uint64_t v)
{
    if (holds_address(msr) && !x86_canonical(v))
        return soft_gp0(c);
    if (msr == MSR_PAT && !memory_types(v, true))
        return soft_gp0(c);
    if (msr == MSR_SFMASK || msr == MSR_SYSENTER_CS)
        v = (uint32_t)v;
    *p = v;
    if (msr == MSR_FS_BASE || msr == MSR_GS_BASE)
        soft_mode_changed(c);
    return 0;
}

/* IA32_TSC_ADJUST moves with the TSC (SDM 3B 17.17.3); what depends on this
 * vCPU's TSC follows. */
static int write_tsc_adjust(struct soft_cpu *c, uint64_t v)
{
    c->s.tsc_adjust = v;
    lapic_rearm(c);
    kvmclock_update(c);
    return 0;
}

/* Intel: the upper half must be 0; AMD: it is ignored. */
static int write_tsc_aux(struct soft_cpu *c, uint64_t v)
{
    if (!soft_has(c, F_RDTSCP) || (!c->vm->model->amd && v >> 32))
        return soft_gp0(c);
    c->s.tsc_aux = (uint32_t)v;
    return 0;
}

static int write_other(struct soft_cpu *c, uint32_t msr, uint64_t v)
{
    switch (msr) {
    case MSR_TSC: return write_tsc_adjust(c, c->s.tsc_adjust + v - soft_tsc(c));
    case MSR_TSC_ADJUST: return soft_has(c, F_TSC_ADJUST) ? write_tsc_adjust(c, v) : soft_gp0(c);
    case MSR_TSC_AUX: return write_tsc_aux(c, v);
    case MSR_EFER: return write_efer(c, v);
    case MSR_BIOS_SIGN_ID: c->s.bios_sign_id = v; return 0;
    case MSR_DEBUGCTL: return v & ~(uint64_t)DEBUGCTL_LBR_BTF ? soft_gp0(c) : 0;
    case MSR_KVM_WALL_CLOCK:
    case MSR_KVM_WALL_CLOCK_OLD:
    case MSR_KVM_SYSTEM_TIME:
    case MSR_KVM_SYSTEM_TIME_OLD: return kvmclock_wrmsr(c, msr, v);
    case MSR_KVM_PV_EOI: return pv_eoi_wrmsr(c, v);
    }
    if (c->vm->model->amd ? write_amd(msr, v) : write_intel(c, msr, v))
        return 0;
    return unknown(c, "write", msr);
}

int soft_wrmsr(struct soft_cpu *c, uint32_t msr, uint64_t v)
{
    uint64_t *p = plain(c, msr);

    if (p)
        return write_plain(c, msr, p, v);
    p = mtrr(c, msr);
    if (p) {
        if (!mtrr_valid(c, msr, v))
            return soft_gp0(c);
        *p = v;
        return 0;
    }
    return is_lapic(msr) ? lapic_wrmsr(c, msr, v) : write_other(c, msr, v);
}
