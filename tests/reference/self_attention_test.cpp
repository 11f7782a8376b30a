#include "reference/text/self_attention.h"

#include <limits>

#include "base/at.h"
#include "tests/catch.h"
#include "tests/reference/text_in_double.h"
#include "tests/trace/recorded_run.h"

using namespace pictor;
using namespace pictor_test;

namespace {

struct Setup {
    RandomWeights random;
    TextConfig config = small_text_config();
    SelfAttentionWeights weights;

    explicit Setup(std::uint32_t seed) : random(seed), weights(random_self_attention(random, config)) {}

    // Tokens first ... of hidden, as many as `count`, behind what the cache holds.
    Tensor attend(const Tensor& hidden, std::int64_t first, std::int64_t count, KeysAndValues& cache,
                  const Recorder& record = {}) const
    {
        Tensor part({count, config.d_model});
        std::copy_n(hidden.row(first), count * config.d_model, part.data());
        return self_attention(weights, config, part, rope_angles(config.rope, config.d_head, first, count),
                              cache, record);
    }
};

}  // namespace

TEST_CASE("self-attention agrees with double", "[self_attention]")
{
    Setup setup(1);
    for (std::int64_t n_tokens : {1, 2, 17, 64, 65, 130}) {  // blocks hold 64 queries
        INFO("tokens " << n_tokens);
        const Tensor hidden = setup.random.tensor({n_tokens, setup.config.d_model}, 2.0f);
        KeysAndValues cache;
        const Tensor output = setup.attend(hidden, 0, n_tokens, cache);
        CHECK(output.shape == hidden.shape);
        CHECK(cache.keys.n_rows() == n_tokens);
        CHECK(distance(output, self_attention_in_double(setup.weights, setup.config, rows_of(hidden))) <
              rounding);
    }
}

TEST_CASE("query heads share key heads in order, four over two", "[self_attention]")
{
    Setup setup(2);
    const Tensor hidden = setup.random.tensor({9, setup.config.d_model}, 2.0f);
    KeysAndValues cache;
    const Tensor output = setup.attend(hidden, 0, 9, cache);
    // With key heads dealt out in turn (head % n_kv_heads), query heads 1 and 2 would change places.
    SelfAttentionWeights dealt = setup.weights;
    const std::int64_t d_head = setup.config.d_head, d = setup.config.d_model;
    std::vector<float> q, o(static_cast<std::size_t>(d * 4 * d_head));
    const float* q_from = static_cast<const float*>(dealt.q_proj.data);
    const float* o_from = static_cast<const float*>(dealt.o_proj.data);
    const std::int64_t order[] = {0, 2, 1, 3};
    for (std::int64_t head : order)
        q.insert(q.end(), q_from + head * d_head * d, q_from + (head + 1) * d_head * d);
    for (std::int64_t out = 0; out < d; ++out)
        for (std::int64_t head = 0; head < 4; ++head)
            std::copy_n(o_from + out * 4 * d_head + order[head] * d_head, d_head,
                        o.data() + out * 4 * d_head + head * d_head);
    dealt.q_proj.data = q.data();
    dealt.o_proj.data = o.data();
    const Rows right = self_attention_in_double(setup.weights, setup.config, rows_of(hidden));
    CHECK(distance(self_attention_in_double(dealt, setup.config, rows_of(hidden)), right) > plainly_visible);
    CHECK(distance(output, right) < rounding);
}

TEST_CASE("no token sees a later one", "[self_attention]")
{
    Setup setup(3);
    Tensor hidden = setup.random.tensor({8, setup.config.d_model});
    KeysAndValues cache, changed_cache;
    const Tensor output = setup.attend(hidden, 0, 8, cache);
    for (std::int64_t channel = 0; channel < setup.config.d_model; ++channel)
        hidden(7, channel) += 5.0f;
    const Tensor changed = setup.attend(hidden, 0, 8, changed_cache);
    CHECK(std::equal(output.data(), output.row(7), changed.data()));
    CHECK_FALSE(std::equal(output.row(7), output.row(7) + setup.config.d_model, changed.row(7)));
}

TEST_CASE("token by token with a cache gives what one pass gives", "[self_attention]")
{
    Setup setup(4);
    const Tensor hidden = setup.random.tensor({11, setup.config.d_model}, 2.0f);
    KeysAndValues whole_cache;
    const Tensor whole = setup.attend(hidden, 0, 11, whole_cache);
    KeysAndValues cache;
    Tensor joined({11, setup.config.d_model});
    for (const auto& [first, count] :
         std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 4}, {4, 1}, {5, 1}, {6, 5}}) {
        const Tensor part = setup.attend(hidden, first, count, cache);
        std::copy(part.values.begin(), part.values.end(), joined.row(first));
    }
    CHECK(distance(joined, whole) < rounding);
    CHECK(cache.keys.n_rows() == 11);
    CHECK(cache.values.n_rows() == 11);
}

TEST_CASE("recorded attention is what was computed", "[self_attention]")
{
    Setup setup(5);
    const std::int64_t n_tokens = 67, n_heads = setup.config.n_heads;
    const Tensor hidden = setup.random.tensor({n_tokens, setup.config.d_model}, 2.0f);
    const RecordedRun run = record_step([&](const Recorder& record) {
        KeysAndValues cache;
        setup.attend(hidden, 0, n_tokens, cache, record);
    });
    const Tensor scores = run.tensor("scores"), masked = run.tensor("masked_scores"),
                 probs = run.tensor("probs");
    REQUIRE(probs.shape == Shape{n_heads, n_tokens, n_tokens});
    const Rows query = rows_of(run.tensor("rotated_q")),
               keys = rows_of(run.tensor("rotated_k"));  // one row per head
    double worst = 0;
    bool masks_right = true;
    for (std::int64_t head = 0; head < n_heads; ++head) {
        for (std::int64_t token = 0; token < n_tokens; ++token) {
            double sum = 0;
            for (std::int64_t key = 0; key < n_tokens; ++key) {
                double score = 0;
                for (std::size_t i = 0; i < 6; ++i)
                    score += at(query, token * n_heads + head)[i] * at(keys, key * 2 + head / 2)[i];
                worst = std::max(worst, std::fabs(score / std::sqrt(6.0) - scores(head, token, key)));
                masks_right =
                    masks_right &&
                    masked(head, token, key) ==
                        (key <= token ? scores(head, token, key) : std::numeric_limits<float>::lowest()) &&
                    (key <= token || probs(head, token, key) == 0.0f);
                sum += probs(head, token, key);
            }
            worst = std::max(worst, std::fabs(sum - 1));
        }
    }
    CHECK(worst < 1e-5);
    CHECK(masks_right);
}

TEST_CASE("self-attention refuses a state of another width", "[self_attention]")
{
    Setup setup(6);
    KeysAndValues cache;
    CHECK_THROWS_WITH(self_attention(setup.weights, setup.config, Tensor({2, 19}),
                                     rope_angles(setup.config.rope, 6, 0, 2), cache, {}),
                      ContainsSubstring("self_attention") && ContainsSubstring("20"));
}
