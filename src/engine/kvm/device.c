/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /dev/kvm: is it there, may we use it, has it what we need? */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "engine/kvm/kvm.h"
#include "engine/kvm/probe.h"

#define DEVICE "/dev/kvm"

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
    int rc;

    do
        rc = ioctl(fd, request, arg);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : rc;
}

int kvm_ioctl_value(int fd, unsigned long request, unsigned long arg)
{
    return kvm_ioctl(fd, request, (void *)arg);
}

int kvm_has(int fd, unsigned long cap)
{
    int rc = kvm_ioctl_value(fd, KVM_CHECK_EXTENSION, cap);

    return rc < 0 ? 0 : rc;
}

/* With the first Linux that has it. */
static const struct {
    unsigned cap;
    const char *what, *since;
} needed[] = {
    { KVM_CAP_USER_MEMORY, "memory slots", "2.6.27" },
    { KVM_CAP_SPLIT_IRQCHIP, "a split interrupt controller", "4.4" },
    { KVM_CAP_IMMEDIATE_EXIT, "immediate_exit", "4.12" },
    { KVM_CAP_SIGNAL_MSI, "KVM_SIGNAL_MSI", "3.5" },
    { KVM_CAP_IRQ_ROUTING, "interrupt routing", "2.6.30" },
    { KVM_CAP_IOEVENTFD, "ioeventfd", "2.6.32" },
    { KVM_CAP_READONLY_MEM, "read-only slots", "3.7" },
    { KVM_CAP_XSAVE, "KVM_GET_XSAVE", "2.6.36" },
    { KVM_CAP_XCRS, "KVM_GET_XCRS", "2.6.36" },
    { KVM_CAP_VCPU_EVENTS, "KVM_GET_VCPU_EVENTS", "2.6.33" },
    { KVM_CAP_DEBUGREGS, "KVM_GET_DEBUGREGS", "2.6.35" },
    { KVM_CAP_MP_STATE, "KVM_GET_MP_STATE", "2.6.26" },
    { KVM_CAP_EXT_CPUID, "KVM_SET_CPUID2", "2.6.26" },
    { KVM_CAP_ADJUST_CLOCK, "KVM_SET_CLOCK", "2.6.33" },
};

static void explain_missing(char *why, size_t size)
{
    struct kvm_cpu_facts f;

    kvm_cpu_facts(&f);
    kvm_explain_missing(&f, why, size);
}

static void explain_denied(char *why, size_t size)
{
    struct stat st = { 0 };
    const struct group *g = stat(DEVICE, &st) == 0 ? getgrgid(st.st_gid) : NULL;

    kvm_explain_denied(g && st.st_gid != 0 && (st.st_mode & 060) == 060 ? g->gr_name : NULL, why,
                       size);
}

static int check_device(int fd, char *why, size_t size)
{
    int version = kvm_ioctl_value(fd, KVM_GET_API_VERSION, 0);

    if (version < 0) {
        snprintf(why, size, DEVICE " is not KVM's device: %s", strerror(-version));
        return -ENOTSUP;
    }
    if (version != KVM_API_VERSION) {
        snprintf(why, size, DEVICE " speaks version %d of KVM's interface, and not %d", version,
                 KVM_API_VERSION);
        return -ENOTSUP;
    }
    for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
        if (!kvm_has(fd, needed[i].cap)) {
            snprintf(why, size, "this kernel's KVM lacks %s, which came with Linux %s",
                     needed[i].what, needed[i].since);
            return -ENOTSUP;
        }
    return 0;
}

int kvm_device_open(char *why, size_t size)
{
    int fd = open(DEVICE, O_RDWR | O_CLOEXEC), rc;

    if (fd < 0) {
        rc = -errno;
        if (rc == -ENOENT || rc == -ENODEV || rc == -ENXIO)
            explain_missing(why, size);
        else if (rc == -EACCES || rc == -EPERM)
            explain_denied(why, size);
        else
            snprintf(why, size, "cannot open " DEVICE ": %s", strerror(-rc));
        return rc;
    }
    rc = check_device(fd, why, size);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    return fd;
}
