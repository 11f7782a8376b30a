#include "tests/fuzz/targets.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "base/image_decode.h"
#include "base/npy.h"
#include "base/safetensors.h"
#include "base/shown_text.h"
#include "reference/checkpoint/config.h"
#include "reference/checkpoint/load_tensors.h"
#include "reference/forward.h"
#include "reference/image/resize.h"
#include "reference/image/tiles.h"
#include "reference/prompt/chat_template.h"
#include "reference/prompt/tokenizer.h"
#include "tests/fuzz/well_formed.h"
#include "trace/comparing/page.h"
#include "trace/converting/tensor_source.h"
#include "trace/explaining/explain.h"
#include "trace/reading/show.h"
#include "trace/why/why.h"
#include "viz/drawing/svg.h"
#include "viz/graphs/graph.h"
#include "viz/graphs/model_sizes.h"
#include "viz/matrices/matrix.h"
#include "viz/report/report.h"

namespace pictor_fuzz {

using namespace pictor;
namespace fs = std::filesystem;

namespace {

constexpr std::int64_t most_numbers = 1 << 20;  // read of one tensor: a longer one is more of the same

// A folder in memory, for readers take paths; empty again for every input.
const fs::path& folder()
{
    static const struct Folder {
        fs::path path = (fs::exists("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path()) /
                        fmt::format("pictor-fuzz-{}", getpid());
        Folder() { fs::create_directories(path); }
        ~Folder()
        {
            std::error_code ignored;
            fs::remove_all(path, ignored);
        }
    } made;
    return made.path;
}

fs::path file(std::string_view name, std::string_view bytes)
{
    const fs::path path = folder() / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary).write(bytes.data(), std::ssize(bytes));
    return path;
}

std::vector<std::string_view> parts(std::string_view bytes, std::size_t most)
{
    std::vector<std::string_view> found;
    while (found.size() + 1 < most) {
        const std::size_t cut = bytes.find(part_mark);
        if (cut == std::string_view::npos)
            break;
        found.push_back(bytes.substr(0, cut));
        bytes.remove_prefix(cut + part_mark.size());
    }
    found.push_back(bytes);
    return found;
}

void read_all(TensorSource& source)
{
    std::int64_t left = most_numbers;
    for (const SourceTensor& tensor : source.tensors())
        if (!tensor.statistics_only && left > 0)
            source.read(
                tensor, [&](const float*, std::int64_t count) { left -= count; },
                [&](const std::int64_t*, std::int64_t count) { left -= count; });
}

void safetensors(std::string_view bytes)
{
    const fs::path path = file("model.safetensors", bytes);
    const SafetensorsFile read(path);
    for (const TensorInfo& info : read.tensors()) {
        DType dtype;
        if (parse_dtype(info.dtype, dtype) && info.count < most_numbers)
            widen(info);
    }
    read_all(*open_safetensors(path));
}

void shards(std::string_view bytes)
{
    const auto given = parts(bytes, 3);
    file("shards/model.safetensors.index.json", given[0]);
    file("shards/a.safetensors", given.size() > 1 ? given[1] : "");
    file("shards/b.safetensors", given.size() > 2 ? given[2] : "");
    open_checkpoint(folder() / "shards");
}

void inputs(std::string_view bytes)
{
    static const ModelConfig config = read_config("golden/checkpoints/base");
    read_forward_inputs(file("inputs.safetensors", bytes), config);
}

void config(std::string_view bytes)
{
    const auto given = parts(bytes, 3);
    const fs::path path = file("config/config.json", given[0]);
    fs::remove(folder() / "config" / "generation_config.json");
    fs::remove(folder() / "config" / "preprocessor_config.json");
    if (given.size() > 1)
        file("config/generation_config.json", given[1]);
    if (given.size() > 2)
        file("config/preprocessor_config.json", given[2]);
    try {
        count_parameters(read_model_sizes(path, "fuzzed"));
    } catch (const std::runtime_error&) {
    }
    describe_config(read_config(folder() / "config"));
}

void tokenize(const fs::path& path)
{
    const Tokenizer tokenizer = Tokenizer::load(path);
    const std::string_view text = "Where is the blue fish? It's 12345\n\n  \xC3\xA9 <|eot_id|>";
    for (const bool honour_special : {false, true})
        if (tokenizer.decode(tokenizer.encode(text, honour_special), false) != text)
            continue;  // a damaged vocabulary may lose text; it must not lose memory
}

void tokenizer_json(std::string_view bytes) { tokenize(file("tokenizer.json", bytes)); }
void tokenizer_model(std::string_view bytes) { tokenize(file("tokenizer.model", bytes)); }

void prompt(std::string_view bytes)
{
    static const Tokenizer tokenizer = Tokenizer::load("models/pictor/tokenizer.json");
    constexpr std::int64_t image_token = 512;
    const std::string text(bytes);
    const std::vector<std::int64_t> ids = tokenizer.encode(text, false);
    if (tokenizer.decode(ids, false) != text)
        throw std::logic_error("a text comes back as another");
    if (std::any_of(ids.begin(), ids.end(), [](std::int64_t id) { return tokenizer.is_special(id); }))
        throw std::logic_error("plain text made a special token");
    TextStream stream(tokenizer, false);
    std::string streamed;
    for (const std::int64_t id : ids)
        streamed += stream.push(id);
    if (streamed + stream.flush() != text)
        throw std::logic_error("a text streams as another");
    token_texts(tokenizer, encode_raw(tokenizer, text, image_token), image_token);
    prompt_text(tokenizer, encode_chat(tokenizer, {{"user", text, 1}}, image_token), image_token);
}

void picture(std::string_view bytes)
{
    const Image image = decode_image(file("picture", bytes));
    if (std::ssize(image.rgb) != image.height * image.width * 3)
        throw std::logic_error("a picture of another size than it says");
}

// Four bytes a side: the image's sides, the tile and how many; its bytes; then the sides to resize to.
void resize(std::string_view bytes)
{
    const auto byte = [&](std::size_t i) {
        return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0;
    };
    Image image{byte(0) + 256 * (byte(1) % 3), byte(2) + 256 * (byte(3) % 3), {}};
    image.rgb.assign(static_cast<std::size_t>(image.height * image.width * 3), 0);
    for (std::size_t i = 0; i < image.rgb.size(); ++i)
        image.rgb[i] = static_cast<std::uint8_t>(byte(8 + i % std::max<std::size_t>(1, bytes.size())));
    const Image other = resize_bilinear(image, byte(4), byte(5));
    if (std::ssize(other.rgb) != byte(4) * byte(5) * 3)
        throw std::logic_error("resized to another size");
    ImageConfig tiles{{0.5, 0.5, 0.5}, {0.25, 0.25, 0.25}};
    tiles.tile_size = byte(6);
    tiles.max_tiles = byte(7) % 8;
    const TiledImage tiled = cut_into_tiles(image, tiles);
    if (tiled.resized_height > tiled.tiles_high * tiles.tile_size ||
        tiled.resized_width > tiled.tiles_wide * tiles.tile_size)
        throw std::logic_error("an image larger than its canvas");
}

// trace.json, then what every tensor file holds.
fs::path trace_folder(std::string_view name, std::string_view index, std::string_view tensor)
{
    const fs::path path = folder() / name;
    file((path / "trace.json").lexically_relative(folder()).string(), index);
    file((path / "tensors/a.json").lexically_relative(folder()).string(), tensor);
    file((path / "tensors/b.json").lexically_relative(folder()).string(), tensor);
    return path;
}

void trace(std::string_view bytes)
{
    const auto given = parts(bytes, 2);
    const Trace read(trace_folder("trace", given[0], given.size() > 1 ? given[1] : ""));
    std::ostringstream shown;
    show_trace(shown, read, 0, true);
    for (const TraceEntry& entry : read.entries()) {
        try {
            if (entry.kept() < most_numbers)
                read.load_kept(entry);
            show_tensor(shown, read, entry.name, entry.step);
        } catch (const std::runtime_error& refused) {
            require_no_controls(terminal_text(refused.what()));
        }
    }
    require_no_controls(terminal_text(shown.str()));
}

void run(std::string_view bytes)
{
    const auto given = parts(bytes, 2);
    const Run run(trace_folder("run", given[0], given.size() > 1 ? given[1] : ""));
    ReportOptions options;
    options.layer_graphs = false;  // drawn by Graphviz, a process each
    require_whole_page(report_page(run, options));
    for (const TraceEntry& entry : run.trace().entries()) {
        try {
            require_well_formed(matrix_drawing(read_matrix(run, entry.name, entry.step), nullptr,
                                               std::string(given[0].substr(0, 50)), ""));
        } catch (const std::runtime_error&) {
        }
    }
}

void difference(std::string_view bytes)
{
    const auto given = parts(bytes, 4);
    if (given.size() < 4)
        return;
    const Trace a(trace_folder("a", given[0], given[1])), b(trace_folder("b", given[2], given[3]));
    Comparison comparison = compare_traces(a, b, {});
    comparison.explanation = std::make_shared<Explanation>(explain(comparison, a, b, {}));
    std::ostringstream words;
    print_comparison(words, comparison, a, b, {});
    require_no_controls(terminal_text(words.str()));
    comparison_json(comparison, a, b);
    require_whole_page(comparison_page(comparison, a, b, {}));
}

void why(std::string_view bytes)
{
    const auto given = parts(bytes, 3);
    const Trace read(trace_folder("why", given[0], given.size() > 1 ? given[1] : ""));
    const WhyRun run(read, nullptr);
    const std::string ask(given.size() > 2 ? given[2] : "lm_head");
    require_whole_page(answer_page(answer_why(run, parse_ask(run, ask, 0), 2), "a trace"));
}

void policy(std::string_view bytes)
{
    const Policy read(file("policy.json", bytes));
    TraceEntry entry;
    entry.name = "language_model.layers.3.cross_attn.probs";
    entry.dtype = "F32";
    read.for_tensor(entry, entry);
}

void npy(std::string_view bytes)
{
    NpyFile read(file("a.npy", bytes));
    std::vector<float> numbers(1024);
    for (std::int64_t left = most_numbers; left > 0;) {
        const std::int64_t count = read.read(numbers.data(), 1024);
        if (count == 0)
            break;
        left -= count;
    }
}

void debugger_json(std::string_view bytes) { read_all(*open_debugger_json(file("debug.json", bytes))); }

void markup(std::string_view bytes)
{
    const std::string text(bytes);
    SvgPage page(400, 300, text);
    page.text(10, 20, text, {});
    for (const std::string& line : wrap_text(text, 12, 200))
        page.text(10, 40, line, {});
    require_well_formed(page.finish());
    require_well_formed("<td title=\"" + escape_markup(text) + "\">" + graph_text(text) + "</td>");
    require_well_formed("<p>" + escape_markup(visible_text(text)) + "</p>");
    require_no_controls(terminal_text(text));
}

}  // namespace

const std::array<Target, 17> targets{{{"safetensors", safetensors},
                                      {"shards", shards},
                                      {"inputs", inputs},
                                      {"config", config},
                                      {"tokenizer-json", tokenizer_json},
                                      {"tokenizer-model", tokenizer_model},
                                      {"prompt", prompt},
                                      {"picture", picture},
                                      {"resize", resize},
                                      {"trace", trace},
                                      {"run", run},
                                      {"difference", difference},
                                      {"why", why},
                                      {"policy", policy},
                                      {"npy", npy},
                                      {"debugger-json", debugger_json},
                                      {"markup", markup}}};

const Target& find_target(std::string_view name)
{
    std::string known;
    for (const Target& target : targets) {
        if (target.name == name)
            return target;
        known += fmt::format(" {}", target.name);
    }
    throw std::runtime_error(fmt::format("no target '{}'; there are:{}", name, known));
}

bool run_target(const Target& target, std::string_view bytes)
{
    try {
        target.run(bytes);
        return false;
    } catch (const std::runtime_error&) {
        return true;
    }
}

}  // namespace pictor_fuzz
