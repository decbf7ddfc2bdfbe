/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of `bulkhead run`. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "cli/options.h"

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
    assert_false(c.no_reboot || c.debug_exit || c.stats);
    assert_int_equal(c.timeout_ns, 0);
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
    assert_true(c.debug_exit && c.no_reboot && c.stats);
    assert_int_equal(c.debug_exit_port, 0x501);
    assert_int_equal(c.debug_exit_size, 1);
    assert_int_equal(c.timeout_ns, 1500000000);
    assert_string_equal(c.name, "vm");
    assert_int_equal(parse(&c, "--log all=error"), 0);
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
    assert_int_equal(c.debug_exit_port, 0xf4);
    assert_int_equal(c.debug_exit_size, 4);
    assert_int_equal(parse(&c, "-smp cpus=3"), 0);
    assert_int_equal(c.cpus, 3);
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
    reject("--machine q35", "only pc");
    reject("--serial tcp:1", "stdio, none, file:PATH, unix:PATH");
    reject("--serial stdio --serial stdio", "only one");
    reject("--serial none --serial none --serial none --serial none --serial none", "only 4");
    reject("--device e1000", "unknown device 'e1000'");
    reject("--device isa-debug-exit,port=1", "iobase");
    reject("--device isa-debug-exit,iobase=0x10000", "iobase");
    reject("--device isa-debug-exit,iosize=0", "iosize");
    reject("--timeout 0", "seconds");
    reject("--timeout nan", "seconds");
    reject("--timeout 5m", "seconds");
    reject("--log vm=loud", "--log");
    reject("--save-state f", "--stop-at");
    reject("--stop-at 0", "above 0");
}

static void test_no_kernel(void **state)
{
    char *const help[] = { "--memory", "-1", "--help" }, *const load[] = { "--load-state=f" };
    struct vm_config c;

    (void)state;
    assert_int_equal(options_parse(&c, 0, NULL, message, sizeof(message)), -EINVAL);
    assert_non_null(strstr(message, "--kernel"));
    assert_int_equal(options_parse(&c, 3, help, message, sizeof(message)), OPTIONS_HELP);
    assert_int_equal(options_parse(&c, 1, load, message, sizeof(message)), 0);
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
        assert_int_equal(options_size(good[i].text, &v), 0);
        assert_int_equal(v, good[i].bytes);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(options_size(bad[i], &v), -EINVAL);
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
        assert_true(strlen(line) <= 100);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),      cmocka_unit_test(test_all),
        cmocka_unit_test(test_qemu_spelling), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_no_kernel),     cmocka_unit_test(test_size),
        cmocka_unit_test(test_help),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
