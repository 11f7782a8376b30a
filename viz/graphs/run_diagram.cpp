#include "viz/graphs/run_diagram.h"

#include <algorithm>
#include <cmath>
#include <regex>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/at.h"
#include "base/shown_text.h"
#include "viz/drawing/svg.h"
#include "viz/heatmaps/figure_parts.h"

namespace pictor {
namespace {

constexpr const char* times = "\xC3\x97";
constexpr const char* arrow = " \xE2\x86\x92 ";
constexpr double canvas_height = 130,
                 slide_canvas_height = 84;  // the room kept free for the picture, in points

using Lines = std::vector<std::string>;

Box canvas_room(const Raster& canvas, bool slide)
{
    return fit(canvas.width, canvas.height,
               slide ? Box{0, 0, 150, slide_canvas_height} : Box{0, 0, 230, canvas_height});
}

std::string share_text(double share)
{
    return share < 0.0001 ? "< 0.01 %" : fmt::format("{:.2f} %", 100 * share);
}

struct RunLines {
    const ModelSizes& sizes;
    const RunFacts& facts;
    bool slide;

    std::string shape(const std::string& name, std::int64_t step = 0) const
    {
        const TraceEntry* const entry = facts.run.trace().find(name, step);
        return entry ? fmt::format("[{}]", fmt::join(entry->shape, ", ")) : "";
    }

    // Cut to the box: so many letters a line, so many lines.
    Lines folded(const std::string& text, std::size_t most_lines) const
    {
        const double size = slide ? 19 : 12, width = slide ? 225 : 300;
        Lines lines = wrap_text(text, size, width);
        if (lines.size() > most_lines) {
            lines.resize(most_lines);
            lines.back() += " \xE2\x80\xA6";
        }
        return lines;
    }

    Lines tokens() const
    {
        const auto& header = facts.run.trace().header();
        const auto& ids = header.at("prompt").at("token_ids");
        const std::int64_t n = facts.run.n_prompt();
        std::string text;
        for (std::int64_t i = 0; i < n && i < static_cast<std::int64_t>(ids.size()); ++i) {
            const std::string& token = at(facts.run.tokens(), i);
            if (slide && (token.starts_with("<|") || trimmed(token).empty()))
                continue;  // no room for the template
            text += fmt::format("{}{}\xC2\xA0{}", text.empty() ? "" : ",  ", visible_text(token, 24),
                                at(ids, i).dump());
        }
        Lines lines{fmt::format("{} tokens", n)};
        for (const std::string& line : folded(text, slide ? 2 : 9))
            lines.push_back(line);
        return lines;
    }

    Lines prompt() const
    {
        const auto& header = facts.run.trace().header();
        std::string text = header.contains("prompt") ? header["prompt"].value("text", "") : "";
        static const std::regex special("<\\|[^|]*\\|>(user|assistant|system)?|\\s+");
        text = trimmed(std::regex_replace(text, special, " "));
        return folded("\xE2\x80\x9C" + text + "\xE2\x80\x9D", slide ? 3 : 5);
    }

    Lines likely_words() const
    {
        Lines lines;
        for (const LikelyWord& word : facts.first_word)
            lines.push_back(fmt::format("{}  {}", visible_text(word.text, 20), share_text(word.probability)));
        return lines;
    }

    Lines answer() const
    {
        const auto& header = facts.run.trace().header();
        const std::string text = header.contains("generated") && header["generated"].is_object()
                                     ? header["generated"].value("text", "")
                                     : "";
        return text.empty() ? Lines{"none was asked for"}
                            : folded("\xE2\x80\x9C" + visible_text(text, 300) + "\xE2\x80\x9D", 5);
    }

    Lines picture_side(const std::string& id) const
    {
        if (facts.run.pictures().empty())
            return {"no picture in this run"};
        const PictureGeometry& g = facts.run.pictures().front().geometry;
        const auto n = facts.run.pictures().size();
        const std::string of = n > 1 ? fmt::format(" (first of {})", n) : "";
        if (id == "picture")
            return {visible_text(std::filesystem::path(facts.run.pictures().front().file).filename().string(),
                                 24) +
                    of};
        if (id == "tiles")
            return {fmt::format("{} {} {}{}{} {} {} pixels", g.width, times, g.height, arrow, g.resized_width,
                                times, g.resized_height),
                    fmt::format("{} {} {} of {} tiles, {} px", g.tile_rows, times, g.tile_columns,
                                sizes.max_tiles, g.tile_size)};
        if (id == "patches")
            return {shape("vision_model.patch_embedding")};
        if (id == "positions")
            return {shape("vision_model.layernorm_pre")};
        if (id == "post_tile")
            return {shape("vision_model.post_tile_positional_embedding")};
        if (id == "kept")
            return {shape("vision_model")};
        if (id == "projector")
            return {shape("multi_modal_projector")};
        const bool local = id.starts_with("local");
        const std::string number = id.substr(local ? 5 : 6);
        return {shape(fmt::format("vision_model.{}.layers.{}", local ? "transformer" : "global_transformer",
                                  number.empty() ? "0" : number))};
    }

    Lines text_layer(std::int64_t layer) const
    {
        const std::string name = layer_name(layer), state = shape(name);
        if (!sizes.is_cross(layer))
            return {state, "scores " + shape(name + ".self_attn.probs")};
        if (facts.run.pictures().empty())
            return {"passed over: no picture"};
        std::int64_t seeing = 0;
        for (std::int64_t row = 0; row < facts.run.n_prompt(); ++row)
            seeing += facts.run.row_sees({row, 0, row, facts.run.n_prompt(), "prefill"}) ? 1 : 0;
        return {state, "scores " + shape(name + ".cross_attn.probs"),
                fmt::format("{} of {} rows see the picture", seeing, facts.run.n_prompt())};
    }

    Lines of(const std::string& id) const
    {
        if (id == "prompt")
            return prompt();
        if (id == "tokenizer")
            return tokens();
        if (id == "embedding")
            return {shape("input_ids") + arrow + shape("language_model.embed_tokens")};
        if (id == "rope")
            return {"angles " + shape("language_model.rotary_emb.cos")};
        if (id == "final_norm")
            return {shape("language_model.norm")};
        if (id == "lm_head")
            return {"logits " + shape("lm_head")};
        if (id == "sample")
            return facts.first_word.empty() ? Lines{"logits were not recorded"} : likely_words();
        if (id == "word")
            return answer();
        if (id.starts_with("text"))
            return text_layer(std::stoll(id.substr(4)));
        return picture_side(id);
    }
};

std::int64_t number(const nlohmann::json& section, const char* key)
{
    if (!section.is_object() || !section.contains(key) || !section[key].is_number_integer() ||
        section[key] < 1 || section[key] > 100000000)
        throw std::runtime_error(fmt::format("trace.json: model: {} is not a whole number above 0", key));
    return section[key].get<std::int64_t>();
}

std::vector<std::int64_t> numbers(const nlohmann::json& section, const char* key, std::int64_t end)
{
    std::vector<std::int64_t> result;
    if (section.is_object() && section.contains(key) && section[key].is_array())
        for (const auto& item : section[key])
            if (item.is_number_integer() && item >= 0 && item < end &&
                (result.empty() || item > result.back()))
                result.push_back(item.get<std::int64_t>());
    return result;
}

}  // namespace

ModelSizes sizes_of_run(const Trace& trace)
{
    const nlohmann::json model = trace.header().value("model", nlohmann::json::object());
    const nlohmann::json text = model.value("text", nlohmann::json()),
                         vision = model.value("vision", nlohmann::json());
    ModelSizes s;
    s.name = "One run";
    s.d_text = number(text, "d_model");
    s.n_text_layers = number(text, "n_layers");
    s.n_heads = number(text, "n_heads");
    s.n_kv_heads = number(text, "n_kv_heads");
    s.d_head = number(text, "d_head");
    s.d_text_mlp = number(text, "d_mlp");
    s.n_vocabulary = number(text, "n_vocabulary");
    s.cross_layers = numbers(text, "cross_attention_layers", s.n_text_layers);
    s.d_vision = number(vision, "d_model");
    s.n_local_layers = number(vision, "n_layers");
    s.n_global_layers = number(vision, "n_global_layers");
    s.n_vision_heads = number(vision, "n_heads");
    s.d_vision_mlp = number(vision, "d_mlp");
    s.tile_size = number(vision, "tile_size");
    s.patch_size = number(vision, "patch_size");
    s.max_tiles = number(vision, "max_tiles");
    s.kept_layers = numbers(vision, "kept_layers", s.n_local_layers);
    s.n_aspect_ratios =
        vision.contains("aspect_ratios") ? static_cast<std::int64_t>(vision["aspect_ratios"].size()) : 8;
    return s;
}

Raster canvas_of(const Raster& picture, const PictureGeometry& g, int most_width, int most_height)
{
    const double width = static_cast<double>(g.tile_columns * g.tile_size),
                 height = static_cast<double>(g.tile_rows * g.tile_size);
    const double zoom = std::min(most_width / width, most_height / height);
    const auto pixels = [&](double length) {
        return std::max(1, static_cast<int>(std::lround(length * zoom)));
    };
    Raster canvas(pixels(width), pixels(height), {150, 150, 150});
    const Raster shown = scale(picture, std::min(canvas.width, pixels(static_cast<double>(g.resized_width))),
                               std::min(canvas.height, pixels(static_cast<double>(g.resized_height))));
    for (int y = 0; y < shown.height; ++y)
        for (int x = 0; x < shown.width; ++x)
            canvas.at(x, y) = shown.at(x, y);
    const auto rule = [&](int x, int y, bool inner) {
        if (x >= 0 && y >= 0 && x < canvas.width && y < canvas.height)
            canvas.at(x, y) = inner ? Rgb{255, 255, 255} : Rgb{20, 20, 20};
    };
    for (std::int64_t column = 0; column <= g.tile_columns; ++column)
        for (int y = 0; y < canvas.height; ++y)
            for (int off = -2; off <= 1; ++off)
                rule(static_cast<int>(std::lround(static_cast<double>(column * g.tile_size) * zoom)) + off, y,
                     off == -1 || off == 0);
    for (std::int64_t row = 0; row <= g.tile_rows; ++row)
        for (int x = 0; x < canvas.width; ++x)
            for (int off = -2; off <= 1; ++off)
                rule(x, static_cast<int>(std::lround(static_cast<double>(row * g.tile_size) * zoom)) + off,
                     off == -1 || off == 0);
    return canvas;
}

void put_run_into(Graph& graph, const ModelSizes& sizes, const RunFacts& facts, bool slide)
{
    const RunLines lines{sizes, facts, slide};
    for (GraphNode& node : graph.nodes) {
        std::vector<LabelLine> kept{node.lines.front()};
        if (node.id == "picture" && facts.canvas.width > 0) {
            // A line of blanks as high and as wide as the picture; a blank is 0.318 of its type's size wide.
            const Box room = canvas_room(facts.canvas, slide);
            const double size = (room.height + 4) / 1.07;
            std::string blanks;
            for (double width = 0; width < room.width + 8; width += 0.318 * size)
                blanks += "\xC2\xA0";
            kept.push_back({blanks, size, false, ""});
        }
        for (const std::string& line : lines.of(node.id))
            if (!line.empty())
                kept.push_back({line, 0, false, ""});
        if (!slide && node.lines.size() > 1 && node.id.starts_with("text"))  // which layers they are
            kept.insert(kept.begin() + 1, node.lines[1]);
        for (const LabelLine& line : node.lines)
            if (!line.href.empty() && &line != &node.lines.front())
                kept.push_back(line);
        node.lines = std::move(kept);
    }
}

std::string with_canvas(const std::string& svg, const Graph& graph, const RunFacts& facts)
{
    const std::size_t group = svg.find(fmt::format("<g id=\"{}_picture\"", graph.id));
    const std::size_t end = group == std::string::npos ? group : svg.find("</g>", group);
    if (end == std::string::npos || facts.canvas.width == 0)
        return svg;
    const NodeExtent box = *node_extent(svg, graph, "picture");
    const Box room = canvas_room(facts.canvas, graph.title_size > 20);
    const Box place{(box.x0 + box.x1 - room.width) / 2, box.y0 + graph.title_size * 1.45 + 5, room.width,
                    room.height};
    // Behind the box's last part, before whatever link begins.
    const std::string image =
        fmt::format("<image x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
                    "xlink:href=\"data:image/png;base64,{}\">"
                    "<title>the picture on its tiles</title></image>\n",
                    place.x, place.y, place.width, place.height, base64(encode_png(facts.canvas)));
    return svg.substr(0, end) + image + svg.substr(end);
}

}  // namespace pictor
