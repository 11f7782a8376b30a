#include "trace/comparing/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include <fmt/format.h>

#include "base/at.h"
#include "base/json_file.h"
#include "trace/comparing/align.h"
#include "trace/recording/glob.h"

using nlohmann::json;

namespace pictor {
namespace {

constexpr std::int64_t block_size = 1 << 14;

// TRAP(nan_passes): "error > tolerance" is false for NaN, and an infinite b makes any finite a look close.
// What is not equal must be proven close by finite numbers.
bool close_enough(double a, double b, const Tolerance& tolerance)
{
    if (a == b)
        return true;
    return std::isfinite(a) && std::isfinite(b) &&
           std::fabs(a - b) <= tolerance.atol + tolerance.rtol * std::fabs(b);
}

// What a mask leaves of a score: the lowest number of a dtype (-65504 in F16), or minus infinity.
bool is_masked(double value) { return value < -6e4; }

double error_between(double a, double b)
{
    if (a == b)
        return 0;
    const double error = std::fabs(a - b);
    return std::isfinite(error) ? error : std::numeric_limits<double>::infinity();
}

// Whole numbers are told apart exactly, also where a double cannot hold them.
template <typename Number>
void compare_element(std::int64_t position, Number a, Number b, TensorComparison& result)
{
    ++result.compared;
    if (a == b)
        return;
    const double x = static_cast<double>(a), y = static_cast<double>(b);
    // The lowest number is another one in each dtype; a mask is met all the same.
    if (result.rounding != "F32" && result.a->dtype != result.b->dtype && is_masked(x) && is_masked(y))
        return;
    double error = error_between(x, y);
    if (std::is_integral_v<Number> && error == 0)
        error = 1;
    if (error < 6e4)
        result.rms_error += error * error;
    if (error > result.max_error) {
        result.max_error = error;
        result.worst = {position, x, y};
    }
    const bool exact = std::is_integral_v<Number> && result.tolerance.atol == 0 && result.tolerance.rtol == 0;
    if (!exact && close_enough(x, y, result.tolerance))
        return;
    if (result.off++ == 0)
        result.first = {position, x, y};
}

// The numbers a tensor file keeps, each with its position in the whole tensor.
template <typename Number> class KeptNumbers {
public:
    KeptNumbers(const Trace& trace, const TraceEntry& entry)
        : stream_(trace.stream(entry)), block_(static_cast<std::size_t>(block_size))
    {
        if (entry.values == TraceValues::sample) {
            next_ = entry.sample.start;
            stride_ = entry.sample.stride;
        }
        refill();
    }
    bool more() const { return at_ < count_; }
    std::int64_t left() const { return count_ - at_; }
    std::int64_t position() const { return next_; }
    std::int64_t stride() const { return stride_; }
    const Number* numbers() const { return block_.data() + at_; }
    void advance(std::int64_t by)
    {
        at_ += by;
        next_ += by * stride_;
        if (at_ == count_)
            refill();
    }

private:
    void refill()
    {
        at_ = 0;
        count_ = stream_.read(block_.data(), block_size);
    }

    ValueStream stream_;
    std::vector<Number> block_;
    std::int64_t next_ = 0, stride_ = 1, at_ = 0, count_ = 0;
};

template <typename Number> void compare_numbers(const Trace& a, const Trace& b, TensorComparison& result)
{
    KeptNumbers<Number> left(a, *result.a), right(b, *result.b);
    const bool in_step = left.position() == right.position() && left.stride() == right.stride();
    while (left.more() && right.more()) {
        if (in_step) {
            const std::int64_t count = std::min(left.left(), right.left());
            const Number* x = left.numbers();
            const Number* y = right.numbers();
            for (std::int64_t i = 0; i < count; ++i)
                compare_element(left.position() + i * left.stride(), x[i], y[i], result);
            left.advance(count);
            right.advance(count);
        } else if (left.position() < right.position())
            left.advance(1);
        else if (right.position() < left.position())
            right.advance(1);
        else {
            compare_element(left.position(), *left.numbers(), *right.numbers(), result);
            left.advance(1);
            right.advance(1);
        }
    }
    // The rest of a longer file is read too: a broken file is an error wherever it breaks.
    while (left.more())
        left.advance(left.left());
    while (right.more())
        right.advance(right.left());
}

void compare_statistics(TensorComparison& result)
{
    const TensorStatistics& x = result.a->statistics;
    const TensorStatistics& y = result.b->statistics;
    result.how = "statistics";
    if (x.nonfinite != 0 || y.nonfinite != 0) {
        result.problem =
            fmt::format("only statistics, with {} and {} NaN or infinite numbers that they cannot compare",
                        x.nonfinite, y.nonfinite);
        return;
    }
    const double root = std::sqrt(static_cast<double>(result.b->size()));
    const Tolerance sum{result.tolerance.atol * root, result.tolerance.rtol};
    const auto check = [&](const char* word, double left, double right, const Tolerance& tolerance) {
        const bool both_absent = std::isnan(left) && std::isnan(right);
        if (!both_absent && word != std::string_view("l2"))
            result.max_error = std::max(result.max_error, error_between(left, right));
        if (!both_absent && !close_enough(left, right, tolerance) && result.problem.empty())
            result.problem =
                fmt::format("only statistics, and {} is {:.9g} against {:.9g}", word, left, right);
    };
    check("min", x.min, y.min, result.tolerance);
    check("max", x.max, y.max, result.tolerance);
    check("mean", x.mean, y.mean, result.tolerance);
    check("std", x.std, y.std, result.tolerance);
    check("l2", x.l2, y.l2, sum);
}

// The standard deviation of a tensor; of masked scores that of the scores, for masks are no numbers.
double spread_of(const Trace& trace, const TraceEntry& entry)
{
    const std::string leaf = "masked_scores";
    if (!entry.name.ends_with(leaf))
        return std::isfinite(entry.statistics.std) ? entry.statistics.std : 0;
    const TraceEntry* scores =
        trace.find(entry.name.substr(0, entry.name.size() - leaf.size()) + "scores", entry.step);
    return scores && std::isfinite(scores->statistics.std) ? scores->statistics.std : 0;
}

// The dtype that a run computes in: that of the first numbers it makes. What goes in says nothing of it, and
// the angles are F32 in every run.
bool is_computed(const TraceEntry& entry)
{
    return entry.dtype != "I64" && entry.name != "pixel_values" &&
           !entry.name.starts_with("language_model.rotary_emb.");
}

std::string dtype_of_run(const Trace& trace)
{
    for (const TraceEntry& entry : trace.entries())
        if (is_computed(entry))
            return entry.dtype;
    return "F32";
}

// Where a run that began in 32 bits first keeps 16; nullptr: nowhere.
const TraceEntry* falls_to_16_bits(const Trace& trace)
{
    if (dtype_of_run(trace) != "F32")
        return nullptr;
    for (const TraceEntry& entry : trace.entries())
        if (is_computed(entry) && (entry.dtype == "BF16" || entry.dtype == "F16"))
            return &entry;
    return nullptr;
}

// Other shapes that go together: a prompt padded on the left, a cache with spare room.
bool compare_aligned(const Trace& a, const Trace& b, const LeftPadding& padding, TensorComparison& result,
                     std::string& note)
{
    const std::optional<Aligned> aligned = align(result, padding);
    if (!aligned || !visit_aligned(a, b, result, *aligned, [&](std::int64_t position, float x, float y) {
            compare_element(position, x, y, result);
        }))
        return false;
    result.how = "all";
    note = aligned->note;
    return true;
}

void finish_tensor(const Trace& b, TensorComparison& result)
{
    const double deviation = spread_of(b, *result.b);
    result.relative_error = result.max_error == 0 ? 0
                            : deviation > 0       ? result.max_error / deviation
                                                  : std::numeric_limits<double>::infinity();
    result.rms_error =
        result.compared > 0 ? std::sqrt(result.rms_error / static_cast<double>(result.compared)) : 0;
    result.relative_rms = deviation > 0 ? result.rms_error / deviation : result.relative_error;
    result.same = result.off == 0 && result.problem.empty();
}

void compare_tensor(const Trace& a, const Trace& b, bool flat, const LeftPadding& padding,
                    TensorComparison& result, std::string& note)
{
    if (result.a->shape != result.b->shape && !(flat && result.a->size() == result.b->size())) {
        if (compare_aligned(a, b, padding, result, note)) {
            finish_tensor(b, result);
            return;
        }
        result.problem =
            fmt::format("shape {} against {}", shape_text(result.a->shape), shape_text(result.b->shape));
        return;
    }
    const bool no_values = result.a->values == TraceValues::none || result.b->values == TraceValues::none;
    if (!no_values) {
        if (result.a->dtype == "I64" && result.b->dtype == "I64")
            compare_numbers<std::int64_t>(a, b, result);
        else
            compare_numbers<float>(a, b, result);
        const bool all = result.a->values == TraceValues::all && result.b->values == TraceValues::all;
        result.how = all ? "all" : "sample";
    }
    if (no_values ||
        (result.compared == 0 && result.b->size() > 0))  // two samples may have no position in common
        compare_statistics(result);
    finish_tensor(b, result);
}

bool is_wanted(const TraceEntry& entry, const std::vector<std::string>& only)
{
    return only.empty() || std::any_of(only.begin(), only.end(), [&](const std::string& glob) {
               return glob_matches(glob, entry.name);
           });
}

std::string compare_generated(const Trace& a, const Trace& b)
{
    const json::json_pointer ids("/generated/token_ids");
    if (!b.header().contains(ids))
        return "";
    const json wanted = b.header().at(ids);
    const json found = a.header().contains(ids) ? a.header().at(ids) : json(nullptr);
    if (found == wanted)
        return "";
    return fmt::format("generated token ids are {}; want {}", brief_json(found), brief_json(wanted));
}

// What the rounding of 16-bit numbers may do is allowed where the runs are meant to be in 16 bits: from the
// first number that either computes, or because the caller says so.
void say_where_16_bits_begin(const Trace& a, const Trace& b, const CompareOptions& options,
                             Comparison& comparison)
{
    comparison.rounding = options.dtype.empty() ? coarser(dtype_of_run(a), dtype_of_run(b)) : options.dtype;
    if (!options.dtype.empty() || comparison.rounding != "F32")
        return;
    const TraceEntry *in_a = falls_to_16_bits(a), *in_b = falls_to_16_bits(b);
    for (std::size_t i = 0; i < comparison.tensors.size() && comparison.narrowed < 0; ++i) {
        TensorComparison& tensor = comparison.tensors[i];
        const bool by_a = tensor.a == in_a, by_b = tensor.b == in_b;
        if (!(by_a || by_b) || tensor.a->dtype == tensor.b->dtype)
            continue;
        comparison.narrowed = static_cast<std::int64_t>(i);
        tensor.problem =
            fmt::format("16-bit numbers begin here: {} keeps this in {}, and everything before it in F32 "
                        "(--dtype {} if that is meant)",
                        by_a ? "a" : "b", by_a ? in_a->dtype : in_b->dtype, by_a ? in_a->dtype : in_b->dtype);
    }
}

void pair_up(const Trace& a, const Trace& b, const CompareOptions& options, Comparison& comparison)
{
    for (const TraceEntry& entry : a.entries()) {
        if (!is_wanted(entry, options.only))
            continue;
        const TraceEntry* other = b.find(entry.name, entry.step);
        if (!other) {
            comparison.only_a.push_back(&entry);
            continue;
        }
        TensorComparison tensor;
        tensor.name = entry.name;
        tensor.step = entry.step;
        tensor.a = &entry;
        tensor.b = other;
        tensor.named_by_b = !entry.axes.empty() && entry.axes[0] == "axis0";
        comparison.tensors.push_back(tensor);
    }
    for (const TraceEntry& entry : b.entries())
        if (is_wanted(entry, options.only) && !a.find(entry.name, entry.step))
            comparison.only_b.push_back(&entry);
    std::stable_sort(
        comparison.tensors.begin(), comparison.tensors.end(),
        [](const TensorComparison& left, const TensorComparison& right) { return left.step < right.step; });
    say_where_16_bits_begin(a, b, options, comparison);
    for (TensorComparison& tensor : comparison.tensors) {
        tensor.rounding = comparison.rounding;
        tensor.tolerance =
            options.policy.for_tensor(*tensor.a, *tensor.b, {tensor.rounding, spread_of(b, *tensor.b)});
    }
    if (comparison.tensors.empty() && (options.common || comparison.only_b.empty()) &&
        (options.common || options.extra_is_fine || comparison.only_a.empty()))
        throw std::runtime_error(fmt::format("{} and {} have no tensor in common{}", a.folder().string(),
                                             b.folder().string(),
                                             options.only.empty() ? "" : " that --only matches"));
}

}  // namespace

Comparison compare_traces(const Trace& a, const Trace& b, const CompareOptions& options)
{
    Comparison comparison;
    pair_up(a, b, options, comparison);

    const auto count = static_cast<std::int64_t>(comparison.tensors.size());
    const LeftPadding padding = left_padding(a, b);
    std::vector<std::string> notes(comparison.tensors.size());
    std::string broken;
    std::int64_t broken_at = count;  // the message does not depend on which thread came first
#pragma omp parallel for schedule(dynamic)
    for (std::int64_t i = 0; i < count; ++i) {
        try {
            const auto at = static_cast<std::size_t>(i);
            compare_tensor(a, b, options.flat, padding, comparison.tensors[at], notes[at]);
        } catch (const std::exception& error) {
#pragma omp critical
            if (i < broken_at) {
                broken_at = i;
                broken = error.what();
            }
        }
    }
    if (!broken.empty())
        throw std::runtime_error(broken);

    for (std::int64_t i = count; i-- > 0;)
        if (!at(comparison.tensors, i).same)
            comparison.first_different = i;
    for (const std::string& note : notes)
        if (!note.empty() &&
            std::find(comparison.notes.begin(), comparison.notes.end(), note) == comparison.notes.end())
            comparison.notes.push_back(note);
    if (options.generated)
        comparison.generated_problem = compare_generated(a, b);
    const bool lacking = !options.common && (!comparison.only_b.empty() ||
                                             (!options.extra_is_fine && !comparison.only_a.empty()));
    comparison.same = comparison.first_different < 0 && !lacking && comparison.generated_problem.empty();
    return comparison;
}

}  // namespace pictor
