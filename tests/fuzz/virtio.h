/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzzing of virtio devices: the input is what a guest does.  Each target is
 * one device type; virtio.c has the guest.
 */
#ifndef TESTS_FUZZ_VIRTIO_H
#define TESTS_FUZZ_VIRTIO_H

#include "virtio/device.h"

/* Makes the device with fakes behind it; called once. */
struct virtio_device *fuzz_make(struct bus *bus);
/* Something comes from the host: n bytes of data. */
void fuzz_host_event(const uint8_t *data, size_t n);
/* Before each input: the fakes as new. */
void fuzz_reset(void);

#endif
