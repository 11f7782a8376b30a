// What a person says -> the ids the model reads.
//
//   <|begin_of_text|>
//   <|start_header_id|>user<|end_header_id|>\n\n<|image|>What is this?<|eot_id|>
//   <|start_header_id|>assistant<|end_header_id|>\n\n            and the model goes on from here
//
// Follows llama_models/llama3/chat_format.py (0.3.0). transformers renders the same template as ONE text and
// encodes that: it trims each text, so spaces around it are lost there and kept here.
#include "reference/prompt/chat_template.h"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

#include "base/utf8.h"

namespace pictor {
namespace {

constexpr const char* image_name = "<|image|>";
constexpr const char* begin_name = "<|begin_of_text|>";

std::string role_name(const std::string& role)
{
    if (role == "system" || role == "user" || role == "assistant" || role == "ipython")
        return role;
    if (role == "tool")
        return "ipython";
    throw std::runtime_error(
        fmt::format("chat: unknown role '{}'; known are system, user, assistant and tool", valid_utf8(role)));
}

void append(std::vector<std::int64_t>& ids, const std::vector<std::int64_t>& more)
{
    ids.insert(ids.end(), more.begin(), more.end());
}

// TRAP(header_is_encoded_apart): the pieces are encoded one by one: a text that begins with a line break does
// not melt into the header's two.
void append_header(const Tokenizer& tokenizer, const std::string& role, std::vector<std::int64_t>& ids)
{
    ids.push_back(tokenizer.special_id("<|start_header_id|>"));
    append(ids, tokenizer.encode(role, false));
    ids.push_back(tokenizer.special_id("<|end_header_id|>"));
    append(ids, tokenizer.encode("\n\n", false));
}

// TRAP(image_token_in_system_message): a picture belongs to what the user says. Only Turn::n_images makes
// image tokens; a text that spells <|image|> stays text, and a picture in another's turn is refused.
void append_turn(const Tokenizer& tokenizer, const Turn& turn, std::int64_t image_token,
                 std::vector<std::int64_t>& ids)
{
    const std::string role = role_name(turn.role);
    if (turn.n_images < 0 || (turn.n_images > 0 && role != "user"))
        throw std::runtime_error(fmt::format("chat: {} images in a turn of {}; only the user shows pictures",
                                             turn.n_images, role));
    append_header(tokenizer, role, ids);
    ids.insert(ids.end(), static_cast<std::size_t>(turn.n_images), image_token);
    // TRAP(special_tokens_in_user_text): what a user spells must not end the turn or begin another.
    // TRAP(text_is_not_trimmed): spaces around the text stay, as in Meta's code; transformers' template trims
    // them.
    append(ids, tokenizer.encode(turn.text, false));
    ids.push_back(tokenizer.special_id("<|eot_id|>"));
}

}  // namespace

std::vector<std::int64_t> encode_chat(const Tokenizer& tokenizer, const std::vector<Turn>& turns,
                                      std::int64_t image_token)
{
    if (turns.empty())
        throw std::runtime_error("chat: nothing was said; at least one turn is needed");
    std::vector<std::int64_t> ids = {tokenizer.special_id(begin_name)};
    for (const Turn& turn : turns)
        append_turn(tokenizer, turn, image_token, ids);
    append_header(tokenizer, "assistant", ids);
    return ids;
}

std::vector<std::int64_t> encode_raw(const Tokenizer& tokenizer, std::string_view text,
                                     std::int64_t image_token)
{
    std::vector<std::int64_t> ids = tokenizer.encode(text, true);
    if (const auto own_image_id = tokenizer.find_special(image_name))
        std::replace(ids.begin(), ids.end(), *own_image_id, image_token);
    else if (text.find(image_name) != std::string_view::npos)
        throw std::runtime_error(fmt::format("prompt: the tokenizer has no special token '{}'", image_name));

    // TRAP(bos_doubled): a prompt may bring its own BOS, also behind leading images, where transformers'
    // processor puts it.
    const std::int64_t begin_of_text = tokenizer.special_id(begin_name);
    const auto first =
        std::find_if(ids.begin(), ids.end(), [&](std::int64_t id) { return id != image_token; });
    if (first == ids.end() || *first != begin_of_text)
        ids.insert(ids.begin(), begin_of_text);
    return ids;
}

std::vector<std::string> token_texts(const Tokenizer& tokenizer, const std::vector<std::int64_t>& ids,
                                     std::int64_t image_token)
{
    std::vector<std::string> texts;
    texts.reserve(ids.size());
    for (const std::int64_t id : ids)
        texts.push_back(id == image_token ? image_name : valid_utf8(tokenizer.piece(id)));
    return texts;
}

std::string prompt_text(const Tokenizer& tokenizer, const std::vector<std::int64_t>& ids,
                        std::int64_t image_token)
{
    std::string bytes;
    for (const std::int64_t id : ids)
        bytes += id == image_token ? image_name : tokenizer.piece(id);
    return valid_utf8(bytes);
}

}  // namespace pictor
