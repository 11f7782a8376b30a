// Causes in tiles, patches and kept states, and those that any tensor can show.
#include <cmath>

#include "tests/trace/explain_fixture.h"

using namespace pictor_test;

namespace {

const std::string tile_step = "vision_model.pre_tile_positional_embedding",
                  patches = "vision_model.patch_embedding";
const std::string position_step = "vision_model.gated_positional_embedding";
const std::string q_proj = "vision_model.transformer.layers.0.self_attn.q_proj",
                  normed = "vision_model.transformer.layers.0.input_layernorm";
constexpr std::size_t d = 18, of_tile = 4 * d;  // numbers of a tile of 4 patches

// The tile embedding with tile t's row taken from tile from(t); -1: nothing.
Values with_tiles(const std::function<std::int64_t(std::size_t)>& from)
{
    const Values before = golden_values(patches), behind = golden_values(tile_step);
    Values values = before;
    for (std::size_t i = 0; i < values.size(); ++i) {
        const std::int64_t tile = from(i / of_tile);
        const std::size_t at =
            static_cast<std::size_t>(std::max<std::int64_t>(0, tile)) * of_tile + i % of_tile;
        values[i] += tile < 0 ? 0 : behind[at] - before[at];
    }
    return values;
}

void check_tiles(const std::function<std::int64_t(std::size_t)>& from)
{
    for (const std::string& model : {std::string(), base_checkpoint})
        check_cause({.inputs = {"aspect_ratio_ids", patches}, .model = model}, tile_step, with_tiles(from));
}

std::string vision_layer(int layer) { return "vision_model.transformer.layers." + std::to_string(layer); }

std::vector<std::string> states()
{
    std::vector<std::string> names{"vision_model.layernorm_pre", "vision_model.layernorm_post",
                                   "vision_model.global_transformer.layers.1"};
    for (int layer = 0; layer < 5; ++layer)
        names.push_back(vision_layer(layer));
    return names;
}

// The joined states, [4 tiles][5 patches][4 x 18]: the final one, then three kept ones.
Values joined(const std::vector<std::string>& kept)
{
    const Values last = golden_values("vision_model.global_transformer.layers.1");  // 8 rows per tile
    Values values;
    for (std::size_t row = 0; row < 20; ++row) {
        const std::size_t from = (row / 5 * 8 + row % 5) * d;
        values.insert(values.end(), last.begin() + static_cast<std::ptrdiff_t>(from),
                      last.begin() + static_cast<std::ptrdiff_t>(from + d));
        values.resize(values.size() + 3 * d);
    }
    for (std::size_t state = 0; state < 3; ++state) {
        const Values x = golden_values(kept[state]);
        const std::size_t rows = x.size() / (4 * d);
        for (std::size_t i = 0; i < 20 * d; ++i)
            values[i / d * 4 * d + d + i % d * 3 + state] = x[(i / d / 5 * rows + i / d % 5) * d + i % d];
    }
    return values;
}

void check_kept(const std::vector<std::string>& kept)
{
    check_cause({states()}, "vision_model", joined(kept));
}

}  // namespace

TEST_CASE("CAUSE tile_embedding_missing: nothing is added to a tile", "[explain]")
{
    check_tiles([](std::size_t) { return std::int64_t{-1}; });
    check_cause({{"vision_model.layernorm_post"}}, "vision_model.post_tile_positional_embedding",
                golden_values("vision_model.layernorm_post"));
}

TEST_CASE("CAUSE tiles_reversed: tiles count from the last", "[explain]")
{
    check_tiles([](std::size_t tile) { return 3 - static_cast<std::int64_t>(tile); });
}
TEST_CASE("CAUSE tile_off_by_one: the embedding of the tile before", "[explain]")
{
    check_tiles([](std::size_t tile) { return static_cast<std::int64_t>(tile) - 1; });
}
TEST_CASE("CAUSE first_tile_everywhere: every tile takes the first one's", "[explain]")
{
    check_tiles([](std::size_t) { return std::int64_t{0}; });
}

TEST_CASE("CAUSE tiles_high_before_wide: (w, h) where (h, w) belongs", "[explain]")
{
    check_tiles([](std::size_t tile) { return static_cast<std::int64_t>(tile % 2 * 2 + tile / 2); });
    const auto columns = [](std::int64_t width) {
        return [=](std::int64_t i) { return (i / width % 2 * 2 + i / width / 2) * width + i % width; };
    };
    check_cause({{"aspect_ratio_ids"}}, "pixel_values",
                reordered(golden_values("pixel_values"), 4 * 588, columns(588)));
    check_cause({{normed}}, q_proj, reordered(golden_values(q_proj), 4 * 8 * 18, columns(8 * 18)));
    check_cause({.inputs = {}, .both = {{{"aspect_ratio_ids", 0}, {4}}}}, "aspect_ratio_ids",
                {8});  // 1 x 4 and 4 x 1
}

TEST_CASE("CAUSE rows_and_columns_swapped: pixels or patches run down before across", "[explain]")
{
    check_cause({{}}, "pixel_values", reordered(golden_values("pixel_values"), 14 * 14, [](auto i) {
                    return i % 14 * 14 + i / 14;
                }));
    check_cause({{"pixel_values"}}, patches, reordered(golden_values(patches), 4 * 18, [](auto i) {
                    return (i / 18 % 2 * 2 + i / 36) * 18 + i % 18;
                }));
}

TEST_CASE("CAUSE one_minus_tanh: the plain positions get the whole of theirs", "[explain]")
{
    const pictor::ModelWeights weights(base_checkpoint);
    const double share = std::tanh(weights.find(position_step, "gate")->at(0));
    const auto plain = weights.find(position_step, "embedding");  // [5 patches x 18]
    Values wrong = golden_values(position_step);
    for (std::size_t i = 0; i < wrong.size(); ++i)
        wrong[i] = static_cast<float>(wrong[i] + share * plain->at(i % 90));
    for (const std::string& model : {std::string(), base_checkpoint})
        check_cause({.inputs = {"aspect_ratio_ids", tile_step}, .model = model}, position_step, wrong);
}

TEST_CASE("CAUSE kept_states_off_by_one: outputs for inputs, or one layer further", "[explain]")
{
    check_kept({vision_layer(1), vision_layer(2), vision_layer(4)});
    check_kept({"vision_model.layernorm_pre", vision_layer(0), vision_layer(2)});
}

TEST_CASE("CAUSE kept_states_all_final: one state several times over", "[explain]")
{
    for (const std::string& state : {vision_layer(4), std::string("vision_model.layernorm_post"),
                                     std::string("vision_model.global_transformer.layers.1")})
        check_kept({state, state, state});
}

TEST_CASE("CAUSE interleaved_concat: kept states one behind the other, or in reverse", "[explain]")
{
    check_cause({states()}, "vision_model", reordered(golden_values("vision_model"), 72, [](auto i) {
                    return i < 18 ? i : 18 + (i - 18) % 18 * 3 + (i - 18) / 18;
                }));
    check_cause({states()}, "vision_model", reordered(golden_values("vision_model"), 72, [](auto i) {
                    return i < 18 ? i : 18 + (i - 18) / 3 * 3 + 2 - (i - 18) % 3;
                }));
}

TEST_CASE("CAUSE final_state_last: the kept states stand in front of it", "[explain]")
{
    check_cause({states()}, "vision_model", reordered(golden_values("vision_model"), 72, [](auto i) {
                    return i < 54 ? i + 18 : i - 54;
                }));
}

TEST_CASE("CAUSE factor: a constant multiple", "[explain]")
{
    check_cause({{normed}}, q_proj, mapped(golden_values(q_proj), [](double x) { return 1.5 * x; }));
}

TEST_CASE("CAUSE zero: nothing comes out", "[explain]")
{
    check_cause({{normed}}, q_proj, mapped(golden_values(q_proj), [](double) { return 0.0; }));
}

TEST_CASE("CAUSE step_skipped: the input comes out", "[explain]")
{
    const std::string attention = "language_model.layers.0.self_attn.";
    check_cause({{attention + "context"}}, attention + "o_proj", golden_values(attention + "context"));
}

TEST_CASE("CAUSE layers_shifted: another layer's numbers or weights", "[explain]")
{
    std::vector<std::string> names = states();
    names.push_back(vision_layer(1) + ".residual");
    check_found(compare_parts({names}, vision_layer(1), golden_values(vision_layer(2))), vision_layer(1));
    const std::string module = "vision_model.transformer.layers.1.self_attn.q_proj",
                      own = "vision_model.transformer.layers.1.input_layernorm";
    for (const char* other : {"0", "2"})
        check_cause({.inputs = {own}, .model = base_checkpoint}, module,
                    by_weights("vision_model.transformer.layers." + std::string(other) + ".self_attn.q_proj",
                               golden_values(own), 18));
}
