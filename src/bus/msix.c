/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device's I/O thread notifies while vCPUs write the table, so table and
 * enable bits have a lock of their own, which is held until the message is
 * sent: a vector that was masked sends nothing any more.
 */
#include "bus/msix.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"

#define CAP_ID       0x11
#define CAP_LEN      12u
#define CAP_CONTROL  2u
#define CAP_TABLE    4u
#define CAP_PBA      8u
#define CONTROL_MASK 0x4000u
#define CONTROL_ON   0x8000u
/* Double words of an entry, 6.8.2.6 to 6.8.2.9 */
#define ENTRY_DATA    2u
#define ENTRY_CONTROL 3u
#define VECTOR_MASK   1u

int msix_init(struct msix *m, struct pci_device *pci, unsigned n, unsigned bar, uint32_t table_off,
              uint32_t pba_off)
{
    int cap = n && n <= MSIX_MAX_VECTORS ? pci_add_capability(pci, CAP_ID, CAP_LEN) : -EINVAL;

    if (cap < 0)
        return cap;
    m->pci = pci;
    m->n = n;
    m->cap = (unsigned)cap;
    pthread_mutex_init(&m->lock, NULL);
    pci_put(pci->initial, m->cap + CAP_CONTROL, 2, n - 1);
    pci_put(pci->initial, m->cap + CAP_TABLE, 4, table_off | bar);
    pci_put(pci->initial, m->cap + CAP_PBA, 4, pba_off | bar);
    pci_allow(pci, m->cap + CAP_CONTROL, 2, CONTROL_MASK | CONTROL_ON);
    return 0;
}

void msix_destroy(struct msix *m)
{
    if (m->pci)
        pthread_mutex_destroy(&m->lock);
}

static void send(struct msix *m, unsigned vector)
{
    const uint32_t *e = &m->table[vector * 4];
    struct bus *bus = m->pci->bus->bus;

    m->pending &= ~(uint32_t)BIT(vector);
    if (bus->msi)
        bus->msi(bus->msi_opaque, (uint64_t)e[1] << 32 | e[0], e[ENTRY_DATA]);
}

static bool can_send(const struct msix *m, unsigned vector)
{
    return m->enabled && !m->masked && !(m->table[vector * 4 + ENTRY_CONTROL] & VECTOR_MASK);
}

static void send_pending(struct msix *m)
{
    for (unsigned v = 0; v < m->n; v++)
        if ((m->pending >> v & 1) && can_send(m, v))
            send(m, v);
}

static void update_control(struct msix *m)
{
    uint32_t control = pci_get(m->pci->config, m->cap + CAP_CONTROL, 2);

    m->enabled = control & CONTROL_ON;
    m->masked = control & CONTROL_MASK;
    send_pending(m);
}

void msix_derive(struct msix *m)
{
    pthread_mutex_lock(&m->lock);
    m->pending &= (uint32_t)(BIT(m->n) - 1);
    /* The state after reset is all zeroes but for the mask bits (6.8.2.9):
     * these are set while MSI-X is off and nothing was written yet. */
    if (!(pci_get(m->pci->config, m->cap + CAP_CONTROL, 2) & CONTROL_ON))
        for (unsigned v = 0; v < m->n; v++)
            if (!m->table[v * 4] && !m->table[v * 4 + ENTRY_DATA])
                m->table[v * 4 + ENTRY_CONTROL] |= VECTOR_MASK;
    update_control(m);
    pthread_mutex_unlock(&m->lock);
}

void msix_written(struct msix *m, unsigned off, unsigned size)
{
    if (off >= m->cap + CAP_TABLE || off + size <= m->cap + CAP_CONTROL)
        return;
    pthread_mutex_lock(&m->lock);
    update_control(m);
    pthread_mutex_unlock(&m->lock);
}

static bool in_table(const struct msix *m, uint64_t off, unsigned size)
{
    return (size == 4 || size == 8) && off % size == 0 && off + size <= m->n * MSIX_ENTRY_SIZE;
}

uint64_t msix_table_read(struct msix *m, uint64_t off, unsigned size)
{
    uint64_t v = 0;

    if (!in_table(m, off, size))
        return 0;
    pthread_mutex_lock(&m->lock);
    memcpy(&v, (uint8_t *)m->table + off, size);
    pthread_mutex_unlock(&m->lock);
    return v;
}

void msix_table_write(struct msix *m, uint64_t off, unsigned size, uint64_t value)
{
    if (!in_table(m, off, size))
        return;
    pthread_mutex_lock(&m->lock);
    memcpy((uint8_t *)m->table + off, &value, size);
    m->table[off / MSIX_ENTRY_SIZE * 4] &= ~3u;
    m->table[off / MSIX_ENTRY_SIZE * 4 + ENTRY_CONTROL] &= VECTOR_MASK;
    send_pending(m);
    pthread_mutex_unlock(&m->lock);
}

uint64_t msix_pba_read(struct msix *m, uint64_t off, unsigned size)
{
    uint64_t v;

    pthread_mutex_lock(&m->lock);
    v = off < 4 ? (uint64_t)m->pending >> off * 8 : 0;
    pthread_mutex_unlock(&m->lock);
    return v & size_mask(size);
}

bool msix_notify(struct msix *m, unsigned vector)
{
    bool enabled;

    pthread_mutex_lock(&m->lock);
    enabled = m->enabled;
    if (enabled && vector < m->n) {
        if (can_send(m, vector))
            send(m, vector);
        else
            m->pending |= (uint32_t)BIT(vector);
    }
    pthread_mutex_unlock(&m->lock);
    return enabled;
}
