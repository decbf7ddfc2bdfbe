/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The firmware configuration device at ports 0x510 to 0x51b, as specified in
 * QEMU's docs/specs/fw_cfg: items by key, a directory of named files, DMA.
 */
#ifndef DEV_FW_CFG_H
#define DEV_FW_CFG_H

#include "bus/bus.h"

/* Keys of fixed items. */
#define FW_CFG_SIGNATURE      0x00u
#define FW_CFG_ID             0x01u
#define FW_CFG_RAM_SIZE       0x03u
#define FW_CFG_NB_CPUS        0x05u
#define FW_CFG_KERNEL_ADDR    0x07u
#define FW_CFG_KERNEL_SIZE    0x08u
#define FW_CFG_KERNEL_CMDLINE 0x09u
#define FW_CFG_INITRD_ADDR    0x0au
#define FW_CFG_INITRD_SIZE    0x0bu
#define FW_CFG_MAX_CPUS       0x0fu
#define FW_CFG_KERNEL_ENTRY   0x10u
#define FW_CFG_KERNEL_DATA    0x11u
#define FW_CFG_INITRD_DATA    0x12u
#define FW_CFG_CMDLINE_ADDR   0x13u
#define FW_CFG_CMDLINE_SIZE   0x14u
#define FW_CFG_CMDLINE_DATA   0x15u
#define FW_CFG_SETUP_ADDR     0x16u
#define FW_CFG_SETUP_SIZE     0x17u
#define FW_CFG_SETUP_DATA     0x18u
#define FW_CFG_FILE_DIR       0x19u

struct fw_cfg;
struct fw_cfg_config {
    uint16_t ncpus;    /* items NB_CPUS and MAX_CPUS */
    uint64_t ram_size; /* item RAM_SIZE */
};

int fw_cfg_create(struct bus *bus, const struct fw_cfg_config *config, struct fw_cfg **out);
/* Items of 2, 4 or 8 bytes, little-endian.  Returns 0, -EINVAL or -EEXIST. */
int fw_cfg_add_int(struct fw_cfg *fw, uint16_t key, uint64_t value, unsigned size);
/* data is borrowed and must outlive the VM. */
int fw_cfg_add_bytes(struct fw_cfg *fw, uint16_t key, const void *data, uint32_t size);
/* size bytes that read() gives when the guest asks (with the bus lock held);
 * what it cannot read it fills with zeros.  opaque must outlive the VM. */
typedef void fw_cfg_read_fn(void *opaque, uint64_t offset, void *buf, size_t n);
int fw_cfg_add_reader(struct fw_cfg *fw, uint16_t key, uint32_t size, fw_cfg_read_fn *read,
                      void *opaque);
/* A named file (at most 55 characters), e.g. "etc/e820"; data is borrowed.
 * Returns 0, -EINVAL, -EEXIST or -ENOSPC. */
int fw_cfg_add_file(struct fw_cfg *fw, const char *name, const void *data, uint32_t size);

#endif
