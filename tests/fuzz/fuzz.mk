# `make fuzz MINUTES=n`: libFuzzer at every reader and writer, n minutes in all; tests/fuzz/README.md.
MINUTES ?= 20
TARGETS ?=
FUZZED   = -O1 -g1 -DNDEBUG -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all

fuzz: packages  ## MINUTES=20 TARGETS="npy trace": bytes at random at every reader, with sanitizers; goes on where it stopped
	@bash install_packages.sh clang-14 libclang-rt-14-dev libomp-14-dev
	@$(MAKE) CXX=clang++-14 OUT=build/fuzz OPTIM="$(FUZZED)" build/fuzz/fuzzer
	@$(PYTHON) tests/fuzz/fuzz.py --minutes $(MINUTES) $(TARGETS)

build/fuzz/fuzzer: LIBS += -fsanitize=fuzzer
build/fuzz/fuzzer: $(call objects,$(call sources,base) $(call shared,reference) $(call shared,trace) $(call shared,viz) $(PAGE) tests/fuzz/targets.cpp tests/fuzz/well_formed.cpp tests/fuzz/libfuzzer.cpp)
	@echo "link $@"
	@$(CXX) $(CXXFLAGS) $^ -o $@ $(LIBS)

.PHONY: fuzz
