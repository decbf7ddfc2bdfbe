/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's firmware configuration device, docs/specs/fw_cfg.rst. */
#include "dev/fw_cfg.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"

#define FW_CFG_PORT     0x510 /* selector; data at the next port */
#define FW_CFG_LEN      2
#define FW_CFG_DMA_PORT 0x514
#define FW_CFG_DMA_LEN  8
#define FILE_FIRST      0x20
#define MAX_FILES       64
#define ITEMS           (FILE_FIRST + MAX_FILES)
#define FILE_NAME_SIZE  56
#define ID_TRADITIONAL  BIT(0)
#define ID_DMA          BIT(1)
#define DMA_SIGNATURE   0x51454d5520434647ULL /* "QEMU CFG" */
/* Control field of a DMA request */
#define DMA_ERROR  BIT(0)
#define DMA_READ   BIT(1)
#define DMA_SKIP   BIT(2)
#define DMA_SELECT BIT(3)
#define DMA_WRITE  BIT(4)

#define CHUNK 4096u /* bytes that are asked of a reader at once */

struct item {
    bool there;
    const uint8_t *data; /* NULL: reader's */
    uint32_t size;
    uint8_t number[8]; /* of fw_cfg_add_int */
    fw_cfg_read_fn *read;
    void *opaque;
};

/* Directory entry, big-endian. */
struct file {
    uint32_t size;
    uint16_t key;
    uint16_t reserved;
    char name[FILE_NAME_SIZE];
};

struct dma_request {
    uint32_t control;
    uint32_t length;
    uint64_t address;
};

struct fw_cfg {
    struct device dev;
    uint16_t key;
    uint32_t offset;
    uint64_t dma_address;
    struct bus *bus;
    struct item items[ITEMS];
    struct {
        uint32_t count; /* big-endian */
        struct file files[MAX_FILES];
    } directory;
    unsigned nfiles;
    /* What a reader gave last: n bytes from offset at of item key. */
    struct {
        uint16_t key;
        uint32_t at, n;
        uint8_t data[CHUNK];
    } chunk;
};

/* Bytes at the offset, and how many of them may be used; NULL at the end. */
static const uint8_t *rest(struct fw_cfg *fw, uint32_t *n)
{
    const struct item *item = fw->key < ITEMS ? &fw->items[fw->key] : NULL;

    *n = 0;
    if (!item || !item->there || fw->offset >= item->size)
        return NULL;
    *n = item->size - fw->offset;
    if (item->data)
        return item->data + fw->offset;
    if (fw->chunk.key != fw->key || fw->offset - fw->chunk.at >= fw->chunk.n) {
        fw->chunk.key = fw->key;
        fw->chunk.at = fw->offset;
        fw->chunk.n = MIN(*n, CHUNK);
        item->read(item->opaque, fw->offset, fw->chunk.data, fw->chunk.n);
    }
    *n = fw->chunk.at + fw->chunk.n - fw->offset;
    return fw->chunk.data + (fw->offset - fw->chunk.at);
}

static void advance(struct fw_cfg *fw, uint32_t n)
{
    fw->offset = n > UINT32_MAX - fw->offset ? UINT32_MAX : fw->offset + n;
}

static void select_item(struct fw_cfg *fw, uint16_t key)
{
    fw->key = key;
    fw->offset = 0;
}

static uint8_t read_byte(struct fw_cfg *fw)
{
    uint32_t left;
    const uint8_t *p = rest(fw, &left);

    advance(fw, 1);
    return p ? *p : 0;
}

/* Reads past the end of an item give zeros. */
static int dma_read(struct fw_cfg *fw, uint64_t gpa, uint32_t length)
{
    int ret = 0;

    while (length && !ret) {
        uint32_t n;
        const uint8_t *p = rest(fw, &n);

        n = p ? MIN(n, length) : length;
        ret = p ? mem_write(fw->bus->mem, gpa, p, n) : mem_fill(fw->bus->mem, gpa, 0, n);
        advance(fw, n);
        gpa += n;
        length -= n;
    }
    return ret;
}

static uint32_t run_dma(struct fw_cfg *fw, const struct dma_request *r)
{
    uint32_t control = be32toh(r->control), length = be32toh(r->length);

    if (control & DMA_SELECT)
        select_item(fw, (uint16_t)(control >> 16));
    if (control & DMA_READ)
        return dma_read(fw, be64toh(r->address), length) ? DMA_ERROR : 0;
    if (control & DMA_WRITE)
        return DMA_ERROR; /* no item is writable */
    if (control & DMA_SKIP)
        advance(fw, length);
    return 0;
}

static void start_dma(struct fw_cfg *fw)
{
    uint64_t gpa = fw->dma_address;
    struct dma_request r;
    uint32_t result;

    fw->dma_address = 0;
    if (mem_read(fw->bus->mem, gpa, &r, sizeof(r))) {
        log_guest(LOG_DEV, "fw_cfg: DMA request outside RAM at 0x%llx", (unsigned long long)gpa);
        return;
    }
    result = htobe32(run_dma(fw, &r));
    if (mem_write(fw->bus->mem, gpa, &result, sizeof(result)))
        log_guest(LOG_DEV, "fw_cfg: DMA result cannot be written");
}

static uint64_t port_read(void *dev, uint64_t off, unsigned size)
{
    (void)off;
    return size == 1 ? read_byte(dev) : 0;
}

/* The selector is 16 bits wide; a byte at the data port would be a write of
 * the item, which QEMU dropped in 2.4. */
static void port_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
    if (off == 0 && size == 2)
        select_item(dev, (uint16_t)value);
}

static uint64_t dma_reg_read(void *dev, uint64_t off, unsigned size)
{
    (void)dev;
    return htobe64(DMA_SIGNATURE) >> off * 8 & size_mask(size);
}

static void dma_reg_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
    struct fw_cfg *fw = dev;

    if (size != 4)
        return;
    if (off == 0) {
        fw->dma_address = (uint64_t)be32toh((uint32_t)value) << 32;
    } else if (off == 4) {
        fw->dma_address |= be32toh((uint32_t)value);
        start_dma(fw);
    }
}

static const struct io_ops ops = { port_read, port_write, 1, 2 };
static const struct io_ops dma_ops = { dma_reg_read, dma_reg_write, 1, 4 };

static const struct state_field fields[] = {
    STATE_FIELD(struct fw_cfg, key, 0),
    STATE_FIELD(struct fw_cfg, offset, 0),
    STATE_FIELD(struct fw_cfg, dma_address, 0),
    STATE_END,
};
static const struct state_desc state = { "fw_cfg", 1, fields, NULL };

static void destroy(struct device *dev)
{
    free(container_of(dev, struct fw_cfg, dev));
}

static void info(struct device *dev, FILE *f)
{
    const struct fw_cfg *fw = container_of(dev, struct fw_cfg, dev);

    for (unsigned i = 0; i < ITEMS; i++)
        if (fw->items[i].there)
            fprintf(f, "  item 0x%02x: %u bytes %s\n", i, fw->items[i].size,
                    i >= FILE_FIRST ? fw->directory.files[i - FILE_FIRST].name : "");
}

static const struct dev_class class = {
    .name = "fw_cfg",
    .state = &state,
    .destroy = destroy,
    .info = info,
};

int fw_cfg_add_bytes(struct fw_cfg *fw, uint16_t key, const void *data, uint32_t size)
{
    if (key >= FW_CFG_FILE_DIR || !data)
        return -EINVAL;
    if (fw->items[key].there)
        return -EEXIST;
    fw->items[key].there = true;
    fw->items[key].data = data;
    fw->items[key].size = size;
    return 0;
}

int fw_cfg_add_reader(struct fw_cfg *fw, uint16_t key, uint32_t size, fw_cfg_read_fn *read,
                      void *opaque)
{
    int ret = fw_cfg_add_bytes(fw, key, fw, size);

    if (ret)
        return ret;
    fw->items[key].data = NULL;
    fw->items[key].read = read;
    fw->items[key].opaque = opaque;
    return 0;
}

int fw_cfg_add_int(struct fw_cfg *fw, uint16_t key, uint64_t value, unsigned size)
{
    int ret;

    if (key >= FW_CFG_FILE_DIR || (size != 2 && size != 4 && size != 8))
        return -EINVAL;
    ret = fw_cfg_add_bytes(fw, key, fw->items[key].number, size);
    if (!ret)
        memcpy(fw->items[key].number, &value, sizeof(value));
    return ret;
}

int fw_cfg_add_file(struct fw_cfg *fw, const char *name, const void *data, uint32_t size)
{
    struct file *file = &fw->directory.files[fw->nfiles];
    uint16_t key = (uint16_t)(FILE_FIRST + fw->nfiles);

    if (!data || !name[0] || strlen(name) >= FILE_NAME_SIZE)
        return -EINVAL;
    if (fw->nfiles == MAX_FILES)
        return -ENOSPC;
    for (unsigned i = 0; i < fw->nfiles; i++)
        if (!strcmp(fw->directory.files[i].name, name))
            return -EEXIST;
    file->size = htobe32(size);
    file->key = htobe16(key);
    strcpy(file->name, name);
    fw->items[key].there = true;
    fw->items[key].data = data;
    fw->items[key].size = size;
    fw->directory.count = htobe32(++fw->nfiles);
    return 0;
}

int fw_cfg_create(struct bus *bus, const struct fw_cfg_config *config, struct fw_cfg **out)
{
    struct fw_cfg *fw = calloc(1, sizeof(*fw));
    int ret;

    if (!fw)
        return -ENOMEM;
    fw->bus = bus;
    bus_add_device(bus, &fw->dev, &class);
    *out = fw;
    fw_cfg_add_bytes(fw, FW_CFG_SIGNATURE, "QEMU", 4);
    fw_cfg_add_int(fw, FW_CFG_ID, ID_TRADITIONAL | ID_DMA, 4);
    fw_cfg_add_int(fw, FW_CFG_RAM_SIZE, config->ram_size, 8);
    fw_cfg_add_int(fw, FW_CFG_NB_CPUS, config->ncpus, 2);
    fw_cfg_add_int(fw, FW_CFG_MAX_CPUS, config->ncpus, 2);
    fw->items[FW_CFG_FILE_DIR].there = true;
    fw->items[FW_CFG_FILE_DIR].data = (const uint8_t *)&fw->directory;
    fw->items[FW_CFG_FILE_DIR].size = sizeof(fw->directory);
    ret = bus_add_io(bus, FW_CFG_PORT, FW_CFG_LEN, &ops, fw);
    if (!ret)
        ret = bus_add_io(bus, FW_CFG_DMA_PORT, FW_CFG_DMA_LEN, &dma_ops, fw);
    return ret;
}
