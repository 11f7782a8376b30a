#include "reference/model.h"

#include <cstring>

#include "reference/text/decoder.h"
#include "reference/vision/projector.h"
#include "tests/catch.h"
#include "tests/reference/golden_inputs.h"
#include "tests/reference/text_in_double.h"
#include "tests/reference/vision_in_double.h"
#include "tests/trace/recorded_run.h"

using namespace pictor;
using namespace pictor_test;

namespace {

constexpr Rule rules[] = {Rule::meta, Rule::transformers};

// All sizes of the two small configs, the vision side's output projected to the text side's width.
Model small_model(RandomWeights& random, Rule rule)
{
    Model model;
    model.rule = rule;
    model.config.text = small_text_config();
    model.config.vision = small_vision_config();
    model.config.image_token = model.config.text.n_vocabulary;
    model.config.end_tokens = {2};
    model.weights.vision = random_vision_weights(random, model.config.vision);
    model.weights.projector = {random.matrix(model.config.text.d_model, model.config.vision.d_output()),
                               random.tensor({model.config.text.d_model})};
    model.weights.text = random_text_weights(random, model.config.text);
    return model;
}

bool same_bits(const Tensor& a, const Tensor& b)
{
    return a.shape == b.shape && std::memcmp(a.data(), b.data(), a.values.size() * sizeof(float)) == 0;
}

// A prompt, one further token, three at once; recorded or not. The logits of each step.
std::vector<Tensor> three_steps(const Model& model, const GenerateInputs& inputs, TraceWriter* writer)
{
    const auto step = [&](const char* kind, std::int64_t first, std::int64_t count) {
        if (writer == nullptr)
            return Recorder();
        writer->begin_step(kind, first, count);
        return writer->recorder();
    };
    const std::int64_t n = static_cast<std::int64_t>(inputs.token_ids.size());
    Sequence sequence;
    std::vector<Tensor> logits;
    logits.push_back(
        prefill(model, inputs.token_ids, inputs.images, inputs.mask, sequence, step("prefill", 0, n)));
    logits.push_back(decode(model, {7}, sequence, step("decode", n, 1)));
    logits.push_back(decode(model, {11, 12, 13}, sequence, step("decode", n + 1, 3)));
    return logits;
}

CrossAttentionMask rows_of_mask(const CrossAttentionMask& mask, std::int64_t first, std::int64_t count)
{
    const std::int64_t width = mask.n_images * mask.n_tiles;
    return {count,
            mask.n_images,
            mask.n_tiles,
            {mask.visible.begin() + first * width, mask.visible.begin() + (first + count) * width}};
}

}  // namespace

TEST_CASE("pixels and words to logits agree with double, two pictures and both rules", "[model]")
{
    for (Rule rule : rules) {
        RandomWeights random(1);
        const Model model = small_model(random, rule);
        const VisionInputs images = random_images(random, model.config.vision, {{2, 2}, {4, 3}});
        const std::vector<std::int64_t> ids{3, 21, 5, 6, 21, 9, 10};
        const CrossAttentionMask mask = make_cross_attention_mask(ids, 21, {2, 3}, 3);
        Sequence sequence;
        const Tensor logits = prefill(model, ids, images, mask, sequence, {});
        CHECK(sequence.cache.n_tokens == 7);

        Rows patches;
        for (std::int64_t image = 0; image < 2; ++image)
            for (const Row& row : linear_in_double(
                     vision_encoder_in_double(model.weights.vision, model.config.vision, images, image, rule),
                     model.weights.projector.weight, model.weights.projector.bias))
                patches.push_back(row);
        CHECK(distance(logits, text_decoder_in_double(model.weights.text, model.config.text, ids, patches,
                                                      mask, rule)) < 2 * rounding);
    }
}

TEST_CASE("recording changes no bit, whatever is recorded", "[model]")
{
    const std::vector<std::pair<const char*, Rule>> runs{
        {"2x2", Rule::meta}, {"two_together", Rule::transformers}, {"text_only", Rule::meta}};
    for (const auto& [name, rule] : runs) {
        const GoldenCase golden = golden_case(name);
        const Model model = load_model(golden.checkpoint(), rule);
        const GenerateInputs inputs = golden_inputs(golden, model.config);
        const std::vector<Tensor> silent = three_steps(model, inputs, nullptr);
        const auto check = [&, name = name](TraceValues values, const std::vector<std::string>& only) {
            std::vector<Tensor> recorded;
            const RecordedRun run(
                [&](TraceWriter& writer) { recorded = three_steps(model, inputs, &writer); }, values, only);
            REQUIRE(recorded.size() == silent.size());
            for (std::size_t step = 0; step < silent.size(); ++step) {
                INFO("case " << name << " step " << step << " values " << static_cast<int>(values) << " only "
                             << only.size());
                CHECK(same_bits(recorded[step], silent[step]));
                if (only.empty() && values == TraceValues::all)
                    CHECK(same_bits(run.tensor("lm_head", static_cast<std::int64_t>(step)), silent[step]));
            }
            CHECK(run.trace().entries().size() > 5);
        };
        check(TraceValues::all, {});
        check(TraceValues::sample, {});
        check(TraceValues::none, {});
        check(TraceValues::all, {"*.probs", "language_model.layers.*"});
    }
}

TEST_CASE("the same run gives the same bits twice", "[model]")
{
    const GoldenCase golden = golden_case("2x2");
    const Model model = load_model(golden.checkpoint(), Rule::meta);
    const GenerateInputs inputs = golden_inputs(golden, model.config);
    const std::vector<Tensor> first = three_steps(model, inputs, nullptr),
                              second = three_steps(model, inputs, nullptr);
    for (std::size_t step = 0; step < first.size(); ++step)
        CHECK(same_bits(first[step], second[step]));
}

TEST_CASE("a prompt starts a new sequence", "[model]")
{
    const GoldenCase golden = golden_case("2x2");
    const Model model = load_model(golden.checkpoint(), Rule::meta);
    const GenerateInputs inputs = golden_inputs(golden, model.config);
    Sequence fresh, used;
    const Tensor wanted = prefill(model, inputs.token_ids, inputs.images, inputs.mask, fresh, {});
    prefill(model, {1, 2, 3}, {}, {}, used, {});
    decode(model, {4}, used, {});
    CHECK(same_bits(prefill(model, inputs.token_ids, inputs.images, inputs.mask, used, {}), wanted));
    CHECK(used.cache.n_tokens == static_cast<std::int64_t>(inputs.token_ids.size()));
}

TEST_CASE("load_model names what is not there", "[model]")
{
    CHECK_THROWS_WITH(load_model("golden/checkpoints/none", Rule::meta),
                      ContainsSubstring("golden/checkpoints/none"));
}

TEST_CASE("TRAP mask_by_absolute_position: a prompt in two parts equals one pass", "[trap]")
{
    // Five tokens stand before the picture, so the first rows of the mask see nothing.
    const GoldenCase golden = golden_case("text_before");
    for (Rule rule : rules) {
        const Model model = load_model(golden.checkpoint(), rule);
        const GenerateInputs inputs = golden_inputs(golden, model.config);
        const std::int64_t n_tokens = inputs.mask.n_tokens;
        const auto place =
            std::find(inputs.token_ids.begin(), inputs.token_ids.end(), model.config.image_token);
        const std::int64_t n_first = place - inputs.token_ids.begin() + 1, n_rest = n_tokens - n_first;
        REQUIRE(n_rest >= 2);
        REQUIRE(inputs.mask.sees_nothing(0));
        const std::vector<std::int64_t> first_ids(inputs.token_ids.begin(), place + 1),
            rest_ids(place + 1, inputs.token_ids.end());

        Sequence whole_sequence, sequence;
        const Rows whole =
            rows_of(prefill(model, inputs.token_ids, inputs.images, inputs.mask, whole_sequence, {}));
        const Rows right(whole.begin() + n_first, whole.end());
        prefill(model, first_ids, inputs.images, rows_of_mask(inputs.mask, 0, n_first), sequence, {});

        // The wrong slice: rows 0, 1, ... of the whole mask for tokens n_first, n_first + 1, ...
        KvCache cache = sequence.cache;
        const Tensor wrong = text_decoder(model.weights.text, model.config.text, rest_ids, {},
                                          rows_of_mask(inputs.mask, 0, n_rest), cache, rule, {});
        CHECK(distance(wrong, right) > plainly_visible);

        CHECK(distance(decode(model, rest_ids, sequence, {}), right) < rounding);
        CHECK(sequence.last_mask.n_tokens == n_rest);
        CHECK(sequence.cache.n_tokens == n_tokens);
    }
}

TEST_CASE("TRAP mask_by_absolute_position: in halves, thirds and single tokens", "[trap]")
{
    const GoldenCase golden = golden_case("2x2");
    const Model model = load_model(golden.checkpoint(), Rule::meta);
    const GenerateInputs inputs = golden_inputs(golden, model.config);
    const std::int64_t n_tokens = inputs.mask.n_tokens;
    const std::int64_t n_image =
        std::find(inputs.token_ids.begin(), inputs.token_ids.end(), model.config.image_token) -
        inputs.token_ids.begin() + 1;
    Sequence one_pass;
    const Rows whole = rows_of(prefill(model, inputs.token_ids, inputs.images, inputs.mask, one_pass, {}));
    for (std::int64_t n_part : {std::int64_t{1}, std::int64_t{2}, (n_tokens - n_image + 1) / 2}) {
        INFO("parts of " << n_part);
        Sequence sequence;
        Rows parts = rows_of(prefill(model, {inputs.token_ids.begin(), inputs.token_ids.begin() + n_image},
                                     inputs.images, rows_of_mask(inputs.mask, 0, n_image), sequence, {}));
        for (std::int64_t first = n_image; first < n_tokens; first += n_part) {
            const std::int64_t last = std::min(n_tokens, first + n_part);
            for (const Row& row :
                 rows_of(decode(model, {inputs.token_ids.begin() + first, inputs.token_ids.begin() + last},
                                sequence, {})))
                parts.push_back(row);
        }
        CHECK(distance(parts, whole) < rounding);
    }
}

TEST_CASE("TRAP generated_tokens_with_several_images: in the whole model the next token sees by the rule",
          "[trap]")
{
    const GoldenCase golden = golden_case("two_apart");
    for (Rule rule : rules) {
        const Model model = load_model(golden.checkpoint(), rule);
        const GenerateInputs inputs = golden_inputs(golden, model.config);
        const auto next_logits = [&](const CrossAttentionMask& mask) {
            Sequence sequence;
            prefill(model, inputs.token_ids, inputs.images, inputs.mask, sequence, {});
            return text_decoder(model.weights.text, model.config.text, {7}, {}, mask, sequence.cache, rule,
                                {});
        };
        const CrossAttentionMask repeated = rows_of_mask(inputs.mask, inputs.mask.n_tokens - 1, 1);
        CrossAttentionMask nothing = repeated;
        nothing.visible.assign(nothing.visible.size(), 0);
        const Tensor right = next_logits(rule == Rule::meta ? nothing : repeated),
                     wrong = next_logits(rule == Rule::meta ? repeated : nothing);
        CHECK(distance(wrong, right) > plainly_visible);
        Sequence sequence;
        prefill(model, inputs.token_ids, inputs.images, inputs.mask, sequence, {});
        CHECK(distance(decode(model, {7}, sequence, {}), right) < rounding);
        CHECK(distance(decode(model, {8}, sequence, {}), [&] {  // and the one after that
                  Sequence again;
                  prefill(model, inputs.token_ids, inputs.images, inputs.mask, again, {});
                  const CrossAttentionMask row = rule == Rule::meta ? nothing : repeated;
                  text_decoder(model.weights.text, model.config.text, {7}, {}, row, again.cache, rule, {});
                  return text_decoder(model.weights.text, model.config.text, {8}, {}, row, again.cache, rule,
                                      {});
              }()) < rounding);
    }
}
