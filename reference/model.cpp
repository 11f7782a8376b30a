#include "reference/model.h"

#include "reference/text/decoder.h"
#include "reference/vision/projector.h"

namespace pictor {

namespace {

void record_mask(const CrossAttentionMask& mask, const Recorder& record)
{
    std::vector<std::int64_t> sees_something;
    for (std::int64_t token = 0; token < mask.n_tokens; ++token)
        sees_something.push_back(mask.sees_nothing(token) ? 0 : 1);
    record.integers("cross_attention_mask", "token image tile", mask.visible,
                    {mask.n_tokens, mask.n_images, mask.n_tiles});
    record.integers("full_text_row_masked_out_mask", "token", sees_something, {mask.n_tokens});
}

void record_inputs(const std::vector<std::int64_t>& token_ids, const VisionInputs& images,
                   const CrossAttentionMask& mask, const Recorder& record)
{
    record.integers("input_ids", "token", token_ids, {static_cast<std::int64_t>(token_ids.size())});
    if (images.n_images() > 0) {
        record("pixel_values", "image tile colour row column", images.pixel_values.view());
        record.integers("aspect_ratio_ids", "image", images.aspect_ratio_ids, {images.n_images()});
    }
    if (mask.n_images > 0)
        record_mask(mask, record);
}

}  // namespace

Model load_model(const std::filesystem::path& folder, Rule rule)
{
    Model model;
    model.config = read_config(folder);
    model.weights = load_weights(folder, model.config);
    model.rule = rule;
    return model;
}

Tensor prefill(const Model& model, const std::vector<std::int64_t>& token_ids, const VisionInputs& images,
               const CrossAttentionMask& mask, Sequence& sequence, const Recorder& record)
{
    record_inputs(token_ids, images, mask, record);
    Tensor projected;
    if (images.n_images() > 0) {
        const Tensor states = vision_encoder(model.weights.vision, model.config.vision, images, model.rule,
                                             record.scope("vision_model"));
        record("vision_model", "image tile patch channel", states.view());
        projected = multi_modal_projector(model.weights.projector, states);
        record("multi_modal_projector", "image tile patch channel", projected.view());
    }
    sequence = {};
    sequence.last_mask = mask;
    return text_decoder(model.weights.text, model.config.text, token_ids, projected, mask, sequence.cache,
                        model.rule, record);
}

Tensor decode(const Model& model, const std::vector<std::int64_t>& token_ids, Sequence& sequence,
              const Recorder& record)
{
    // TRAP(mask_by_absolute_position): the mask's rows are those of these tokens, not rows 0, 1, ... of the
    // whole one.
    if (sequence.last_mask.n_images > 0)
        sequence.last_mask =
            continue_mask(sequence.last_mask, static_cast<std::int64_t>(token_ids.size()), model.rule);
    record_inputs(token_ids, {}, sequence.last_mask, record);
    return text_decoder(model.weights.text, model.config.text, token_ids, {}, sequence.last_mask,
                        sequence.cache, model.rule, record);
}

}  // namespace pictor
