#include "reference/text/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace pictor {

std::int64_t sample(const float* logits, std::int64_t n_vocabulary, const SamplingOptions& options,
                    RandomNumbers& random)
{
    if (options.temperature <= 0)
        return std::max_element(logits, logits + n_vocabulary) - logits;

    std::vector<std::int64_t> order(static_cast<std::size_t>(n_vocabulary));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int64_t a, std::int64_t b) { return logits[a] > logits[b]; });
    if (options.top_k > 0 && options.top_k < n_vocabulary)
        order.resize(static_cast<std::size_t>(options.top_k));

    std::vector<double> probabilities;
    double sum = 0;
    for (std::int64_t id : order) {
        probabilities.push_back(
            std::exp((static_cast<double>(logits[id]) - logits[order[0]]) / options.temperature));
        sum += probabilities.back();
    }

    // The smallest set of likeliest words whose probabilities reach top_p; the first word always stays.
    double kept = 0;
    std::size_t n_kept = 0;
    while (n_kept < order.size() && (n_kept == 0 || kept < options.top_p * sum))
        kept += probabilities[n_kept++];

    // 53 random bits make a number in [0, 1) that is the same on every platform, which std::uniform_... does
    // not promise.
    double left = static_cast<double>(random() >> 11) * 0x1p-53 * kept;
    for (std::size_t i = 0; i < n_kept; ++i) {
        left -= probabilities[i];
        if (left < 0)
            return order[i];
    }
    return order[n_kept - 1];
}

}  // namespace pictor
