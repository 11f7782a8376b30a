#include "reference/text/cross_attention_mask.h"

#include "base/at.h"
#include "tests/catch.h"

using namespace pictor;

namespace {

constexpr std::int64_t image_token = 99;

using Ints = std::vector<std::int64_t>;

// Which images a token sees, as a sum of 1, 2, 4 for images 0, 1, 2; -1 when an image's tiles are not those
// present.
Ints seen_images(const CrossAttentionMask& mask, const Ints& tiles_present)
{
    Ints seen;
    for (std::int64_t token = 0; token < mask.n_tokens; ++token) {
        std::int64_t sum = 0;
        for (std::int64_t image = 0; image < mask.n_images; ++image) {
            std::int64_t tiles = 0;
            bool from_the_front = true;
            for (std::int64_t tile = 0; tile < mask.n_tiles; ++tile) {
                const bool sees = mask(token, image, tile);
                tiles += sees ? 1 : 0;
                from_the_front = from_the_front && sees == (tile < at(tiles_present, image));
            }
            if (tiles > 0)
                sum = sum < 0 || !from_the_front ? -1 : sum + (1 << image);
        }
        seen.push_back(sum);
    }
    return seen;
}

Ints seen_in_prompt(const Ints& ids, const Ints& tiles_present)
{
    return seen_images(make_cross_attention_mask(ids, image_token, tiles_present, 4), tiles_present);
}

}  // namespace

TEST_CASE("a picture is seen from its token to the end", "[cross_attention_mask]")
{
    CHECK(seen_in_prompt({1, image_token, 2, 3}, {4}) == Ints{0, 1, 1, 1});
    CHECK(seen_in_prompt({image_token, 2}, {1}) == Ints{1, 1});
    CHECK(seen_in_prompt({1, 2, image_token}, {3}) == Ints{0, 0, 1});
}

TEST_CASE("a picture is seen up to the next one", "[cross_attention_mask]")
{
    CHECK(seen_in_prompt({image_token, 1, 2, image_token, 3}, {2, 4}) == Ints{1, 1, 1, 2, 2});
    CHECK(seen_in_prompt({5, image_token, 1, image_token, 2, image_token}, {1, 2, 3}) ==
          Ints{0, 1, 1, 2, 2, 4});
}

TEST_CASE("no pictures, no mask", "[cross_attention_mask]")
{
    const CrossAttentionMask mask = make_cross_attention_mask({1, 2, 3}, image_token, {}, 4);
    CHECK(mask.n_images == 0);
    CHECK(mask.n_tokens == 3);
    CHECK(mask.visible.empty());
    CHECK(mask.sees_nothing(1));
}

TEST_CASE("sees_nothing is said of rows without any tile", "[cross_attention_mask]")
{
    const CrossAttentionMask mask{3, 1, 2, {0, 0, 0, 1, 1, 1}};
    CHECK(mask.sees_nothing(0));
    CHECK_FALSE(mask.sees_nothing(1));
    CHECK_FALSE(mask.sees_nothing(2));
}

TEST_CASE("as many pictures as <|image|> tokens", "[cross_attention_mask]")
{
    CHECK_THROWS_WITH(make_cross_attention_mask({1, image_token, 2}, image_token, {1, 1}, 4),
                      ContainsSubstring("1 <|image|>") && ContainsSubstring("2 picture"));
    CHECK_THROWS_WITH(make_cross_attention_mask({1, 2}, image_token, {1}, 4),
                      ContainsSubstring("0 <|image|>"));
    CHECK_THROWS_WITH(make_cross_attention_mask({image_token}, image_token, {}, 4),
                      ContainsSubstring("0 picture"));
}

TEST_CASE("TRAP adjacent_images: pictures side by side share the later end", "[trap]")
{
    // Both references give intervals [0, 4] [1, 4] [4, 6] for i i t t i t. Cut at the next image_token, image
    // 0 would be seen by its own token alone.
    const Ints ours = seen_in_prompt({image_token, image_token, 1, 2, image_token, 3}, {1, 1, 1}),
               cut{1, 2, 2, 2, 4, 4};
    CHECK(ours != cut);
    CHECK(ours == Ints{1, 3, 3, 3, 4, 4});
    CHECK(seen_in_prompt({7, image_token, image_token, image_token, 1}, {1, 2, 3}) == Ints{0, 1, 3, 7, 7});
    CHECK(seen_in_prompt({image_token, image_token}, {1, 1}) == Ints{1, 3});
    CHECK(seen_in_prompt({image_token, 1, image_token, image_token, 2}, {1, 1, 1}) == Ints{1, 1, 2, 6, 6});
}

TEST_CASE("TRAP generated_tokens_with_several_images: Meta's see none, transformers' the last row's",
          "[trap]")
{
    const Ints two{2, 4}, one{3};
    const CrossAttentionMask several =
        make_cross_attention_mask({image_token, 1, image_token, 2}, image_token, two, 4);
    CHECK(seen_images(continue_mask(several, 2, Rule::meta), two) == Ints{0, 0});
    CHECK(seen_images(continue_mask(several, 2, Rule::transformers), two) == Ints{2, 2});

    const CrossAttentionMask single = make_cross_attention_mask({5, image_token, 1}, image_token, one, 4);
    for (Rule rule : {Rule::meta, Rule::transformers}) {
        const CrossAttentionMask next = continue_mask(single, 1, rule);
        CHECK(seen_images(next, one) == Ints{1});
        CHECK(seen_images(continue_mask(next, 3, rule), one) ==
              Ints{1, 1, 1});  // and so on, token after token
    }
    CHECK(continue_mask(several, 2, Rule::meta).n_images == 2);
}
