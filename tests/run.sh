#!/usr/bin/env bash
# Installs what the tests need, then passes them: packages, unit and end-to-end tests, rule tests.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v mosquitto >/dev/null || missing+=(mosquitto)
command -v mosquitto_pub >/dev/null || missing+=(mosquitto-clients)
command -v systemd-analyze >/dev/null || missing+=(systemd)
compgen -G "/usr/lib/*/faketime/libfaketime.so.1" >/dev/null || missing+=(libfaketime)
if [ "${#missing[@]}" -gt 0 ]; then
    sudo=""
    [ "$(id -u)" = 0 ] || sudo=sudo
    export DEBIAN_FRONTEND=noninteractive
    $sudo apt-get update -q
    $sudo apt-get install -qy --no-install-recommends "${missing[@]}"
fi

cargo test --workspace --locked
# Bugs that the simulation must find, and a process that dies at each place of the write path.
cargo test --locked -p faultgate-simulation --features seeded-bugs --test bugs
cargo test --locked --features fail-points --test suite fail_points
cargo run --quiet --locked -- check rules
cargo run --quiet --locked -- test rules
