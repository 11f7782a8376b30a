#include "reference/text/decoder.h"

#include "tests/catch.h"
#include "tests/reference/text_in_double.h"
#include "tests/trace/recorded_run.h"

using namespace pictor;
using namespace pictor_test;

namespace {

struct Setup {
    RandomWeights random;
    TextConfig config = small_text_config();
    TextWeights weights;
    Tensor images;
    std::vector<std::int64_t> ids{3, 17, 21, 8, 0, 20, 5};  // 21 is <|image|>
    CrossAttentionMask mask;

    explicit Setup(std::uint32_t seed)
        : random(seed), weights(random_text_weights(random, config)),
          images(random.tensor({1, 3, 5, config.d_model}, 2.0f))
    {
        mask = make_cross_attention_mask(ids, 21, {2}, 3);
    }
    Tensor run(Rule rule, KvCache& cache, const Recorder& record = {}) const
    {
        return text_decoder(weights, config, ids, images, mask, cache, rule, record);
    }
    Tensor run(Rule rule) const
    {
        KvCache cache;
        return run(rule, cache);
    }
    Rows in_double(Rule rule, const TextMistakes& mistakes = {}) const
    {
        return text_decoder_in_double(weights, config, ids, rows_of(images), mask, rule, mistakes);
    }
    void check_avoids(bool TextMistakes::*mistake) const
    {
        TextMistakes mistakes;
        mistakes.*mistake = true;
        for (Rule rule : {Rule::meta, Rule::transformers}) {
            const Rows right = in_double(rule);
            CHECK(distance(in_double(rule, mistakes), right) > plainly_visible);
            CHECK(distance(run(rule), right) < rounding);
        }
    }
};

}  // namespace

TEST_CASE("the text decoder agrees with double under both rules", "[decoder]")
{
    const Setup setup(1);
    for (Rule rule : {Rule::meta, Rule::transformers}) {
        const Tensor logits = setup.run(rule);
        CHECK(logits.shape == Shape{7, 21});
        CHECK(distance(logits, setup.in_double(rule)) < rounding);
    }
    CHECK(distance(setup.in_double(Rule::meta), setup.in_double(Rule::transformers)) > plainly_visible);
}

TEST_CASE("without pictures the cross-attention layers are skipped", "[decoder]")
{
    const Setup setup(2);
    KvCache cache;
    const RecordedRun run = record_step([&](const Recorder& record) {
        const Tensor logits =
            text_decoder(setup.weights, setup.config, setup.ids, {}, {}, cache, Rule::meta, record);
        CHECK(distance(logits, text_decoder_in_double(setup.weights, setup.config, setup.ids, {}, {},
                                                      Rule::meta)) < rounding);
    });
    CHECK(run.trace().find("language_model.layers.0") != nullptr);
    CHECK(run.trace().find("language_model.layers.1") == nullptr);
    CHECK(cache.n_tokens == 7);
    CHECK(cache.layers[1].keys.empty());
}

TEST_CASE("the decoder refuses a sequence beyond its positions", "[decoder]")
{
    Setup setup(3);
    setup.config.max_positions = 8;
    KvCache cache;
    setup.run(Rule::meta, cache);
    const CrossAttentionMask next = continue_mask(setup.mask, 1, Rule::meta);
    CHECK_NOTHROW(text_decoder(setup.weights, setup.config, {1}, {}, next, cache, Rule::meta, {}));
    CHECK_THROWS_WITH(text_decoder(setup.weights, setup.config, {1}, {}, next, cache, Rule::meta, {}),
                      ContainsSubstring("9 tokens") && ContainsSubstring("8 positions"));
    KvCache fresh;
    setup.ids[2] = 29;
    CHECK_THROWS_WITH(setup.run(Rule::meta, fresh), ContainsSubstring("29"));
}

TEST_CASE("TRAP row_mask: blind rows are silenced after the MLP under both rules", "[trap]")
{
    const Setup setup(4);
    setup.check_avoids(&TextMistakes::blind_rows_keep_mlp);
    setup.check_avoids(&TextMistakes::other_rule_for_attention);

    const RecordedRun run = record_step([&](const Recorder& record) {
        KvCache cache;
        setup.run(Rule::transformers, cache, record);
    });
    const Tensor gated = run.tensor("language_model.layers.1.mlp.gated_output"),
                 mlp = run.tensor("language_model.layers.1.mlp");
    for (std::int64_t channel = 0; channel < setup.config.d_model; ++channel) {
        CHECK(gated(0, channel) == 0.0f);
        CHECK(mlp(0, channel) != 0.0f);  // recorded before the mask
        CHECK(gated(2, channel) != 0.0f);
    }
}

TEST_CASE("TRAP row_mask: blind rows pass a cross-attention layer unchanged under Meta's rules", "[trap]")
{
    const Setup setup(5);
    for (Rule rule : {Rule::meta, Rule::transformers}) {
        const RecordedRun run = record_step([&](const Recorder& record) {
            KvCache cache;
            setup.run(rule, cache, record);
        });
        const Tensor before = run.tensor("language_model.layers.0"),
                     after = run.tensor("language_model.layers.1");
        CHECK(std::equal(before.row(0), before.row(2), after.row(0)) == (rule == Rule::meta));
        CHECK_FALSE(std::equal(before.row(2), before.row(3), after.row(2)));
    }
}

TEST_CASE("TRAP gate_without_tanh: text gates are opened by tanh", "[trap]")
{
    Setup(6).check_avoids(&TextMistakes::gate_without_tanh);
}

TEST_CASE("TRAP no_rope_on_cross_attention: nor in the whole decoder", "[trap]")
{
    const Setup setup(7);
    setup.check_avoids(&TextMistakes::rope_on_cross);
    setup.check_avoids(&TextMistakes::neighbours_turn);
}

TEST_CASE("TRAP cross_keys_kept: made once, neither made again nor dropped while words are generated",
          "[trap]")
{
    for (Rule rule : {Rule::meta, Rule::transformers}) {
        const Setup setup(8);
        KvCache cache;
        setup.run(rule, cache);
        const KvCache after_prompt = cache;
        const CrossAttentionMask next = continue_mask(setup.mask, 1, rule);

        // What one pass over the longer sequence says of its last token.
        Setup longer(8);
        longer.ids.push_back(11);
        longer.mask = make_cross_attention_mask(longer.ids, 21, {2}, 3);
        const Rows right{longer.in_double(rule).back()};

        // Dropped: the token sees no picture any more.
        KvCache dropped = after_prompt;
        const Rows blind = rows_of(
            text_decoder(setup.weights, setup.config, {11}, {}, CrossAttentionMask{}, dropped, rule, {}));
        CHECK(distance(blind, right) > plainly_visible);

        // Kept. No pictures are passed, so making the keys again would fail; other pictures would not be
        // looked at.
        const RecordedRun run = record_step([&](const Recorder& record) {
            const Tensor logits =
                text_decoder(setup.weights, setup.config, {11}, {}, next, cache, rule, record);
            CHECK(distance(logits, right) < rounding);
        });
        CHECK(run.trace().find("language_model.layers.1.cross_attn.k_proj") == nullptr);
        CHECK(run.trace().find("language_model.layers.1.cross_attn.probs") != nullptr);
        CHECK(cache.layers[1].keys.heads == after_prompt.layers[1].keys.heads);
        CHECK(cache.layers[1].values.heads == after_prompt.layers[1].values.heads);
        CHECK(cache.layers[0].keys.n_rows() == 8);
        KvCache again = after_prompt;
        Tensor others = setup.images;
        for (float& value : others.values)
            value = -value;
        CHECK(distance(text_decoder(setup.weights, setup.config, {11}, others, next, again, rule, {}),
                       right) < rounding);
    }
}
