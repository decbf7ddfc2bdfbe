/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a message-signalled interrupt costs by KVM_SIGNAL_MSI, as the engine
 * sends it, and by an eventfd that is bound to a route (KVM_IRQFD): for its
 * sender alone, while the CPU is out of the guest, and there and back, with
 * the CPU halted in the guest, which leaves it from the handler.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define RAM_SIZE  0x10000u
#define IDT       0x1000u
#define CODE      0x2000u
#define HANDLER   0x2100u
#define STACK     0x8000u
#define VECTOR    0x40u
#define GSI       24u
#define DATA_PORT 0x10u
#define TURNS     5

/* Flat 32-bit code: sti; hlt; jmp to hlt. */
static const uint8_t code[] = { 0xfb, 0xf4, 0xeb, 0xfd };
/* EOI (xAPIC), leave, return: movl $0, 0xfee000b0; outb %al, $0x10; iret. */
static const uint8_t handler[] = { 0xc7, 0x05, 0xb0, 0x00, 0xe0,      0xfe, 0,
                                   0,    0,    0,    0xe6, DATA_PORT, 0xcf };

struct machine {
    int dev, vm, vcpu, event;
    uint8_t *ram;
    struct kvm_run *run;
    sem_t handled;
};

static int must(int rc, const char *what)
{
    if (rc < 0) {
        printf("msi: %s: %s\n", what, strerror(errno));
        exit(1);
    }
    return rc;
}

static void make_vm(struct machine *m)
{
    struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { GSI } };
    struct kvm_userspace_memory_region slot = { .memory_size = RAM_SIZE };
    int size;

    m->dev = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
    m->vm = must(ioctl(m->dev, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
    must(ioctl(m->vm, KVM_SET_IDENTITY_MAP_ADDR, &(uint64_t){ 0xfeffc000 }), "identity map");
    must(ioctl(m->vm, KVM_SET_TSS_ADDR, 0xfeffd000), "TSS");
    must(ioctl(m->vm, KVM_ENABLE_CAP, &split), "split irqchip");
    m->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    slot.userspace_addr = (uintptr_t)m->ram;
    must(ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &slot), "memory");
    m->vcpu = must(ioctl(m->vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
    size = must(ioctl(m->dev, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
    m->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
    must(m->run == MAP_FAILED ? -1 : 0, "the run page");
    sem_init(&m->handled, 0, 0);
}

static void set_segment(struct kvm_segment *s, uint16_t selector, uint8_t type)
{
    *s = (struct kvm_segment){ .limit = 0xffffffff,
                               .selector = selector,
                               .type = type,
                               .present = 1,
                               .db = 1,
                               .s = 1,
                               .g = 1 };
}

static void set_registers(struct machine *m)
{
    struct kvm_regs regs = { .rip = CODE, .rsp = STACK, .rflags = 2 };
    struct kvm_sregs s;

    must(ioctl(m->vcpu, KVM_GET_SREGS, &s), "KVM_GET_SREGS");
    set_segment(&s.cs, 8, 11);
    set_segment(&s.ds, 16, 3);
    s.es = s.fs = s.gs = s.ss = s.ds;
    /* The GDT that the handler's return needs: below the IDT. */
    memcpy(m->ram + 0x808, &(uint64_t){ 0x00cf9b000000ffff }, 8);
    memcpy(m->ram + 0x810, &(uint64_t){ 0x00cf93000000ffff }, 8);
    s.gdt.base = 0x800;
    s.gdt.limit = 23;
    s.idt.base = IDT;
    s.idt.limit = 0x7ff;
    s.cr0 |= 1;
    must(ioctl(m->vcpu, KVM_SET_SREGS, &s), "KVM_SET_SREGS");
    must(ioctl(m->vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static void enable_apic(struct machine *m)
{
    struct kvm_lapic_state apic;

    must(ioctl(m->vcpu, KVM_GET_LAPIC, &apic), "KVM_GET_LAPIC");
    memcpy(apic.regs + 0xf0, &(uint32_t){ 0x1ff }, 4); /* the spurious vector, and on */
    must(ioctl(m->vcpu, KVM_SET_LAPIC, &apic), "KVM_SET_LAPIC");
}

static void load_guest(struct machine *m)
{
    const uint64_t gate = HANDLER | 8u << 16 | 0x8e00ULL << 32;

    memcpy(m->ram + IDT + VECTOR * 8, &gate, sizeof(gate));
    memcpy(m->ram + CODE, code, sizeof(code));
    memcpy(m->ram + HANDLER, handler, sizeof(handler));
    set_registers(m);
    enable_apic(m);
}

static void bind_event(struct machine *m)
{
    struct kvm_irqfd bind = { .gsi = GSI };
    struct kvm_irq_routing *table = calloc(1, sizeof(*table) + sizeof(table->entries[0]));

    if (!table)
        abort();
    table->nr = 1;
    table->entries[0] = (struct kvm_irq_routing_entry){
        .gsi = GSI,
        .type = KVM_IRQ_ROUTING_MSI,
        .u.msi = { .address_lo = 0xfee00000, .data = VECTOR },
    };
    m->event = must(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
    bind.fd = (uint32_t)m->event;
    must(ioctl(m->vm, KVM_SET_GSI_ROUTING, table), "KVM_SET_GSI_ROUTING");
    free(table);
    must(ioctl(m->vm, KVM_IRQFD, &bind), "KVM_IRQFD");
}

static void by_ioctl(struct machine *m)
{
    struct kvm_msi msi = { .address_lo = 0xfee00000, .data = VECTOR };

    must(ioctl(m->vm, KVM_SIGNAL_MSI, &msi), "KVM_SIGNAL_MSI");
}

static void by_event(struct machine *m)
{
    const uint64_t one = 1;

    must(write(m->event, &one, sizeof(one)) == sizeof(one) ? 0 : -1, "eventfd");
}

static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double sender_us(struct machine *m, void (*send)(struct machine *m), unsigned n)
{
    double begin = now_us();

    for (unsigned i = 0; i < n; i++)
        send(m);
    return (now_us() - begin) / n;
}

static double round_us(struct machine *m, void (*send)(struct machine *m), unsigned n)
{
    double begin = now_us();

    for (unsigned i = 0; i < n; i++) {
        send(m);
        while (sem_wait(&m->handled) < 0)
            ;
    }
    return (now_us() - begin) / n;
}

static void *run_vcpu(void *opaque)
{
    struct machine *m = opaque;

    for (;;) {
        must(ioctl(m->vcpu, KVM_RUN, 0), "KVM_RUN");
        if (m->run->exit_reason != KVM_EXIT_IO || m->run->io.port != DATA_PORT) {
            printf("msi: exit reason %u\n", m->run->exit_reason);
            exit(1);
        }
        sem_post(&m->handled);
    }
    return NULL;
}

/* In turns: a busy host is busy for both.  The least of each counts. */
static void measure(struct machine *m, const char *what, unsigned n,
                    double (*us)(struct machine *m, void (*send)(struct machine *m), unsigned n))
{
    double least[2] = { 1e12, 1e12 };

    for (unsigned turn = 0; turn < TURNS; turn++)
        for (unsigned way = 0; way < 2; way++) {
            double t = us(m, way ? by_event : by_ioctl, n);

            least[way] = t < least[way] ? t : least[way];
        }
    printf("%s: KVM_SIGNAL_MSI %.2f us, irqfd %.2f us\n", what, least[0], least[1]);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : 20000;
    struct machine m = { 0 };
    pthread_t thread;

    make_vm(&m);
    load_guest(&m);
    bind_event(&m);
    measure(&m, "sender alone", n, sender_us);
    pthread_create(&thread, NULL, run_vcpu, &m);
    sem_wait(&m.handled); /* what the senders have left in the IRR */
    measure(&m, "there and back", n / 10, round_us);
    return 0;
}
