// How each step's number comes from its inputs, one function per kind of step.
#pragma once

#include <functional>

#include "trace/why/why.h"

namespace pictor {

using Sum = void (*)(const WhyRun& run, const Ask& ask, Answer& answer);

// nullptr: no step of this model.
Sum sum_of(const Operation& operation);

// Keeps the largest of the terms, described in words, and sums the rest. Sets total and computed.
void take_terms(Answer& answer, const std::vector<double>& values,
                const std::function<Term(std::size_t)>& describe);
// A few terms, all described already.
void take_terms(Answer& answer, std::vector<Term> terms);

// linear.cpp
void sum_linear(const WhyRun& run, const Ask& ask, Answer& answer);
void sum_patch_embedding(const WhyRun& run, const Ask& ask, Answer& answer);
void sum_logit(const WhyRun& run, const Ask& ask, Answer& answer);

// attention.cpp
void sum_score(const WhyRun& run, const Ask& ask, Answer& answer);
void sum_masked_score(const WhyRun& run, const Ask& ask, Answer& answer);
void sum_probability(const WhyRun& run, const Ask& ask, Answer& answer);
void sum_context(const WhyRun& run, const Ask& ask, Answer& answer);
void sum_attention_output(const WhyRun& run, const Ask& ask, Answer& answer);
void sum_rotated(const WhyRun& run, const Ask& ask, Answer& answer);
void sum_angle(const WhyRun& run, const Ask& ask, Answer& answer);

// stream.cpp
void sum_stream(const WhyRun& run, const Ask& ask, Answer& answer);
void sum_gated(const WhyRun& run, const Ask& ask, Answer& answer);
void sum_norm(const WhyRun& run, const Ask& ask, Answer& answer);
void sum_activation(const WhyRun& run, const Ask& ask, Answer& answer);
void sum_product(const WhyRun& run, const Ask& ask, Answer& answer);
// The branches that add up to a state, in the direction of `ask`.
std::vector<Term> stream_terms(const WhyRun& run, const Ask& ask);

// given.cpp
void sum_input(const WhyRun& run, const Ask& ask, Answer& answer);
void sum_pixel(const WhyRun& run, const Ask& ask, Answer& answer);
void sum_row_mask(const WhyRun& run, const Ask& ask, Answer& answer);
void sum_embedding(const WhyRun& run, const Ask& ask, Answer& answer);
void sum_tile_embedding(const WhyRun& run, const Ask& ask, Answer& answer);
void sum_positions(const WhyRun& run, const Ask& ask, Answer& answer);
void sum_kept_state(const WhyRun& run, const Ask& ask, Answer& answer);

// The number an ask is about; throws Untold where the trace does not hold it.
double value_of(const WhyRun& run, const Ask& ask);
// Row-major position of indices; throws Untold when they are not inside the shape.
std::int64_t position_in(const Numbers& numbers, const std::string& name,
                         const std::vector<std::int64_t>& indices);
// The one input that flows into a step.
std::string only_input(const WhyRun& run, const Ask& ask);
// 1 at the channel asked for, or the direction; `width` channels.
std::vector<double> direction_of(const Ask& ask, std::int64_t width);
// tanh of a branch's gate, by the checkpoint or else by the numbers of the trace.
double gate_of(const WhyRun& run, const Ask& ask, std::string& told_by);
// Whether a text row is silenced because it may see no image.
bool is_unseeing(const WhyRun& run, const Ask& ask);

std::string number_text(double value);  // "1.834", "-0.0061"

}  // namespace pictor
