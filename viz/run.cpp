#include "viz/run.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "base/at.h"
#include "base/shown_text.h"
#include "viz/drawing/svg.h"

namespace pictor {
namespace {

constexpr const char* blanks = " \t\r\n";

std::string lower(std::string text)
{
    for (char& c : text)
        c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    return text;
}

bool is_special(const std::string& token) { return token.starts_with("<|") && token.ends_with("|>"); }

// A letter or a byte of one that is not ASCII: what goes on with a word.
bool continues_word(const std::string& token)
{
    if (token.empty() || is_special(token))
        return false;
    const auto c = static_cast<unsigned char>(token[0]);
    return std::isalnum(c) || c >= 0x80;
}

std::pair<std::int64_t, std::int64_t> read_pair(const nlohmann::json& object, const char* key,
                                                const std::string& where)
{
    const auto found = object.find(key);
    if (found == object.end() || !found->is_array() || found->size() != 2 ||
        !(*found)[0].is_number_integer() || !(*found)[1].is_number_integer())
        throw std::runtime_error(fmt::format("{}: {} is not a pair [h, w] of whole numbers", where, key));
    return {(*found)[0].get<std::int64_t>(), (*found)[1].get<std::int64_t>()};
}

std::int64_t read_integer(const nlohmann::json& object, const char* key, const std::string& where)
{
    const auto found = object.find(key);
    if (found == object.end() || !found->is_number_integer())
        throw std::runtime_error(fmt::format("{}: {} is not a whole number", where, key));
    return found->get<std::int64_t>();
}

}  // namespace

std::string layer_name(std::int64_t layer) { return fmt::format("language_model.layers.{}", layer); }

std::string trimmed(const std::string& text)
{
    const std::size_t first = text.find_first_not_of(blanks);
    return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

Run::Run(const std::filesystem::path& folder) : trace_(folder)
{
    read_tokens();
    read_pictures();
    const std::string prefix = "language_model.layers.", suffix = ".cross_attn.probs";
    for (const TraceEntry& entry : trace_.entries()) {
        if (!entry.name.starts_with(prefix) || !entry.name.ends_with(suffix) ||
            entry.name.size() <= prefix.size() + suffix.size())
            continue;
        std::int64_t layer = 0;
        const char* const first = entry.name.data() + prefix.size();
        const char* const last = entry.name.data() + entry.name.size() - suffix.size();
        const auto [end, problem] = std::from_chars(first, last, layer);
        if (problem == std::errc() && end == last &&
            std::find(cross_layers_.begin(), cross_layers_.end(), layer) == cross_layers_.end())
            cross_layers_.push_back(layer);
    }
    std::sort(cross_layers_.begin(), cross_layers_.end());
}

void Run::read_tokens()
{
    const nlohmann::json& header = trace_.header();
    for (const char* part : {"prompt", "generated"}) {
        const auto section = header.find(part);
        if (section != header.end() && section->is_object()) {
            const auto ids = section->find("token_ids");
            const auto texts = section->find("token_texts");
            const std::size_t count = ids != section->end() && ids->is_array() ? ids->size() : 0;
            for (std::size_t i = 0; i < count; ++i) {
                const bool has_text = texts != section->end() && texts->is_array() && i < texts->size() &&
                                      (*texts)[i].is_string();
                tokens_.push_back(has_text ? (*texts)[i].get<std::string>()
                                           : fmt::format("<{}>", (*ids)[i].dump()));
            }
        }
        if (std::string(part) == "prompt")
            n_prompt_ = static_cast<std::int64_t>(tokens_.size());
    }
}

void Run::read_pictures()
{
    const auto images = trace_.header().find("images");
    if (images == trace_.header().end() || !images->is_array())
        return;
    for (std::size_t i = 0; i < images->size(); ++i) {
        const nlohmann::json& image = (*images)[i];
        const std::string where = fmt::format("{}: images[{}]", (trace_.folder() / "trace.json").string(), i);
        if (!image.is_object())
            throw std::runtime_error(where + " is not an object");
        RunPicture picture;
        const auto file = image.find("file");
        if (file != image.end() && file->is_string())
            picture.file = file->get<std::string>();
        PictureGeometry& g = picture.geometry;
        std::tie(g.height, g.width) = read_pair(image, "size", where);
        std::tie(g.resized_height, g.resized_width) = read_pair(image, "resized", where);
        std::tie(g.tile_rows, g.tile_columns) = read_pair(image, "tiles", where);
        g.tile_size = read_integer(image, "tile_size", where);
        g.patch_size = read_integer(image, "patch_size", where);
        check_geometry(g, where);
        if (!pictures_.empty() && (g.tile_size != pictures_[0].geometry.tile_size ||
                                   g.patch_size != pictures_[0].geometry.patch_size))
            throw std::runtime_error(
                where + ": another tile_size or patch_size than images[0]; a model has one of each");
        pictures_.push_back(std::move(picture));
    }
}

std::string Run::reference() const
{
    const auto found = trace_.header().find("reference");
    return found != trace_.header().end() && found->is_string() ? found->get<std::string>() : "";
}

std::optional<RowPlace> Run::row_predicting(std::int64_t token) const
{
    const std::int64_t position = token - 1;
    for (const TraceStep& step : trace_.steps())
        if (position >= step.first_token && position < step.first_token + step.token_count)
            return RowPlace{position, step.index, position - step.first_token, step.token_count, step.kind};
    return std::nullopt;
}

bool Run::row_sees(const RowPlace& row, std::int64_t picture) const
{
    const TraceEntry* mask = trace_.find("cross_attention_mask", row.step);
    if (mask) {
        const TraceTensor& tensor = this->tensor(mask->name, row.step);
        const auto n_pictures = static_cast<std::int64_t>(pictures_.size());
        if (tensor.shape.size() != 3 || tensor.shape[0] != row.rows || tensor.shape[1] != n_pictures)
            throw std::runtime_error(
                fmt::format("{}: cross_attention_mask of step {} is not [{} tokens, {} pictures, tiles]",
                            trace_.folder().string(), row.step, row.rows, n_pictures));
        for (std::int64_t p = picture < 0 ? 0 : picture; p < (picture < 0 ? n_pictures : picture + 1); ++p)
            for (std::int64_t tile = 0; tile < tensor.shape[2]; ++tile)
                if (at(tensor.values, (row.row * n_pictures + p) * tensor.shape[2] + tile) != 0)
                    return true;
        return false;
    }
    if (trace_.find("full_text_row_masked_out_mask", row.step)) {
        const TraceTensor& tensor = this->tensor("full_text_row_masked_out_mask", row.step);
        if (static_cast<std::int64_t>(tensor.values.size()) != row.rows)
            throw std::runtime_error(
                fmt::format("{}: full_text_row_masked_out_mask of step {} does not have {} rows",
                            trace_.folder().string(), row.step, row.rows));
        return at(tensor.values, row.row) != 0;
    }
    return true;
}

std::int64_t Run::keys_seen(const RowPlace& row, std::int64_t n_keys) const
{
    if (!row_sees(row, -1))
        return 0;
    if (!trace_.find("cross_attention_mask", row.step))
        return n_keys;
    const TraceTensor& mask =
        tensor("cross_attention_mask", row.step);  // [tokens, pictures, tiles]; row_sees has checked it
    const std::int64_t tiles = mask.shape[1] * mask.shape[2], per_tile = tiles > 0 ? n_keys / tiles : 0;
    std::int64_t seen = 0;
    for (std::int64_t tile = 0; tile < tiles; ++tile)
        if (at(mask.values, row.row * tiles + tile) != 0)
            seen += per_tile;
    return seen;
}

std::string Run::word_at(std::int64_t token) const
{
    const auto text = [&](std::int64_t i) -> const std::string& { return at(tokens_, i); };
    std::int64_t first = token, last = token;
    const auto same_part = [&](std::int64_t i) { return (i < n_prompt_) == (token < n_prompt_); };
    const auto ends_open = [&](std::int64_t i) {
        return !is_special(text(i)) && !text(i).empty() && continues_word(text(i).substr(text(i).size() - 1));
    };
    while (first > 0 && token - first < 32 && same_part(first - 1) && continues_word(text(first)) &&
           ends_open(first - 1))
        --first;
    while (last + 1 < n_tokens() && last - token < 32 && same_part(last + 1) &&
           continues_word(text(last + 1)) && ends_open(last))
        ++last;
    std::string word;
    for (std::int64_t i = first; i <= last; ++i)
        word += text(i);
    const std::string bare = trimmed(word);
    return bare.empty() ? word : bare;
}

std::int64_t Run::find_token(const std::string& wanted) const
{
    std::int64_t index = 0;
    const auto [end, problem] = std::from_chars(wanted.data(), wanted.data() + wanted.size(), index);
    if (!wanted.empty() && problem == std::errc() && end == wanted.data() + wanted.size()) {
        if (index < 0 || index >= n_tokens())
            throw std::runtime_error(
                fmt::format("--token {}: the run has tokens 0 to {} (the answer begins at {})", index,
                            n_tokens() - 1, n_prompt_));
        return index;
    }
    std::vector<std::int64_t> order;
    for (std::int64_t i = n_prompt_; i < n_tokens(); ++i)
        order.push_back(i);
    for (std::int64_t i = 0; i < n_prompt_; ++i)
        order.push_back(i);
    const std::string bare = trimmed(wanted).empty() ? wanted : trimmed(wanted);
    for (const bool exact : {true, false})
        for (const bool whole_token : {true, false})
            for (const std::int64_t i : order) {
                const std::string& token = at(tokens_, i);
                const std::string found =
                    whole_token ? (trimmed(token).empty() ? token : trimmed(token)) : word_at(i);
                if (found == bare || (!exact && lower(found) == lower(bare)))
                    return i;
            }
    std::string words;
    for (std::int64_t i = n_prompt_; i < n_tokens() && words.size() < 600; ++i)
        words +=
            fmt::format("{}{} {}", words.empty() ? "" : ", ", i, visible_text(trimmed(at(tokens_, i)), 24));
    throw std::runtime_error(
        fmt::format("--token {}: neither answer nor prompt has this word; the answer's tokens are {}",
                    visible_text(wanted), words.empty() ? "none" : words));
}

std::filesystem::path Run::picture_file(std::size_t picture) const
{
    const std::string& name = pictures_[picture].file;
    const std::filesystem::path beside = trace_.folder() / name;
    std::error_code ignored;
    if (!name.empty() && std::filesystem::is_regular_file(name, ignored))
        return name;
    if (!name.empty() && std::filesystem::is_regular_file(beside, ignored))
        return beside;
    throw std::runtime_error(fmt::format(
        "{}: the picture \"{}\" of images[{}] is gone: neither there nor at {}; put it back, or give its "
        "new place with --picture",
        (trace_.folder() / "trace.json").string(), visible_text(name), picture,
        visible_text(beside.string(), 300)));
}

const TraceTensor& Run::tensor(const std::string& name, std::int64_t step) const
{
    std::unique_ptr<TraceTensor>& kept = cache_[{name, step}];
    if (!kept) {
        const TraceEntry* entry = trace_.find(name, step);
        if (!entry)
            throw std::runtime_error(
                fmt::format("{}: has no tensor {} at step {}; record it with --trace-only '{}'",
                            trace_.folder().string(), name, step, name));
        if (!entry->whole())
            throw std::runtime_error(fmt::format(
                "{}: {} at step {} holds values \"{}\", not all {} numbers; record again with "
                "--trace-values all or --trace-npy",
                trace_.folder().string(), name, step, trace_values_text(entry->values), entry->size()));
        kept = std::make_unique<TraceTensor>(trace_.load(*entry));
    }
    return *kept;
}

std::vector<std::vector<double>> Run::cross_probs(std::int64_t layer, const RowPlace& row) const
{
    const std::string name = layer_name(layer) + ".cross_attn.probs";
    const TraceTensor& probs = tensor(name, row.step);
    const std::string where = fmt::format("{}: {} of step {}", trace_.folder().string(), name, row.step);
    if (probs.shape.size() != 3 || probs.shape[1] != row.rows)
        throw std::runtime_error(fmt::format("{} is not [heads, {} tokens, keys]", where, row.rows));
    max_tiles(probs.shape[2]);
    std::vector<std::vector<double>> heads;
    for (std::int64_t head = 0; head < probs.shape[0]; ++head) {
        const auto first = probs.values.begin() + (head * probs.shape[1] + row.row) * probs.shape[2];
        heads.emplace_back(first, first + probs.shape[2]);
        for (const double p : heads.back())
            if (!std::isfinite(p) || p < 0)
                throw std::runtime_error(fmt::format("{}: head {} row {} holds {}, which is no probability",
                                                     where, head, row.row, p));
    }
    return heads;
}

std::int64_t Run::n_heads(std::int64_t layer) const
{
    for (const TraceEntry& entry : trace_.entries())
        if (entry.name == layer_name(layer) + ".cross_attn.probs" && entry.shape.size() == 3)
            return entry.shape[0];
    return 0;
}

std::int64_t Run::max_tiles(std::int64_t n_keys) const
{
    const auto n_pictures = static_cast<std::int64_t>(pictures_.size());
    if (n_pictures == 0)
        throw std::runtime_error(
            fmt::format("{}: no picture went into this run, so there is no cross-attention to draw",
                        trace_.folder().string()));
    const std::int64_t per_tile = pictures_[0].geometry.patches_per_tile();
    const std::int64_t tiles = n_keys / per_tile / n_pictures;
    if (tiles < 1 || tiles * per_tile * n_pictures != n_keys)
        throw std::runtime_error(
            fmt::format("{}: {} cross-attention keys are not {} pictures x tiles x {} patches",
                        trace_.folder().string(), n_keys, n_pictures, per_tile));
    for (const RunPicture& picture : pictures_)
        if (picture.geometry.tile_rows * picture.geometry.tile_columns > tiles)
            throw std::runtime_error(fmt::format("{}: a picture of {} x {} tiles, but keys for {} tiles",
                                                 trace_.folder().string(), picture.geometry.tile_rows,
                                                 picture.geometry.tile_columns, tiles));
    return tiles;
}

}  // namespace pictor
