// What a trace and its model say about themselves, for `trace why`.
#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "base/byte_alphabet.h"
#include "base/json_file.h"
#include "trace/why/sums.h"

namespace fs = std::filesystem;
using nlohmann::json;

namespace pictor {
namespace {

constexpr std::int64_t largest_tensor = std::int64_t{1} << 27;

std::string quoted(const std::string& text)
{
    return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

void add_words(const json& header, const char* pointer, std::map<std::int64_t, std::string>& words)
{
    const json::json_pointer ids(std::string(pointer) + "/token_ids"),
        texts(std::string(pointer) + "/token_texts");
    if (!header.contains(ids) || !header.contains(texts))
        return;
    const json &id = header.at(ids), &text = header.at(texts);
    for (std::size_t i = 0; id.is_array() && text.is_array() && i < std::min(id.size(), text.size()); ++i)
        if (id[i].is_number_integer() && text[i].is_string())
            words.emplace(id[i].get<std::int64_t>(), quoted(text[i].get<std::string>()));
}

// The vocabulary of a tokenizer.json; a word that cannot be read is left out.
void add_vocabulary(const fs::path& file, std::map<std::int64_t, std::string>& words)
{
    const json tokenizer = read_json_object(file);
    const json::json_pointer vocabulary("/model/vocab");
    if (tokenizer.contains(vocabulary) && tokenizer.at(vocabulary).is_object())
        for (const auto& [token, id] : tokenizer.at(vocabulary).items())
            if (id.is_number_integer())
                if (const auto bytes = bytes_of_token(token))
                    words.emplace(id.get<std::int64_t>(), quoted(*bytes));
    for (const json& added : tokenizer.value("added_tokens", json::array()))
        if (added.is_object() && added.contains("id") && added["id"].is_number_integer() &&
            added.contains("content") && added["content"].is_string())
            words.emplace(added["id"].get<std::int64_t>(), quoted(added["content"].get<std::string>()));
}

// How far the trace's embeddings are from the checkpoint's rows, and of which token; nothing: cannot be told.
struct Misfitting {
    double most = 0;
    std::int64_t id = -1;
};

std::optional<Misfitting> embeddings_off(const Trace& trace, const ModelWeights& weights)
{
    const TraceEntry *ids = trace.find("input_ids"), *rows = trace.find("language_model.embed_tokens");
    if (!ids || !rows || !ids->whole() || !rows->whole() || rows->shape.size() != 2 ||
        ids->shape.size() != 1 || rows->shape[0] != ids->shape[0])
        return std::nullopt;
    const std::vector<float> tokens = trace.load(*ids).values;
    Misfitting off;
    for (std::size_t i = 0; i < std::min<std::size_t>(tokens.size(), 8); ++i) {
        const auto id = static_cast<std::int64_t>(tokens[i]);
        const std::vector<float> row = weights.row("language_model.embed_tokens", "weight", id);
        if (static_cast<std::int64_t>(row.size()) != rows->shape[1])
            return Misfitting{std::numeric_limits<double>::infinity(), id};
        const std::vector<float> own =
            trace.load_range(*rows, static_cast<std::int64_t>(i) * rows->shape[1], rows->shape[1]);
        for (std::size_t channel = 0; channel < own.size(); ++channel) {
            const double apart = std::fabs(static_cast<double>(own[channel]) - row[channel]);
            if (!(apart <= off.most))
                off = {apart, id};
        }
    }
    return off;
}

constexpr double same_embedding = 0.01;  // a checkpoint in BF16 may have been rounded

fs::path upwards(fs::path folder)
{
    std::error_code ignored;
    for (; !folder.empty(); folder = folder.parent_path()) {
        if (fs::exists(folder / "models" / "pictor" / "model.safetensors", ignored))
            return folder / "models" / "pictor";
        if (folder == folder.parent_path())
            break;
    }
    return {};
}

}  // namespace

WhyRun::WhyRun(const Trace& trace, const ModelWeights* weights)
    : trace_(trace), weights_(weights), facts_(read_facts(trace, trace)), places_(trace)
{
    const auto n_steps = static_cast<std::int64_t>(trace.steps().size());
    for (std::int64_t step = 0; step < n_steps; ++step)
        sides_.emplace_back(trace_, facts_, weights_, step, largest_tensor);
    add_words(trace.header(), "/prompt", words_);
    add_words(trace.header(), "/generated", words_);
}

const Side& WhyRun::side(std::int64_t step) const { return sides_.at(static_cast<std::size_t>(step)); }

Numbers WhyRun::need(const std::string& name, std::int64_t step) const
{
    const TraceEntry* const entry = trace_.find(name, step);
    if (!entry)
        throw Untold{fmt::format("{} of step {} is not in the trace", name, step)};
    if (!entry->whole())
        throw Untold{fmt::format("the trace keeps only {} of {}; record it with --trace-values all",
                                 entry->values == TraceValues::sample ? "a sample" : "the statistics", name)};
    if (entry->size() > largest_tensor)
        throw Untold{fmt::format("{} has {} numbers, too many to take apart", name, entry->size())};
    return side(step).find(name);
}

const ModelWeights& WhyRun::need_weights(const std::string& what) const
{
    if (!weights_)
        throw Untold{
            fmt::format("this takes the weights of {}: give --model DIR, the checkpoint's folder", what)};
    return *weights_;
}

std::vector<float> WhyRun::need_row(const std::string& module, const std::string& what,
                                    std::int64_t row) const
{
    std::vector<float> values = need_weights(module).row(module, what, row);
    if (values.empty())
        throw Untold{
            fmt::format("{} has no row {} of {}.{}", weights_->folder().string(), row, module, what)};
    return values;
}

std::shared_ptr<const std::vector<float>> WhyRun::need_weight(const std::string& module,
                                                              const std::string& what) const
{
    auto values = need_weights(module).find(module, what);
    if (!values)
        throw Untold{
            fmt::format("{} has no {}.{} that fits in memory", weights_->folder().string(), module, what)};
    return values;
}

std::string WhyRun::word(std::int64_t id) const
{
    if (!words_.count(id) && weights_ && !tokenizer_read_) {
        tokenizer_read_ = true;
        std::error_code ignored;
        if (const fs::path file = weights_->folder() / "tokenizer.json"; fs::is_regular_file(file, ignored))
            add_vocabulary(file, words_);
    }
    const auto found = words_.find(id);
    return found != words_.end() ? found->second : fmt::format("id {}", id);
}

fs::path shipped_model_of(const Trace& trace)
{
    std::error_code ignored;
    for (const fs::path& start : {fs::current_path(ignored), fs::read_symlink("/proc/self/exe", ignored)}) {
        const fs::path folder = upwards(start);
        if (folder.empty())
            continue;
        const auto off = embeddings_off(trace, ModelWeights(folder));
        return off && off->most <= same_embedding ? folder : fs::path{};
    }
    return {};
}

void check_model_of(const Trace& trace, const ModelWeights& weights)
{
    const auto off = embeddings_off(trace, weights);
    if (off && !(off->most <= same_embedding))
        throw std::runtime_error(
            fmt::format("{}: is not the model of {}: the embeddings of token id {} are {} apart",
                        weights.folder().string(), trace.folder().string(), off->id,
                        std::isfinite(off->most) ? fmt::format("{:.3g}", off->most) : "of other sizes,"));
}

}  // namespace pictor
