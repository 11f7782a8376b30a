#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/at.h"
#include "base/byte_alphabet.h"
#include "base/input_file.h"
#include "base/json_file.h"
#include "base/shown_text.h"
#include "viz/drawing/svg.h"
#include "viz/graphs/graph.h"
#include "viz/report/report_parts.h"

namespace pictor {

using Json = nlohmann::ordered_json;

std::vector<std::string> read_vocabulary(const std::filesystem::path& tokenizer)
{
    std::error_code ignored;
    if (tokenizer.empty() || !std::filesystem::exists(tokenizer, ignored))
        return {};
    const std::string text = read_whole_file(tokenizer, most_tokenizer_bytes, "a tokenizer.json");
    const nlohmann::json file = parse_json(text, tokenizer.string(), most_tokenizer_values);
    std::vector<std::string> words;
    const auto put = [&](std::int64_t id, const std::string& text) {
        if (id < 0 || id > 1000000)
            return;
        if (static_cast<std::size_t>(id) >= words.size())
            words.resize(static_cast<std::size_t>(id) + 1);
        at(words, id) = text;
    };
    if (!file.is_object() || !file.contains("model") || !file["model"].is_object() ||
        !file["model"].contains("vocab") || !file["model"]["vocab"].is_object())
        return words;
    for (const auto& [token, id] : file["model"]["vocab"].items())
        if (const auto bytes = bytes_of_token(token); bytes && id.is_number_integer())
            put(id.get<std::int64_t>(), *bytes);
    if (file.contains("added_tokens") && file["added_tokens"].is_array())
        for (const auto& token : file["added_tokens"])
            if (token.is_object() && token.contains("id") && token["id"].is_number_integer() &&
                token.contains("content") && token["content"].is_string())
                put(token["id"].get<std::int64_t>(), token["content"].get<std::string>());
    return words;
}

namespace {

// The text of a token id: as the run used it, else as the tokenizer has it, unless that belongs to another
// model.
class WordsById {
public:
    WordsById(const Run& run, const ReportOptions& options) : vocabulary_(read_vocabulary(options.tokenizer))
    {
        const nlohmann::json& header = run.trace().header();
        std::int64_t position = 0;
        for (const char* part : {"prompt", "generated"})
            if (header.contains(part) && header[part].is_object() && header[part].contains("token_ids") &&
                header[part]["token_ids"].is_array())
                for (const auto& id : header[part]["token_ids"]) {
                    if (id.is_number_integer() && position < run.n_tokens())
                        learn(id.get<std::int64_t>(), run.tokens().at(static_cast<std::size_t>(position)));
                    ++position;
                }
        if (!agrees_)
            vocabulary_.clear();
    }

    std::string text(std::int64_t id) const
    {
        const auto found = known_.find(id);
        if (found != known_.end())
            return visible_text(found->second, 60);
        const auto index = static_cast<std::size_t>(id);
        const bool named = index < vocabulary_.size() && !vocabulary_[index].empty();
        return named ? visible_text(vocabulary_[index], 60) : fmt::format("#{}", id);
    }

private:
    void learn(std::int64_t id, const std::string& text)
    {
        known_[id] = text;
        const auto index = static_cast<std::size_t>(id);
        if (id >= 0 && index < vocabulary_.size() && vocabulary_[index] != text)
            agrees_ = false;
    }

    std::vector<std::string> vocabulary_;
    std::map<std::int64_t, std::string> known_;
    bool agrees_ = true;
};

}  // namespace

// The five likeliest next words after each step's last row.
Json steps_json(const Run& run, const ReportOptions& options, LeftOut& left_out)
{
    Json result = Json::array();
    const WordsById words_by_id(run, options);
    std::int64_t without = 0;
    for (const TraceStep& step : run.trace().steps()) {
        const TraceEntry* entry = run.trace().find("lm_head", step.index);
        if (!entry || !entry->whole() || entry->shape.size() != 2 || entry->shape[0] < 1 ||
            entry->shape[1] < 1 || entry->shape[1] > 10000000) {
            ++without;
            continue;
        }
        const std::int64_t n = entry->shape[1];
        const std::vector<float> logits = run.trace().load_range(*entry, (entry->shape[0] - 1) * n, n);
        if (!std::all_of(logits.begin(), logits.end(), [](float v) { return std::isfinite(v); })) {
            ++without;
            continue;
        }
        std::vector<std::int64_t> order(logits.size());
        for (std::size_t i = 0; i < order.size(); ++i)
            order[i] = static_cast<std::int64_t>(i);
        const auto top = order.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(5, order.size()));
        std::partial_sort(order.begin(), top, order.end(),
                          [&](std::int64_t a, std::int64_t b) { return at(logits, a) > at(logits, b); });
        const double most = at(logits, order[0]);
        double sum = 0;
        for (const float logit : logits)
            sum += std::exp(logit - most);
        Json words = Json::array();
        for (auto i = order.begin(); i != top; ++i)
            words.push_back({words_by_id.text(*i), std::exp(at(logits, *i) - most) / sum, *i});
        result.push_back({{"step", step.index},
                          {"position", step.first_token + step.token_count - 1},
                          {"words", std::move(words)}});
    }
    if (without > 0)
        left_out.add(fmt::format(
            "{} steps have no next words: their lm_head is not there whole or not finite.", without));
    return result;
}

namespace {

std::string histogram(const Trace& trace, const TraceEntry& entry)
{
    constexpr int bins = 20;
    const TensorStatistics& s = entry.statistics;
    if (!(s.max > s.min))
        return "";
    std::vector<std::int64_t> counts(bins);
    for (const float value : trace.load_kept(entry))
        if (std::isfinite(value))
            ++at(counts, std::clamp(static_cast<int>((value - s.min) / (s.max - s.min) * bins), 0, bins - 1));
    const std::int64_t most = *std::max_element(counts.begin(), counts.end());
    std::string text;
    for (const std::int64_t count : counts) {
        const auto height = most > 0 ? (count * 35 + most - 1) / most : 0;
        text += static_cast<char>(height < 10 ? '0' + height : 'a' + height - 10);
    }
    return text;
}

Json number_or_null(double value)
{
    return std::isfinite(value) ? Json(std::stod(fmt::format("{:.6g}", value))) : Json(nullptr);
}

// A link to the file and line of "reference/text/rope.cpp:42"; empty where there is no such file.
std::string linked_line(const std::string& source, const std::filesystem::path& output)
{
    const std::size_t colon = source.find(':');
    const std::string file = source.substr(0, colon);
    const std::string line = colon == std::string::npos ? "" : source.substr(colon + 1);
    if (file.find("..") != std::string::npos || file.starts_with("/") || line.size() > 7 ||
        !std::all_of(line.begin(), line.end(), [](unsigned char c) { return std::isdigit(c); }))
        return "";
    const std::string link = source_link(file, output);
    return link.empty() || line.empty() ? link : link + "#L" + line;
}

}  // namespace

Json tensors_json(const Run& run, const ReportOptions& options, LeftOut& left_out)
{
    const Trace& trace = run.trace();
    const auto& entries = trace.entries();
    const std::size_t count = std::min(entries.size(), static_cast<std::size_t>(options.most_tensors));
    if (count < entries.size())
        left_out.add(fmt::format("The table ends after {} of {} tensors.", count, entries.size()));
    std::int64_t numbers_left = 8000000, without = 0;
    Json result = Json::array();
    std::map<std::string, std::string> chapters;
    Json sources = Json::object();
    for (std::size_t i = 0; i < count; ++i) {
        const TraceEntry& entry = entries[i];
        const TensorStatistics& s = entry.statistics;
        std::string bars;
        if (entry.values != TraceValues::none && entry.kept() <= 100000 && entry.kept() <= numbers_left) {
            bars = histogram(trace, entry);
            numbers_left -= entry.kept();
        } else {
            ++without;
        }
        if (!chapters.count(entry.chapter))
            chapters[entry.chapter] = chapter_link(entry.chapter, options.output);
        const std::string place = visible_text(entry.source, 120);
        if (!sources.contains(place))
            sources[place] = linked_line(entry.source, options.output);
        result.push_back({visible_text(entry.name, 200), entry.step,
                          visible_text(fmt::format("{}", fmt::join(entry.axes, " ")), 120), entry.shape,
                          visible_text(entry.dtype, 8), number_or_null(s.min), number_or_null(s.max),
                          number_or_null(s.mean), number_or_null(s.std), s.zeros, s.nonfinite, bars,
                          visible_text(entry.source, 120), visible_text(entry.chapter, 60)});
    }
    if (without > 0)
        left_out.add(fmt::format("{} tensors have no histogram: more than 100000 numbers each, or none kept.",
                                 without));
    Json links = Json::object();
    for (const auto& [chapter, link] : chapters)
        if (!link.empty())
            links[visible_text(chapter, 60)] = link;
    return {{"rows", std::move(result)}, {"chapters", std::move(links)}, {"sources", std::move(sources)}};
}

}  // namespace pictor
