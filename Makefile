# SPDX-License-Identifier: GPL-2.0-or-later
#
# make run [KERNEL=cloud|amd64|rt|686|686-pae] [DISK=1|new|FILE] [CPUS=n] [MEM=size]
#          [APPEND="kernel parameters"] [ARGS="options of bulkhead run"]

KERNEL ?= cloud
CPUS ?= 1
MEM ?= 512M
APPEND ?=
ARGS ?=

# Empty: a shell in an initramfs. 1: Debian on its own disk, which stays; new: on a fresh one, and
# what was on the old one is lost; FILE: on that image.
DISK ?=
ifeq ($(DISK),)
initrd := scripts/make-initramfs$(if $(filter 686%,$(KERNEL)), --i386)
else
initrd := scripts/make-initramfs $(KERNEL)
disk := $(if $(filter 1,$(DISK)),$$(scripts/make-disk --work),$(if \
	$(filter new,$(DISK)),$$(scripts/make-disk --new),$(DISK)))
system := --disk "$$disk" --net user
root := root=/dev/vda
endif

# The KVM engine, in a machine of QEMU's TCG with emulated AMD-V, and what is said in one without;
# parts by KVM="probe messages guests transfer shell smp login login2 killed bench".
KVM ?=

.PHONY: run build test test-os test-kvm fuzz bench format lint clean

run: build
	@$(if $(DISK),scripts/deps disk && )kernel=$$(scripts/fetch-kernel $(KERNEL)) && \
	initrd=$$($(initrd)) && $(if $(DISK),disk=$(disk) && )\
	exec build/bulkhead run -m $(MEM) --cpus $(CPUS) --kernel "$$kernel" --initrd "$$initrd" \
		--append "console=ttyS0 $(root) $(APPEND)" $(system) $(ARGS)

build:
	@scripts/deps build
	@test -f build/build.ninja || CC="$${CC:-gcc}" meson setup build
	@ninja -C build

test: build
	@scripts/deps test
	@tests/run

test-os: build
	@scripts/deps test os
	@tests/run --suite os

# make fuzz [FUZZ_SECONDS=n]: each target for so long
fuzz:
	@scripts/deps build lint
	@tests/fuzz/run $(FUZZ_SECONDS)

test-kvm: build
	@scripts/deps test os disk
	@tests/kvm/machine $(KVM)
	@$(if $(KVM),:,tests/kvm/machine --cpu Haswell without)

bench: build
	@scripts/deps bench disk
	@ENGINE=$${ENGINE:-bt} bench/boot
	@bench/compare --docs

format:
	@scripts/deps lint
	@git ls-files '*.c' '*.h' | xargs -r clang-format -i

lint: build
	@scripts/deps lint
	@scripts/lint

# The cache of kernels and images (~/.cache/bulkhead) stays.
clean:
	rm -rf build build-asan build-fuzz
