// What a checkpoint is made of: for `reference inspect`.
#pragma once

#include <filesystem>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace pictor {

// Looks at a checkpoint folder without running it, and lists what is missing or wrong instead of stopping at
// it:
//   model         the sizes, as describe_config gives them, and end_tokens
//   parameters    vision, projector, text (layers and norms), embeddings (table and LM head), total
//   memory        weight_bytes by dtype, file_bytes, kv_cache_bytes_per_token, image_cache_bytes (keys and
//   values
//                 of one picture in the cross layers)
//   missing, wrong, unexpected    lists of text
//   complete      whether the model can run: nothing missing, nothing wrong
// Throws std::runtime_error when the config or the files cannot be read at all.
nlohmann::json inspect_checkpoint(const std::filesystem::path& folder);

// The same for people: a few lines, lists in full; no newline at the end.
std::string inspection_text(const nlohmann::json& inspection);

}  // namespace pictor
