/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The wiring of the small machine.  All interrupts go to the I/O APIC; there
 * is no PIC, no PIT and no RTC, because kvmclock tells the TSC's frequency and
 * the time of day, and the TSC deadline drives the local APICs' timers.
 */
#include "board/micro.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "board/acpi_micro.h"
#include "board/entry.h"
#include "bus/or_gate.h"
#include "dev/acpi_reduced.h"
#include "dev/ioapic.h"
#include "dev/ns16550.h"
#include "virtio/transport.h"

#define IOAPIC_ID    0
#define COM_PORT     0x3f8
#define COM_GSI      4
#define POWER_GSI    5
#define RESET_VECTOR 0xffff0u
/* Virtio: a page for each device, and inputs that the 19th and later share. */
#define VIRTIO_GPA    0xfeb00000u
#define VIRTIO_STRIDE 0x1000u
#define VIRTIO_GSI    6
#define VIRTIO_GSIS   (IOAPIC_PINS - VIRTIO_GSI)

struct micro {
    struct board board;
    struct bus *bus;
    struct board_config config;
    struct ioapic *ioapic;
    struct or_gate virtio_irq[VIRTIO_GSIS];
    unsigned nvirtio;
};

static struct micro *micro_of(struct board *board)
{
    return container_of(board, struct micro, board);
}

static struct irq_line gsi(struct micro *m, unsigned n)
{
    return (struct irq_line){ .set = ioapic_set, .opaque = m->ioapic, .n = n };
}

static int attach_virtio(void *opaque, struct virtio_device *v)
{
    struct micro *m = opaque;
    const unsigned i = m->nvirtio++;
    struct or_gate *gate = &m->virtio_irq[i % VIRTIO_GSIS];
    const struct irq_line irq = { .set = or_gate_set, .opaque = gate, .n = i / VIRTIO_GSIS };

    gate->out = gsi(m, VIRTIO_GSI + i % VIRTIO_GSIS);
    return virtio_mmio_create(m->bus, VIRTIO_GPA + i * VIRTIO_STRIDE, &irq, v);
}

/*
 * The whole machine, in the order of reset and of saved state.
 *
 *   0x03f8  COM1, GSI 4                     0xfeb00000  virtio, GSI 6 on
 *   0x0600  ACPI sleep, reset, PM timer     0xfec00000  I/O APIC
 *           power button, GSI 5             0xfee00000  local APICs (engine)
 */
static int wire(struct micro *m)
{
    const struct board_config *c = &m->config;
    const struct ioapic_config ioapic = {
        .gpa = IOAPIC_GPA, .id = IOAPIC_ID, .eoi_bitmap = c->eoi_bitmap, .eoi_opaque = c->opaque
    };
    struct ns16550_config com = { .port = COM_PORT, .chardev = c->serial[0] };
    struct acpi_reduced *acpi;
    struct ns16550 *uart;
    int rc = ioapic_create(m->bus, &ioapic, &m->ioapic);

    com.irq = gsi(m, COM_GSI);
    if (rc == 0 && c->serial[0])
        rc = ns16550_create(m->bus, &com, &uart);
    if (rc == 0)
        rc = acpi_reduced_create(m->bus, &acpi);
    if (rc == 0)
        rc = virtio_set_create(&c->virtio, m->bus, c->ncpus, attach_virtio, m);
    return rc == 0 ? board_add_debug_exit(c, m->bus) : rc;
}

static int check(const struct board_config *config, char *err, size_t err_size)
{
    for (unsigned i = 1; i < BOARD_SERIAL_PORTS; i++)
        if (config->serial[i]) {
            snprintf(err, err_size,
                     "the machine micro has one serial port; give one --serial, or "
                     "--machine pc");
            return -EINVAL;
        }
    return 0;
}

static int create(struct board **out, struct bus *bus, const struct board_config *config, char *err,
                  size_t err_size)
{
    struct micro *m = NULL;
    int rc = check(config, err, err_size);

    *out = NULL;
    if (rc < 0)
        return rc;
    m = calloc(1, sizeof(*m));
    rc = -ENOMEM;
    if (m) {
        *out = &m->board;
        m->board.ops = &board_micro;
        m->bus = bus;
        m->config = *config;
        rc = wire(m);
    }
    if (rc < 0)
        board_explain(config, rc, err, err_size);
    return rc;
}

static void destroy(struct board *board)
{
    free(micro_of(board));
}

static int write_tables(struct micro *m, uint64_t *rsdp)
{
    struct acpi_micro_config config = {
        .ncpus = m->config.ncpus,
        .ioapic_id = IOAPIC_ID,
        .ioapic_gpa = IOAPIC_GPA,
        .com_port = m->config.serial[0] ? COM_PORT : 0,
        .com_gsi = COM_GSI,
        .power_gsi = POWER_GSI,
        .nvirtio = m->nvirtio,
    };

    for (unsigned i = 0; i < m->nvirtio; i++) {
        config.virtio[i].gpa = VIRTIO_GPA + i * VIRTIO_STRIDE;
        config.virtio[i].len = VIRTIO_MMIO_SIZE;
        config.virtio[i].gsi = VIRTIO_GSI + i % VIRTIO_GSIS;
    }
    return acpi_micro_write(m->bus->mem, RAM_ACPI, RESET_VECTOR, &config, rsdp);
}

/*
 * On a hardware-reduced machine Linux restarts by EFI, which is not there, and
 * then as of old by a jump to the BIOS at f000:fff0 in real mode, before it
 * would try ACPI's reset register.  So this is what our BIOS does:
 *     mov dx, RESET; mov al, RESET_VALUE; out dx, al; hlt; jmp $-1
 */
static int write_reset_vector(struct micro *m)
{
    static const uint8_t code[] = { 0xba,
                                    ACPI_REDUCED_RESET & 0xff,
                                    ACPI_REDUCED_RESET >> 8,
                                    0xb0,
                                    ACPI_REDUCED_RESET_VALUE,
                                    0xee,
                                    0xf4,
                                    0xeb,
                                    0xfd };

    return mem_write_rom(m->bus->mem, RESET_VECTOR, code, sizeof(code));
}

/* The local APICs stay as after a reset: there is no PIC for a virtual wire. */
static int boot(struct board *board, struct vcpu_state *states, char *err, size_t err_size)
{
    struct micro *m = micro_of(board);
    uint64_t rsdp;
    int rc = write_tables(m, &rsdp);

    if (rc == 0)
        rc = write_reset_vector(m);
    if (rc < 0) {
        snprintf(err, err_size, "cannot write the machine's tables: %s", strerror(-rc));
        return rc;
    }
    for (unsigned i = 0; i < m->config.ncpus; i++)
        entry_firmware(&states[i], false);
    return boot_load(m->config.boot, m->bus->mem, m->config.map, rsdp, &states[0], err, err_size);
}

static void eoi(struct board *board, uint8_t vector)
{
    struct micro *m = micro_of(board);

    pthread_mutex_lock(&m->bus->lock);
    ioapic_eoi(m->ioapic, vector);
    pthread_mutex_unlock(&m->bus->lock);
}

static void power_button(struct board *board)
{
    const struct irq_line line = gsi(micro_of(board), POWER_GSI);

    irq_pulse(&line);
}

static unsigned counters(struct board *board, struct cpu_counter *list, unsigned max)
{
    (void)board;
    if (!max)
        return 0;
    acpi_reduced_counter(&list[0]);
    return 1;
}

const struct board_ops board_micro = {
    .name = "micro",
    .create = create,
    .destroy = destroy,
    .boot = boot,
    .eoi = eoi,
    .power_button = power_button,
    .counters = counters,
};
