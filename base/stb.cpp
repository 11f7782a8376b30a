#include <cstdlib>

namespace {

thread_local std::size_t most_decoder_bytes = std::size_t{1} << 20;

void* decoder_malloc(std::size_t size) { return size > most_decoder_bytes ? nullptr : std::malloc(size); }
void* decoder_realloc(void* old, std::size_t size)
{
    return size > most_decoder_bytes ? nullptr : std::realloc(old, size);
}

}  // namespace

#define STBI_MALLOC(size) decoder_malloc(size)
#define STBI_REALLOC(old, size) decoder_realloc(old, size)
#define STBI_FREE(old) std::free(old)
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_WRITE_IMPLEMENTATION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wsign-compare"
#include "base/stb.h"
#pragma GCC diagnostic pop

namespace pictor {

void limit_decoder_memory(std::size_t bytes) { most_decoder_bytes = bytes; }

}  // namespace pictor
