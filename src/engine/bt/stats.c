/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which instructions leave translated code: functions called, by mnemonic.
 * What stands high here is what to translate next.
 */
#include <stdlib.h>

#include "engine/bt/bt.h"

#define TOP 20

static uint64_t total(const struct bt_calls *k)
{
    return k->always + k->missed;
}

/* The mnemonic with the most calls below a limit, or BT_MNEMONICS; ties by number. */
static unsigned next_below(const struct bt *bt, uint64_t limit, unsigned after)
{
    unsigned best = BT_MNEMONICS;

    for (unsigned n = 0; n < BT_MNEMONICS; n++) {
        uint64_t t = total(&bt->calls[n]);

        if (!t || t > limit || (t == limit && n <= after))
            continue;
        if (best == BT_MNEMONICS || t > total(&bt->calls[best]))
            best = n;
    }
    return best;
}

void bt_calls_info(const struct bt *bt, FILE *f)
{
    uint64_t limit = UINT64_MAX;
    unsigned n = 0;

    for (unsigned row = 0; row < TOP; row++) {
        const struct bt_calls *k;

        n = next_below(bt, limit, n);
        if (n == BT_MNEMONICS)
            return;
        k = &bt->calls[n];
        limit = total(k);
        fprintf(f, "    %-12s %12llu calls: %llu have no inline form, %llu missed; %llu left to the dispatcher\n",
                ZydisMnemonicGetString((ZydisMnemonic)n), (unsigned long long)limit,
                (unsigned long long)k->always, (unsigned long long)k->missed, (unsigned long long)k->left);
    }
}
