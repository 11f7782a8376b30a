#!/bin/bash
# mistral.rs from its source: as released, with all patches, and with all but each, for make_table.py.
#
#     bash golden/conformance/engines/build_mistralrs.sh MISTRALRS CANDLE [FOLDER]
#
# MISTRALRS: a checkout of EricLBuehler/mistral.rs at v0.9.2. CANDLE: one of huggingface/candle at the commit that its
# Cargo.toml names. Both stay as they are. FOLDER: as for install.sh (default: build/engines). Needs Rust and Python
# 3.11. What is built already is not built again.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
released=$(realpath "$1") candle=$(realpath "$2")
folder=$(realpath -m "${3:-build/engines}")/mistralrs-source
source=$folder/source model=mistralrs-core/src/vision_models/mllama
patches=(mistralrs-decode mistralrs-gate mistralrs-pictures mistralrs-rows mistralrs-tiles)

[ -x "$folder/bin/python" ] || "${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet numpy==2.4.6 safetensors==0.8.0 pillow==13.0.0
[ -d "$source" ] || { mkdir "$source" && tar -C "$released" --exclude .git --exclude target -c . | tar -C "$source" -x; }
mkdir -p "$folder/builds"
sed -n '/^\[package\]/,/^\[/ s/^version = "\([0-9.]*\)".*/\1/p' "$source/mistralrs-pyo3/Cargo.toml" > "$folder/builds/version"
{
    echo '[patch."https://github.com/huggingface/candle.git"]'
    for crate in candle-core candle-nn candle-flash-attn-v3 candle-metal-kernels; do
        echo "$crate = { path = \"$candle/$crate\" }"
    done
} > "$folder/candle.toml"

# The wheels are built for a generic processor; optimisation changes no result, so as little of it as is bearable.
export PYO3_PYTHON="$folder/bin/python" CARGO_TARGET_DIR="$folder/target" RUSTFLAGS="-C target-cpu=generic"
export CARGO_PROFILE_DEV_DEBUG=false CARGO_PROFILE_DEV_OPT_LEVEL=1

build() {  # NAME PATCH...
    [ -e "$folder/builds/$1/mistralrs.so" ] && return
    cp "$released/$model"/*.rs "$source/$model/"  # a new time stamp too: cargo builds what changed back
    local patch
    for patch in "${@:2}"; do
        patch --quiet --batch --forward -d "$source" -p1 < "$here/patches/$patch.patch"
    done
    (cd "$source" && cargo build --quiet --config "$folder/candle.toml" --package mistralrs-pyo3)
    mkdir -p "$folder/builds/$1"
    cp "$folder/target/debug/libmistralrs.so" "$folder/builds/$1/mistralrs.so"
}

joined() { local IFS=+; echo "$*"; }

build released
build "$(joined "${patches[@]}")" "${patches[@]}"
for left in "${patches[@]}"; do
    others=()
    for patch in "${patches[@]}"; do
        [ "$patch" = "$left" ] || others+=("$patch")
    done
    build "$(joined "${others[@]}")" "${others[@]}"
done
touch "$folder/ready"
