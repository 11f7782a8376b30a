#include "reference/checkpoint/inspect.h"

#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/catch.h"
#include "tests/reference/tiny_checkpoint.h"

using namespace pictor;
using nlohmann::json;
using pictor_test::f32;
using pictor_test::RawTensors;
using pictor_test::tiny_tensors;
using pictor_test::TinyCheckpoint;

TEST_CASE("inspect: the shipped model, counted")
{
    const json inspection = inspect_checkpoint("models/pictor");
    CHECK(inspection.at("complete") == true);
    const json& parameters = inspection.at("parameters");
    CHECK(parameters.at("embeddings") == (520 + 512) * 128);
    CHECK(parameters.at("projector") == 128 * 384 + 128);
    CHECK(parameters.at("total") ==
          parameters.at("vision").get<std::int64_t>() + parameters.at("projector").get<std::int64_t>() +
              parameters.at("text").get<std::int64_t>() + parameters.at("embeddings").get<std::int64_t>());
    const json& memory = inspection.at("memory");
    CHECK(memory.at("weight_bytes") == json{{"F32", 4 * parameters.at("total").get<std::int64_t>()}});
    CHECK(memory.at("file_bytes") == std::filesystem::file_size("models/pictor/model.safetensors"));
    CHECK(memory.at("kv_cache_bytes_per_token") ==
          8 * 2 * 4 * 16 * 4);  // layers, k and v, kv heads, channels, bytes
    CHECK(memory.at("image_cache_bytes") ==
          2 * 4 * 65 * 2 * 4 * 16 * 4);  // layers, tiles, patches, k and v, ...

    const std::string text = inspection_text(inspection);
    CHECK_THAT(text, ContainsSubstring("missing      none"));
    CHECK_THAT(text, ContainsSubstring(parameters.at("total").dump()));
}

TEST_CASE("inspect: an incomplete model is described, not refused")
{
    RawTensors tensors = tiny_tensors();
    tensors.erase("multi_modal_projector.bias");
    tensors["stray"] = f32({1}, {1});
    tensors["language_model.lm_head.weight"] = f32({1}, {1});
    const TinyCheckpoint checkpoint(tensors);
    const json inspection = inspect_checkpoint(checkpoint.folder.path);
    CHECK(inspection.at("complete") == false);
    CHECK(inspection.at("missing") == json{"multi_modal_projector.bias"});
    CHECK(inspection.at("unexpected") == json{"stray"});
    CHECK_THAT(inspection.at("wrong").at(0).get<std::string>(), ContainsSubstring("wanted [20, 16]"));
    CHECK_THAT(inspection_text(inspection),
               ContainsSubstring("missing      1 tensors\n  multi_modal_projector.bias\n"));
}
