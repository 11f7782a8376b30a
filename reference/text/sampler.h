// Logits to the next word.
#pragma once

#include <cstdint>
#include <random>

namespace pictor {

struct SamplingOptions {
    float temperature = 0;   // 0: greedy, the word with the highest logit
    float top_p = 1;         // keep the likeliest words that together reach this probability
    std::int64_t top_k = 0;  // keep the k likeliest words; 0: all
    std::uint64_t seed = 0;
};

using RandomNumbers = std::mt19937_64;

// logits [n_vocabulary] -> id. Equal logits: the lower id. top-k comes before top-p, as in transformers.
std::int64_t sample(const float* logits, std::int64_t n_vocabulary, const SamplingOptions& options,
                    RandomNumbers& random);

}  // namespace pictor
