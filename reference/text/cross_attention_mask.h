// Which tiles of which image each text token may see.
#pragma once

#include <cstdint>
#include <vector>

#include "base/at.h"
#include "reference/rule.h"

namespace pictor {

struct CrossAttentionMask {
    std::int64_t n_tokens = 0;
    std::int64_t n_images = 0;
    std::int64_t n_tiles = 0;           // per image, absent ones included
    std::vector<std::int64_t> visible;  // [token][image][tile], 1 = may see

    // Whether the token may see this tile.
    bool operator()(std::int64_t token, std::int64_t image, std::int64_t tile) const
    {
        return at(visible, (token * n_images + image) * n_tiles + tile) != 0;
    }
    bool sees_nothing(std::int64_t token) const;
};

// For a whole prompt. An image is seen from its own `<|image|>` token up to the next image's token, the last
// one to the end; images whose tokens are neighbours share the later end. tiles_present: [image], how many of
// its tiles exist. Throws std::runtime_error when the prompt does not have one `<|image|>` token per image.
CrossAttentionMask make_cross_attention_mask(const std::vector<std::int64_t>& token_ids,
                                             std::int64_t image_token,
                                             const std::vector<std::int64_t>& tiles_present,
                                             std::int64_t n_tiles);

// The rows of tokens that follow those of `so_far`: generated ones, or a later turn without images of its
// own.
CrossAttentionMask continue_mask(const CrossAttentionMask& so_far, std::int64_t n_tokens, Rule rule);

}  // namespace pictor
