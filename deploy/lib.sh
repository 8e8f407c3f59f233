# What the scripts of this folder share. Sourced, never run.
#
# Messages go to stderr: stdout belongs to the one thing a script was asked for.
# shellcheck shell=bash

project_dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck disable=SC2034  # read by the scripts that source this file
tools_dir="$project_dir/.tools"

say() {
    printf '%s\n' "$*" >&2
}

# One line that says what is wrong and what to do, then out.
die() {
    say "${0##*/}: $*"
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# at_least FOUND FLOOR: whether FOUND (1.95.0, 2.15.0-RC.1) is FLOOR (three numbers) or newer.
at_least() {
    local found=${1%%[-+]*} floor=$2 i
    [[ $found =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || return 1
    local -a a b
    IFS=. read -r -a a <<<"$found"
    IFS=. read -r -a b <<<"$floor"
    for i in 0 1 2; do
        ((10#${a[i]} > 10#${b[i]})) && return 0
        ((10#${a[i]} < 10#${b[i]})) && return 1
    done
    return 0
}

# Installs distribution packages where this user may; says no otherwise, quietly.
apt_install() {
    [[ $(id -u) == 0 ]] && have apt-get || return 1
    say "installing $* with apt-get"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"; } >&2
}

# Everything needed before `cargo build` can work.
require_rust() {
    local floor found
    floor=$(sed -n 's/^rust-version = "\([0-9.]*\)"$/\1.0/p' "$project_dir/Cargo.toml")
    have cargo || die "cargo is missing: install Rust ${floor%.0} or newer (rustup does it), open a new shell, run this again"
    found=$(rustc --version | cut -d ' ' -f 2)
    at_least "$found" "$floor" \
        || die "Rust $found is too old, ${floor%.0} is needed: run \`rustup update stable\`, then this again"
    # SQLite and the TLS library are compiled from their C sources.
    have cc || have gcc || have clang || apt_install gcc libc6-dev \
        || die "a C compiler is missing: run \`apt-get install gcc libc6-dev\` as root, then this again"
}

# Every program and example in a debug build. All packages at once: for some of them alone, cargo would choose other
# features of what they depend on than for the tests, and compile nearly everything once more.
build_debug() {
    cargo build --manifest-path "$project_dir/Cargo.toml" --workspace --locked --bins --examples
}

# Where cargo puts what it builds, whatever the user configured.
target_dir() {
    cargo metadata --manifest-path "$project_dir/Cargo.toml" --format-version 1 --no-deps --locked \
        | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}
