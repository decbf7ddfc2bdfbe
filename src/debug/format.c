/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "debug/format.h"

#include <string.h>

#include "base/crc32c.h"
#include "base/util.h"
#include "debug/recorder.h"

static uint32_t model_crc(const struct cpu_model *m)
{
    uint32_t crc = 0;

    for (unsigned i = 0; i < m->nentries; i++) {
        const struct cpuid_entry *e = &m->entries[i];
        const uint32_t words[] = { e->leaf, e->subleaf, e->regs.eax, e->regs.ebx, e->regs.ecx,
                                   e->regs.edx };

        crc = crc32c(crc, words, sizeof(words));
    }
    return crc;
}

void format_header(struct recording_header *h, const struct recording_machine *m, uint32_t memory_crc)
{
    struct vcpu_state none;
    uint64_t words[IMAGE_WORDS];

    memset(h, 0, sizeof(*h));
    memset(&none, 0, sizeof(none));
    memcpy(h->magic, RECORDING_MAGIC, sizeof(h->magic));
    h->version = RECORDING_VERSION;
    h->memory = m->mem->ram_size;
    h->tsc_hz = m->model->tsc_hz;
    h->model_crc = model_crc(m->model);
    h->memory_crc = memory_crc;
    h->image_words = image_pack(&none, words);
    strncpy(h->engine, m->engine, sizeof(h->engine) - 1);
}

static size_t io_exit(const struct cpu_run *run, struct exit_record *e)
{
    e->size = run->io.size;
    e->flags = (run->io.write ? EXIT_WRITE : 0) | (run->io.string ? EXIT_STRING : 0);
    e->count = run->io.count;
    e->address = run->io.port;
    return MIN((size_t)run->io.count * run->io.size, sizeof(run->io_data));
}

size_t format_exit(const struct cpu_run *run, struct exit_record *e)
{
    memset(e, 0, sizeof(*e));
    e->kind = (uint8_t)run->exit;
    switch (run->exit) {
    case CPU_EXIT_IO: return io_exit(run, e);
    case CPU_EXIT_MMIO:
        e->size = run->mmio.size;
        e->flags = run->mmio.write ? EXIT_WRITE : 0;
        e->address = run->mmio.gpa;
        e->value = run->mmio.data;
        break;
    case CPU_EXIT_EOI: e->address = run->eoi.vector; break;
    case CPU_EXIT_EXTINT: e->value = (uint64_t)(int64_t)run->extint.vector; break;
    default: break;
    }
    return 0;
}
