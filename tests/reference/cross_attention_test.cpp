#include "reference/text/cross_attention.h"

#include <algorithm>
#include <limits>

#include "tests/catch.h"
#include "tests/reference/text_in_double.h"
#include "tests/trace/recorded_run.h"

using namespace pictor;
using namespace pictor_test;

namespace {

constexpr std::int64_t n_images = 2, n_tiles = 3, n_patches = 5, n_keys = n_images * n_tiles * n_patches;

// Seven tokens: two see nothing, then one picture's tiles, both pictures, parts of them, and nothing again.
const CrossAttentionMask mask{7, n_images, n_tiles, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1,
                                                     0, 0, 0, 0, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1,
                                                     0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}};

struct Setup {
    RandomWeights random;
    TextConfig config = small_text_config();
    CrossAttentionWeights weights;
    Tensor images, hidden;

    explicit Setup(std::uint32_t seed)
        : random(seed), weights(random_cross_attention(random, config)),
          images(random.tensor({n_images, n_tiles, n_patches, config.d_model}, 2.0f)),
          hidden(random.tensor({mask.n_tokens, config.d_model}, 2.0f))
    {
    }
    Tensor attend(Rule rule, const Recorder& record = {}) const
    {
        return cross_attention(weights, config, hidden,
                               image_keys_and_values(weights, config, images, record), mask, rule, record);
    }
    Rows in_double(Rule rule, const TextMistakes& mistakes = {}) const
    {
        return cross_attention_in_double(weights, config, rows_of(hidden), rows_of(images), mask, rule,
                                         mistakes);
    }
    // The mistake shows in double, and ours has not made it, under either rule.
    void check_avoids(const TextMistakes& mistakes) const
    {
        for (Rule rule : {Rule::meta, Rule::transformers}) {
            const Rows right = in_double(rule);
            CHECK(distance(in_double(rule, mistakes), right) > plainly_visible);
            CHECK(distance(attend(rule), right) < rounding);
        }
    }
};

TextMistakes only(bool TextMistakes::*mistake)
{
    TextMistakes mistakes;
    mistakes.*mistake = true;
    return mistakes;
}

Rows blind_rows(const Rows& rows) { return {rows[0], rows[1], rows[6]}; }

}  // namespace

TEST_CASE("cross-attention agrees with double under both rules", "[cross_attention]")
{
    const Setup setup(1);
    for (Rule rule : {Rule::meta, Rule::transformers})
        CHECK(distance(setup.attend(rule), setup.in_double(rule)) < rounding);
}

TEST_CASE("cross-attention works on more tokens than a block holds", "[cross_attention]")
{
    Setup setup(2);
    CrossAttentionMask longer{150, n_images, n_tiles, {}};
    for (std::int64_t i = 0; i < 150 * n_images * n_tiles; ++i)
        longer.visible.push_back(setup.random.number() > 0.2f ? 1 : 0);
    const Tensor hidden = setup.random.tensor({150, setup.config.d_model}, 2.0f);
    const KeysAndValues image = image_keys_and_values(setup.weights, setup.config, setup.images, {});
    CHECK(distance(cross_attention(setup.weights, setup.config, hidden, image, longer, Rule::meta, {}),
                   cross_attention_in_double(setup.weights, setup.config, rows_of(hidden),
                                             rows_of(setup.images), longer, Rule::meta)) < rounding);
}

TEST_CASE("keys run image, tile, patch", "[cross_attention]")
{
    const Setup setup(3);
    const KeysAndValues image = image_keys_and_values(setup.weights, setup.config, setup.images, {});
    REQUIRE(image.keys.n_rows() == n_keys);
    const Rows values = linear_in_double(rows_of(setup.images), setup.weights.v_proj);
    const float* row =
        image.values.row(1, (1 * n_tiles + 2) * n_patches + 4);  // image 1, tile 2, patch 4; kv head 1
    for (std::size_t channel = 0; channel < 6; ++channel)
        CHECK(row[channel] ==
              Approx(values[(1 * n_tiles + 2) * n_patches + 4][6 + channel]).epsilon(1e-5).margin(1e-6));
    CHECK_THROWS_WITH(image_keys_and_values(setup.weights, setup.config, Tensor({1, 3, 5, 19}), {}),
                      ContainsSubstring("image_keys_and_values"));
}

TEST_CASE("a tile that a token may not see does not reach it", "[cross_attention]")
{
    Setup setup(4);
    const Tensor before = setup.attend(Rule::meta);
    for (std::int64_t i = 0; i < n_patches * setup.config.d_model; ++i)
        setup.images.row(0, 1)[i] += 3.0f;  // image 0, tile 1: seen by tokens 2, 3 and 5
    const Tensor after = setup.attend(Rule::meta);
    for (std::int64_t token = 0; token < 7; ++token) {
        INFO("token " << token);
        CHECK(std::equal(before.row(token), before.row(token) + setup.config.d_model, after.row(token)) ==
              (token != 2 && token != 3 && token != 5));
    }
}

TEST_CASE("cross-attention refuses states that are not the mask's tokens", "[cross_attention]")
{
    const Setup setup(5);
    const KeysAndValues image = image_keys_and_values(setup.weights, setup.config, setup.images, {});
    CHECK_THROWS_WITH(
        cross_attention(setup.weights, setup.config, Tensor({6, 20}), image, mask, Rule::meta, {}),
        ContainsSubstring("cross_attention"));
}

TEST_CASE("TRAP row_mask: Meta silences blind rows after attention, transformers lets them through", "[trap]")
{
    const Setup setup(6);
    setup.check_avoids(only(&TextMistakes::other_rule_for_attention));
    const Rows blind = blind_rows(rows_of(setup.attend(Rule::meta)));
    for (const Row& row : blind)
        CHECK(std::all_of(row.begin(), row.end(), [](double value) { return value == 0; }));
    // Rows that see something are the same under both rules.
    const Tensor meta = setup.attend(Rule::meta), transformers = setup.attend(Rule::transformers);
    CHECK(std::equal(meta.row(2), meta.row(6), transformers.row(2)));
    CHECK(distance(blind_rows(rows_of(transformers)), blind_rows(setup.in_double(Rule::transformers))) <
          rounding);
}

TEST_CASE("TRAP all_zero_bias_rows: a row that sees nothing takes the softmax over every key", "[trap]")
{
    const Setup setup(7);
    // Lowest floats everywhere would give 1 / n_keys instead: with transformers' rule the output shows it.
    const Rows right = setup.in_double(Rule::transformers);
    CHECK(distance(blind_rows(setup.in_double(Rule::transformers, only(&TextMistakes::blind_rows_uniform))),
                   blind_rows(right)) > plainly_visible);
    CHECK(distance(blind_rows(rows_of(setup.attend(Rule::transformers))), blind_rows(right)) < rounding);

    for (Rule rule : {Rule::meta, Rule::transformers}) {
        const RecordedRun run = record_step([&](const Recorder& record) { setup.attend(rule, record); });
        const Tensor scores = run.tensor("scores"), masked = run.tensor("masked_scores"),
                     probs = run.tensor("probs");
        REQUIRE(probs.shape == Shape{4, 7, n_keys});
        for (std::int64_t head = 0; head < 4; ++head) {
            for (std::int64_t token = 0; token < 7; ++token) {
                const bool blind = is_blind(mask, static_cast<std::size_t>(token));
                double sum = 0, largest = 0;
                for (std::int64_t key = 0; key < n_keys; ++key) {
                    const bool visible =
                        blind || mask(token, key / n_patches / n_tiles, key / n_patches % n_tiles);
                    REQUIRE(masked(head, token, key) ==
                            (visible ? scores(head, token, key) : std::numeric_limits<float>::lowest()));
                    REQUIRE((probs(head, token, key) > 0) == visible);
                    sum += probs(head, token, key);
                    largest = std::max<double>(largest, probs(head, token, key));
                }
                CHECK(sum == Approx(1.0).epsilon(1e-5));
                CHECK(largest > 1.5 / n_keys);  // not uniform: the map looks real
            }
        }
        // The recorded context is before the row mask, whatever the rule.
        const Tensor context = run.tensor("context");
        CHECK(std::any_of(context.row(0), context.row(1), [](float value) { return value != 0; }));
    }
}

TEST_CASE("TRAP no_rope_on_cross_attention: neither queries nor keys are rotated", "[trap]")
{
    Setup(8).check_avoids(only(&TextMistakes::rope_on_cross));
}

TEST_CASE("TRAP query_and_key_norms: q_norm and k_norm are applied head by head", "[trap]")
{
    const Setup setup(9);
    setup.check_avoids(only(&TextMistakes::no_query_norm));
    setup.check_avoids(only(&TextMistakes::no_key_norm));
}
