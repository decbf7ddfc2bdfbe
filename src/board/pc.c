/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The wiring of a PC/AT.  ISA interrupts go to the 8259 pair and to the I/O
 * APIC at once, with IRQ 0 at the latter's input 2; firmware tables say so.
 */
#include "board/pc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "board/acpi_pc.h"
#include "board/entry.h"
#include "board/mptable.h"
#include "bus/or_gate.h"
#include "dev/acpi_pm.h"
#include "dev/fw_cfg.h"
#include "dev/i440fx.h"
#include "dev/i8042.h"
#include "dev/i8254.h"
#include "dev/i8259.h"
#include "dev/ioapic.h"
#include "dev/mc146818.h"
#include "dev/ns16550.h"
#include "dev/piix3.h"
#include "dev/port92.h"
#include "virtio/transport.h"

#define PC_IRQS 16
#define SCI_IRQ 9
#define IOAPIC_ID 0
#define PCI_MMIO_END 0xfec00000u
#define VIRTIO_SLOT 2

static const struct {
    uint16_t port;
    uint8_t irq;
} pc_com[BOARD_SERIAL_PORTS] = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 } };

struct pc {
    struct board board;
    struct bus *bus;
    struct board_config config;
    struct i8259 *pic;
    struct ioapic *ioapic;
    struct piix3 *bridge;
    struct pci_bus *pci;
    uint8_t next_slot;              /* for virtio */
    struct port92 *port92;
    struct acpi_pm *pm;
    struct or_gate com_irq[2];      /* IRQ 4 and IRQ 3, shared by two ports each */
};

/* Line n of the ISA bus. */
static void isa_irq_set(void *opaque, unsigned n, bool level)
{
    struct pc *pc = opaque;

    i8259_set(pc->pic, n, level);
    ioapic_set(pc->ioapic, n == 0 ? 2 : n, level);
}

static struct irq_line isa_irq(struct pc *pc, unsigned n)
{
    return (struct irq_line){ .set = isa_irq_set, .opaque = pc, .n = n };
}

static int add_serial(struct pc *pc, unsigned i)
{
    struct or_gate *gate = &pc->com_irq[i % 2];
    struct ns16550_config config = {
        .port = pc_com[i].port,
        .irq = { .set = or_gate_set, .opaque = gate, .n = i / 2 },
        .chardev = pc->config.serial[i],
    };
    struct ns16550 *uart;

    gate->out = isa_irq(pc, pc_com[i].irq);
    return ns16550_create(pc->bus, &config, &uart);
}

/* One item of a file's bytes and one of their number. */
static int add_part(struct fw_cfg *fw, uint16_t size_key, uint16_t data_key,
                    const struct boot_part *part)
{
    int rc = part->size > UINT32_MAX ? -EFBIG : fw_cfg_add_int(fw, size_key, part->size, 4);

    if (rc < 0 || !part->size)
        return rc;
    return fw_cfg_add_reader(fw, data_key, (uint32_t)part->size, boot_part_read,
                             (void *)(uintptr_t)part);
}

static int add_boot_items(struct fw_cfg *fw, const struct boot_source *boot)
{
    const size_t len = strlen(boot->cmdline) + 1;
    int rc = fw_cfg_add_int(fw, FW_CFG_CMDLINE_SIZE, len, 4);

    if (rc == 0)
        rc = fw_cfg_add_bytes(fw, FW_CFG_CMDLINE_DATA, boot->cmdline, (uint32_t)len);
    if (rc == 0 && boot->setup.size)
        rc = add_part(fw, FW_CFG_SETUP_SIZE, FW_CFG_SETUP_DATA, &boot->setup);
    if (rc == 0)
        rc = add_part(fw, FW_CFG_KERNEL_SIZE, FW_CFG_KERNEL_DATA, &boot->kernel);
    if (rc == 0 && boot->nmodules)
        rc = add_part(fw, FW_CFG_INITRD_SIZE, FW_CFG_INITRD_DATA, &boot->modules[0].part);
    return rc;
}

/* What small systems and firmware ask for; the rest of QEMU's items comes
 * with firmware boot. */
static int add_fw_cfg(struct pc *pc)
{
    const struct board_config *c = &pc->config;
    const struct fw_cfg_config config = {
        .ncpus = (uint16_t)c->ncpus,
        .ram_size = c->map->below_4g + c->map->above_4g,
    };
    struct fw_cfg *fw;
    int rc = fw_cfg_create(pc->bus, &config, &fw);

    if (rc == 0)
        rc = fw_cfg_add_file(fw, "etc/e820", c->map->entries,
                             (uint32_t)(c->map->n * sizeof(c->map->entries[0])));
    return rc == 0 && c->boot ? add_boot_items(fw, c->boot) : rc;
}

/* PIRQ n of the PCI bus: through the ISA bridge's router to the 8259 pair,
 * and straight to the I/O APIC (as the _PRT says). */
static void pirq_set(void *opaque, unsigned n, bool level)
{
    struct pc *pc = opaque;

    if (pc->bridge)
        piix3_pirq(pc->bridge, n, level);
    ioapic_set(pc->ioapic, ACPI_PIRQ_GSI + n, level);
}

static int add_pci(struct pc *pc)
{
    struct i440fx_config host_config;
    struct piix3_config bridge = { .devfn = PCI_DEVFN(1, 0), .isa = isa_irq(pc, 0) };
    struct i440fx *host;
    int rc;

    for (unsigned i = 0; i < 4; i++)
        host_config.pirq[i] = (struct irq_line){ .set = pirq_set, .opaque = pc, .n = i };
    rc = i440fx_create(pc->bus, &host_config, &host);
    if (rc < 0)
        return rc;
    bridge.pci = pc->pci = i440fx_pci(host);
    return piix3_create(pc->bus, &bridge, &pc->bridge);
}

static int attach_virtio(void *opaque, struct virtio_device *v)
{
    struct pc *pc = opaque;

    return virtio_pci_create(pc->bus, pc->pci, PCI_DEVFN(pc->next_slot++, 0), v);
}

static int add_virtio(struct pc *pc)
{
    pc->next_slot = VIRTIO_SLOT;
    return virtio_set_create(&pc->config.virtio, pc->bus, pc->config.ncpus, attach_virtio, pc);
}

/*
 * The whole machine, in the order of reset and of saved state.
 *
 *   0x0020, 0x00a0, 0x04d0  8259 pair           0x0510  fw_cfg
 *   0x0040, 0x0061          8254, speaker gate  0x0600  ACPI PM, 0xafe0 GPE0
 *   0x0060, 0x0064          8042                0x0cf8  PCI configuration
 *   0x0070                  RTC                 0xfec00000  I/O APIC
 *   0x0092                  A20, reset          0xfee00000  local APICs (engine)
 *   0x03f8, 0x02f8, 0x03e8, 0x02e8  serial ports
 *   PCI 00:00.0 host bridge, 00:01.0 ISA bridge, virtio from 00:02.0 on
 */
static int wire(struct pc *pc)
{
    const struct board_config *c = &pc->config;
    const struct i8259_config pic = { 0 };
    const struct ioapic_config ioapic = { .gpa = IOAPIC_GPA, .id = IOAPIC_ID,
                                          .eoi_bitmap = c->eoi_bitmap,
                                          .eoi_opaque = c->opaque };
    const struct i8254_config pit = { .irq = isa_irq(pc, 0) };
    const struct mc146818_config rtc = { .irq = isa_irq(pc, 8), .ram_below_4g = c->map->below_4g,
                                         .ram_above_4g = c->map->above_4g };
    /* Two gates, and the one that changed last counts: systems use one of them. */
    const struct irq_line a20 = { .set = c->a20, .opaque = c->opaque };
    const struct i8042_config kbd = { .keyboard_irq = isa_irq(pc, 1), .aux_irq = isa_irq(pc, 12),
                                      .a20 = a20 };
    const struct port92_config port92 = { .a20 = a20 };
    const struct acpi_pm_config pm = { .sci = isa_irq(pc, SCI_IRQ), .timer_32bit = true,
                                       .acpi_only = true };
    struct { /* made, and left to the bus */
        struct i8254 *pit;
        struct mc146818 *rtc;
        struct i8042 *kbd;
    } d;
    int rc;

    if ((rc = i8259_create(pc->bus, &pic, &pc->pic)) < 0 ||
        (rc = ioapic_create(pc->bus, &ioapic, &pc->ioapic)) < 0 ||
        (rc = add_pci(pc)) < 0 ||
        (rc = i8254_create(pc->bus, &pit, &d.pit)) < 0 ||
        (rc = mc146818_create(pc->bus, &rtc, &d.rtc)) < 0 ||
        (rc = i8042_create(pc->bus, &kbd, &d.kbd)) < 0 ||
        (rc = port92_create(pc->bus, &port92, &pc->port92)) < 0)
        return rc;
    for (unsigned i = 0; i < BOARD_SERIAL_PORTS; i++)
        if (c->serial[i] && (rc = add_serial(pc, i)) < 0)
            return rc;
    if ((rc = acpi_pm_create(pc->bus, &pm, &pc->pm)) < 0 || (rc = add_fw_cfg(pc)) < 0 ||
        (rc = add_virtio(pc)) < 0)
        return rc;
    return board_add_debug_exit(c, pc->bus);
}

static int create(struct board **out, struct bus *bus, const struct board_config *config,
                  char *err, size_t err_size)
{
    struct pc *pc = calloc(1, sizeof(*pc));
    int rc = -ENOMEM;

    if (pc) {
        pc->board.ops = &board_pc;
        pc->bus = bus;
        pc->config = *config;
        rc = wire(pc);
    }
    if (rc < 0)
        board_explain(config, rc, err, err_size);
    /* Devices point to it even after a failure: the bus goes first. */
    *out = pc ? &pc->board : NULL;
    return rc;
}

static struct pc *pc_of(struct board *board)
{
    return container_of(board, struct pc, board);
}

static void destroy(struct board *board)
{
    free(pc_of(board));
}

/* The BIOS data area, for systems that look there: ports of the serial
 * lines, segment of the extended area, KiB below it. */
static int write_bios_data(struct pc *pc)
{
    uint16_t com[BOARD_SERIAL_PORTS], tail[3] = { RAM_EBDA >> 4, 0, RAM_EBDA >> 10 };
    int rc;

    for (unsigned i = 0; i < BOARD_SERIAL_PORTS; i++)
        com[i] = pc->config.serial[i] ? pc_com[i].port : 0;
    rc = mem_write(pc->bus->mem, 0x400, com, sizeof(com));
    if (rc == 0)
        rc = mem_write(pc->bus->mem, 0x40e, &tail[0], 2);
    return rc == 0 ? mem_write(pc->bus->mem, 0x413, &tail[2], 2) : rc;
}

static int write_tables(struct pc *pc, uint64_t *rsdp)
{
    const struct mptable_config mp = { .ncpus = pc->config.ncpus, .ioapic_id = IOAPIC_ID,
                                       .ioapic_gpa = IOAPIC_GPA, .sci = SCI_IRQ };
    struct acpi_pc_config config = {
        .ncpus = pc->config.ncpus, .ioapic_id = IOAPIC_ID, .ioapic_gpa = IOAPIC_GPA,
        .ioapic_pins = IOAPIC_PINS, .sci = SCI_IRQ, .pci_mmio_start = RAM_BELOW_4G_MAX,
        .pci_mmio_end = PCI_MMIO_END,
    };
    int rc;

    for (unsigned i = 0; i < BOARD_SERIAL_PORTS; i++) {
        config.com[i].port = pc->config.serial[i] ? pc_com[i].port : 0;
        config.com[i].irq = pc_com[i].irq;
    }
    rc = acpi_pc_write(pc->bus->mem, RAM_ACPI, RAM_MPTABLE, &config, rsdp);
    return rc == 0 ? mptable_write(pc->bus->mem, RAM_MPTABLE, MiB, &mp) : rc;
}

static int boot(struct board *board, struct vcpu_state *states, char *err, size_t err_size)
{
    struct pc *pc = pc_of(board);
    uint64_t rsdp;
    int rc = write_tables(pc, &rsdp);

    if (rc == 0)
        rc = write_bios_data(pc);
    if (rc < 0) {
        snprintf(err, err_size, "cannot write the machine's tables: %s", strerror(-rc));
        return rc;
    }
    port92_open_a20(pc->port92);
    for (unsigned i = 0; i < pc->config.ncpus; i++)
        entry_firmware(&states[i], i == 0);
    return boot_load(pc->config.boot, pc->bus->mem, pc->config.map, rsdp, &states[0], err,
                     err_size);
}

static void eoi(struct board *board, uint8_t vector)
{
    struct pc *pc = pc_of(board);

    pthread_mutex_lock(&pc->bus->lock);
    ioapic_eoi(pc->ioapic, vector);
    pthread_mutex_unlock(&pc->bus->lock);
}

static void ferr(struct board *board)
{
    struct pc *pc = pc_of(board);

    pthread_mutex_lock(&pc->bus->lock);
    piix3_ferr(pc->bridge);
    pthread_mutex_unlock(&pc->bus->lock);
}

static int acknowledge(struct board *board)
{
    struct pc *pc = pc_of(board);
    int vector;

    pthread_mutex_lock(&pc->bus->lock);
    vector = i8259_acknowledge(pc->pic);
    pthread_mutex_unlock(&pc->bus->lock);
    return vector;
}

static void power_button(struct board *board)
{
    acpi_pm_power_button(pc_of(board)->pm);
}

static unsigned counters(struct board *board, struct cpu_counter *list, unsigned max)
{
    if (!max)
        return 0;
    acpi_pm_counter(pc_of(board)->pm, &list[0]);
    return 1;
}

const struct board_ops board_pc = {
    .name = "pc",
    .create = create,
    .destroy = destroy,
    .boot = boot,
    .eoi = eoi,
    .ferr = ferr,
    .acknowledge = acknowledge,
    .power_button = power_button,
    .counters = counters,
};
