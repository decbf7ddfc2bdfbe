/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What cannot be compared with a host process in user mode. */
#include "diff.h"

#include "base/util.h"

static const struct {
    ZydisMnemonic mnemonic;
    const char *reason;
} excluded[] = {
    {ZYDIS_MNEMONIC_SYSCALL, "enters the host's kernel"},
    {ZYDIS_MNEMONIC_SYSENTER, "enters the host's kernel"},
    {ZYDIS_MNEMONIC_VMCALL, "calls the host's hypervisor"},
    {ZYDIS_MNEMONIC_VMMCALL, "calls the host's hypervisor"},
    {ZYDIS_MNEMONIC_CPUID, "answers depend on the CPU model and the host's APIC id"},
    {ZYDIS_MNEMONIC_RDTSC, "time differs"},
    {ZYDIS_MNEMONIC_RDTSCP, "time and processor number differ"},
    {ZYDIS_MNEMONIC_RDPID, "processor number differs"},
    {ZYDIS_MNEMONIC_RDRAND, "random"},
    {ZYDIS_MNEMONIC_RDSEED, "random"},
    {ZYDIS_MNEMONIC_XGETBV, "the host's XCR0 may have more bits; XINUSE depends on its history"},
    {ZYDIS_MNEMONIC_INT1, "some hypervisors deliver it with RIP at the instruction, not behind it"},
    {ZYDIS_MNEMONIC_SGDT, "UMIP: the host's kernel emulates it"},
    {ZYDIS_MNEMONIC_SIDT, "UMIP: the host's kernel emulates it"},
    {ZYDIS_MNEMONIC_SLDT, "UMIP: the host's kernel emulates it"},
    {ZYDIS_MNEMONIC_SMSW, "UMIP: the host's kernel emulates it"},
    {ZYDIS_MNEMONIC_STR, "UMIP: the host's kernel emulates it"},
    {ZYDIS_MNEMONIC_RDPMC, "the host's CR4.PCE is unknown"},
    {ZYDIS_MNEMONIC_MWAIT, "may be open to user mode on the host"},
    {ZYDIS_MNEMONIC_MONITOR, "may be open to user mode on the host"},
    {ZYDIS_MNEMONIC_MWAITX, "waits for time"},
    {ZYDIS_MNEMONIC_MONITORX, "waits for time"},
};

const char *exclude_reason(enum mode mode, const struct decoded *d)
{
    (void)mode;
    if (d->z.mnemonic == ZYDIS_MNEMONIC_LOOPE || d->z.mnemonic == ZYDIS_MNEMONIC_LOOPNE)
        for (unsigned i = 0; i < d->z.raw.prefix_count; i++)
            if (d->z.raw.prefixes[i].value == 0xf2 || d->z.raw.prefixes[i].value == 0xf3)
                return "AMD takes REP on LOOPE and LOOPNE for the condition";
    for (unsigned i = 0; i < ARRAY_SIZE(excluded); i++)
        if (excluded[i].mnemonic == d->z.mnemonic)
            return excluded[i].reason;
    return NULL;
}

void exclude_print(FILE *f)
{
    fprintf(f, "excluded instructions:\n");
    for (unsigned i = 0; i < ARRAY_SIZE(excluded); i++)
        fprintf(f, "  %-10s %s\n", ZydisMnemonicGetString(excluded[i].mnemonic), excluded[i].reason);
    fprintf(f, "  %-10s %s\n", "rep loopcc", "AMD takes REP on LOOPE and LOOPNE for the condition");
    fprintf(f, "  %-10s %s\n", "int 0x80", "enters the host's kernel");
}
