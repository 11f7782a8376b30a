#include "reference/text/lm_head.h"

namespace pictor {

Tensor lm_head(const Matrix& weight, const Tensor& hidden, const Recorder& record)
{
    // Of every token, though generation reads only the last row: a trace shows what each one expected next.
    Tensor logits = linear(hidden, weight);
    record("lm_head", "token vocabulary", logits.view());
    return logits;
}

}  // namespace pictor
