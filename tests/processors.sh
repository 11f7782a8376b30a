#!/usr/bin/env bash
# The portable build on processors without AVX-512, and without AVX at all, which QEMU stands in for: the same
# answer as on this machine, and a golden within its tolerances. `make processors` runs it.
set -eu
program=build/portable/reference
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
passed=0 failed=0
check() { # check NAME COMMAND...
    local name=$1
    shift
    if "$@" >"$folder/log" 2>&1; then
        passed=$((passed + 1))
        echo "passed: $name"
    else
        failed=$((failed + 1))
        echo "FAILED: $name"
        tail -n 20 "$folder/log"
    fi
}
answer() {
    "$@" "$program" run --image models/pictor/pictures/demo.png --prompt "What is in this image?" \
        --max-new-tokens 12 --threads 1 2>/dev/null
}

here=$(answer env)
echo "this machine answers: $here"
for processor in Haswell Nehalem; do
    qemu="qemu-x86_64 -cpu $processor"
    there=$(answer $qemu)
    echo "$processor answers: $there"
    check "$processor: the same answer" test "$here" = "$there"
    check "$processor: golden 1x1 runs" $qemu $program forward --model golden/checkpoints/base --greedy 5 \
        --inputs golden/cases/1x1/inputs.safetensors --trace "$folder/$processor" --trace-values all --threads 1
    check "$processor: golden 1x1 agrees" build/portable/trace check "$folder/$processor" golden/cases/1x1/meta \
        --policy golden/tolerances.json
done
# The stand-in really lacks what it should: the build for this machine, which may use all it has, cannot start there.
if grep -q avx512f /proc/cpuinfo && [ -x build/reference ]; then
    check "Nehalem: the build for this machine does not run there" \
        bash -c "! qemu-x86_64 -cpu Nehalem build/reference forward --model golden/checkpoints/base --threads 1 \
                 --inputs golden/cases/1x1/inputs.safetensors >/dev/null 2>&1"
else
    echo "left out: this machine has no AVX-512, so its own build says nothing of the stand-in"
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
