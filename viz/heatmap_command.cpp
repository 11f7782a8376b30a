#include "viz/heatmap_command.h"

#include <stdexcept>

#include <fmt/format.h>

#include "viz/heatmap.h"
#include "viz/heatmap_figure.h"
#include "viz/output.h"

namespace pictor {
namespace {

// A word as part of a file name: letters, digits and bytes of other scripts stay.
std::string file_word(const std::string& word)
{
    std::string result;
    for (const char c : word) {
        const auto byte = static_cast<unsigned char>(c);
        if (std::isalnum(byte) || byte >= 0x80) result += c;
        else if (!result.empty() && result.back() != '-') result += '-';
    }
    while (!result.empty() && result.back() == '-') result.pop_back();
    return result.empty() ? "token" : result.substr(0, 40);
}

HeatRequest read_request(const Run& run, const HeatmapOptions& options)
{
    HeatRequest request;
    request.layer = choose_layer(run, options.layer);
    request.picture = options.image;
    if (options.weight != "attention" && options.weight != "values")
        throw std::runtime_error(fmt::format("--weight {}: attention or values would be right", options.weight));
    request.weigh_values = options.weight == "values";
    read_head(options.head, run.n_heads(request.layer), request);
    request.token = options.token.empty() ? most_pointed_token(run, request.layer) : run.find_token(options.token);
    return request;
}

Raster open_picture(const Run& run, const HeatmapOptions& options, std::int64_t index)
{
    const auto file = options.picture.empty() ? run.picture_file(static_cast<std::size_t>(index)) : options.picture;
    const Raster picture = load_picture(file);
    const auto& g = run.pictures()[static_cast<std::size_t>(index)].geometry;
    if (picture.width != g.width || picture.height != g.height)
        throw std::runtime_error(fmt::format("{}: is {} x {} pixels, but the trace was made from a picture of {} x {}: not the same picture",
                                             file.string(), picture.width, picture.height, g.width, g.height));
    return picture;
}

}  // namespace

std::vector<std::filesystem::path> run_heatmap(const HeatmapOptions& options)
{
    const Run run(options.trace);
    const HeatRequest request = read_request(run, options);
    const Heat heat = make_heat(run, request);
    const std::string ending = fmt::format("heatmap-layer{}-{}{}.png", request.layer,
                                           options.head == "mean" ? "" : "head-" + file_word(options.head) + "-", file_word(run.word_at(request.token)));
    const auto output = options.output.empty() ? beside_trace(options.trace, ending) : options.output;
    if (lower_extension(output) == ".json") {
        write_file(heat_json(run, heat), output);
        return {output};
    }
    const Raster picture = open_picture(run, options, heat.request.picture);
    const FigureOptions figure{.smooth = options.smooth, .scale = 0};
    if (options.minus.empty()) {
        write_drawing(heatmap_figure(run, heat, picture, figure), output);
    } else {
        const Run other_run(options.minus);
        HeatRequest other_request = request;
        other_request.picture = heat.request.picture;
        const Heat other = make_heat(other_run, other_request);
        if (other.grid.size() != heat.grid.size())
            throw std::runtime_error(fmt::format("{}: its picture has another grid of patches than {}", options.minus.string(), options.trace.string()));
        write_drawing(difference_figure(run, heat, other, picture, options.trace.filename().string(), options.minus.filename().string(), figure), output);
    }
    return {output};
}

}  // namespace pictor
