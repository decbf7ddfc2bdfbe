#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# build-guest.sh CC OBJCOPY BITS OUTPUT SOURCE...: one Multiboot ELF32 image.
# 64-bit code is linked as ELF64 and then converted: Multiboot loaders take
# ELF32 only.
set -eu
cc=$1 objcopy=$2 bits=$3 out=$4
shift 4
dir=$(dirname "$0")
case $bits in
32) arch='-m32 -march=i686' ;;
64) arch='-m64 -mno-red-zone' ;;
esac
# shellcheck disable=SC2086
$cc $arch -std=gnu17 -Os -g0 -Wall -Wextra -Werror -Wno-unused-parameter \
    -Wno-override-init -Wno-array-bounds -Wno-missing-field-initializers \
    -ffreestanding -mgeneral-regs-only -fno-pic -no-pie -fno-inline \
    -fno-stack-protector -fcf-protection=none -fno-strict-aliasing \
    -fno-asynchronous-unwind-tables -fno-ipa-cp-clone -fno-toplevel-reorder \
    -nostdlib -static -Wl,--build-id=none -Wl,-z,max-page-size=4096 \
    -Wl,--no-warn-rwx-segments -Wl,-T,"$dir/rt/guest.ld" -I "$dir/rt" \
    "$@" -o "$out.tmp"
$objcopy -O elf32-i386 "$out.tmp" "$out"
rm -f "$out.tmp"
