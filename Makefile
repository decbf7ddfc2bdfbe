# SPDX-License-Identifier: GPL-2.0-or-later
#
# make run [KERNEL=cloud|amd64|rt] [CPUS=n] [MEM=size] [APPEND="kernel parameters"]

KERNEL ?= cloud
CPUS ?= 1
MEM ?= 512M
APPEND ?=

.PHONY: run build test test-os fuzz bench format lint clean

run: build
	@kernel=$$(scripts/fetch-kernel $(KERNEL)) && initrd=$$(scripts/make-initramfs) && \
	exec build/bulkhead run -m $(MEM) --cpus $(CPUS) --kernel "$$kernel" --initrd "$$initrd" \
		--append "console=ttyS0 $(APPEND)"

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

bench: build
	@scripts/deps bench
	@bench/boot

format:
	@scripts/deps lint
	@git ls-files '*.c' '*.h' | xargs -r clang-format -i

lint: build
	@scripts/deps lint
	@scripts/lint

# The cache of kernels and images (~/.cache/bulkhead) stays.
clean:
	rm -rf build build-asan build-fuzz
