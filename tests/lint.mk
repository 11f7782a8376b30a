# `make lint`: layout, Python and the house rules of tests/house_test.py; `make tidy`: bugs that compile. The
# Makefile includes this file. What was found in order is not looked at again until it changes; after changing
# .clang-tidy or only a header, `make clean-lint tidy` looks at everything.
TIDY     ?= base reference
LINT     := build/lint
CLANG    ?= clang++-14
CXX_TIDY  = $(call sources,$(if $(filter all,$(TIDY)),base reference trace viz tests bench,$(TIDY)))
CXX_FILES = $(shell find base reference trace viz tests bench debugger -name '*.cpp' -o -name '*.h')

lint: $(LINT)/layout $(LINT)/ruff/bin/ruff  ## layout, Python and house rules: clang-format, ruff, tests/house_test.py
	@$(LINT)/ruff/bin/ruff check --quiet .
	@$(PYTHON) tests/house_test.py

tidy: $(CXX_TIDY:%=$(LINT)/%.tidy)  ## bugs that compile: clang-tidy over base/ and reference/ (TIDY=all: everything)

# Formatting is by clang-format 14, Debian 12's: others break lines elsewhere.
$(LINT)/packages: install_packages.sh tests/lint.mk
	@bash install_packages.sh clang-format-14 clang-tidy-14 && mkdir -p $(@D) && touch $@
$(LINT)/layout: $(CXX_FILES) .clang-format | $(LINT)/packages
	@clang-format-14 --dry-run --Werror $(or $(filter %.cpp %.h,$?),$(CXX_FILES)) && touch $@
$(LINT)/%.tidy: % | $(LINT)/packages
	@mkdir -p $(@D) && echo "tidy $<"
	@clang-tidy-14 --quiet $< -- -std=c++20 -fopenmp -I. 2>/dev/null && touch $@
$(LINT)/ruff/bin/ruff: tests/lint-requirements.txt | packages
	@$(PYTHON) -m venv $(LINT)/ruff && $(LINT)/ruff/bin/pip install --quiet -r $< && touch $@
# What the fast build is tested with, by another compiler, and without -march=native.
clang: packages  ## all by clang++ 14 into build/clang, and its fast tests
	@bash install_packages.sh clang-14 libomp-14-dev
	@$(MAKE) CXX="$(CLANG)" OUT=build/clang OPTIM="$(OPTIM_build)" all build/clang/tests
	@PICTOR_BUILD=build/clang build/clang/tests
portable: packages  ## all for any machine of this kind into build/portable, and its fast tests
	@$(MAKE) PORTABLE=1 all build/portable/tests
	@PICTOR_BUILD=build/portable build/portable/tests
processors: packages  ## the portable build without AVX-512, and without AVX: QEMU stands in for such machines
	@bash install_packages.sh qemu-user
	@$(MAKE) PORTABLE=1 build/portable/reference build/portable/trace
	@bash tests/processors.sh
# Data races, with clang's ThreadSanitizer and OpenMP's Archer.
threads: packages  ## data races: run and forward under ThreadSanitizer and Archer, with four threads
	@bash install_packages.sh clang-14 libomp-14-dev libclang-rt-14-dev
	@$(MAKE) CXX="$(CLANG)" OUT=build/threads OPTIM="-O1 -g1 -DNDEBUG -fsanitize=thread" build/threads/reference
	@CLANG="$(CLANG)" bash tests/threads.sh
clean-lint:
	rm -rf $(LINT)

.PHONY: lint tidy clang portable processors threads clean-lint
