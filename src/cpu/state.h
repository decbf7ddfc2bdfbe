/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * struct vcpu_state: the whole state of a vCPU, engine-neutral.  Every engine
 * gives all of it and takes all of it; snapshots, migration, the debugger and
 * the differential tests use nothing else.
 *
 * There is a field for each XSAVE component rather than an XSAVE image, since
 * the offsets of components differ from host to host (SDM 1 13.4).
 */
#ifndef CPU_STATE_H
#define CPU_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "state/state.h"

/* General registers by encoding: indexes into gpr. */
enum { CPU_RAX, CPU_RCX, CPU_RDX, CPU_RBX, CPU_RSP, CPU_RBP, CPU_RSI, CPU_RDI,
       CPU_R8, CPU_R9, CPU_R10, CPU_R11, CPU_R12, CPU_R13, CPU_R14, CPU_R15 };
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, SEG_COUNT };

/* Segment register with its hidden part.  attr is the descriptor's second
 * dword shifted right by 8 with the limit bits cleared (as in VMX and SVM
 * state): type 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, D/B 14, G 15; bit 16:
 * unusable (null). limit is in bytes, already scaled by G. */
struct seg_state {
    uint64_t base;
    uint32_t limit;
    uint32_t attr;
    uint16_t selector;
};
#define SEG_ATTR_TYPE 0xfu
#define SEG_ATTR_S (1u << 4)
#define SEG_ATTR_DPL_SHIFT 5
#define SEG_ATTR_P (1u << 7)
#define SEG_ATTR_AVL (1u << 12)
#define SEG_ATTR_L (1u << 13)
#define SEG_ATTR_DB (1u << 14)
#define SEG_ATTR_G (1u << 15)
#define SEG_ATTR_UNUSABLE (1u << 16)

struct table_state {
    uint64_t base;
    uint16_t limit;
};

/* What the vCPU does when it is let run. */
enum mp_state { MP_RUNNABLE, MP_HALTED, MP_WAIT_SIPI, MP_MWAIT, MP_SHUTDOWN };

/* Shadows and latches (SDM 3A 6.8.3, 6.7.1, 24.4.2). */
#define SHADOW_STI (1u << 0)
#define SHADOW_MOV_SS (1u << 1)
#define SHADOW_NMI (1u << 2)      /* NMIs blocked until IRET */

/* Local APIC: register values as the guest reads them (SDM 3A 10.4.1), and
 * what cannot be read. */
struct lapic_state {
    uint64_t base;                /* IA32_APIC_BASE */
    uint32_t id, ldr, dfr, svr, tpr, esr, esr_pending;
    uint32_t irr[8], isr[8], tmr[8];
    uint32_t icr_low, icr_high;
    uint32_t lvt_cmci, lvt_timer, lvt_thermal, lvt_perf, lvt_lint0, lvt_lint1, lvt_error;
    uint32_t timer_icr, timer_dcr;
    uint64_t timer_deadline_ns;   /* VM clock of the next expiry; 0: not armed */
    uint64_t tsc_deadline;        /* IA32_TSC_DEADLINE */
};

struct vcpu_state {
    uint64_t gpr[16];
    uint64_t rip, rflags;
    struct seg_state seg[SEG_COUNT];
    struct table_state gdtr, idtr;
    uint64_t cr0, cr2, cr3, cr4, cr8;
    uint64_t dr[4], dr6, dr7;
    uint64_t xcr0;

    /* MSRs */
    uint64_t efer, star, lstar, cstar, sfmask, kernel_gs_base, tsc_aux;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t pat, misc_enable, spec_ctrl, tsc_adjust, bios_sign_id;
    uint64_t mtrr_def_type, mtrr_fix[11], mtrr_base[8], mtrr_mask[8];
    uint64_t mcg_status;
    /* Paravirtual MSRs */
    uint64_t kvm_wall_clock, kvm_system_time, kvm_pv_eoi;

    /* Guest TSC at the moment of the save (VM clock standing still). */
    uint64_t tsc;

    /* XSAVE components.  0: x87 */
    uint16_t fcw, fsw, fop;
    uint8_t ftw;                  /* abridged: a bit for each physical register, 1 = not empty */
    uint64_t fip, fdp;
    uint16_t fcs, fds;
    uint64_t st_mant[8];          /* ST(0) to ST(7), as in FXSAVE */
    uint16_t st_exp[8];
    /* 1: SSE */
    uint32_t mxcsr;
    uint64_t xmm[16][2];
    /* 2: AVX, upper halves */
    uint64_t ymmh[16][2];
    /* 5, 6, 7: AVX-512 */
    uint64_t opmask[8];
    uint64_t zmmh[16][4];         /* bits 511:256 of ZMM0-15 */
    uint64_t hi16_zmm[16][8];     /* ZMM16-31 */

    struct lapic_state lapic;

    /* Pending events */
    uint8_t mp_state;             /* enum mp_state */
    uint8_t shadows;              /* SHADOW_* */
    bool nmi_pending, smi_pending, init_pending, sipi_pending;
    uint8_t sipi_vector;
    bool extint_request;          /* the board's PIC raises INTR */
    /* An exception or interrupt whose delivery was interrupted by an exit. */
    bool exception_pending, exception_has_error;
    uint8_t exception_vector;
    uint32_t exception_error;
    uint64_t exception_payload;   /* CR2 of #PF, DR6 bits of #DB */

    uint64_t insn_count;          /* retired guest instructions (software engines) */
};

/* Field table over all of it, "vcpu" sections of a stream. */
extern const struct state_desc vcpu_state_desc;

/* State after RESET (init false) or INIT (true; keeps what SDM 3A table 9-1
 * says) of the vCPU with this APIC id. */
void vcpu_state_reset(struct vcpu_state *s, uint32_t apic_id, bool bsp, bool init);
/* The local APIC alone (SDM 3A 10.4.7); keeps IA32_APIC_BASE if init. */
void lapic_state_reset(struct lapic_state *a, uint32_t apic_id, bool bsp, bool init);
/* Check hostile values (reserved bits, canonical addresses, modes).  Returns
 * 0 or -EINVAL with a message. */
int vcpu_state_check(const struct vcpu_state *s, char *err, size_t err_size);
/* Registers for people (`info registers`). */
void vcpu_state_print(const struct vcpu_state *s, FILE *f);

#endif
