// libFuzzer's entry: PICTOR_FUZZ names the target. `make fuzz` runs it, from the top of the checkout.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "tests/fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size)
{
    static const pictor_fuzz::Target& target = []() -> const pictor_fuzz::Target& {
        try {
            const char* name = std::getenv("PICTOR_FUZZ");
            return pictor_fuzz::find_target(name == nullptr ? "" : name);
        } catch (const std::exception& error) {
            std::fprintf(stderr, "fuzz: PICTOR_FUZZ: %s\n", error.what());
            std::exit(2);
        }
    }();
    pictor_fuzz::run_target(target, {reinterpret_cast<const char*>(bytes), size});
    return 0;
}
