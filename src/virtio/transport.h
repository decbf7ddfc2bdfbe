/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a guest finds virtio devices: over PCI or memory-mapped (virtio 1.2 4). */
#ifndef VIRTIO_TRANSPORT_H
#define VIRTIO_TRANSPORT_H

#include "bus/pci.h"
#include "virtio/device.h"

/* A PCI function for v, which is on the bus already and has no transport yet.
 * Returns 0 or a negative errno; what was made is left to the bus. */
int virtio_pci_create(struct bus *bus, struct pci_bus *pci, uint8_t devfn, struct virtio_device *v);

/* Registers at gpa, VIRTIO_MMIO_SIZE bytes, and a level-triggered interrupt
 * (copied).  Returns as virtio_pci_create. */
#define VIRTIO_MMIO_SIZE 0x200u
int virtio_mmio_create(struct bus *bus, uint64_t gpa, const struct irq_line *irq,
                       struct virtio_device *v);

#endif
