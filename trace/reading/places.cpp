#include "trace/reading/places.h"
#include "base/at.h"

#include <fmt/format.h>

using nlohmann::json;

namespace pictor {
namespace {

// The header is somebody else's: whatever is missing or odd is just left out.
std::int64_t number_in(const json& header, const char* pointer)
{
    const json::json_pointer path(pointer);
    if (!header.contains(path) || !header.at(path).is_number_integer())
        return 0;
    const std::int64_t number = header.at(path).get<std::int64_t>();
    return number > 0 && number < (1 << 20) ? number : 0;
}

void append_texts(const json& header, const char* pointer, std::vector<std::string>& texts)
{
    const json::json_pointer path(pointer);
    if (!header.contains(path) || !header.at(path).is_array())
        return;
    for (const json& text : header.at(path))
        texts.push_back(text.is_string() ? text.get<std::string>() : "");
}

}  // namespace

Places::Places(const Trace& trace)
{
    append_texts(trace.header(), "/prompt/token_texts", tokens_);
    append_texts(trace.header(), "/generated/token_texts", tokens_);
    for (const TraceStep& step : trace.steps())
        first_token_.push_back(step.first_token);
    max_tiles_ = number_in(trace.header(), "/model/vision/max_tiles");
    const std::int64_t tile = number_in(trace.header(), "/model/vision/tile_size");
    const std::int64_t patch = number_in(trace.header(), "/model/vision/patch_size");
    patches_per_side_ = patch > 0 ? tile / patch : 0;
    const json images = trace.header().value("images", json::array());
    for (std::size_t i = 0; images.is_array() && i < images.size() && i < 1000; ++i)
        grids_.emplace_back(number_in(images[i], "/tiles/0"), number_in(images[i], "/tiles/1"));
}

std::int64_t Places::first_token(std::int64_t step) const
{
    const auto at = static_cast<std::size_t>(step);
    return at < first_token_.size() ? first_token_[at] : 0;
}

std::string Places::token(std::int64_t token) const
{
    return fmt::format("token {}{}", token, token_text(token));
}

std::string Places::patch(std::int64_t row, bool padded) const
{
    const std::int64_t real = patches_per_side_ * patches_per_side_ + 1,
                       rows = padded ? (real + 7) / 8 * 8 : real;
    if (patches_per_side_ == 0 || max_tiles_ == 0)
        return fmt::format("patch {}", row);
    const std::int64_t tile = row / rows % max_tiles_, image = row / rows / max_tiles_, patch = row % rows;
    const auto [high, wide] = image < static_cast<std::int64_t>(grids_.size())
                                  ? at(grids_, image)
                                  : std::pair<std::int64_t, std::int64_t>{0, 0};
    const std::string of_image = grids_.size() > 1 ? fmt::format(" of image {}", image) : "",
                      of_tile = fmt::format(" of {}tile {}",
                                            high * wide == 0 || tile < high * wide ? "" : "absent ", tile);
    if (patch == 0)
        return "the class token" + of_tile + of_image;
    if (patch >= real)
        return fmt::format("padding row {}{}{}", patch - real, of_tile, of_image);
    const std::int64_t down = (patch - 1) / patches_per_side_, across = (patch - 1) % patches_per_side_;
    if (tile >= high * wide)
        return fmt::format("patch row {} column {}{}{}", down, across, of_tile, of_image);
    return fmt::format("patch row {} column {}{}", tile / wide * patches_per_side_ + down,
                       tile % wide * patches_per_side_ + across, of_image);
}

std::string Places::token_text(std::int64_t token) const
{
    if (token < 0 || token >= static_cast<std::int64_t>(tokens_.size()))
        return "";
    const json text = at(tokens_, token);
    return fmt::format(" {}", text.dump(-1, ' ', false, json::error_handler_t::replace));
}

std::string Places::patch_text(std::int64_t patch) const
{
    if (patch == 0)
        return "patch 0 (class token)";
    if (patches_per_side_ == 0)
        return fmt::format("patch {}", patch);
    if (patch > patches_per_side_ * patches_per_side_)
        return fmt::format("patch {} (padding row)", patch);
    return fmt::format("patch {} (row {}, column {})", patch, (patch - 1) / patches_per_side_,
                       (patch - 1) % patches_per_side_);
}

// Keys of text self-attention are tokens; of cross-attention image, tile, patch; rows of the vision encoder
// tile, patch.
std::string Places::key_text(const TraceEntry& entry, const std::string& axis, std::int64_t key) const
{
    const bool cross = entry.name.find("cross_attn") != std::string::npos;
    const bool vision = entry.name.rfind("vision_model", 0) == 0;
    if (!cross && !vision)
        return fmt::format("{} {} = token {}{}", axis, key, key, token_text(key));
    const std::int64_t real = patches_per_side_ * patches_per_side_ + 1;
    const std::int64_t rows = vision ? (real + 7) / 8 * 8 : real;
    if (patches_per_side_ == 0 || max_tiles_ == 0)
        return fmt::format("{} {}", axis, key);
    const std::int64_t tile = key / rows;
    const std::string image = cross ? fmt::format("image {} ", tile / max_tiles_) : "";
    return fmt::format("{} {} = {}tile {} {}", axis, key, image, tile % max_tiles_, patch_text(key % rows));
}

std::string Places::describe(const TraceEntry& entry, std::int64_t position) const
{
    const std::vector<std::int64_t> indices = unravel(position, entry.shape);
    // patch_embedding and its first sum have no class token yet, so their patches count from another start.
    const bool class_token = entry.name.find("patch_embedding") == std::string::npos &&
                             entry.name.find("pre_tile_positional_embedding") == std::string::npos;
    std::string text;
    for (std::size_t axis = 0; axis < indices.size(); ++axis) {
        const std::string& word = entry.axes[axis];
        const std::int64_t index = indices[axis];
        text += text.empty() ? "" : ", ";
        if (word == "token") {
            const auto step = static_cast<std::size_t>(entry.step);
            const std::int64_t token = index + (step < first_token_.size() ? first_token_[step] : 0);
            text += fmt::format("token {}{}", token, token_text(token));
        } else if (word == "key" || word == "query")
            text += key_text(entry, word, index);
        else if (word == "patch" && class_token)
            text += patch_text(index);
        else
            text += fmt::format("{} {}", word, index);
    }
    return text.empty() ? "the only number" : text;
}

}  // namespace pictor
