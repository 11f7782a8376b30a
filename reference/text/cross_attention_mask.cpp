#include "reference/text/cross_attention_mask.h"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

namespace pictor {

bool CrossAttentionMask::sees_nothing(std::int64_t token) const
{
    const auto row = visible.begin() + token * n_images * n_tiles;
    return std::none_of(row, row + n_images * n_tiles, [](std::int64_t may_see) { return may_see != 0; });
}

CrossAttentionMask make_cross_attention_mask(const std::vector<std::int64_t>& token_ids,
                                             std::int64_t image_token,
                                             const std::vector<std::int64_t>& tiles_present,
                                             std::int64_t n_tiles)
{
    const std::int64_t n_tokens = std::ssize(token_ids), n_images = std::ssize(tiles_present);
    std::vector<std::int64_t> starts;
    for (std::int64_t token = 0; token < n_tokens; ++token)
        if (at(token_ids, token) == image_token)
            starts.push_back(token);
    if (std::ssize(starts) != n_images)
        throw std::runtime_error(fmt::format(
            "prompt: it has {} <|image|> token(s) for {} picture(s); each picture needs exactly one",
            starts.size(), n_images));

    std::vector<std::int64_t> ends(starts.size(), n_tokens);
    for (std::int64_t image = n_images - 2; image >= 0; --image) {
        // TRAP(adjacent_images): of two neighbours the earlier would otherwise be seen by its own token
        // alone.
        const bool adjacent = at(starts, image + 1) == at(starts, image) + 1;
        at(ends, image) = adjacent ? at(ends, image + 1) : at(starts, image + 1);
    }

    CrossAttentionMask mask{n_tokens, n_images, n_tiles, {}};
    mask.visible.resize(static_cast<std::size_t>(n_tokens * n_images * n_tiles));
    for (std::int64_t image = 0; image < n_images; ++image)
        for (std::int64_t token = at(starts, image); token < at(ends, image); ++token)
            for (std::int64_t tile = 0; tile < at(tiles_present, image); ++tile)
                at(mask.visible, (token * n_images + image) * n_tiles + tile) = 1;
    return mask;
}

CrossAttentionMask continue_mask(const CrossAttentionMask& so_far, std::int64_t n_tokens, Rule rule)
{
    const std::int64_t width = so_far.n_images * so_far.n_tiles;
    CrossAttentionMask mask{n_tokens, so_far.n_images, so_far.n_tiles, {}};
    mask.visible.resize(static_cast<std::size_t>(n_tokens * width));
    // TRAP(generated_tokens_with_several_images): with one image both references repeat the last row. With
    // several, Meta's last interval ends with the prompt, so generated tokens see no image at all.
    const bool repeat = rule == Rule::transformers || so_far.n_images == 1;
    if (repeat && so_far.n_tokens > 0)
        for (std::int64_t token = 0; token < n_tokens; ++token)
            std::copy_n(so_far.visible.end() - width, width, mask.visible.begin() + token * width);
    return mask;
}

}  // namespace pictor
