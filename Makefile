# Pictor. `make help` lists what there is; `make demo` and `make test` need nothing but a Debian 12 machine.
CXX      ?= g++
PYTHON   ?= $(firstword $(wildcard /usr/bin/python3) python3)
MODE     ?= fast
PORTABLE ?= 0
SHELL    := /bin/bash
MAKEFLAGS += --no-print-directory $(if $(filter 0,$(MAKELEVEL)),-j$(shell nproc 2>/dev/null || sysctl -n hw.ncpu))

# The fast build is in build/, others in build/debug/ (sanitizers), build/step/ (for debuggers: one thread) and build/portable/.
# Compilers prefer 256-bit vectors even where 512-bit ones make linear.cpp's loops three times as fast.
OUT            := build$(if $(filter-out fast,$(MODE)),/$(MODE),$(if $(filter 1,$(PORTABLE)),/portable))
OPTIM_build    := -O3 -g1 -DNDEBUG -march=native $(if $(filter x86_64,$(shell uname -m)),-mprefer-vector-width=512)
OPTIM_portable := -O3 -g1 -DNDEBUG -DPICTOR_PORTABLE
OPTIM_debug    := -Og -g1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPTIM_step     := -O0 -g3 -fno-omit-frame-pointer -fno-openmp -Wno-unknown-pragmas
OPTIM          := $(OPTIM_$(notdir $(OUT)))
# g++ 12 warns of overlapping copies inside its own std::string, which is not so (its bug 105651).
CXXFLAGS := -std=c++20 -Wall -Wextra -Wpedantic $(if $(findstring clang,$(CXX)),,-Wno-restrict) -fopenmp -I. $(OPTIM) $(EXTRA_CXXFLAGS)
LIBS     := -lfmt -lpcre2-8 $(if $(filter step,$(MODE)),$(if $(findstring clang,$(CXX)),-lomp,-lgomp))

# A room is a folder; what all programs of a room share is every source in it but its main.cpp.
sources = $(sort $(shell find $(1) -name '*.cpp'))
shared  = $(filter-out $(1)/main.cpp,$(call sources,$(1)))
objects = $(patsubst %.cpp,$(OUT)/objects/%.o,$(1))
PAGE    = build/report_page.cpp

.DEFAULT_GOAL := all
all: packages $(OUT)/reference $(OUT)/trace $(OUT)/viz  ## the three programs, into build/ (MODE=debug, PORTABLE=1)

$(OUT)/reference: $(call objects,$(filter-out %/show.cpp,$(call sources,reference base trace/recording trace/reading)))
$(OUT)/trace:     $(call objects,$(call sources,trace) $(call sources,base))
$(OUT)/viz:       $(call objects,$(call sources,viz) $(PAGE) $(call sources,base) $(call shared,trace))
$(OUT)/tests:     $(call objects,$(call sources,base) $(call shared,reference) $(call shared,trace) $(call shared,viz) $(PAGE) $(call sources,tests))
$(OUT)/bench:     $(call objects,$(call sources,bench) $(call sources,base) $(call shared,reference) $(call shared,trace))
$(OUT)/reference $(OUT)/trace $(OUT)/viz $(OUT)/tests $(OUT)/bench:
	@echo "link $@"
	@$(CXX) $(CXXFLAGS) $^ -o $@ $(LIBS)

# Half of what is compiled is tests, which compute little: without optimisation they compile in half the time, and
# without sanitizers in half of that. What they test has both, and is linked first: its inline functions are kept.
$(OUT)/objects/tests/%.o: CXXFLAGS += -g1 -O0 -fno-sanitize=all
$(OUT)/objects/%.o: %.cpp | packages
	@mkdir -p $(@D)
	@echo "compile $< ($(OUT))"
	@$(CXX) $(CXXFLAGS) -MMD -MP -c $< -o $@

$(PAGE): $(wildcard viz/report/page/*)
	@mkdir -p $(@D) && bash viz/report/page/embed.sh > $@

packages: build/packages-present
build/packages-present: install_packages.sh
	@bash install_packages.sh && mkdir -p build && touch $@

build/test-packages-present: install_packages.sh Makefile
	@bash install_packages.sh chromium chromium-driver gdb lldb patch python3-html5lib libxml2-utils w3c-sgml-lib
	@touch $@

demo: all  ## ask the shipped model about a picture, and draw where it looked
	@bash models/demo.sh

debug: packages  ## build/step/reference, to be walked through: debugger/README.md
	@env -u CCACHE_NOHASHDIR -u CCACHE_BASEDIR $(MAKE) MODE=step build/step/reference
check: all build/test-packages-present  ## the tests of the fast build alone
	@$(MAKE) $(OUT)/tests
	@PYTHON=$(PYTHON) bash tests/run.sh fast python weaver chapters list-of-mutants

test: all debug build/test-packages-present build/book-python/ready  ## everything, in the fast build and in the debug build with sanitizers
	@$(MAKE) $(OUT)/tests
	@$(MAKE) MODE=debug build/debug/tests build/debug/reference build/debug/trace build/debug/viz
	@PYTHON=$(PYTHON) bash tests/run.sh

bench: all build/python-oracle/ready  ## against transformers and PyTorch, in the same run; prints ratios
	@$(MAKE) $(OUT)/bench
	@build/python-oracle/bin/python bench/compare.py
bench-11b: all build/python-oracle/ready  ## the real model's shape beside transformers in BF16; 21 GB of disk and of memory, else a slice
	@$(MAKE) $(OUT)/bench
	@build/python-oracle/bin/python bench/compare_11b.py
model: build/python-oracle/ready  ## train the shipped model again from nothing, into build/model: about two hours
	@bash install_packages.sh $$($(PYTHON) models/recipe/photographs.py --packages)
	@build/python-oracle/bin/python models/recipe/train_all.py build/model
evaluate: all  ## held-out scenes under both rules: answers and pointing
	@$(PYTHON) models/recipe/evaluate_reference.py
golden: all build/python-oracle/ready  ## make the goldens again and compare them with the committed ones
	@build/python-oracle/bin/python golden/remake.py
engines: packages  ## other engines through the conformance kit, and golden/conformance/TABLE.md again; 10 GB of Pythons
	@bash install_packages.sh patch && bash golden/conformance/engines/install.sh build/engines
	@$(PYTHON) golden/conformance/engines/make_table.py
mutants: packages  ## break reference/, trace/ and viz/ one line at a time: goldens and tests must notice each
	@$(MAKE) MODE=fast PORTABLE=0 all build/tests
	@CXX="$(CXX)" $(PYTHON) tests/mutants/run.py

# PyTorch, transformers and Meta's code, in the versions of golden/requirements.txt; several gigabytes.
build/python-oracle/ready: golden/requirements.txt | packages
	@$(PYTHON) -m venv build/python-oracle && build/python-oracle/bin/python -m pip install --quiet -r $< && touch $@

clean:  ## forget everything built
	rm -rf build
help:
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "make %-15s %s\n", $$1, $$2}' $(filter Makefile %.mk,$(MAKEFILE_LIST))

include chapters/book.mk
-include tests/fuzz/fuzz.mk
-include tests/lint.mk $(shell find $(OUT)/objects -name '*.d' 2>/dev/null)
.PHONY: all packages demo debug check test bench bench-11b model evaluate golden engines mutants clean help
