/* SPDX-License-Identifier: GPL-2.0-or-later */
/* generate SIZE: writes SIZE bytes of text, always the same: lines of words, frequent and rare ones. */
#include "row.h"

#define WORDS   5000
#define LONGEST 12

static char words[WORDS][LONGEST + 1];

static void words_make(uint64_t *state)
{
    for (int i = 0; i < WORDS; i++) {
        uint32_t length = 2 + random_next(state) % (LONGEST - 1);

        for (uint32_t k = 0; k < length; k++) {
            words[i][k] = (char)('a' + random_next(state) % 26);
        }
    }
}

/* The product of two draws prefers the first words, as a language does. */
static const char *word_draw(uint64_t *state)
{
    uint64_t draw = (uint64_t)(random_next(state) >> 8) * (random_next(state) >> 8) >> 24;

    return words[draw * WORDS >> 24];
}

int main(int argc, char **argv)
{
    long size = argc == 2 ? atol(argv[1]) : 0;
    uint64_t state = 11;

    words_make(&state);
    while (size > 0) {
        char line[80];
        int length = snprintf(line, sizeof(line), "%s %s %u %s %s\n", word_draw(&state),
                              word_draw(&state), random_next(&state) % 100000, word_draw(&state),
                              word_draw(&state));

        length = length > size ? (int)size : length;
        if (fwrite(line, 1, (size_t)length, stdout) != (size_t)length) {
            die("generate");
        }
        size -= length;
    }
    return fflush(stdout) ? 1 : 0;
}
