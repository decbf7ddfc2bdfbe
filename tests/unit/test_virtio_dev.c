/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entropy, console and network devices, and the PCI transport. */
#include <errno.h>

#include "virtio_driver.h"

#include "dev/i440fx.h"
#include "fake_chardev.h"
#include "virtio/console.h"
#include "virtio/net.h"
#include "virtio/rng.h"

/* Entropy */

static void test_rng(void **state)
{
    const struct driver_buffer b[] = { { DRIVER_DATA, 40, true }, { DRIVER_DATA + 40, 24, true } };
    const struct driver_buffer wrong[] = { { DRIVER_DATA, 8, false } };
    uint8_t bytes[64], zero[64] = { 0 };
    struct virtio_device *v;
    struct machine m;
    struct driver d;
    uint32_t head;

    (void)state;
    machine_init(&m);
    assert_int_equal(virtio_rng_create(m.bus, &v), 0);
    driver_attach(&m, v);
    driver_start(&d, &m, VIRTIO_F_EVENT_IDX, 1);
    driver_chain(&d, 0, 3, b, 2);
    driver_notify(&d, 0);
    assert_int_equal(driver_wait(&d, 0, &head), 64);
    assert_int_equal(head, 3);
    get_mem(&m, DRIVER_DATA, bytes, 64);
    assert_memory_not_equal(bytes, zero, 64);
    driver_chain(&d, 0, 0, wrong, 1); /* nothing to write to */
    driver_notify(&d, 0);
    assert_int_equal(driver_wait(&d, 0, NULL), 0);
    machine_free(&m);
}

/* Console */

static void run_loop(struct machine *m)
{
    run_ns(m, 1000);
}

static void test_console(void **state)
{
    const struct driver_buffer out[] = { { DRIVER_DATA, 5, false }, { DRIVER_DATA + 5, 5, false } };
    const struct driver_buffer in[] = { { DRIVER_DATA + 100, 4, true } };
    struct fake_chardev f;
    struct virtio_device *v;
    struct machine m;
    struct driver d;
    char got[8] = "";

    (void)state;
    machine_init(&m);
    fake_init(&f);
    assert_int_equal(virtio_console_create(m.bus, &f.cd, &v), 0);
    driver_attach(&m, v);
    assert_int_equal(fake_input(&f, "early"), 0);
    driver_start(&d, &m, 0, 2);
    put_mem(&m, DRIVER_DATA, "0123456789", 10);
    /* The chardev takes it in three parts. */
    f.room = 3;
    driver_chain(&d, 1, 0, out, 2);
    driver_notify(&d, 1);
    run_loop(&m);
    assert_int_equal(used_idx(&d, 1), 0);
    fake_writable(&f, 4);
    run_loop(&m);
    assert_int_equal(used_idx(&d, 1), 0);
    fake_writable(&f, 100);
    run_loop(&m);
    assert_int_equal(used_idx(&d, 1), 1);
    assert_int_equal(f.n, 10);
    assert_memory_equal(f.out, "0123456789", 10);
    /* Input waits for a buffer. */
    assert_int_equal(fake_input(&f, "abcdef"), 6);
    run_loop(&m);
    assert_int_equal(used_idx(&d, 0), 0);
    driver_chain(&d, 0, 0, in, 1);
    driver_notify(&d, 0);
    run_loop(&m);
    assert_int_equal(driver_wait(&d, 0, NULL), 4);
    get_mem(&m, DRIVER_DATA + 100, got, 4);
    assert_string_equal(got, "abcd");
    assert_true(m.level[5]);
    set_reg(&m, 0x64, 3);
    assert_false(m.level[5]);
    /* Size, and the emergency byte. */
    assert_int_equal(reg(&m, 0x100), 80 | 25 << 16);
    virtio_console_resize(v, 100, 40);
    assert_int_equal(reg(&m, 0x100), 100 | 40 << 16);
    bus_mmio_write(m.bus, DRIVER_GPA + 0x108, 4, '!');
    assert_int_equal(f.out[10], '!');
    bus_mmio_write(m.bus, DRIVER_GPA + 0x100, 4, 0); /* read-only */
    assert_int_equal(reg(&m, 0x100), 100 | 40 << 16);
    machine_free(&m);
}

/* Network */

struct fake_net {
    struct net_backend net;
    struct net_handler handler;
    uint8_t sent[2048];
    size_t sent_len;
    unsigned nsent, ready;
    bool full, echo;
};

static int fake_send(struct net_backend *net, const struct iovec *iov, unsigned n)
{
    struct fake_net *f = container_of(net, struct fake_net, net);

    assert_int_equal(n, 1);
    if (f->full)
        return -EAGAIN;
    f->sent_len = MIN(iov->iov_len, sizeof(f->sent));
    memcpy(f->sent, iov->iov_base, f->sent_len);
    __atomic_fetch_add(&f->nsent, 1, __ATOMIC_SEQ_CST);
    if (f->echo)
        f->handler.receive(f->handler.opaque, f->sent, f->sent_len);
    return 0;
}

static void fake_ready(struct net_backend *net)
{
    __atomic_fetch_add(&container_of(net, struct fake_net, net)->ready, 1, __ATOMIC_SEQ_CST);
}

static void fake_handler(struct net_backend *net, const struct net_handler *handler)
{
    struct fake_net *f = container_of(net, struct fake_net, net);

    f->handler = handler ? *handler : (struct net_handler){ 0 };
}

static const struct net_ops fake_net_ops = { .send = fake_send,
                                             .receive_ready = fake_ready,
                                             .set_handler = fake_handler };

static struct virtio_device *make_net(struct machine *m, struct fake_net *f)
{
    struct virtio_net_config config = { .net = &f->net, .mac = { 0x52, 0x54, 0, 1, 2, 3 } };
    struct virtio_device *v;

    machine_init(m);
    *f = (struct fake_net){ .net = { .ops = &fake_net_ops } };
    assert_int_equal(virtio_net_create(m->bus, &config, &v), 0);
    driver_attach(m, v);
    return v;
}

#define F_MRG BIT(15)
#define F_NET (BIT(5) | BIT(16))

static void test_net_send(void **state)
{
    const struct driver_buffer b[] = { { DRIVER_DATA, 10, false },
                                       { DRIVER_DATA + 10, 62, false } };
    const struct driver_buffer runt[] = { { DRIVER_DATA, 12, false } };
    struct machine m;
    struct fake_net f;
    struct driver d;

    (void)state;
    make_net(&m, &f);
    assert_int_equal(reg(&m, 0x100), 0x01005452);
    assert_int_equal(reg(&m, 0x104), 0x00010302); /* link up */
    driver_start(&d, &m, F_NET, 2);
    mem_fill(m.mem, DRIVER_DATA + 12, 0x77, 60);
    driver_chain(&d, 1, 0, b, 2);
    driver_notify(&d, 1);
    driver_wait(&d, 1, NULL);
    assert_int_equal(f.sent_len, 60);
    assert_int_equal(f.sent[0], 0x77);
    driver_chain(&d, 1, 0, runt, 1);
    driver_notify(&d, 1);
    driver_wait(&d, 1, NULL);
    assert_int_equal(f.nsent, 1);
    /* The backend is full for a while. */
    f.full = true;
    driver_chain(&d, 1, 0, b, 2);
    driver_notify(&d, 1);
    usleep(2000);
    assert_int_equal(used_idx(&d, 1), 2);
    f.full = false;
    f.handler.writable(f.handler.opaque);
    driver_wait(&d, 1, NULL);
    assert_int_equal(f.nsent, 2);
    f.handler.link(f.handler.opaque, false);
    for (unsigned i = 0; reg(&m, 0x104) >> 16 && i < 1000; i++)
        usleep(1000);
    assert_int_equal(reg(&m, 0x104), 0x00000302);
    machine_free(&m);
}

static void test_net_receive(void **state)
{
    static uint8_t frame[1000], got[1000];
    const struct driver_buffer small[] = { { DRIVER_DATA, 400, true } };
    const struct driver_buffer large[] = { { DRIVER_DATA + 0x1000, 2000, true } };
    struct machine m;
    struct fake_net f;
    struct driver d;
    unsigned n = 0;

    (void)state;
    make_net(&m, &f);
    driver_start(&d, &m, F_NET | F_MRG, 2);
    for (unsigned i = 0; i < sizeof(frame); i++)
        frame[i] = (uint8_t)(i * 5 + 3);
    /* Two buffers are too few, the third one lets it through. */
    assert_true(f.handler.receive(f.handler.opaque, frame, sizeof(frame)));
    for (unsigned i = 0; i < 3; i++) {
        const struct driver_buffer b[] = { { DRIVER_DATA + i * 400, 400, true } };

        usleep(1000);
        assert_int_equal(used_idx(&d, 0), 0);
        driver_chain(&d, 0, i, b, 1);
        driver_notify(&d, 0);
    }
    assert_int_equal(driver_wait(&d, 0, NULL), 400);
    assert_int_equal(driver_wait(&d, 0, NULL), 400);
    assert_int_equal(driver_wait(&d, 0, NULL), 212);
    assert_int_equal(get16(&m, DRIVER_DATA + 10), 3); /* num_buffers */
    get_mem(&m, DRIVER_DATA + 12, got, sizeof(got));
    assert_memory_equal(got, frame, sizeof(got));
    /* Without merging, what does not fit is dropped. */
    driver_start(&d, &m, F_NET, 2);
    driver_chain(&d, 0, 0, small, 1);
    driver_chain(&d, 0, 1, large, 1);
    driver_notify(&d, 0);
    assert_true(f.handler.receive(f.handler.opaque, frame, sizeof(frame)));
    assert_int_equal(driver_wait(&d, 0, NULL), 0);
    assert_true(f.handler.receive(f.handler.opaque, frame, sizeof(frame)));
    assert_int_equal(driver_wait(&d, 0, NULL), 1012);
    /* No buffers: it is taken until there is no room, and then told. */
    while (f.handler.receive(f.handler.opaque, frame, sizeof(frame)))
        assert_true(++n < 10000);
    assert_int_equal(f.ready, 0);
    driver_start(&d, &m, F_NET, 2); /* the reset drops them */
    assert_int_equal(f.ready, 1);
    /* A backend that answers from inside send. */
    f.echo = true;
    driver_chain(&d, 0, 1, large, 1);
    put_desc(&m, 1, 0, DRIVER_DATA, 112, 0, 0);
    put_avail(&d, 1, 0);
    driver_notify(&d, 1);
    assert_int_equal(driver_wait(&d, 0, NULL), 112);
    machine_free(&m);
}

/* PCI */

#define BAR 0xe0000000u

struct pci_test {
    struct machine m;
    struct i440fx *host;
    struct virtio_device *v;
};

static void select_reg(struct machine *m, unsigned off)
{
    bus_io_write(m->bus, 0xcf8, 4, 0x80000000u | 3u << 11 | (off & 0xfc));
}

static uint32_t config_read(struct machine *m, unsigned off, unsigned size)
{
    select_reg(m, off);
    return (uint32_t)bus_io_read(m->bus, (uint16_t)(0xcfc + (off & 3)), size);
}

static void config_write(struct machine *m, unsigned off, unsigned size, uint32_t v)
{
    select_reg(m, off);
    bus_io_write(m->bus, (uint16_t)(0xcfc + (off & 3)), size, v);
}

static uint64_t bar_read(struct machine *m, unsigned off, unsigned size)
{
    return bus_mmio_read(m->bus, BAR + off, size);
}

static void bar_write(struct machine *m, unsigned off, unsigned size, uint64_t v)
{
    bus_mmio_write(m->bus, BAR + off, size, v);
}

/* The offset of a capability: of a vendor's one by its type. */
static unsigned find_cap(struct machine *m, uint8_t id, uint8_t type)
{
    unsigned at = config_read(m, 0x34, 1), n = 0;

    while (at && n++ < 20) {
        if (config_read(m, at, 1) == id && (id != 9 || config_read(m, at + 3, 1) == type))
            return at;
        at = config_read(m, at + 1, 1);
    }
    fail_msg("there is no capability %u, %u", id, type);
    return 0;
}

static void make_pci(struct pci_test *t)
{
    struct i440fx_config host;

    memset(t, 0, sizeof(*t));
    machine_init(&t->m);
    for (unsigned i = 0; i < 4; i++)
        host.pirq[i] = line(&t->m, i);
    assert_int_equal(i440fx_create(t->m.bus, &host, &t->host), 0);
    assert_int_equal(virtio_rng_create(t->m.bus, &t->v), 0);
    assert_int_equal(virtio_pci_create(t->m.bus, i440fx_pci(t->host), PCI_DEVFN(3, 0), t->v), 0);
    bus_reset(t->m.bus);
    bus_resume(t->m.bus);
    config_write(&t->m, 0x10, 4, BAR);
    config_write(&t->m, 4, 2, 6);
}

static void start_pci(struct pci_test *t)
{
    struct machine *m = &t->m;

    mem_fill(m->mem, DRIVER_RING, 0, 0x1000);
    bar_write(m, 0x14, 1, 0);
    bar_write(m, 0x14, 1, 3);
    bar_write(m, 0x08, 4, 1);
    bar_write(m, 0x0c, 4, 1);
    bar_write(m, 0x14, 1, 11);
    assert_int_equal(bar_read(m, 0x14, 1), 11);
    bar_write(m, 0x16, 2, 0);
    assert_int_equal(bar_read(m, 0x18, 2), VRING_MAX_SIZE);
    bar_write(m, 0x18, 2, DRIVER_SIZE);
    for (unsigned part = 0; part < 3; part++)
        bar_write(m, 0x20 + part * 8, 8, ring_gpa(0, part));
    assert_int_equal(bar_read(m, 0x28, 4), ring_gpa(0, 1));
    assert_int_equal(bar_read(m, 0x2c, 4), 0);
    bar_write(m, 0x1c, 2, 1);
    bar_write(m, 0x14, 1, 15);
    assert_int_equal(bar_read(m, 0x14, 1), 15);
}

static void use_queue(struct pci_test *t, struct driver *d)
{
    const struct driver_buffer b[] = { { DRIVER_DATA, 16, true } };

    d->m = &t->m;
    driver_chain(d, 0, 0, b, 1);
    bar_write(&t->m, 0x3000, 2, 0);
    assert_int_equal(driver_wait(d, 0, NULL), 16);
    usleep(1000); /* the interrupt comes after it */
}

static void test_pci_identity(void **state)
{
    struct pci_test t;
    unsigned cap;

    (void)state;
    make_pci(&t);
    assert_int_equal(config_read(&t.m, 0, 4), 0x10441af4);
    assert_int_equal(config_read(&t.m, 8, 1), 1);
    cap = find_cap(&t.m, 9, 2);
    assert_int_equal(config_read(&t.m, cap + 8, 4), 0x3000);
    assert_int_equal(config_read(&t.m, cap + 16, 4), 4);
    assert_int_equal(config_read(&t.m, find_cap(&t.m, 9, 1) + 12, 4), 0x38);
    assert_int_equal(config_read(&t.m, find_cap(&t.m, 9, 3) + 8, 4), 0x1000);
    assert_int_equal(config_read(&t.m, find_cap(&t.m, 9, 4) + 8, 4), 0x2000);
    /* The window of firmware: num_queues. */
    cap = find_cap(&t.m, 9, 5);
    config_write(&t.m, cap + 4, 1, 0);
    config_write(&t.m, cap + 8, 4, 0x12);
    config_write(&t.m, cap + 12, 4, 2);
    assert_int_equal(config_read(&t.m, cap + 16, 2), 1);
    config_write(&t.m, cap + 8, 4, 0x14);
    config_write(&t.m, cap + 12, 4, 1);
    config_write(&t.m, cap + 16, 4, 1);
    assert_int_equal(bar_read(&t.m, 0x14, 1), 1);
    for (unsigned i = 0; i < 3; i++) { /* what is outside does nothing */
        static const uint32_t wrong[3][2] = { { 0x8000, 4 }, { 0xffffffff, 1 }, { 0x10, 8 } };

        config_write(&t.m, cap + 8, 4, wrong[i][0]);
        config_write(&t.m, cap + 12, 4, wrong[i][1]);
        config_write(&t.m, cap + 16, 4, 0xffffffff);
        config_read(&t.m, cap + 16, 4);
    }
    machine_free(&t.m);
}

static void test_pci_intx(void **state)
{
    struct pci_test t;
    struct driver d = { 0 };
    unsigned pirq = PCI_PIRQ(3, 1);

    (void)state;
    make_pci(&t);
    start_pci(&t);
    use_queue(&t, &d);
    run_loop(&t.m);
    assert_true(t.m.level[pirq]);
    assert_int_equal(bar_read(&t.m, 0x1000, 1), 1);
    assert_false(t.m.level[pirq]);
    assert_int_equal(bar_read(&t.m, 0x1000, 1), 0);
    assert_int_equal(t.m.msis, 0);
    machine_free(&t.m);
}

static void test_pci_msix(void **state)
{
    struct pci_test t;
    struct driver d = { 0 };
    unsigned cap;

    (void)state;
    make_pci(&t);
    cap = find_cap(&t.m, 0x11, 0);
    assert_int_equal(config_read(&t.m, cap + 2, 2), 1); /* two vectors */
    assert_int_equal(bar_read(&t.m, 0x401c, 4), 1);     /* masked */
    config_write(&t.m, cap + 2, 2, 0x8000);
    bar_write(&t.m, 0x4010, 4, 0xfee01000);
    bar_write(&t.m, 0x4018, 4, 0x41);
    start_pci(&t);
    bar_write(&t.m, 0x1a, 2, 7); /* no such vector */
    assert_int_equal(bar_read(&t.m, 0x1a, 2), 0xffff);
    bar_write(&t.m, 0x1a, 2, 1);
    assert_int_equal(bar_read(&t.m, 0x1a, 2), 1);
    use_queue(&t, &d);
    assert_int_equal(t.m.msis, 0);
    assert_int_equal(bar_read(&t.m, 0x5000, 4), 2); /* pending */
    bar_write(&t.m, 0x401c, 4, 0);
    assert_int_equal(t.m.msis, 1);
    assert_int_equal(t.m.msi_address, 0xfee01000);
    assert_int_equal(t.m.msi_data, 0x41);
    assert_int_equal(bar_read(&t.m, 0x5000, 4), 0);
    use_queue(&t, &d);
    assert_int_equal(t.m.msis, 2);
    config_write(&t.m, cap + 2, 2, 0xc000); /* the whole function masked */
    use_queue(&t, &d);
    assert_int_equal(t.m.msis, 2);
    config_write(&t.m, cap + 2, 2, 0x8000);
    assert_int_equal(t.m.msis, 3);
    assert_int_equal(bar_read(&t.m, 0x1000, 1), 0);
    machine_free(&t.m);
}

/* Doorbells follow the BAR. */

static unsigned nbells;
static uint64_t bell_at;
static int bell_fd;

static int bell_add(void *opaque, bool pio, uint64_t addr, unsigned size, bool match,
                    uint64_t value, int fd)
{
    (void)opaque;
    (void)value;
    assert_false(pio || match);
    assert_int_equal(size, 2);
    nbells++;
    bell_at = addr;
    bell_fd = fd;
    return 0;
}

static int bell_del(void *opaque, bool pio, uint64_t addr, unsigned size, bool match,
                    uint64_t value)
{
    (void)opaque;
    (void)value;
    assert_false(pio || match);
    assert_int_equal(size, 2);
    assert_int_equal(addr, bell_at);
    nbells--;
    return 0;
}

static void test_pci_doorbells(void **state)
{
    const uint64_t one = 1;
    struct driver d = { 0 };
    const struct driver_buffer b[] = { { DRIVER_DATA, 16, true } };
    struct pci_test t;

    (void)state;
    make_pci(&t);
    t.m.bus->doorbell_add = bell_add;
    t.m.bus->doorbell_del = bell_del;
    config_write(&t.m, 0x10, 4, BAR + 0x10000);
    assert_int_equal(nbells, 1);
    assert_int_equal(bell_at, BAR + 0x13000);
    config_write(&t.m, 4, 2, 0);
    assert_int_equal(nbells, 0);
    config_write(&t.m, 0x10, 4, BAR);
    config_write(&t.m, 4, 2, 6);
    assert_int_equal(nbells, 1);
    start_pci(&t);
    d.m = &t.m;
    driver_chain(&d, 0, 0, b, 1);
    assert_int_equal(write(bell_fd, &one, 8), 8);
    driver_wait(&d, 0, NULL);
    machine_free(&t.m);
    assert_int_equal(nbells, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rng),          cmocka_unit_test(test_console),
        cmocka_unit_test(test_net_send),     cmocka_unit_test(test_net_receive),
        cmocka_unit_test(test_pci_identity), cmocka_unit_test(test_pci_intx),
        cmocka_unit_test(test_pci_msix),     cmocka_unit_test(test_pci_doorbells),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
