/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of `bulkhead run`, and its JSON document. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "cli/options.h"
#include "cpu/cpu.h"
#include "vm/config_table.h"

static char message[400];

/* Parses words separated by single spaces, in front of them --kernel k. */
static int parse(struct vm_config *c, const char *line)
{
    static char copy[512];
    char *args[32] = { "--kernel", "k" };
    int n = 2;

    snprintf(copy, sizeof(copy), "%s", line);
    for (char *p = strtok(copy, " "); p; p = strtok(NULL, " "))
        args[n++] = p;
    message[0] = 0;
    return options_parse(c, n, args, message, sizeof(message));
}

static void reject(const char *line, const char *part)
{
    struct vm_config c;

    assert_int_equal(parse(&c, line), -EINVAL);
    config_free(&c);
    if (!strstr(message, part) || strchr(message, '\n'))
        fail_msg("'%s' gives '%s', without '%s'", line, message, part);
}

static void test_defaults(void **state)
{
    struct vm_config c;

    (void)state;
    assert_int_equal(parse(&c, ""), 0);
    assert_string_equal(c.kernel, "k");
    assert_int_equal(c.memory, 512 * MiB);
    assert_int_equal(c.cpus, 1);
    assert_string_equal(c.cpu, "host");
    assert_string_equal(c.engine, "auto");
    assert_string_equal(c.serial[0], "stdio");
    assert_null(c.serial[1]);
    assert_false(c.no_reboot || c.ndevices || c.stats);
    assert_int_equal(c.timeout_ns, 0);
    config_free(&c);
}

static void test_all(void **state)
{
    struct vm_config c;

    (void)state;
    assert_int_equal(parse(&c, "--initrd i --append=a=b --memory 1G --cpus=4 --cpu x86-64-v2 "
                               "--engine interp --machine pc --serial none --serial file:x "
                               "--device isa-debug-exit,iobase=0x501,iosize=1 --name vm "
                               "--timeout 1.5 --no-reboot --stats --log vm=info"), 0);
    assert_string_equal(c.initrd, "i");
    assert_string_equal(c.append, "a=b");
    assert_int_equal(c.memory, GiB);
    assert_int_equal(c.cpus, 4);
    assert_string_equal(c.cpu, "x86-64-v2");
    assert_string_equal(c.serial[0], "none");
    assert_string_equal(c.serial[1], "file:x");
    assert_true(c.ndevices == 1 && c.no_reboot && c.stats);
    assert_int_equal(c.devices[0].iobase, 0x501);
    assert_int_equal(c.devices[0].iosize, 1);
    assert_int_equal(c.timeout_ns, 1500000000);
    assert_string_equal(c.name, "vm");
    config_free(&c);
    assert_int_equal(parse(&c, "--log all=error"), 0);
    config_free(&c);
}

static void test_qemu_spelling(void **state)
{
    struct vm_config c;

    (void)state;
    assert_int_equal(parse(&c, "-kernel K -initrd i -append x -m 256 -smp 2 -cpu host "
                               "-device isa-debug-exit -no-reboot -serial stdio"), 0);
    assert_string_equal(c.kernel, "K");
    assert_int_equal(c.memory, 256 * MiB);
    assert_int_equal(c.cpus, 2);
    assert_int_equal(c.devices[0].iobase, 0xf4);
    assert_int_equal(c.devices[0].iosize, 4);
    config_free(&c);
    assert_int_equal(parse(&c, "-smp cpus=3"), 0);
    assert_int_equal(c.cpus, 3);
    config_free(&c);
}

static void test_errors(void **state)
{
    (void)state;
    reject("--memroy 1G", "did you mean --memory?");
    reject("--kernl=x", "did you mean --kernel?");
    reject("--xyzzyplugh", "--help");
    reject("-engine interp", "did you mean --engine?");
    reject("file", "'file' is not an option");
    reject("--initrd", "needs a value");
    reject("--stats=1", "takes no value");
    reject("--memory 0", "out of range");
    reject("--memory 1025T", "out of range");
    reject("--memory 99999999999999999999G", "not a size");
    reject("--memory -1", "not a size");
    reject("--memory 1X", "not a size");
    reject("--cpus 0", "1 to 254");
    reject("--cpus 255", "1 to 254");
    reject("--cpus 1x", "1 to 254");
    reject("--machine q35", "'q35' is unknown; choose pc or micro");
    reject("--serial tcp:1", "stdio, none, file:PATH, unix:PATH");
    reject("--serial stdio --serial stdio", "only one port");
    reject("--serial none --serial none --serial none --serial none --serial none", "only 4");
    reject("--device e1000", "'e1000' is unknown; choose isa-debug-exit");
    reject("--device isa-debug-exit,port=1", "'port' is unknown");
    reject("--device isa-debug-exit,iobase=0x10000", "iobase");
    reject("--device isa-debug-exit,iosize=0", "iosize");
    reject("--timeout 0", "seconds");
    reject("--timeout nan", "seconds");
    reject("--timeout 5m", "seconds");
    reject("--log vm=loud", "--log");
    reject("--save-state f", "--stop-at");
    reject("--stop-at 0", "from 1 on");
    reject("--disk x,fromat=raw", "did you mean format?");
    reject("--disk x,format=qcow2", "format: 'qcow2' is unknown; choose raw");
    reject("--disk x,readonly=maybe", "neither on nor off");
    reject("--disk x,serial", "serial=TEXT");
    reject("--disk format=raw", "file is missing");
    reject("--disk x,serial=123456789012345678901", "20 is the most");
    reject("--disk x --disk x,readonly", "twice");
    reject("--net tap", "none or user");
    reject("--net user,mac=01:00:00:00:00:00", "52:54:00");
    reject("-p 22", "HOST:GUEST");
    reject("-p 0:22", "1 to 65535");
    reject("-p 1:2/sctp", "HOST:GUEST[/udp]");
}

static void test_no_kernel(void **state)
{
    char *const help[] = { "--memory", "-1", "--help" }, *const load[] = { "--load-state=f" };
    char *const print[] = { "--print-config" };
    struct vm_config c;

    (void)state;
    assert_int_equal(options_parse(&c, 0, NULL, message, sizeof(message)), -EINVAL);
    assert_non_null(strstr(message, "--kernel"));
    config_free(&c);
    assert_int_equal(options_parse(&c, 3, help, message, sizeof(message)), OPTIONS_HELP);
    config_free(&c);
    assert_int_equal(options_parse(&c, 1, load, message, sizeof(message)), OPTIONS_RUN);
    config_free(&c);
    assert_int_equal(options_parse(&c, 1, print, message, sizeof(message)), OPTIONS_PRINT);
    config_free(&c);
}

static void test_size(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = { { "1", MiB }, { "64K", 64 * KiB }, { "512M", 512 * MiB }, { "2g", 2 * GiB },
                 { "1T", 1024 * GiB }, { "3MiB", 3 * MiB }, { "3MB", 3 * MiB } };
    static const char *const bad[] = { "", "M", "1MM", "1 M", "1.5G", "+1", "20000000T", "0x10" };
    uint64_t v;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        assert_int_equal(config_size(good[i].text, &v), 0);
        assert_int_equal(v, good[i].bytes);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(config_size(bad[i], &v), -EINVAL);
}

static void test_help(void **state)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);

    (void)state;
    options_help(f);
    fclose(f);
    assert_non_null(strstr(text, "--kernel FILE"));
    assert_non_null(strstr(text, "-m, --memory SIZE"));
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        assert_true(strlen(line) <= 80);
    free(text);
}

static void test_lists(void **state)
{
    struct vm_config c;

    (void)state;
    assert_int_equal(parse(&c, "--disk a,,b=c,readonly --disk file=d,serial=s,aio=threads "
                               "-p 2222:22 -p 53:53/udp"), 0);
    assert_int_equal(c.ndisks, 2);
    assert_string_equal(c.disks[0].file, "a,b=c");
    assert_true(c.disks[0].readonly && !c.disks[1].readonly);
    assert_string_equal(c.disks[0].format, "raw");
    assert_string_equal(c.disks[1].file, "d");
    assert_string_equal(c.disks[1].aio, "threads");
    assert_int_equal(c.nnet, 1);
    assert_int_equal(c.net[0].nhostfwd, 2);
    assert_string_equal(c.net[0].hostfwd[0], "tcp:127.0.0.1:2222-:22");
    assert_string_equal(c.net[0].hostfwd[1], "udp:127.0.0.1:53-:53");
    config_free(&c);
}

static int parse_json(struct vm_config *c, const char *text)
{
    assert_int_equal(config_init(c), 0);
    message[0] = 0;
    return config_parse_json(c, text, strlen(text), "doc", message, sizeof(message));
}

static char *print(const struct vm_config *c)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);

    assert_int_equal(config_print_json(c, f, message, sizeof(message)), 0);
    fclose(f);
    return text;
}

/* What is printed reads back as the same. */
static void test_json(void **state)
{
    static const char document[] =
        "{\"name\": \"n\", \"cpu\": {\"count\": 3, \"model\": \"x86-64-v2\"},"
        " \"memory\": 64, \"kernel\": \"k\", \"append\": \"a \\\"b\\\"\","
        " \"serial\": [\"none\", \"unix:s\"], \"timeout\": 0.25, \"no-reboot\": true,"
        " \"disks\": [{\"file\": \"d\", \"readonly\": true}],"
        " \"net\": [{\"type\": \"user\", \"hostfwd\": [\"tcp::1-:2\"]}],"
        " \"devices\": [{\"driver\": \"isa-debug-exit\", \"iobase\": 1281}]}";
    struct vm_config c, again;
    char *text, *text2;

    (void)state;
    assert_int_equal(parse_json(&c, document), 0);
    assert_int_equal(config_finish(&c, message, sizeof(message)), 0);
    assert_int_equal(c.cpus, 3);
    assert_int_equal(c.memory, 64 * MiB);
    assert_int_equal(c.timeout_ns, 250000000);
    assert_int_equal(c.devices[0].iobase, 0x501);
    assert_int_equal(c.devices[0].iosize, 4);
    assert_string_equal(c.append, "a \"b\"");
    assert_true(c.no_reboot && c.disks[0].readonly);
    text = print(&c);
    assert_int_equal(parse_json(&again, text), 0);
    text2 = print(&again);
    assert_string_equal(text, text2);
    free(text);
    free(text2);
    config_free(&again);
    config_free(&c);
}

static void test_json_errors(void **state)
{
    static const struct {
        const char *text, *part;
    } bad[] = {
        { "", "line 1" }, { "{\n  \"name\": }", "line 2, column 11" }, { "[]", "not an object" },
        { "{\"memroy\": 1}", "did you mean 'memory'?" },
        { "{\"cpu\": {\"cuont\": 1}}", "cpu: unknown key 'cuont'; did you mean 'count'?" },
        { "{\"cpu\": 1}", "cpu: an object is wanted here, not a number" },
        { "{\"cpu.count\": 1}", "unknown key" },
        { "{\"\": 1}", "unknown key ''" },
        { "{\"name\": \"a\", \"name\": \"b\"}", "duplicate" },
        { "{\"name\": \"\\u0000\"}", "NUL" },
        { "{\"name\": \"\\u0001\"}", "control" },
        { "{\"name\": null}", "a string is wanted here, not null" },
        { "{\"memory\": -1}", "not a size" },
        { "{\"memory\": true}", "a size such as \"512M\"" },
        { "{\"cpu\": {\"count\": 1.5}}", "whole number" },
        { "{\"cpu\": {\"count\": 300}}", "cpu.count: '300'" },
        { "{\"cpu\": {\"count\": 99999999999999999999}}", "too big" },
        { "{\"timeout\": 1e999}", "overflow" },
        { "{\"stats\": 1}", "true or false" },
        { "{\"disks\": [{\"format\": \"raw\"}]}", "disks[0]: file is missing" },
        { "{\"disks\": [\"x\"]}", "disks[0]: an object is wanted" },
        { "{\"disks\": {}}", "disks: a list is wanted" },
        { "{\"disks\": [{\"file\": \"x\"}, {\"file\": \"y\", \"fromat\": 1}]}",
          "disks[1]: unknown key 'fromat'; did you mean 'format'?" },
        { "{\"net\": [{\"type\": \"user\", \"hostfwd\": [1]}]}", "net[0].hostfwd[0]" },
        { "{} {}", "end of file expected" },
    };
    struct vm_config c;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(parse_json(&c, bad[i].text), -EINVAL);
        if (strncmp(message, "doc: ", 5) != 0 || !strstr(message, bad[i].part))
            fail_msg("'%s' gives '%s', without '%s'", bad[i].text, message, bad[i].part);
        config_free(&c);
    }
}

/* Nesting, size and number of items are bounded. */
static void test_json_hostile(void **state)
{
    char *text = malloc(CONFIG_MAX_BYTES + 2), *p = text;
    struct vm_config c;

    (void)state;
    memset(text, '[', CONFIG_MAX_BYTES);
    text[CONFIG_MAX_BYTES] = 0;
    assert_int_equal(parse_json(&c, text), -EINVAL);
    assert_non_null(strstr(message, "depth"));
    config_free(&c);
    text[CONFIG_MAX_BYTES] = '[';
    text[CONFIG_MAX_BYTES + 1] = 0;
    assert_int_equal(parse_json(&c, text), -EINVAL);
    assert_non_null(strstr(message, "larger than 1024 KiB"));
    config_free(&c);
    p += sprintf(p, "{\"name\": \"");
    memset(p, 'x', 100000);
    sprintf(p + 100000, "\"}");
    assert_int_equal(parse_json(&c, text), -EINVAL);
    assert_non_null(strstr(message, "name: it has 100000 bytes"));
    config_free(&c);
    p = text + sprintf(text, "{\"disks\": [{\"file\": \"x\"}");
    for (unsigned i = 0; i < VM_MAX_DISKS; i++)
        p += sprintf(p, ", {\"file\": \"x%u\"}", i);
    sprintf(p, "]}");
    assert_int_equal(parse_json(&c, text), -EINVAL);
    assert_non_null(strstr(message, "only 16"));
    assert_int_equal(c.ndisks, VM_MAX_DISKS);
    config_free(&c);
    free(text);
}

/* What the tables of others know is in the choices. */
static void test_table(void **state)
{
    const struct setting *engine = config_setting("engine");

    (void)state;
    for (unsigned i = 0; engines[i]; i++) {
        bool found = false;

        for (unsigned n = 0; engine->choices[n]; n++)
            found |= strcmp(engine->choices[n], engines[i]->name) == 0;
        assert_true(found);
    }
    for (const struct setting *s = config_table; !setting_is_last(s); s++) {
        assert_non_null(s->help);
        assert_true(s->size || s->type == SETTING_ACTION);
        assert_true(s->type != SETTING_FLAG || !s->arg);
    }
}

static char *complete(const char *line)
{
    static char *text;
    char copy[256], *words[16];
    size_t size = 0;
    int n = 0;
    FILE *f;

    free(text);
    text = NULL;
    f = open_memstream(&text, &size);
    snprintf(copy, sizeof(copy), "%s", line);
    for (char *p = copy, *word; (word = strsep(&p, " "));)
        words[n++] = word;
    options_complete(f, n, words);
    fclose(f);
    return text;
}

static void test_complete(void **state)
{
    (void)state;
    assert_string_equal(complete("--mem"), "--memory\n");
    assert_string_equal(complete("--engine i"), "interp\n");
    assert_string_equal(complete("-m 1 -cpu x86-64-v3"), "x86-64-v3\n");
    assert_string_equal(complete("--kernel "), "@file\n");
    assert_string_equal(complete("--disk "), "@file\n");
    assert_string_equal(complete("--disk x,for"), "x,format=\n");
    assert_string_equal(complete("--disk x,readonly=o"), "x,readonly=on\nx,readonly=off\n");
    assert_string_equal(complete("--net u"), "user\n");
    assert_string_equal(complete("--serial f"), "file:\n");
    assert_string_equal(complete("--memory 1"), "");
    assert_string_equal(complete("--engine=i"), "--engine=interp\n");
    assert_string_equal(complete("--disk=x,aio=t"), "--disk=x,aio=threads\n");
    assert_string_equal(complete("--kernel=x"), "@file\n");
    assert_non_null(strstr(complete("--memory 1 "), "--no-reboot\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),      cmocka_unit_test(test_all),
        cmocka_unit_test(test_qemu_spelling), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_no_kernel),     cmocka_unit_test(test_size),
        cmocka_unit_test(test_help),          cmocka_unit_test(test_lists),
        cmocka_unit_test(test_json),          cmocka_unit_test(test_json_errors),
        cmocka_unit_test(test_json_hostile),  cmocka_unit_test(test_table),
        cmocka_unit_test(test_complete),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
