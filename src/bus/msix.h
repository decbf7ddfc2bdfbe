/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSI-X of a PCI function (PCI 3.0 6.8.2): capability, vector table and
 * pending bits, both in one memory BAR of the device.
 *
 * msix_notify may be called on any thread; the rest with the bus lock held or
 * before vCPUs run.
 */
#ifndef BUS_MSIX_H
#define BUS_MSIX_H

#include "bus/pci.h"

#define MSIX_MAX_VECTORS 32u
#define MSIX_ENTRY_SIZE  16u

struct msix {
    uint32_t table[MSIX_MAX_VECTORS * 4]; /* address, its upper half, data, control */
    uint32_t pending;                     /* one bit a vector */
    pthread_mutex_t lock;                 /* of these members */
    bool enabled, masked;                 /* message control of the capability */
    unsigned n, cap;
    struct pci_device *pci;
};

/* Fields of a member m of type struct msix in struct s; vectors are masked
 * after reset (6.8.2.9). */
#define MSIX_STATE(s, m) STATE_ARRAY(s, m.table, 0), STATE_FIELD(s, m.pending, 0)

/* Adds the capability for n vectors, with the table at table_off and the
 * pending bits at pba_off (multiples of 8) of BAR bar.  Returns 0 or a
 * negative errno. */
int msix_init(struct msix *m, struct pci_device *pci, unsigned n, unsigned bar, uint32_t table_off,
              uint32_t pba_off);
void msix_destroy(struct msix *m);

/* After pci_derive, from the class's reset function. */
void msix_derive(struct msix *m);
/* From pci_device.written. */
void msix_written(struct msix *m, unsigned off, unsigned size);

/* Accesses to the table, off from its start, 4 or 8 bytes and aligned (others
 * are undefined: zero, dropped). */
uint64_t msix_table_read(struct msix *m, uint64_t off, unsigned size);
void msix_table_write(struct msix *m, uint64_t off, unsigned size, uint64_t value);
uint64_t msix_pba_read(struct msix *m, uint64_t off, unsigned size);

/* Sends vector's message, or remembers it while the vector is masked.
 * Returns false if MSI-X is not enabled: use INTx then.  A vector that is not
 * there sends nothing. */
bool msix_notify(struct msix *m, unsigned vector);

#endif
