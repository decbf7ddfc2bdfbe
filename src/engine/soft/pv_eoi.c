/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PV EOI: an end of interrupt without an access to the APIC (Linux,
 * Documentation/virt/kvm/x86/msr.rst, MSR_KVM_EOI_EN).
 *
 * When an interrupt is taken we set bit 0 of a byte in guest memory, and the
 * guest may clear that bit instead of writing EOI.  We hear of it only when we
 * look, so the offer is made for an interrupt whose end is urgent for nobody:
 * the only one in service, none waiting, no EOI exit.  Whoever wants to know
 * what is in service looks first (pv_eoi_sync); when another interrupt comes to
 * wait, or the state is taken, the offer is withdrawn and the guest writes EOI.
 *
 * The byte belongs to this vCPU, which does not run while we look.
 */
#include "engine/soft/lapic.h"

static uint64_t byte_gpa(const struct soft_cpu *c)
{
    return c->s.kvm_pv_eoi & ~3ULL;
}

/* False: there is no RAM. */
static bool write_byte(struct soft_cpu *c, uint8_t v)
{
    return !soft_phys_write(c, byte_gpa(c), &v, 1);
}

void pv_eoi_offer(struct soft_cpu *c)
{
    if (c->s.kvm_pv_eoi & 1)
        c->pv_eoi = write_byte(c, 1);
}

bool pv_eoi_taken(struct soft_cpu *c)
{
    uint8_t v = 1;

    if (soft_phys_read(c, byte_gpa(c), &v, 1) || (v & 1))
        return false;
    c->pv_eoi = false;
    return true;
}

void pv_eoi_cancel(struct soft_cpu *c)
{
    write_byte(c, 0);
    c->pv_eoi = false;
}

int pv_eoi_wrmsr(struct soft_cpu *c, uint64_t v)
{
    if (v & 2)
        return soft_gp0(c);
    lapic_withdraw_pv_eoi(c);
    c->s.kvm_pv_eoi = v;
    return 0;
}
