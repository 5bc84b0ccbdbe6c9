#!/usr/bin/env bash
# How long the compiler takes for a table of 100 branches, beside a crate that only depends on
# sessionwire: `benches/compile_time.sh`. Seconds of `cargo check`, the fastest of five each.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CARGO_TARGET_DIR=$root/target/compile_time

mkdir "$work/src"
cat >"$work/Cargo.toml" <<END
[package]
name = "compile-time"
version = "0.0.0"
edition = "2024"

[dependencies]
sessionwire = { path = "$root", default-features = false }

[workspace]
END
cp "$root/Cargo.lock" "$work/"

# table BRANCHES: a state of as many messages, each of another type and with a state of its own behind it.
table() {
    printf 'sessionwire::protocol! {\n    pub Wide = "wide" version 1;\n'
    printf '    Idle: Client(secs(60), 64) {\n'
    for ((number = 0; number < $1; number++)); do
        printf '        %d Ask%d: [[u8; %d]; %d] => Asked%d,\n' \
            $number $number $((number % 10 + 1)) $((number / 10 + 1)) $number
    done
    printf '        255 Bye: () => End,\n    }\n'
    for ((number = 0; number < $1; number++)); do
        printf '    Asked%d: Server(secs(10), 64) { 0 Answer: u64 => Idle }\n' $number
    done
    printf '}\n'
}

# best_of_five SOURCE: the fastest check, in seconds.
best_of_five() {
    for _ in 1 2 3 4 5; do
        { printf '//! %s\n' "$RANDOM"; cat "$1"; } >"$work/src/lib.rs"
        TIMEFORMAT=%R
        { time cargo check --quiet --offline --manifest-path "$work/Cargo.toml" 2>/dev/null; } 2>&1
    done | sort -n | head -1
}

: >"$work/empty.rs"
table 100 >"$work/table.rs"
cp "$work/empty.rs" "$work/src/lib.rs"
cargo check --quiet --manifest-path "$work/Cargo.toml"
empty=$(best_of_five "$work/empty.rs")
table=$(best_of_five "$work/table.rs")
awk -v empty="$empty" -v table="$table" 'BEGIN {
    printf "empty %.2f s, table of 100 branches %.2f s: %.2f s more (less than 2)\n", empty, table, table - empty
}'
