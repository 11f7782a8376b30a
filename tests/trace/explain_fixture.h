// A golden step in two traces, right in one and with one known mistake in the other, and what `trace diff`
// says of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/at.h"
#include "tests/catch.h"
#include "tests/trace/trace_fixture.h"
#include "trace/comparing/page.h"
#include "trace/explaining/explain.h"
#include "trace/explaining/model_weights.h"

namespace pictor_test {

using Values = std::vector<float>;
using Place = std::pair<std::string, std::int64_t>;  // a tensor and its step
using Tensors = std::map<Place, Values>;

constexpr float hidden_score = std::numeric_limits<float>::lowest();

struct GoldenStep {
    std::vector<std::string> inputs;  // what the step is computed from
    std::string golden = "golden/cases/2x2/meta";
    std::int64_t step = 0;
    Tensors both = {};                 // other numbers than the golden's, in both traces
    std::filesystem::path model = {};  // a checkpoint, for what only weights can tell
    pictor::TraceValues values = pictor::TraceValues::all;
    std::int64_t sample_above = 10;
    std::int64_t largest = pictor::ExplainOptions{}.largest;  // numbers that are computed again whole
};

inline std::string axes_of(const pictor::TraceEntry& entry)
{
    std::string axes;
    for (const std::string& axis : entry.axes)
        axes += (axes.empty() ? "" : " ") + axis;
    return axes;
}

// The named tensors of every step up to the one in question, with other numbers where `changed` has them.
inline void write_part(const std::filesystem::path& folder, const GoldenStep& part,
                       const std::vector<std::string>& names, const Tensors& changed)
{
    const pictor::Trace trace(part.golden);
    pictor::TraceOptions options;
    options.folder = folder;
    options.values = part.values;
    options.sample_above = part.sample_above;
    options.force = true;
    pictor::TraceWriter writer(options);
    for (const char* key : {"reference", "model", "prompt", "images"})
        writer.describe(key, trace.header().at(key));
    for (std::int64_t step = 0; step <= part.step; ++step) {
        const pictor::TraceStep& golden = at(trace.steps(), step);
        writer.begin_step(golden.kind, golden.first_token, golden.token_count);
        const pictor::Recorder record = writer.recorder();
        for (const pictor::TraceEntry& entry : trace.entries()) {
            if (entry.step != step || std::find(names.begin(), names.end(), entry.name) == names.end())
                continue;
            const auto found = changed.find({entry.name, step});
            const Values values = found != changed.end() ? found->second : trace.load(entry).values;
            std::vector<std::int64_t> shape = entry.shape;
            if (shape.size() == 1)  // a longer prompt
                shape[0] = static_cast<std::int64_t>(values.size());
            REQUIRE(static_cast<std::int64_t>(values.size()) == pictor::checked_size(entry.name, shape));
            if (entry.dtype == "I64")
                record.integers(entry.name, axes_of(entry),
                                std::vector<std::int64_t>(values.begin(), values.end()), shape);
            else
                record(entry.name, axes_of(entry), {values.data(), shape});
        }
    }
    writer.finish();
}

struct Compared {
    pictor::Comparison comparison;
    pictor::Explanation explanation;
    std::string page;

    const std::string& tensor(const pictor::Fault& fault) const
    {
        return at(comparison.tensors, fault.index).name;
    }
};

inline Compared compare_folders(const std::filesystem::path& left, const std::filesystem::path& right,
                                const pictor::ExplainOptions& options = {})
{
    const pictor::Trace a(left), b(right);
    Compared result;
    result.comparison = pictor::compare_traces(a, b, {});
    result.explanation = pictor::explain(result.comparison, a, b, options);
    result.comparison.explanation = std::make_shared<const pictor::Explanation>(result.explanation);
    result.page = pictor::comparison_page(result.comparison, a, b, {});
    return result;
}

inline Compared compare_parts(const GoldenStep& part, const std::string& tensor, const Values& wrong)
{
    const TemporaryFolder folder;
    std::vector<std::string> names = part.inputs;
    names.push_back(tensor);
    Tensors changed = part.both;
    write_part(folder / "b", part, names, changed);
    changed[{tensor, part.step}] = wrong;
    write_part(folder / "a", part, names, changed);
    return compare_folders(folder / "a", folder / "b", {part.model, part.largest});
}

inline Values golden_values(const std::string& name, const std::string& golden = "golden/cases/2x2/meta",
                            std::int64_t step = 0)
{
    const pictor::Trace trace(golden);
    const pictor::TraceEntry* entry = trace.find(name, step);
    INFO(golden << ": " << name << " of step " << step);
    REQUIRE(entry != nullptr);
    return trace.load(*entry).values;
}

inline Values mapped(Values values, const std::function<double(double)>& f)
{
    for (float& value : values)
        value = static_cast<float>(f(value));
    return values;
}

inline Values combined(Values x, const Values& y, const std::function<double(double, double)>& f)
{
    REQUIRE(x.size() == y.size());
    for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = static_cast<float>(f(x[i], y[i]));
    return x;
}

// Rows of `width` numbers whose channel i comes from channel from(i).
inline Values reordered(const Values& values, std::int64_t width,
                        const std::function<std::int64_t(std::int64_t)>& from)
{
    Values result = values;
    for (std::size_t i = 0; i < values.size(); ++i) {
        const auto place = static_cast<std::int64_t>(i);
        result[i] = pictor::at(values, place / width * width + from(place % width));
    }
    return result;
}

inline const std::string base_checkpoint = "golden/checkpoints/base";

// rows of x [n][d_in] by the base checkpoint's weights [d_out][d_in], of which output `out` takes row
// from(out).
inline Values by_weights(
    const std::string& module, const Values& x, std::size_t d_in,
    const std::function<std::size_t(std::size_t)>& from = [](std::size_t out) { return out; })
{
    const pictor::ModelWeights weights(base_checkpoint);
    const auto w = weights.find(module, "weight");
    REQUIRE(w != nullptr);
    Values y;
    for (std::size_t row = 0; row < x.size() / d_in; ++row)
        for (std::size_t out = 0; out < w->size() / d_in; ++out) {
            double sum = 0;
            for (std::size_t in = 0; in < d_in; ++in)
                sum += static_cast<double>(x[row * d_in + in]) * (*w)[from(out) * d_in + in];
            y.push_back(static_cast<float>(sum));
        }
    return y;
}

// "CAUSE bos_doubled: ..." -> "bos_doubled": a test cannot check another cause than the one it is named
// after.
inline std::string cause_under_test()
{
    const std::string name = Catch::getResultCapture().getCurrentTestName(), word = "CAUSE ";
    REQUIRE(name.rfind(word, 0) == 0);
    return name.substr(word.size(), name.find(':') - word.size());
}

inline void check_found(const Compared& found, const std::string& tensor)
{
    const std::string cause = cause_under_test();
    INFO(tensor << " with " << cause);
    for (const pictor::Fault& fault : found.explanation.faults)
        UNSCOPED_INFO(found.tensor(fault) << ": " << fault.text);
    REQUIRE(found.explanation.faults.size() == 1);
    const pictor::Fault& fault = found.explanation.faults[0];
    CHECK(found.tensor(fault) == tensor);
    CHECK(found.comparison.first_different == fault.index);
    REQUIRE(fault.cause == 0);
    const pictor::Cause& first = found.explanation.causes[0];
    CHECK(std::string(first.name.text()) == cause);
    CHECK(first.after <= 0.02 * first.before);
    CHECK(first.after < 1e-4);
    CHECK(found.page.find(">" + cause + "</span>") != std::string::npos);
}

// The mistake is in a; then in b, for the odd one must be told whichever of the two it is.
inline void check_cause(const GoldenStep& part, const std::string& tensor, const Values& wrong)
{
    check_found(compare_parts(part, tensor, wrong), tensor);
    GoldenStep turned = part;
    const auto own = part.both.find({tensor, part.step});
    const Values right = own != part.both.end() ? own->second : golden_values(tensor, part.golden, part.step);
    turned.both[{tensor, part.step}] = wrong;
    check_found(compare_parts(turned, tensor, right), tensor);
}

}  // namespace pictor_test
