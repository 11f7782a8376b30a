#include "reference/text/lm_head.h"

#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

namespace pictor {

Tensor lm_head(const Matrix& weight, const Tensor& hidden, const Recorder& record)
{
    Tensor logits = linear(hidden, weight);
    record("lm_head", "token vocabulary", logits.view());
    for (std::int64_t i = 0; i < logits.size(); ++i)
        if (!std::isfinite(logits.data()[i]))
            throw std::runtime_error(fmt::format("lm_head: the logit of token {}, word {} is {}; a trace of this run (--trace DIR) shows where it began",
                                                 i / weight.n_out, i % weight.n_out, logits.data()[i]));
    return logits;
}

}  // namespace pictor
