// `trace why`: for one number of a trace, the inputs and weights that made it, largest terms first.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "trace/explaining/side.h"
#include "trace/reading/places.h"

namespace pictor {

// One number of a tensor; or, with a direction, what a whole row of a state weighs in it: the sum of
// direction x channel. That is how a logit is followed back through the layers.
struct Ask {
    std::string name;
    std::int64_t step = 0;
    std::vector<std::int64_t> indices;  // with a direction all but the last
    std::vector<double> direction;      // empty: one number
    std::string towards;                // "the logit of \" fish\""
};

struct Term {
    double value = 0;
    std::string text;         // where it comes from: "token 27 \" black\" through head 5"
    std::string how;          // the numbers that make it: "0.41 x 4.47"
    std::optional<Ask> next;  // the number behind it
};

struct Answer {
    Ask ask;
    double value = 0;             // as recorded
    std::string place, how;       // where the number stands, and how it is made, in words
    std::string source, chapter;  // of the step
    std::vector<Term> terms;      // the largest, largest first
    std::int64_t n_others = 0;    // terms that are summed in `others`
    double others = 0;            // their sum
    double total = 0;             // all terms together
    std::string total_is;         // empty: the number itself; else "the score", of which `computed` is made
    double computed = 0;          // the number made again from the terms
    double floor = 0;             // how far float arithmetic may take it from the recorded one
    std::string beside_title;     // what competes with it, or what else is in its norm
    std::vector<Term> beside;
    std::vector<std::string> notes;
    std::string untold;              // not empty: there are no terms, for this reason
    std::unique_ptr<Answer> behind;  // the number behind the largest term
};

// A trace with what is needed to explain its numbers.
class WhyRun {
public:
    // `weights` may be nullptr.
    WhyRun(const Trace& trace, const ModelWeights* weights);
    WhyRun(const WhyRun&) = delete;  // its sides point into it

    const Trace& trace() const { return trace_; }
    const ModelWeights* weights() const { return weights_; }
    const Places& places() const { return places_; }
    const ModelFacts& facts() const { return facts_; }
    const Side& side(std::int64_t step) const;

    // The numbers of a tensor, or a reason (Untold) why they cannot be had.
    Numbers need(const std::string& name, std::int64_t step) const;
    const ModelWeights& need_weights(const std::string& what) const;
    std::vector<float> need_row(const std::string& module, const std::string& what, std::int64_t row) const;
    std::shared_ptr<const std::vector<float>> need_weight(const std::string& module,
                                                          const std::string& what) const;
    // " fish" in quotes, by its id; "id 300" where neither the trace nor the tokenizer says.
    std::string word(std::int64_t id) const;

private:
    const Trace& trace_;
    const ModelWeights* weights_;
    ModelFacts facts_;
    Places places_;
    std::vector<Side> sides_;
    mutable std::map<std::int64_t, std::string> words_;
    mutable bool tokenizer_read_ = false;
};

// Thrown where a trace does not hold what an answer needs.
struct Untold {
    std::string text;
};

// "NAME[3, 5]". Axes that are left out or ":" stand for the largest number there; -1 is the last index.
// Or a word of the answer: the logit that chose it. Throws std::runtime_error when there is no such number.
Ask parse_ask(const WhyRun& run, const std::string& text, std::int64_t step);

// Depth 1: the number's own terms; each level more follows the largest term back.
Answer answer_why(const WhyRun& run, const Ask& ask, std::int64_t depth);

void print_answer(std::ostream& out, const Answer& answer);
nlohmann::json answer_json(const Answer& answer);
std::string answer_page(const Answer& answer, const std::string& trace);

// "language_model.norm[3, 5]", or with "towards ..." where it is a direction.
std::string ask_text(const Ask& ask);

// The folder of the shipped model when that is the model of this trace: found from the working directory and
// from the program upwards, and known by the embeddings of the prompt. Empty: it is not.
std::filesystem::path shipped_model_of(const Trace& trace);
// Throws std::runtime_error when the checkpoint is not the one that the trace was made with.
void check_model_of(const Trace& trace, const ModelWeights& weights);

}  // namespace pictor
