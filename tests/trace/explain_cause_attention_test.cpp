// Causes in attention and RoPE: scales, heads, keys and values, turns and angles.
#include <cmath>
#include <numbers>

#include "base/at.h"
#include "reference/generate.h"
#include "tests/reference/golden_inputs.h"
#include "tests/trace/explain_fixture.h"

using namespace pictor_test;

namespace {

const std::string self = "language_model.layers.0.self_attn.", cross = "language_model.layers.1.cross_attn.";
const std::string vision = "vision_model.transformer.layers.0.self_attn.",
                  two = "golden/cases/two_apart/meta";
const std::string cos_name = "language_model.rotary_emb.cos", sin_name = "language_model.rotary_emb.sin";
constexpr std::size_t heads = 4, kv_heads = 2, d = 8;

// Query [token][heads][d] by key [key][kv_heads][d] -> scores [heads][token][key]; from(head) is the head
// that serves it.
Values scores_of(const Values& query, const Values& key, const std::function<std::size_t(std::size_t)>& from,
                 double scale = 1 / std::sqrt(8.0))
{
    Values scores;
    for (std::size_t head = 0; head < heads; ++head)
        for (std::size_t token = 0; token < query.size() / (heads * d); ++token)
            for (std::size_t at = 0; at < key.size() / (kv_heads * d); ++at) {
                double sum = 0;
                for (std::size_t i = 0; i < d; ++i)
                    sum += static_cast<double>(query[(token * heads + head) * d + i]) *
                           key[(at * kv_heads + from(head)) * d + i];
                scores.push_back(static_cast<float>(sum * scale));
            }
    return scores;
}

// Probabilities [heads][token][key] by values [key][kv_heads][d] -> context [token][heads][d].
Values context_of(const Values& probs, const Values& values,
                  const std::function<std::size_t(std::size_t)>& from)
{
    const std::size_t keys = values.size() / (kv_heads * d), tokens = probs.size() / (heads * keys);
    Values context;
    for (std::size_t token = 0; token < tokens; ++token)
        for (std::size_t head = 0; head < heads; ++head)
            for (std::size_t i = 0; i < d; ++i) {
                double sum = 0;
                for (std::size_t key = 0; key < keys; ++key)
                    sum += static_cast<double>(probs[(head * tokens + token) * keys + key]) *
                           values[(key * kv_heads + from(head)) * d + i];
                context.push_back(static_cast<float>(sum));
            }
    return context;
}

std::size_t by_group(std::size_t head) { return head / 2; }
std::size_t by_remainder(std::size_t head) { return head % 2; }

// Rows of n heads turned by the golden angles. `first` and `second` say where a pair's channels are read,
// `to_first` and `to_second` where they are written.
struct Pairs {
    std::function<std::size_t(std::size_t)> first, second, to_first, to_second;
};
const auto low = [](std::size_t pair) { return pair; };
const auto high = [](std::size_t pair) { return pair + 4; };
const auto even = [](std::size_t pair) { return 2 * pair; };
const auto odd = [](std::size_t pair) { return 2 * pair + 1; };

Values turned(const Values& x, std::size_t n_heads, const Pairs& pairs = {low, high, low, high},
              double first_sign = -1, double second_sign = 1)
{
    const Values cos = golden_values(cos_name), sin = golden_values(sin_name);
    Values result = x;
    for (std::size_t row = 0; row < x.size() / d; ++row)
        for (std::size_t pair = 0; pair < 4; ++pair) {
            const double one = x[row * d + pairs.first(pair)], other = x[row * d + pairs.second(pair)],
                         c = cos[row / n_heads * d + pair], s = sin[row / n_heads * d + pair];
            result[row * d + pairs.to_first(pair)] = static_cast<float>(one * c + first_sign * other * s);
            result[row * d + pairs.to_second(pair)] = static_cast<float>(other * c + second_sign * one * s);
        }
    return result;
}

void check_turned(const Pairs& pairs, double first_sign = -1, double second_sign = 1)
{
    check_cause({{self + "q_proj", cos_name, sin_name}}, self + "rotated_q",
                turned(golden_values(self + "q_proj"), heads, pairs, first_sign, second_sign));
    check_cause({{self + "k_proj", cos_name, sin_name}}, self + "rotated_k",
                turned(golden_values(self + "k_proj"), kv_heads, pairs, first_sign, second_sign));
}

// sin of the angles of 11 positions (or of one, in decode) by other frequencies.
Values angles(const std::function<double(double frequency)>& change, double theta = 500000, int shift = 0,
              std::size_t tokens = 11)
{
    Values values;
    for (std::size_t token = 0; token < tokens; ++token)
        for (std::size_t channel = 0; channel < d; ++channel) {
            const double frequency = change(1 / std::pow(theta, static_cast<double>(channel % 4) / 4));
            values.push_back(std::sin(static_cast<float>(static_cast<int>(token) + shift) *
                                      static_cast<float>(frequency)));
        }
    return values;
}

double unscaled(double frequency) { return frequency; }

double scaled(double frequency)
{
    const double wavelength = 2 * std::numbers::pi / frequency, share = (8192 / wavelength - 1) / 3;
    return wavelength > 8192   ? frequency / 8
           : wavelength < 2048 ? frequency
                               : (1 - share) * frequency / 8 + share * frequency;
}

// A generated answer of 12 words about the picture of case 2x2, in whose decode steps the picture's keys and
// values are those of another chat, with case 3x1's picture in it.
void answer(const pictor::Model& model, bool stale, const std::filesystem::path& folder)
{
    const pictor::GenerateInputs inputs = golden_inputs(golden_case("2x2"), model.config);
    pictor::GenerateInputs before = inputs;
    before.images = golden_inputs(golden_case("3x1"), model.config).images;
    pictor::TraceOptions options;
    options.folder = folder;
    options.values = pictor::TraceValues::all;
    options.only = {"input_ids", "cross_attention_mask", cross + "*_norm", cross + "scores"};
    pictor::TraceWriter writer(options);
    const auto n_tokens = static_cast<std::int64_t>(inputs.token_ids.size());
    pictor::Sequence earlier, sequence;
    prefill(model, inputs.token_ids, before.images, before.mask, earlier, {});
    writer.begin_step("prefill", 0, n_tokens);
    prefill(model, inputs.token_ids, inputs.images, inputs.mask, sequence, writer.recorder());
    for (std::size_t layer : {1, 3})
        if (stale)
            sequence.cache.layers[layer] = earlier.cache.layers[layer];
    for (std::int64_t word = 0; word < 12; ++word) {
        writer.begin_step("decode", n_tokens + word, 1);
        decode(model, {20 + word}, sequence, writer.recorder());
    }
    writer.finish();
}

}  // namespace

TEST_CASE("CAUSE attention_scale: another factor than 1 / sqrt(d_head)", "[explain]")
{
    for (const double factor :
         {std::sqrt(8.0), 1 / std::sqrt(8.0), 8.0, 1 / std::sqrt(2.0), std::sqrt(2.0), 0.5})  // of 4 heads
        check_cause({{self + "rotated_q", self + "rotated_k"}}, self + "scores",
                    mapped(golden_values(self + "scores"), [&](double x) { return x * factor; }));
    check_cause({{vision + "q_proj", vision + "k_proj"}}, vision + "scores",
                mapped(golden_values(vision + "scores"), [&](double x) { return x * std::sqrt(6.0); }));
}

TEST_CASE("CAUSE gqa_head_mapping: query heads take key heads in turns", "[explain]")
{
    check_cause(
        {{self + "rotated_q", self + "rotated_k"}}, self + "scores",
        scores_of(golden_values(self + "rotated_q"), golden_values(self + "rotated_k"), by_remainder));
    check_cause({{cross + "q_norm", cross + "k_norm"}}, cross + "scores",
                scores_of(golden_values(cross + "q_norm"), golden_values(cross + "k_norm"), by_remainder));
    check_cause({{self + "probs", self + "v_proj"}}, self + "context",
                context_of(golden_values(self + "probs"), golden_values(self + "v_proj"), by_remainder));
}

TEST_CASE("CAUSE keys_as_values: the context is made of keys", "[explain]")
{
    check_cause({{self + "probs", self + "v_proj", self + "rotated_k"}}, self + "context",
                context_of(golden_values(self + "probs"), golden_values(self + "rotated_k"), by_group));
}

TEST_CASE("CAUSE query_and_key_norms: cross-attention without them", "[explain]")
{
    check_cause({{cross + "q_proj"}}, cross + "q_norm", golden_values(cross + "q_proj"));
    check_cause({{cross + "k_proj"}}, cross + "k_norm", golden_values(cross + "k_proj"));
    for (const char* query : {"q_norm", "q_proj"})
        for (const char* key : {"k_norm", "k_proj"})
            if (query + std::string(key) != "q_normk_norm")
                check_cause({{cross + "q_proj", cross + "q_norm", cross + "k_proj", cross + "k_norm"}},
                            cross + "scores",
                            scores_of(golden_values(cross + query), golden_values(cross + key), by_group));
}

TEST_CASE("CAUSE no_rope_on_cross_attention: queries turned by their place in the sequence", "[explain]")
{
    const Values query = turned(golden_values(cross + "q_norm"), heads);
    check_cause({{cross + "q_proj", cos_name, sin_name}}, cross + "q_norm", query);
    check_cause({{cross + "q_norm", cross + "k_norm", cos_name, sin_name}}, cross + "scores",
                scores_of(query, golden_values(cross + "k_norm"), by_group));
}

TEST_CASE("CAUSE cross_keys_stale: keys and values of an earlier picture", "[explain]")
{
    // The first of two pictures serves for both.
    const auto first = [](const char* leaf) {
        return reordered(golden_values(cross + leaf, two), 40 * 16, [](auto i) { return i % (20 * 16); });
    };
    check_cause({.inputs = {"cross_attention_mask", cross + "q_norm", cross + "k_norm"}, .golden = two},
                cross + "scores", scores_of(golden_values(cross + "q_norm", two), first("k_norm"), by_group));
    check_cause({.inputs = {"cross_attention_mask", cross + "probs", cross + "v_proj"}, .golden = two},
                cross + "context",
                context_of(golden_values(cross + "probs", two), first("v_proj"), by_group));
    // A chat's cache that another chat reads: the prefill is right, all that follows looks at the picture
    // before.
    const TemporaryFolder folder;
    const pictor::Model model = pictor::load_model(base_checkpoint, pictor::Rule::meta);
    answer(model, true, folder / "stale");
    answer(model, false, folder / "right");
    const Compared found = compare_folders(folder / "stale", folder / "right");
    REQUIRE(!found.explanation.faults.empty());
    const pictor::Fault& fault = found.explanation.faults.front();
    CHECK(found.tensor(fault) == cross + "scores");
    CHECK(at(found.comparison.tensors, fault.index).step == 1);
    REQUIRE(fault.cause == 0);
    CHECK(std::string(found.explanation.causes[0].name.text()) == cause_under_test());
    CHECK(found.explanation.causes[0].after < 1e-4);
    CHECK(found.explanation.causes[0].before > 0.1);
}

TEST_CASE("CAUSE heads_reversed: the last head first", "[explain]")
{
    check_cause(
        {{self.substr(0, self.size() - 10) + "input_layernorm"}}, self + "q_proj",
        reordered(golden_values(self + "q_proj"), 32, [](auto i) { return (3 - i / 8) * 8 + i % 8; }));
}

TEST_CASE("CAUSE heads_and_channels_swapped: cut into channels first, then heads", "[explain]")
{
    const std::string input = "language_model.layers.0.input_layernorm";
    check_found(compare_parts(
                    {{input}}, self + "q_proj",
                    reordered(golden_values(self + "q_proj"), 32, [](auto i) { return i % 8 * 4 + i / 8; })),
                self + "q_proj");
    check_cause({.inputs = {input}, .model = base_checkpoint}, self + "q_proj",
                by_weights(self + "q_proj", golden_values(input), 32,
                           [](std::size_t out) { return out % 8 * 4 + out / 8; }));
}

TEST_CASE("CAUSE query_key_permutation: rows of Meta's own files taken as they stand", "[explain]")
{
    const std::string input = "language_model.layers.0.input_layernorm";
    check_cause({{input}}, self + "q_proj",
                reordered(golden_values(self + "q_proj"), 8, [](auto i) { return i % 2 * 4 + i / 2; }));
    check_cause({{input}}, self + "k_proj",
                reordered(golden_values(self + "k_proj"), 8, [](auto i) { return i % 4 * 2 + i / 4; }));
    check_cause({.inputs = {input}, .model = base_checkpoint}, self + "q_proj",
                by_weights(self + "q_proj", golden_values(input), 32,
                           [](std::size_t out) { return out / 8 * 8 + out % 2 * 4 + out % 8 / 2; }));
    check_cause({.inputs = {input}, .model = base_checkpoint}, self + "q_proj",
                by_weights(self + "q_proj", golden_values(input), 32,
                           [](std::size_t out) { return out / 8 * 8 + out % 4 * 2 + out % 8 / 4; }));
}

TEST_CASE("CAUSE softmax_plus_one: 1 more in the sum", "[explain]")
{
    const Values right = golden_values(self + "probs");
    Values wrong = right;
    for (std::size_t i = 0; i < wrong.size(); ++i) {  // p = exp(x - largest) / sum; the largest p is 1 / sum
        const auto row = right.begin() + static_cast<std::ptrdiff_t>(i / 11 * 11);
        const double sum = 1 / static_cast<double>(*std::max_element(row, row + 11));
        wrong[i] = static_cast<float>(wrong[i] * sum / (sum + 1));
    }
    check_cause({{self + "masked_scores"}}, self + "probs", wrong);
}

TEST_CASE("CAUSE rope_pairs_halves: neighbours turn together", "[explain]")
{
    check_turned({even, odd, even, odd});
    check_turned({even, odd, low, high});
    check_turned({low, high, even, odd});
}

TEST_CASE("CAUSE rope_direction: a sign in the turn", "[explain]")
{
    check_turned({low, high, low, high}, 1, -1);
    check_turned({even, odd, even, odd}, 1, -1);
    check_turned({low, high, low, high}, 1, 1);
    check_turned({low, high, low, high}, -1, -1);
}

TEST_CASE("CAUSE rope_missing: queries or keys that are not turned", "[explain]")
{
    check_cause({{self + "k_proj", cos_name, sin_name}}, self + "rotated_k", golden_values(self + "k_proj"));
    check_cause({{self + "q_proj", self + "rotated_q", self + "k_proj", self + "rotated_k"}}, self + "scores",
                scores_of(golden_values(self + "q_proj"), golden_values(self + "rotated_k"), by_group));
    check_cause({{self + "q_proj", self + "rotated_q", self + "k_proj", self + "rotated_k"}}, self + "scores",
                scores_of(golden_values(self + "rotated_q"), golden_values(self + "k_proj"), by_group));
}

TEST_CASE("CAUSE llama3_rope_scaling: frequencies not scaled, not blended, or multiplied", "[explain]")
{
    check_cause({{}}, sin_name, angles(unscaled));
    check_cause({{}}, sin_name, angles([](double frequency) {
                    return 2 * std::numbers::pi / frequency > 8192 ? frequency / 8 : frequency;
                }));
    check_cause({{}}, sin_name, angles([](double frequency) {
                    const double wavelength = 2 * std::numbers::pi / frequency,
                                 share = (8192 / wavelength - 1) / 3;
                    return wavelength > 8192   ? frequency * 8
                           : wavelength < 2048 ? frequency
                                               : (1 - share) * frequency * 8 + share * frequency;
                }));
    // A trace that keeps a sample of the angles tells it too.
    check_cause({.inputs = {}, .values = pictor::TraceValues::sample}, sin_name, angles(unscaled));
}

TEST_CASE("CAUSE rope_theta: the base of older models", "[explain]")
{
    check_cause({{}}, sin_name, angles(scaled, 10000));
    check_cause({{}}, sin_name, angles(unscaled, 10000));
}

TEST_CASE("CAUSE rope_position: one too high, too low, or counted from 0 in each step", "[explain]")
{
    check_cause({{}}, sin_name, angles(scaled, 500000, 1));
    check_cause({{}}, sin_name, angles(scaled, 500000, -1));
    check_cause({.inputs = {}, .step = 1}, sin_name, angles(scaled, 500000, 0, 1));
}
