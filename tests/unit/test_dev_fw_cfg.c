/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fw_cfg: items, directory, DMA, hostile requests. */
#include <endian.h>
#include <errno.h>

#include "dev/fw_cfg.h"

#include "machine.h"

static struct fw_cfg *fw;

static void make(struct machine *m)
{
    machine_init(m);
    assert_int_equal(fw_cfg_create(m->bus, &(struct fw_cfg_config){ 4, MiB }, &fw), 0);
    bus_reset(m->bus);
}

static void item(struct machine *m, uint16_t key, void *buf, size_t n)
{
    bus_io_write(m->bus, 0x510, 2, key);
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)buf)[i] = in8(m, 0x511);
}

static void test_items(void **state)
{
    struct machine m;
    uint8_t b[8];

    (void)state;
    make(&m);
    item(&m, FW_CFG_SIGNATURE, b, 6);
    assert_memory_equal(b, "QEMU\0\0", 6);
    item(&m, FW_CFG_ID, b, 4);
    assert_memory_equal(b, "\3\0\0\0", 4);
    item(&m, FW_CFG_NB_CPUS, b, 2);
    assert_memory_equal(b, "\4\0", 2);
    item(&m, 0xffff, b, 2);
    assert_memory_equal(b, "\0\0", 2);
    assert_int_equal(fw_cfg_add_int(fw, FW_CFG_KERNEL_ADDR, 0x100000, 4), 0);
    assert_int_equal(fw_cfg_add_int(fw, FW_CFG_KERNEL_ADDR, 1, 4), -EEXIST);
    assert_int_equal(fw_cfg_add_int(fw, FW_CFG_FILE_DIR, 1, 4), -EINVAL);
    item(&m, FW_CFG_KERNEL_ADDR, b, 4);
    assert_memory_equal(b, "\0\0\x10\0", 4);
    machine_free(&m);
}

static void count_up(void *opaque, uint64_t offset, void *buf, size_t n)
{
    ++*(unsigned *)opaque;
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)buf)[i] = (uint8_t)((offset + i) * 7);
}

static uint32_t dma(struct machine *m, uint32_t control, uint32_t length, uint64_t address);

/* Bytes that are read when they are asked for: by port in chunks, by DMA. */
static void test_reader(void **state)
{
    struct machine m;
    uint8_t b[5001], *ram;
    unsigned calls = 0;

    (void)state;
    make(&m);
    assert_int_equal(fw_cfg_add_reader(fw, FW_CFG_KERNEL_DATA, 5000, count_up, &calls), 0);
    assert_int_equal(fw_cfg_add_reader(fw, FW_CFG_KERNEL_DATA, 1, count_up, &calls), -EEXIST);
    item(&m, FW_CFG_KERNEL_DATA, b, sizeof(b));
    for (unsigned i = 0; i < 5000; i++)
        assert_int_equal(b[i], (uint8_t)(i * 7));
    assert_int_equal(b[5000], 0);
    assert_int_equal(calls, 2);
    assert_int_equal(dma(&m, (uint32_t)FW_CFG_KERNEL_DATA << 16 | 8 | 2, 6000, 0x8000), 0);
    ram = mem_get(m.mem, 0x8000, 6000, true);
    assert_memory_equal(ram, b, sizeof(b));
    machine_free(&m);
}

static void test_files(void **state)
{
    struct machine m;
    uint8_t dir[4 + 64];

    (void)state;
    make(&m);
    assert_int_equal(fw_cfg_add_file(fw, "etc/hello", "hello", 5), 0);
    assert_int_equal(fw_cfg_add_file(fw, "etc/hello", "hello", 5), -EEXIST);
    for (int i = 0; i < 63; i++) {
        char name[16];

        snprintf(name, sizeof(name), "opt/%d", i);
        assert_int_equal(fw_cfg_add_file(fw, name, "x", 1), 0);
    }
    assert_int_equal(fw_cfg_add_file(fw, "opt/more", "x", 1), -ENOSPC);
    item(&m, FW_CFG_FILE_DIR, dir, sizeof(dir));
    assert_memory_equal(dir, "\0\0\0\x40\0\0\0\5\0\x20\0\0etc/hello", 22);
    item(&m, 0x20, dir, 6);
    assert_memory_equal(dir, "hello\0", 6);
    machine_free(&m);
}

static uint32_t dma(struct machine *m, uint32_t control, uint32_t length, uint64_t address)
{
    struct {
        uint32_t control, length;
        uint64_t address;
    } __attribute__((packed)) r = {
        htobe32(control),
        htobe32(length),
        htobe64(address),
    };

    assert_int_equal(mem_write(m->mem, 0x1000, &r, sizeof(r)), 0);
    bus_io_write(m->bus, 0x514, 4, 0);
    bus_io_write(m->bus, 0x518, 4, htobe32(0x1000));
    assert_int_equal(mem_read(m->mem, 0x1000, &r, sizeof(r)), 0);
    return be32toh(r.control);
}

static void test_dma(void **state)
{
    struct machine m;
    char b[8];

    (void)state;
    make(&m);
    assert_int_equal(bus_io_read(m.bus, 0x514, 4), 0x554d4551); /* "QEMU" */
    assert_int_equal(bus_io_read(m.bus, 0x518, 4), 0x47464320); /* " CFG" */
    fw_cfg_add_file(fw, "etc/hello", "hello", 5);
    mem_fill(m.mem, 0x2000, 0xee, 16);
    assert_int_equal(dma(&m, 0x20 << 16 | 8, 0, 0), 0);
    assert_int_equal(dma(&m, 4, 1, 0), 0);
    assert_int_equal(dma(&m, 2, 7, 0x2000), 0);
    mem_read(m.mem, 0x2000, b, 8);
    assert_memory_equal(b, "ello\0\0\0\xee", 8);
    machine_free(&m);
}

static void test_hostile_dma(void **state)
{
    struct machine m;

    (void)state;
    make(&m);
    assert_int_equal(dma(&m, 8 | 2, 4, MiB - 2), 1);
    assert_int_equal(dma(&m, 8 | 2, UINT32_MAX, UINT64_MAX - 1), 1);
    assert_int_equal(dma(&m, 8 | 2, UINT32_MAX, 0), 1);
    assert_int_equal(dma(&m, 8 | 16, 4, 0), 1); /* no writing */
    assert_int_equal(dma(&m, 4, UINT32_MAX, 0), 0);
    assert_int_equal(dma(&m, 4, UINT32_MAX, 0), 0);
    assert_int_equal(in8(&m, 0x511), 0);
    bus_io_write(m.bus, 0x514, 4, 0xffffffff); /* the request itself is nowhere */
    bus_io_write(m.bus, 0x518, 4, 0xffffffff);
    bus_io_write(m.bus, 0x516, 4, 0xffffffff);
    machine_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items),
        cmocka_unit_test(test_files), cmocka_unit_test(test_reader),
        cmocka_unit_test(test_dma),
        cmocka_unit_test(test_hostile_dma),
    };

    return cmocka_run_group_tests_name("dev_fw_cfg", tests, NULL, NULL);
}
