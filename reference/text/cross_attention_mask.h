// Which tiles of which picture each text token may see.
#pragma once

#include <cstdint>
#include <vector>

#include "reference/rule.h"

namespace pictor {

struct CrossAttentionMask {
    std::int64_t n_tokens = 0;
    std::int64_t n_images = 0;
    std::int64_t n_tiles = 0;           // per image, absent ones included
    std::vector<std::int64_t> visible;  // [token][image][tile], 1 = may see

    bool sees_tile(std::int64_t token, std::int64_t image_and_tile) const
    {
        return visible[static_cast<std::size_t>(token * n_images * n_tiles + image_and_tile)] != 0;
    }
    bool sees_nothing(std::int64_t token) const;
};

// For a whole prompt. An image is seen from its own `<|image|>` token up to the next image's token, the last
// one to the end; images that stand side by side share the later end. tiles_present: [image], how many of its
// tiles exist. Throws std::runtime_error when the prompt's `<|image|>` tokens are not as many as the
// pictures.
CrossAttentionMask make_cross_attention_mask(const std::vector<std::int64_t>& token_ids,
                                             std::int64_t image_token,
                                             const std::vector<std::int64_t>& tiles_present,
                                             std::int64_t n_tiles);

// The rows of tokens that come after those of `so_far`: generated ones, or a later turn without pictures of
// its own.
CrossAttentionMask continue_mask(const CrossAttentionMask& so_far, std::int64_t n_tokens, Rule rule);

}  // namespace pictor
