# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154
#
# The cache of things taken from Debian packages. Sourced by scripts.
#
#   $cache/KIND/PACKAGE_VERSION/   one entry; its time stamp is that of its last use
#   $cache/current/NAME            symbolic link to the entry that NAME stands for
#
# An entry appears under its name only when it is complete. The current links are what makes a
# second run need neither network nor package indexes; they move only when asked to (--update).

cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/bulkhead
cache_limit=$((4 << 30))
apt_lists=$cache/apt

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# Take the lock: from here to the end of the script no other one changes the cache.
cache_lock() {
    mkdir -p "$cache/current" || die "cannot create $cache; set XDG_CACHE_HOME to a writable folder"
    exec 9>"$cache/lock"
    flock 9
    rm -rf "$cache"/tmp.*
}

# cache_lookup NAME: print the entry NAME stands for and mark it used; fails if there is none.
cache_lookup() {
    local entry
    entry=$(readlink -e "$cache/current/$1") || return 1
    touch -c "$entry"
    echo "$entry"
}

# cache_make_room BYTES: evict the entries not used for longest until BYTES more are within the
# limit, then check that the disk has them.
cache_make_room() {
    local need=$1 used free entry
    ((need <= cache_limit)) || die "$((need >> 20)) MiB is more than the cache may hold"
    used=$(du -sxB1 "$cache" | cut -f1)
    while ((used + need > cache_limit)); do
        entry=$(find "$cache" -mindepth 2 -maxdepth 2 -type d -not -path "$apt_lists/*" \
            -printf '%T@ %p\n' | sort -n | head -n 1 | cut -d' ' -f2-)
        [[ -n $entry ]] || break
        rm -rf "$entry"
        used=$(du -sxB1 "$cache" | cut -f1)
    done
    free=$(df --output=avail -B1 "$cache" | tail -n 1)
    ((free >= need)) || die "$((need >> 20)) MiB are needed in $cache but only $((free >> 20)) MiB" \
        "are free there; make room, or set XDG_CACHE_HOME to a folder on a larger disk"
}

# cache_add TMP KIND/KEY NAME...: make the folder TMP the entry KIND/KEY, which each NAME stands for.
cache_add() {
    local tmp=$1 key=$2 name
    shift 2
    mkdir -p "$cache/${key%/*}"
    rm -rf "${cache:?}/$key"
    mv -T "$tmp" "$cache/$key"
    touch "$cache/$key"
    for name; do
        ln -sfnT "../$key" "$cache/current/$name"
    done
}

# Packages come through the system's own package indexes. Where these are absent or stale, private
# ones are fetched into the cache with the system's sources and keys, which needs no root.
apt_options=(-q -o APT::Sandbox::User=root)

# apt_foreign ARCHITECTURE: from here on packages are of this one, whatever the system's is.
apt_foreign() {
    apt_options+=(-o "APT::Architecture=$1" -o "APT::Architectures=$1" -o Dir::State::status=/dev/null
        -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
}

apt_refresh() {
    mkdir -p "$apt_lists/lists/partial" "$apt_lists/archives/partial"
    apt_options+=(-o "Dir::State::Lists=$apt_lists/lists" -o "Dir::Cache=$apt_lists")
    apt-get "${apt_options[@]}" update >&2 ||
        echo "${0##*/}: warning: a package index could not be refreshed; going on without it" >&2
}

# apt_field PACKAGE FIELD: one field of the newest version of a package; empty if it is not known.
apt_field() {
    apt-cache "${apt_options[@]}" show --no-all-versions "$1" 2>/dev/null |
        sed -n "s/^$2: //p" | head -n 1
}

apt_know() {
    [[ -n $(apt_field "$1" Version) ]] || apt_refresh
    [[ -n $(apt_field "$1" Version) ]] || die "the package $1 is not in the package indexes. It" \
        "comes from Debian 12 (bookworm, main): see that the sources of apt list it, and try again."
}

# apt_unpack PACKAGE TMP: download a package and unpack it into TMP, an empty folder in the cache.
apt_unpack() {
    local download
    cache_make_room $((($(apt_field "$1" Installed-Size) << 10) + $(apt_field "$1" Size)))
    download=$(mktemp -d "$cache/tmp.XXXXXX")
    echo "${0##*/}: downloading $1 $(apt_field "$1" Version)" >&2
    (cd "$download" && apt-get "${apt_options[@]}" download "$1" >&2) || return 1
    dpkg-deb -x "$download"/*.deb "$2" || die "could not unpack $1"
    rm -rf "$download"
}

# cache_fetch RESOLVE NAME: the entry NAME stands for becomes the one that the function RESOLVE
# says in `package`, downloaded if it is not there. If that fails, the indexes are stale: the
# version they name is gone from the mirrors.
cache_fetch() {
    local resolve=$1 name=$2 tmp=$cache/tmp.$$ key try
    for try in system fresh; do
        [[ $try = system ]] || apt_refresh
        "$resolve"
        key=$(apt_field "$package" Version)
        key=${name%-*}/${package}_${key//:/_}
        if [[ -d $cache/$key ]]; then
            ln -sfnT "../$key" "$cache/current/$name"
        elif apt_unpack "$package" "$tmp"; then
            cache_add "$tmp" "$key" "$name"
        else
            continue
        fi
        rm -rf "$apt_lists"
        return
    done
    die "could not download $package; see the messages of apt-get above. When a mirror is in the" \
        "middle of a sync, the same command works some minutes later."
}
