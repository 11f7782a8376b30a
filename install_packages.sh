#!/usr/bin/env bash
# Installs the Debian packages that the build and the drawings need, when they are missing, and those named as arguments.
set -eu
packages="g++ make libfmt-dev nlohmann-json3-dev libcli11-dev libpcre2-dev libstb-dev catch2
          graphviz librsvg2-bin fonts-dejavu-core python3 python3-venv python3-numpy python3-pil python3-jsonschema $*"

if ! command -v apt-get >/dev/null; then
    if printf '#include <fmt/format.h>\n#include <nlohmann/json.hpp>\n#include <CLI/CLI.hpp>\n#include <stb/stb_image.h>\n#define PCRE2_CODE_UNIT_WIDTH 8\n#include <pcre2.h>\n' |
        "${CXX:-g++}" -std=c++20 -x c++ -fsyntax-only - 2>/dev/null; then
        exit 0
    fi
    cat >&2 <<MESSAGE
make: packages are missing, and only Debian's can be installed from here. Please install them by hand:
  Fedora:   dnf install gcc-c++ make fmt-devel json-devel cli11-devel pcre2-devel stb_image-devel stb_truetype-devel \\
                stb_image_write-devel catch-devel graphviz librsvg2-tools dejavu-sans-fonts python3 python3-numpy python3-jsonschema
  Homebrew: brew install gcc fmt nlohmann-json cli11 pcre2 stb catch2 graphviz librsvg font-dejavu python numpy
                (then: make CXX=g++-14; python3 -m pip install jsonschema)
MESSAGE
    exit 2
fi

# make runs several of these side by side, and apt-get lets in one at a time.
exec 9>"${TMPDIR:-/tmp}/install-packages-$(id -u).lock"
flock 9
missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

sudo=""
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "make: these packages are missing, and this is not root and there is no sudo: apt-get install$missing" >&2
        exit 2
    fi
    sudo=sudo
fi
echo "installing Debian packages:$missing"
$sudo apt-get update -qq
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
