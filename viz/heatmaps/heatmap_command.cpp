#include "viz/heatmaps/heatmap_command.h"

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include <fmt/format.h>

#include "base/at.h"
#include "base/shown_text.h"
#include "viz/drawing/output.h"
#include "viz/drawing/svg.h"
#include "viz/heatmaps/contact_sheet.h"
#include "viz/heatmaps/heatmap.h"
#include "viz/heatmaps/heatmap_figure.h"
#include "viz/heatmaps/terminal.h"

namespace pictor {
namespace {

// A word as part of a file name: letters, digits and bytes of other scripts stay.
std::string file_word(const std::string& word)
{
    std::string result;
    for (const char c : word) {
        const auto byte = static_cast<unsigned char>(c);
        if (std::isalnum(byte) || byte >= 0x80)
            result += c;
        else if (!result.empty() && result.back() != '-')
            result += '-';
    }
    while (!result.empty() && result.back() == '-')
        result.pop_back();
    return result.empty() ? "token" : result.substr(0, 40);
}

std::int64_t read_number(const std::string& text, const char* option, const char* wanted)
{
    std::int64_t number = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (text.empty() || problem != std::errc() || end != text.data() + text.size() || number < 0)
        throw std::runtime_error(fmt::format("{} {}: {} would be right", option, visible_text(text), wanted));
    return number;
}

std::int64_t read_layer(const std::string& text)
{
    return text.empty()
               ? -1
               : read_number(text, "--layer", "a cross-attention layer's number, vision.N or global.N");
}

HeatRequest read_request(const Run& run, const HeatmapOptions& options)
{
    HeatRequest request;
    request.layer = choose_layer(run, read_layer(options.layer));
    request.picture = options.image;
    if (options.weight != "attention" && options.weight != "values")
        throw std::runtime_error(
            fmt::format("--weight {}: attention or values would be right", options.weight));
    request.weigh_values = options.weight == "values";
    read_head(options.head, run.n_heads(request.layer), request);
    if (options.all || !options.sheet.empty())
        return request;
    request.token =
        options.token.empty() ? most_pointed_token(run, request.layer) : run.find_token(options.token);
    return request;
}

Raster open_picture(const Run& run, const HeatmapOptions& options, std::int64_t index)
{
    const auto file =
        options.picture.empty() ? run.picture_file(static_cast<std::size_t>(index)) : options.picture;
    const Raster picture = load_picture(file);
    const auto& g = at(run.pictures(), index).geometry;
    if (picture.width != g.width || picture.height != g.height)
        throw std::runtime_error(fmt::format(
            "{}: is {} x {} pixels, but the trace was made from a picture of {} x {}: not the same picture",
            file.string(), picture.width, picture.height, g.width, g.height));
    return picture;
}

std::vector<std::filesystem::path> draw_vision(const Run& run, const HeatmapOptions& options)
{
    const std::size_t comma = options.patch.find(',');
    if (comma == std::string::npos)
        throw std::runtime_error("--layer " + visible_text(options.layer) +
                                 ": needs --patch ROW,COLUMN, the patch that looks");
    const GridPlace query{read_number(options.patch.substr(0, comma), "--patch", "ROW,COLUMN"),
                          read_number(options.patch.substr(comma + 1), "--patch", "ROW,COLUMN")};
    const VisionHeat heat =
        make_vision_heat(run, options.layer, options.head, std::max<std::int64_t>(0, options.image), query);
    const auto output = options.output.empty()
                            ? beside_trace(options.trace, fmt::format("heatmap-{}-patch-{}-{}.png",
                                                                      options.layer, query.row, query.column))
                            : options.output;
    write_drawing(vision_figure(run, heat, open_picture(run, options, heat.picture),
                                {.smooth = options.smooth, .scale = 0}),
                  output, options.overwrite);
    return {output};
}

std::vector<std::filesystem::path> draw_sheets(const Run& run, const HeatmapOptions& options,
                                               const HeatRequest& request)
{
    static const std::vector<std::pair<std::string, Sheet>> sheets{
        {"heads", Sheet::heads}, {"layers", Sheet::layers}, {"answer", Sheet::answer}};
    std::vector<std::filesystem::path> files;
    for (const auto& [name, sheet] : sheets) {
        if (!options.all && options.sheet != name)
            continue;
        std::filesystem::path output =
            options.output.empty() ? beside_trace(options.trace, "sheet-" + name + ".png") : options.output;
        if (options.all && !options.output.empty())  // star.png -> star-heads.png
            output =
                (output.parent_path() / output.stem()).string() + "-" + name + output.extension().string();
        write_drawing(contact_sheet(
                          run, sheet, request,
                          [&](std::int64_t picture) { return open_picture(run, options, picture); },
                          options.smooth, options.scale == "head"),
                      output, options.overwrite);
        files.push_back(output);
    }
    if (files.empty())
        throw std::runtime_error(
            fmt::format("--sheet {}: heads, layers or answer would be right", visible_text(options.sheet)));
    return files;
}

// Options that would silently do nothing together.
void refuse_conflicts(const HeatmapOptions& options, bool in_vision)
{
    const bool sheets = options.all || !options.sheet.empty();
    if (!options.patch.empty() && !in_vision)
        throw std::runtime_error(
            "--patch: belongs to the vision encoder; with --layer vision.N or global.N it would be right");
    if (in_vision &&
        (sheets || !options.minus.empty() || !options.token.empty() || options.weight != "attention"))
        throw std::runtime_error(fmt::format(
            "--layer {}: goes with --patch, --head, --image and --smooth; sheets, --minus, --token and "
            "--weight are for cross-attention",
            visible_text(options.layer)));
    if (options.scale == "head" && !options.all && options.sheet != "heads")
        throw std::runtime_error("--scale head: goes with --sheet heads, or --all");
    if (sheets && (!options.minus.empty() || !options.token.empty()))
        throw std::runtime_error("--all and --sheet draw the whole answer; leave --minus and --token out");
    if (options.terminal && (sheets || in_vision || !options.minus.empty() || !options.output.empty()))
        throw std::runtime_error(
            "--terminal draws one map of cross-attention; sheets, --minus, --patch and --output go to files");
}

}  // namespace

std::vector<std::filesystem::path> run_heatmap(const HeatmapOptions& options)
{
    refuse_conflicts(options, options.layer.starts_with("vision.") || options.layer.starts_with("global."));
    const Run run(options.trace);
    if (options.layer.starts_with("vision.") || options.layer.starts_with("global."))
        return draw_vision(run, options);
    const HeatRequest request = read_request(run, options);
    if (options.all || !options.sheet.empty())
        return draw_sheets(run, options, request);
    const Heat heat = make_heat(run, request);
    if (options.terminal) {
        const TerminalLook look = terminal_look();
        fmt::print("{}", terminal_heatmap(run, heat, open_picture(run, options, heat.request.picture),
                                          options.smooth, look));
        return {};
    }
    const std::string ending =
        fmt::format("heatmap-layer{}-{}{}.png", request.layer,
                    options.head == "mean" ? "" : "head-" + file_word(options.head) + "-",
                    file_word(run.word_at(request.token)));
    const auto output = options.output.empty() ? beside_trace(options.trace, ending) : options.output;
    if (lower_extension(output) == ".json") {
        write_whole_file(output, heat_json(run, heat), options.overwrite);
        return {output};
    }
    const Raster picture = open_picture(run, options, heat.request.picture);
    const FigureOptions figure{.smooth = options.smooth, .scale = 0};
    if (options.minus.empty()) {
        write_drawing(heatmap_figure(run, heat, picture, figure), output, options.overwrite);
    } else {
        const Run other_run(options.minus);
        HeatRequest other_request = request;
        other_request.picture = heat.request.picture;
        const Heat other = make_heat(other_run, other_request);
        if (other.grid.size() != heat.grid.size())
            throw std::runtime_error(fmt::format("{}: its picture has another grid of patches than {}",
                                                 options.minus.string(), options.trace.string()));
        write_drawing(difference_figure(run, heat, other, picture, options.trace.filename().string(),
                                        options.minus.filename().string(), figure),
                      output, options.overwrite);
    }
    return {output};
}

}  // namespace pictor
