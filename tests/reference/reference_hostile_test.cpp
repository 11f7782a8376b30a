// The program `reference` given input that is broken in every way: exit 2, a message that names the file and
// the fault.
#include <limits>

#include "base/at.h"
#include "base/safetensors.h"
#include "tests/reference/golden_inputs.h"
#include "tests/reference/reference_runs.h"

namespace fs = std::filesystem;
using namespace pictor_test;
using Json = nlohmann::json;

namespace {

RawTensors tensors_of(const fs::path& path)
{
    const pictor::SafetensorsFile file(path);
    RawTensors tensors;
    for (const pictor::TensorInfo& info : file.tensors())
        tensors[info.name] = {info.dtype, info.shape, {reinterpret_cast<const char*>(info.data), info.bytes}};
    return tensors;
}

RawTensor i64(std::vector<std::int64_t> shape, const std::vector<std::int64_t>& values)
{
    return {"I64", std::move(shape), bytes_of(values)};
}

}  // namespace

TEST_CASE("reference: broken config.json", "[command_line][hostile]")
{
    const TempFolder folder;
    const fs::path config_file = folder.path / "config.json";
    write_file(folder.path / "model.safetensors", safetensors_bytes(tiny_tensors()));
    const auto changed = [](const char* pointer, const Json& value) {
        Json config = tiny_config();
        config[Json::json_pointer(pointer)] = value;
        return config.dump();
    };
    Json without_width = tiny_config();
    without_width["text_config"].erase("hidden_size");
    const struct {
        std::string text, word;
    } cases[] = {
        {"", "not JSON"},
        {"{\"text_config\": {", "not JSON"},
        {"[]", "wanted an object"},
        {"{\"a\": 1, \"a\": 2}", "twice"},
        {"{}", "text_config"},
        {without_width.dump(), "hidden_size"},
        {changed("/text_config/hidden_size", "wide"), "hidden_size"},
        {changed("/text_config/hidden_size", -16), "hidden_size"},
        {changed("/text_config/hidden_size", 1e18), "hidden_size"},
        {changed("/text_config/num_hidden_layers", 1000000000), "num_hidden_layers"},
        {changed("/text_config/num_key_value_heads", 3), "num_key_value_heads"},
        {changed("/text_config/cross_attention_layers", {7}), "cross_attention_layers"},
        {changed("/vision_config/patch_size", 0), "patch_size"},
        {changed("/vision_config/hidden_act", "relu"), "hidden_act"},
        {std::string(100000, '['), "nests deeper"},
    };
    for (const auto& each : cases) {
        CAPTURE(each.text.substr(0, 100));
        write_file(config_file, each.text);
        for (const Arguments& arguments :
             {Arguments{"inspect"}, {"run", "--prompt", "a"}, {"preprocess", images + "tile.png"}}) {
            Arguments with_model = arguments;
            with_model.insert(with_model.end(), {"--model", folder.path.string()});
            check_refused(reference(with_model), "reference", {"config.json", each.word});
        }
    }
    fs::remove(config_file);
    check_refused(reference({"inspect", "--model", folder.path.string()}), "reference", {"config.json"});
    fs::create_directory(config_file);
    check_refused(reference({"inspect", "--model", folder.path.string()}), "reference", {"config.json"});
}

TEST_CASE("reference: broken weights", "[command_line][hostile]")
{
    const TempFolder folder;
    const fs::path weights = folder.path / "model.safetensors";
    write_file(folder.path / "config.json", tiny_config().dump());
    const std::string whole = safetensors_bytes(tiny_tensors());
    const auto one = [](const std::string& entry, std::size_t bytes) {
        return safetensors_bytes("{" + entry + "}", std::string(bytes, '\0'));
    };
    const struct {
        std::string bytes, word;
    } cases[] = {
        {"", "model.safetensors"},
        {"short", "model.safetensors"},
        {whole.substr(0, whole.size() / 2), "model.safetensors"},
        {whole.substr(0, 100), "header"},
        {std::string(8, '\xff') + whole.substr(8), "header"},
        {one(R"("a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]})", 8), "a"},
        {one(R"("a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "b": {"dtype": "F32", )"
             R"("shape": [2], "data_offsets": [4, 12]})",
             12),
         "overlap"},
        {one(R"("a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]})", 8), "a"},
        {one(R"("a": {"dtype": "F32", "shape": [4611686018427387904, 4], "data_offsets": [0, 8]})", 8), "a"},
        {one(R"("a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "a": {"dtype": "F32", )"
             R"("shape": [2], "data_offsets": [0, 8]})",
             8),
         "twice"},
        {safetensors_bytes("{broken", ""), "JSON"},
    };
    for (const auto& each : cases) {
        CAPTURE(each.bytes.substr(0, 200));
        write_file(weights, each.bytes);
        check_refused(reference({"run", "--model", folder.path.string(), "--prompt", "a"}), "reference",
                      {"model.safetensors", each.word});
        check_refused(reference({"inspect", "--model", folder.path.string()}), "reference",
                      {"model.safetensors", each.word});
    }
}

TEST_CASE("reference: weights of another shape, missing or not finite", "[command_line][hostile]")
{
    const TempFolder folder;
    const fs::path weights = folder.path / "model.safetensors";
    write_file(folder.path / "config.json", tiny_config().dump());
    const std::string norm = "language_model.model.norm.weight";
    const auto with_norm = [&](const RawTensor* tensor) {
        RawTensors tensors = tiny_tensors();
        if (tensor == nullptr)
            tensors.erase(norm);
        else
            tensors[norm] = *tensor;
        return safetensors_bytes(tensors);
    };
    std::vector<float> with_nan(16, 1.0f);
    with_nan[3] = std::numeric_limits<float>::quiet_NaN();
    const RawTensor long_norm = f32({17}, std::vector<float>(17, 1.0f)),
                    whole_numbers = i64({16}, std::vector<std::int64_t>(16, 1)),
                    nan_norm = f32({16}, with_nan);
    for (const RawTensor* tensor :
         {static_cast<const RawTensor*>(nullptr), &long_norm, &whole_numbers, &nan_norm}) {
        write_file(weights, with_norm(tensor));
        check_refused(reference({"run", "--model", folder.path.string(), "--prompt", "a"}), "reference",
                      {norm});
        const CommandResult inspected = reference({"inspect", "--model", folder.path.string()});
        CHECK(inspected.exit_code == 2);
        CHECK_THAT(inspected.out, ContainsSubstring(norm));
        CHECK_THAT(inspected.err, ContainsSubstring("reference: " + folder.path.string()));
    }
    fs::remove(weights);
    check_refused(reference({"run", "--model", folder.path.string(), "--prompt", "a"}), "reference",
                  {"model.safetensors"});
    write_file(folder.path / "model.safetensors.index.json",
               R"({"weight_map": {")" + norm + R"(": "../outside.safetensors"}})");
    check_refused(reference({"run", "--model", folder.path.string(), "--prompt", "a"}), "reference",
                  {"model.safetensors.index.json", "../outside.safetensors"});
    write_file(folder.path / "model.safetensors.index.json",
               R"({"weight_map": {")" + norm + R"(": "missing.safetensors"}})");
    check_refused(reference({"run", "--model", folder.path.string(), "--prompt", "a"}), "reference",
                  {"missing.safetensors"});
}

TEST_CASE("reference: broken tokenizer.json", "[command_line][hostile]")
{
    const TempFolder folder;
    fs::copy("models/pictor", folder.path,
             fs::copy_options::recursive | fs::copy_options::overwrite_existing);
    const fs::path file = folder.path / "tokenizer.json";
    const std::string whole = read_file(file);
    Json wordpiece = Json::parse(whole);
    wordpiece["model"]["type"] = "WordPiece";
    Json no_merges = Json::parse(whole);
    no_merges["model"].erase("merges");
    Json absurd_id = Json::parse(whole);
    absurd_id["added_tokens"][0]["id"] = 4000000000000LL;
    for (const std::string& text : {std::string(), whole.substr(0, whole.size() / 2), std::string("{}"),
                                    wordpiece.dump(), no_merges.dump(), absurd_id.dump()}) {
        CAPTURE(text.substr(0, 80));
        write_file(file, text);
        check_refused(reference({"tokenize", "--model", folder.path.string(), "a"}), "reference",
                      {"tokenizer.json"});
        check_refused(reference({"run", "--model", folder.path.string(), "--prompt", "a"}), "reference",
                      {"tokenizer.json"});
    }
    fs::remove(file);
    check_refused(reference({"tokenize", "--model", folder.path.string(), "a"}), "reference",
                  {folder.path.string(), "tokenizer"});
}

TEST_CASE("reference: a picture that is none", "[command_line][hostile]")
{
    const TempFolder folder;
    const std::string whole = read_file(images + "demo.png");
    const auto with_width = [&](std::uint32_t width) {  // big-endian, at byte 16 of a PNG
        std::string bytes = whole;
        for (int i = 0; i < 4; ++i)
            pictor::at(bytes, 16 + i) = static_cast<char>(width >> (24 - 8 * i));
        return bytes;
    };
    std::map<std::string, std::string> files{{"empty.png", ""},
                                             {"truncated.png", whole.substr(0, whole.size() / 2)},
                                             {"text.png", "Not a picture."},
                                             {"wide.png", with_width(70000)},
                                             {"huge.png", with_width(0x7fffffff)},
                                             {"none.png", with_width(0)}};
    for (const auto& [name, bytes] : files)
        write_file(folder.path / name, bytes);
    files["absent.png"] = "";
    files["folder"] = "";
    fs::create_directory(folder.path / "folder");
    for (const auto& [name, bytes] : files) {
        const std::string path = (folder.path / name).string(),
                          trace_folder = (folder.path / "trace").string();
        check_refused(reference({"preprocess", path, "--output", (folder.path / "tiles").string()}),
                      "reference", {path});
        check_refused(reference({"run", "--image", images + "tile.png", "--image", path, "--prompt", "a",
                                 "--trace", trace_folder}),
                      "reference", {path});
        CHECK_FALSE(fs::exists(trace_folder));
        CHECK_FALSE(fs::exists(folder.path / "tiles"));
    }
    CHECK(entries_of(folder.path).size() == files.size() - 1);  // absent.png is absent; nothing else came
}

TEST_CASE("reference forward: inputs that do not fit", "[command_line][hostile]")
{
    const TempFolder folder;
    const fs::path file = folder.path / "inputs.safetensors";
    const RawTensors good = tensors_of(case_inputs("1x1"));
    const std::int64_t n_tokens = good.at("input_ids").shape[0];
    RawTensor nan_pixels = good.at("pixel_values");
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(nan_pixels.bytes.data() + 400, &nan, sizeof nan);
    RawTensor small_pixels = good.at("pixel_values");
    small_pixels.shape[4] /= 2;
    small_pixels.bytes.resize(small_pixels.bytes.size() / 2);
    const auto ids_with = [&](std::int64_t id) {
        std::vector<std::int64_t> ids(static_cast<std::size_t>(n_tokens), 5);
        ids[2] = id;
        return i64({n_tokens}, ids);
    };
    std::vector<std::int64_t> mask(static_cast<std::size_t>(4 * n_tokens), 1);
    const struct {
        std::string name;
        RawTensor tensor;  // without a dtype: none of this name
        std::string word;
    } cases[] = {
        {"input_ids", {}, "input_ids"},
        {"input_ids", i64({0}, {}), "no tokens"},
        {"input_ids", ids_with(-1), "input_ids"},
        {"input_ids", ids_with(104), "input_ids"},
        {"input_ids", ids_with(std::numeric_limits<std::int64_t>::max()), "input_ids"},
        {"input_ids", f32({2}, {1, 2}), "input_ids"},
        {"input_ids", i64({1, 2}, {1, 2}), "input_ids"},
        {"pixel_values", {}, "pixel_values"},
        {"pixel_values", nan_pixels, "pixel_values"},
        {"pixel_values", small_pixels, "pixel_values"},
        {"aspect_ratio_ids", {}, "aspect_ratio_ids"},
        {"aspect_ratio_ids", i64({1}, {9}), "aspect_ratio_ids"},
        {"aspect_ratio_ids", i64({1}, {-1}), "aspect_ratio_ids"},
        {"aspect_ratio_ids", i64({2}, {1, 1}), "aspect_ratio_ids"},
        {"aspect_ratio_mask", {}, "aspect_ratio_mask"},
        {"aspect_ratio_mask", i64({1, 3}, {1, 0, 0}), "aspect_ratio_mask"},
        {"aspect_ratio_mask", i64({1, 4}, {7, 0, 0, 0}), "aspect_ratio_mask"},
        {"cross_attention_mask", i64({n_tokens, 2, 2}, mask), "cross_attention_mask"},
        {"cross_attention_mask", i64({n_tokens - 1, 1, 4}, {mask.begin() + 4, mask.end()}),
         "cross_attention_mask"},
        {"cross_attention_mask", i64({n_tokens, 1, 4}, std::vector<std::int64_t>(mask.size(), -3)),
         "cross_attention_mask"},
    };
    for (const auto& each : cases) {
        CAPTURE(each.name, each.tensor.dtype, each.tensor.shape);
        RawTensors tensors = good;
        tensors.erase(each.name);
        if (!each.tensor.dtype.empty())
            tensors[each.name] = each.tensor;
        write_file(file, safetensors_bytes(tensors));
        check_refused(reference(forward(file, {"--trace", (folder.path / "trace").string()})), "reference",
                      {each.word});
        CHECK(entries_of(folder.path) == std::set<std::string>{"inputs.safetensors"});
    }
}

TEST_CASE("reference forward: no inputs, or none that can be read", "[command_line][hostile]")
{
    const TempFolder folder;
    const fs::path file = folder.path / "inputs.safetensors";
    for (const std::string& bytes : {std::string(), read_file(case_inputs("1x1")).substr(0, 600)}) {
        write_file(file, bytes);
        check_refused(reference(forward(file, {})), "reference", {"inputs.safetensors"});
    }
    check_refused(reference(forward(folder.path / "none.safetensors", {})), "reference",
                  {"none.safetensors"});
}

TEST_CASE("reference: logits that are not finite end the run, and the trace shows where that began",
          "[command_line][hostile]")
{
    const TempFolder folder;
    RawTensors tensors = tiny_tensors();
    tensors["language_model.lm_head.weight"] = f32({20, 16}, std::vector<float>(320, 3e38f));
    write_file(folder.path / "config.json", tiny_config().dump());
    write_file(folder.path / "model.safetensors", safetensors_bytes(tensors));
    write_file(folder.path / "inputs.safetensors",
               safetensors_bytes(RawTensors{{"input_ids", i64({2}, {1, 3})}}));
    const CommandResult result =
        reference(forward(folder.path / "inputs.safetensors", {"--trace", (folder.path / "trace").string()},
                          folder.path.string()));
    check_refused(result, "reference", {"lm_head", "NaN or infinite", "trace"});
    const CommandResult shown = trace({"show", (folder.path / "trace").string(), "lm_head"});
    check_fine(shown);
    CHECK_THAT(shown.out, ContainsSubstring("NOT FINITE: 40"));
}

TEST_CASE("reference: a full disk is a message, and leaves nothing behind", "[command_line][hostile]")
{
    const TempFolder folder;
    const TalkingModel model;
    const Arguments trace_here{"--trace", (folder.path / "trace").string(), "--trace-values", "all"};
    check_refused(reference(forward(case_inputs("2x2"), trace_here), {.largest_file = 8192}), "reference",
                  {"trace", "cannot be written"});
    check_refused(reference({"preprocess", images + "demo.png", "--output", (folder.path / "tiles").string()},
                            {.largest_file = 8192}),
                  "reference", {"tiles"});
    CHECK(entries_of(folder.path).empty());

    if (!fs::exists("/dev/full")) {
        WARN("no /dev/full on this system: standard output that cannot be written is not tested");
        return;
    }
    const Surroundings full{.output = "/dev/full"};
    for (const Arguments& arguments : {Arguments{"tokenize", "a"},
                                       {"preprocess", images + "tile.png"},
                                       {"inspect"},
                                       {"--help"},
                                       talk(model, {}),
                                       forward(case_inputs("1x1"), {})}) {
        CAPTURE(arguments);
        check_refused(reference(arguments, full), "reference", {"standard output"});
    }
    check_refused(reference({"preprocess", images + "tile.png", "--output", "/dev/full"}), "reference",
                  {"/dev/full"});
}
