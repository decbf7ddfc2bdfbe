/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of settings: what each is called, holds and accepts. */
#ifndef VM_CONFIG_TABLE_H
#define VM_CONFIG_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vm/config.h"

enum setting_type {
    SETTING_TEXT,       /* char * */
    SETTING_FILE,       /* char *, a path on the host */
    SETTING_CHOICE,     /* char *, one of choices */
    SETTING_SIZE,       /* uint64_t bytes, rounded up to pages; plain numbers count MiB */
    SETTING_NUMBER,     /* unsigned integer of any size */
    SETTING_SECONDS,    /* uint64_t ns */
    SETTING_FLAG,       /* bool */
    SETTING_LIST,       /* array and its counter; an option appends to it */
    SETTING_ACTION,     /* an option only: the command line's reader knows it */
};

struct setting {
    /* In the document; "a.b" is member b of the object a; NULL: not in it.
     * "" in items: the item is that value itself and not an object. */
    const char *key;
    const char *option;         /* --option of `bulkhead run`; NULL: none */
    const char *alias;          /* -alias, as users of QEMU write it; may be NULL */
    const char *arg;            /* what follows the option; NULL: nothing */
    const char *help;           /* a phrase; choices and default are added to it */
    const char *group;          /* heading in the help; NULL: as the row before */
    enum setting_type type;
    uint16_t offset, size;      /* of the member */
    bool required;              /* in items */
    const char *fallback;       /* the default, as text; NULL: none */
    const char *skip;           /* may stand in front of the option's value */
    const char *const *choices; /* NULL-terminated */
    uint64_t min, max;          /* sizes and numbers; texts: at most max bytes */
    /* More that a text has to be; one phrase in err. */
    int (*check)(const char *text, char *err, size_t err_size);
    /* Instead of all this: what the option does. */
    int (*apply)(struct vm_config *config, const char *text, char *err, size_t err_size);
    /* Lists: rows of an item, ended by one of type ACTION; the first is what
     * an option's value may begin with instead of "key=". */
    const struct setting *items;
    uint16_t item_size, count, max_items;   /* count: offset of an unsigned */
};

/* In the order of the help; ended by a row without key and option. */
extern const struct setting config_table[];
/* The row with this key, which must exist. */
const struct setting *config_setting(const char *key);

/* config_set.c: base is the structure that the offsets are of. */

/* Sets the value, or appends to the list, from an option's text.  Returns 0 or
 * a negative errno with a phrase in err. */
int setting_set(const struct setting *s, void *base, const char *text, char *err, size_t err_size);
/* Appends an empty item (its defaults set) for the caller to fill; *item is
 * where.  Then setting_add_end, which counts it if rc, which it gives back, is
 * 0 and all is there, and frees it otherwise. */
int setting_add_begin(const struct setting *s, void *base, void **item, char *err, size_t err_size);
int setting_add_end(const struct setting *s, void *base, int rc, char *err, size_t err_size);
/* The defaults of a table.  Returns 0 or -ENOMEM. */
int setting_defaults(const struct setting *table, void *base);
void setting_free(const struct setting *table, void *base);
static inline bool setting_is_last(const struct setting *s)
{
    return !s->key && !s->option;
}
/* Its items are values, not objects. */
static inline bool setting_is_plain(const struct setting *s)
{
    return s->items->key[0] == 0;
}
static inline void *setting_at(const struct setting *s, void *base)
{
    return (char *)base + s->offset;
}
static inline unsigned *setting_count(const struct setting *s, void *base)
{
    return (unsigned *)(void *)((char *)base + s->count);
}
uint64_t setting_number(const struct setting *s, const void *base);

/* "512M", "1G", "64K"; a plain number counts MiB.  Returns 0 or -EINVAL. */
int config_size(const char *text, uint64_t *bytes);
/* The shortest text for a number of whole KiB. */
void config_size_text(uint64_t bytes, char *text, size_t size);
/* The word of list (NULL-terminated) that is nearest to word, or NULL if none
 * is near. */
const char *config_nearest(const char *word, const char *const *list);
/* "a, b or c" */
void config_join(const char *const *list, char *text, size_t size);
/* Text of others for a message: cut to 60 characters, in one line. */
struct config_quote {
    char text[68];
};
struct config_quote config_quote(const char *text);

#endif
