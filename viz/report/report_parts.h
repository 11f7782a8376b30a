// The parts of the report's data, each made in a file of its own. What did not fit is said in `left_out`.
#pragma once

#include <string>
#include <vector>

#include "viz/report/report.h"

namespace pictor {

struct LeftOut {
    std::vector<std::string> sentences;
    void add(const std::string& sentence) { sentences.push_back(sentence); }
};

nlohmann::ordered_json pictures_json(const Run& run, const ReportOptions& options, LeftOut& left_out);
// Cross-attention: maps over the patches for every layer, head and row.
nlohmann::ordered_json attention_json(const Run& run, const ReportOptions& options, LeftOut& left_out);
// Self-attention: shares and scores of every layer, head and row, as far as they were recorded whole.
nlohmann::ordered_json self_attention_json(const Run& run, const ReportOptions& options, LeftOut& left_out);
// tanh(gate) of the attention branch of each cross-attention layer.
nlohmann::ordered_json gates_json(const Run& run);
// The likeliest next words after each step, and the table of tensors.
nlohmann::ordered_json steps_json(const Run& run, const ReportOptions& options, LeftOut& left_out);
nlohmann::ordered_json tensors_json(const Run& run, const ReportOptions& options, LeftOut& left_out);

// One row of each tensor of two steps (the prefill, and the one that predicts the chosen word), and what each
// tensor is made from.
nlohmann::ordered_json numbers_json(const Run& run, const ReportOptions& options, std::int64_t chosen_word,
                                    LeftOut& left_out);

}  // namespace pictor
