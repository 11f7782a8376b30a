#!/usr/bin/env bash
# Runs every suite, shows what each prints, and adds up: the last line is "N passed, N failed".
set -u
mkdir -p build/test-logs
passed=0 failed=0

# suite NAME COMMAND...: counts Catch2's closing line, or one of the form "N passed, N failed".
suite() {
    local name=$1 log=build/test-logs/$1.log status p f
    shift
    echo "== $name"
    "$@" >"$log" 2>&1
    status=$?
    if grep -q '^All tests passed' "$log"; then
        p=$(sed -n 's/^All tests passed (.* in \([0-9]*\) test case.*/\1/p' "$log" | tail -1) f=0
    elif grep -q '^test cases:' "$log"; then
        p=$(sed -n 's/^test cases:.* \([0-9]*\) passed.*/\1/p' "$log" | tail -1)
        f=$(sed -n 's/^test cases:.* \([0-9]*\) failed.*/\1/p' "$log" | tail -1)
    else
        p=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed.*/\1/p' "$log" | tail -1)
        f=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed.*/\2/p' "$log" | tail -1)
    fi
    p=${p:-0} f=${f:-0}
    # A suite that ended badly, or ran nothing, has failed whatever it counted.
    if { [ "$status" != 0 ] && [ "$f" = 0 ]; } || [ "$p" = 0 ]; then
        f=$((f + 1))
    fi
    if [ "$f" != 0 ]; then cat "$log"; else tail -n 3 "$log"; fi
    passed=$((passed + p)) failed=$((failed + f))
}

bash tests/reference/fetch_llama_tokenizer.sh || true  # says why when it cannot; the tests that need it say so, too
export PICTOR_BUILD=build
suite fast build/tests
export PICTOR_BUILD=build/debug
# Leaks are looked for at exit; symbolised reports need the frame pointers that the debug build keeps.
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=0 UBSAN_OPTIONS=print_stacktrace=1
suite debug build/debug/tests
suite python "${PYTHON:-python3}" tests/python_test.py
suite chapters "${PYTHON:-python3}" tests/chapters_test.py
suite list-of-mutants "${PYTHON:-python3}" tests/mutants/list_test.py
suite heatmaps-in-numpy "${PYTHON:-python3}" tests/viz/heatmap_numpy_test.py
suite markup "${PYTHON:-python3}" tests/viz/markup_test.py
suite engine-table "${PYTHON:-python3}" tests/engine_table_test.py
suite conformance "${PYTHON:-python3}" tests/conformance_test.py
suite page-in-chromium "${PYTHON:-python3}" tests/viz/page_test.py

echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
