/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is in a recording (docs/record.md): the machine, then segments.
 *
 * A segment says where the next stop is and what the state is there, as
 * changes since the stop before; then come the inputs that are taken on the
 * way.  A player so knows how far to run before it meets them.
 */
#ifndef DEBUG_FORMAT_H
#define DEBUG_FORMAT_H

#include <stdint.h>

#include "cpu/cpu.h"
#include "cpu/tape.h"
#include "debug/image.h"

#define RECORDING_MAGIC "BLKHTAPE"
#define RECORDING_VERSION 1

struct recording_header {
    char magic[8];
    uint32_t version;
    uint32_t blocks;            /* bool: a stop at each block */
    uint64_t memory;            /* bytes */
    uint64_t tsc_hz;
    uint32_t model_crc;         /* of the CPUID leaves */
    uint32_t memory_crc;        /* of RAM at the start */
    uint32_t image_words;
    char engine[16];
    char build[12];
};

/* A segment's first byte: enum tape_stop, and */
#define SEGMENT_MEMORY 0x40u    /* checksums of pages follow the state */
#define SEGMENT_DELIVERIES 0x80u
/* Then the number of instructions; with the bit, of deliveries; a word of bits
 * for the registers that have changed (TAPE_REGS, flags, known), and those. */
#define CHANGED_FLAGS (1u << TAPE_REGS)
#define CHANGED_KNOWN (1u << (TAPE_REGS + 1))
#define CHANGED_ALL ((1u << (TAPE_REGS + 2)) - 1)
/* Most bytes of this, and most instructions and inputs of one segment. */
#define SEGMENT_HEAD (1 + 10 + 10 + 4 + (TAPE_REGS + 2) * 8 + 10)
#define SEGMENT_MAX_COUNT (1ULL << 40)
#define SEGMENT_MAX_INPUTS (1u << 30)
/* So many bytes of inputs make a stop welcome. */
#define SEGMENT_CROWDED (64u << 10)

/* Deliveries before the end of a machine that shut down: more than there can be. */
#define END_BY_SHUTDOWN (1ULL << 32)
#define END_MAX_CAUSE 199u

/* Input items beside enum tape_input: of the VM. */
enum { ITEM_EXIT = 0x40, ITEM_A20, ITEM_EOI_EXITS, ITEM_CONSOLE, ITEM_DMA };

/* Instructions between two checks of all memory. */
#define MEMORY_INTERVAL 500000000ULL

/* An exit as it is compared, and its answer. */
struct exit_record {
    uint8_t kind, size, flags;  /* EXIT_WRITE, EXIT_STRING */
    uint32_t count;             /* of I/O; the answer may lower it */
    uint64_t address;           /* port, physical address, vector */
    uint64_t value;             /* MMIO: data; ExtINT: the vector's answer */
};
#define EXIT_WRITE 1u
#define EXIT_STRING 2u

struct recording_machine;
void format_header(struct recording_header *h, const struct recording_machine *m, uint32_t memory_crc);
/* All of an exit that is known now; returns how many bytes of run->io_data
 * belong to it (those that were read are the answer). */
size_t format_exit(const struct cpu_run *run, struct exit_record *e);

#endif
