# Pictor. `make help` lists what there is.
CXX      ?= g++
MODE     ?= fast
PORTABLE ?= 0
SHELL    := /bin/bash

# Programs of the fast build stand in build/, those of the debug build in build/debug/.
ifeq ($(MODE),debug)
OUT   := build/debug
OPTIM := -Og -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
else ifeq ($(PORTABLE),1)
OUT   := build/portable
OPTIM := -O3 -g1 -DNDEBUG -DPICTOR_PORTABLE
else
OUT   := build
# Compilers prefer 256-bit vectors even where 512-bit ones are three times as fast in linear.cpp.
OPTIM := -O3 -g1 -DNDEBUG -march=native $(if $(filter x86_64,$(shell uname -m)),-mprefer-vector-width=512)
endif

CXXFLAGS := -std=c++20 -Wall -Wextra -Wpedantic -Werror=return-type -fopenmp -I. -MMD -MP $(OPTIM) $(EXTRA_CXXFLAGS)
LIBS     := -lfmt -lpcre2-8

sources     = $(sort $(foreach d,$(1),$(wildcard $(d)/*.cpp $(d)/*/*.cpp)))
objects     = $(patsubst %.cpp,$(OUT)/objects/%.o,$(1))
PROGRAMS   := reference trace viz
MAINS      := $(PROGRAMS:%=%/main.cpp)
LIBRARY    := $(filter-out $(MAINS),$(call sources,$(PROGRAMS)))
TESTS      := $(call sources,tests)

all: packages $(PROGRAMS:%=$(OUT)/%)  ## build the three programs into build/

$(OUT)/objects/%.o: %.cpp
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS) -c $< -o $@

$(OUT)/reference: $(call objects,reference/main.cpp $(filter reference/%,$(LIBRARY)) $(filter trace/%,$(LIBRARY)))
$(OUT)/trace:     $(call objects,trace/main.cpp $(filter trace/%,$(LIBRARY)))
$(OUT)/viz:       $(call objects,viz/main.cpp $(filter viz/%,$(LIBRARY)) $(filter trace/%,$(LIBRARY)))
$(OUT)/tests:     $(call objects,$(TESTS) $(LIBRARY))
$(PROGRAMS:%=$(OUT)/%) $(OUT)/tests:
	$(CXX) $(CXXFLAGS) $^ -o $@ $(LIBS)

packages:
	@true
-include $(shell find build -name '*.d' 2>/dev/null)
.PHONY: all packages
