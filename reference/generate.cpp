#include "reference/generate.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

namespace pictor {

namespace {

Recorder begin_step(TraceWriter* writer, std::string_view kind, std::int64_t first_token,
                    std::int64_t token_count)
{
    if (writer == nullptr)
        return {};
    writer->begin_step(kind, first_token, token_count);
    return writer->recorder();
}

void require_finite(const Tensor& logits, TraceWriter* writer)
{
    if (std::all_of(logits.values.begin(), logits.values.end(),
                    [](float logit) { return std::isfinite(logit); }))
        return;
    if (writer != nullptr)
        writer->finish();
    throw std::runtime_error(fmt::format(
        "lm_head: a logit is NaN or infinite; {}",
        writer != nullptr ? "the trace is complete up to here and shows in which tensor that began"
                          : "run it again with --trace DIR to see in which tensor that began"));
}

}  // namespace

std::vector<std::int64_t> generate(const Model& model, const GenerateInputs& inputs,
                                   const GenerateOptions& options, TraceWriter* writer,
                                   const std::function<void(std::int64_t)>& on_token)
{
    if (inputs.token_ids.empty())
        throw std::runtime_error("prompt: it has no tokens; at least one is needed");
    const std::vector<std::int64_t>& end_tokens = model.config.end_tokens;
    RandomNumbers random(options.sampling.seed);
    Sequence sequence;
    std::vector<std::int64_t> generated;

    const std::int64_t n_prompt = static_cast<std::int64_t>(inputs.token_ids.size());
    Tensor logits = prefill(model, inputs.token_ids, inputs.images, inputs.mask, sequence,
                            begin_step(writer, "prefill", 0, n_prompt));
    require_finite(logits, writer);

    while (static_cast<std::int64_t>(generated.size()) < options.max_new_tokens) {
        const std::int64_t next =
            sample(logits.row(logits.extent(0) - 1), logits.extent(1), options.sampling, random);
        generated.push_back(next);
        on_token(next);
        const bool ended = options.stop_at_end_token &&
                           std::find(end_tokens.begin(), end_tokens.end(), next) != end_tokens.end();
        const bool full = sequence.cache.n_tokens >= model.config.text.max_positions;
        if (ended || full || static_cast<std::int64_t>(generated.size()) == options.max_new_tokens)
            break;
        logits = decode(model, {next}, sequence, begin_step(writer, "decode", sequence.cache.n_tokens, 1));
        require_finite(logits, writer);
    }
    return generated;
}

}  // namespace pictor
