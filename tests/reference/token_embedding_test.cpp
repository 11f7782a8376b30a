#include "reference/text/token_embedding.h"

#include "base/at.h"
#include "tests/catch.h"
#include "tests/reference/small_model.h"

using namespace pictor;
using pictor_test::RandomWeights;

TEST_CASE("each token gets its row of the table", "[token_embedding]")
{
    RandomWeights random(1);
    const Matrix table = random.matrix(9, 4);
    const Tensor embedded = embed_tokens(table, {3, 0, 8, 3});
    REQUIRE(embedded.shape == Shape{4, 4});
    std::vector<float> row(4);
    const std::vector<std::int64_t> ids{3, 0, 8, 3};
    for (std::int64_t token = 0; token < 4; ++token) {
        table.widen_row(at(ids, token), row.data());
        for (std::int64_t channel = 0; channel < 4; ++channel)
            CHECK(embedded(token, channel) == at(row, channel));
    }
    CHECK(embed_tokens(table, {}).shape == Shape{0, 4});
}

TEST_CASE("16-bit tables are widened", "[token_embedding]")
{
    const std::vector<std::uint16_t> halves{0x3f80, 0xc000, 0x0000, 0x4040};  // bfloat16: 1, -2, 0, 3
    const Tensor embedded = embed_tokens({halves.data(), DType::bf16, 2, 2, "table"}, {1, 0});
    CHECK(embedded.values == std::vector<float>{0.0f, 3.0f, 1.0f, -2.0f});
}

TEST_CASE("TRAP embedding_rows_plus_8: <|image|> has a row behind the vocabulary, and one more is an error",
          "[trap]")
{
    RandomWeights random(2);
    const TextConfig config = pictor_test::small_text_config();
    const TextWeights weights = pictor_test::random_text_weights(random, config);
    const std::int64_t image_token = config.n_vocabulary;  // the first of the 8
    REQUIRE(weights.embed_tokens.n_out == config.n_vocabulary + 8);
    REQUIRE(weights.lm_head.n_out == config.n_vocabulary);

    const Tensor embedded =
        embed_tokens(weights.embed_tokens, {image_token, image_token + 7, image_token - 1});
    std::vector<float> row(static_cast<std::size_t>(config.d_model));
    weights.embed_tokens.widen_row(image_token, row.data());
    CHECK(std::equal(row.begin(), row.end(), embedded.row(0)));
    // A port that clips ids to the vocabulary would give the last word's row.
    CHECK_FALSE(std::equal(embedded.row(0), embedded.row(1), embedded.row(2)));

    CHECK_THROWS_WITH(embed_tokens(weights.embed_tokens, {0, image_token + 8}),
                      ContainsSubstring("token 1") && ContainsSubstring("29") &&
                          ContainsSubstring("29 rows"));
    CHECK_THROWS_WITH(embed_tokens(weights.embed_tokens, {-1}), ContainsSubstring("-1"));
}
