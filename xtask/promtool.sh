#!/bin/sh
# Makes sure that target/promtool/promtool is there, unless PROMTOOL is set: from Debian's or Ubuntu's package, which is unpacked and not
# installed. Needs no root, but for the list of packages where there is none.
set -eu
[ -z "${PROMTOOL:-}" ] || exit 0
cd "$(dirname "$0")/.."
[ ! -x target/promtool/promtool ] || exit 0
advice="promtool not found: set PROMTOOL=/path/to/promtool; Debian's package prometheus has it"
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || {
    echo "$advice" >&2
    exit 1
}
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
echo "promtool: unpacking Debian's package prometheus into target/promtool"
download() { (cd "$directory" && apt-get download -qq -o APT::Sandbox::User=root prometheus); }
download || { apt-get update -qq && download; } || {
    echo "$advice" >&2
    exit 1
}
dpkg-deb -x "$directory"/prometheus_*.deb "$directory"
mkdir -p target/promtool
mv "$directory/usr/bin/promtool" target/promtool/promtool
