#!/usr/bin/env bash
# Data races: what `make threads` runs. ThreadSanitizer watches every access, Archer tells it where OpenMP's threads
# wait for each other: without it every parallel loop would look like a race. The last run has one, which must be
# seen. Four threads, more than there may be processors.
set -eu
program=build/threads/reference
archer=$(ls /usr/lib/llvm-14/lib/libarcher.so)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export OMP_TOOL_LIBRARIES=$archer OMP_NUM_THREADS=4
export TSAN_OPTIONS="exitcode=66 halt_on_error=0 ignore_noninstrumented_modules=1"
passed=0 failed=0

# watched NAME COMMAND...: free of reports, and the command did what it was asked.
watched() {
    local name=$1 status=0
    shift
    "$@" >"$folder/out" 2>"$folder/err" || status=$?
    if [ "$status" = 0 ] && ! grep -q 'WARNING: ThreadSanitizer' "$folder/err"; then
        passed=$((passed + 1))
        echo "no races: $name"
    else
        failed=$((failed + 1))
        echo "FAILED: $name: exit $status"
        head -n 60 "$folder/err"
    fi
}

watched "run, a picture and a question, with a trace" "$program" run --image models/pictor/pictures/demo.png \
    --prompt "What is in this image?" --max-new-tokens 4 --trace "$folder/run" --trace-only '*.cross_attn.probs'
for case in 2x2 two_apart bf16; do
    checkpoint=golden/checkpoints/base
    [ $case != bf16 ] || checkpoint=golden/checkpoints/bf16
    watched "forward, golden $case" "$program" forward --model $checkpoint \
        --inputs golden/cases/$case/inputs.safetensors --greedy 3 --trace "$folder/$case" --trace-values all
done
watched "preprocess" "$program" preprocess models/pictor/pictures/demo.png

# Would a race be seen? Two threads, one counter.
cat >"$folder/race.cpp" <<'CODE'
int main()
{
    int count = 0;
#pragma omp parallel for
    for (int i = 0; i < 1000; ++i)
        ++count;
    return count == -1;
}
CODE
${CLANG:-clang++-14} -O1 -g -fopenmp -fsanitize=thread "$folder/race.cpp" -o "$folder/race"
status=0
"$folder/race" >/dev/null 2>"$folder/err" || status=$?
if [ "$status" = 66 ] && grep -q 'WARNING: ThreadSanitizer: data race' "$folder/err"; then
    passed=$((passed + 1))
    echo "a race made on purpose is seen"
else
    failed=$((failed + 1))
    echo "FAILED: a race made on purpose is not seen"
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
