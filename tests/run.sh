#!/usr/bin/env bash
# Runs every suite, two at a time, shows what each prints, and adds up: the last line is "N passed, N failed".
# With names as arguments only these: bash tests/run.sh fast python
set -u
mkdir -p build/test-logs
wanted=" $* "
python=${PYTHON:-python3}
started=()

# suite NAME COMMAND...: starts it once fewer than two are running; report NAME waits for it and counts.
suite() {
    local name=$1
    shift
    [ "$wanted" = "  " ] || [[ $wanted == *" $name "* ]] || return 0
    while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
    started+=("$name")
    { TIMEFORMAT=%0R; time "$@" >"build/test-logs/$name.log" 2>&1; echo $? >"build/test-logs/$name.status"; } \
        2>"build/test-logs/$name.seconds" &
}

# Counts Catch2's closing line, or one of the form "N passed, N failed".
passed=0 failed=0
report() {
    local name=$1 log=build/test-logs/$1.log status p f
    status=$(cat "build/test-logs/$name.status")
    echo "== $name ($(tail -n 1 "build/test-logs/$name.seconds") s)"
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
export PICTOR_QUIET=1  # on a busy machine a run may take long enough to tell how far it is
export OMP_WAIT_POLICY=passive                         # two suites share the cores
# Leaks are looked for at exit; symbolised reports need the frame pointers that the debug build keeps.
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=0 UBSAN_OPTIONS=print_stacktrace=1
suite debug env PICTOR_BUILD=build/debug build/debug/tests
suite fast env PICTOR_BUILD=build build/tests
suite conformance "$python" tests/conformance_test.py
suite python "$python" tests/python_test.py
suite lint env MAKEFLAGS= make -s -j2 PYTHON="$python" lint
suite weaver "$python" tests/book/weave_test.py
suite exercises "$python" tests/book/exercises_test.py
suite chapters "$python" chapters/weave --check
suite list-of-mutants "$python" tests/mutants/list_test.py
suite heatmaps-in-numpy "$python" tests/viz/heatmap_numpy_test.py
suite markup "$python" tests/viz/markup_test.py
suite tours "$python" debugger/tours/run.py
suite debugger "$python" tests/debugger/debugger_test.py
suite vscode "$python" tests/debugger/vscode_test.py
suite engine-table "$python" tests/engine_table_test.py
suite kills "$python" tests/kill_test.py
suite slice "$python" tests/slice_test.py
suite bench "$python" tests/bench_test.py
wait
suite printed-commands "$python" tests/book/commands_test.py  # after the chapters, whose traces it reads
suite book-in-chromium "$python" tests/book/site_test.py
wait
suite page-in-chromium "$python" tests/viz/page_test.py  # alone: it measures how soon the page answers
wait

for name in "${started[@]}"; do report "$name"; done
echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]  # a name that is no suite runs nothing
