#include "trace/recording/statistics.h"

#include <algorithm>
#include <cmath>

#include "base/at.h"
#include "base/vector_widths.h"

namespace pictor {
namespace {

constexpr std::int64_t worth_threads = 16;  // chunks; with fewer, waking a thread takes longer
constexpr std::int64_t lanes = 16;          // partial results side by side, in vector registers

}  // namespace

void PartialStatistics::join(const PartialStatistics& next)
{
    zeros += next.zeros;
    nonfinite += next.nonfinite;
    if (next.finite == 0)
        return;
    const double before = static_cast<double>(finite), after = static_cast<double>(next.finite);
    const double distance = next.mean - mean, share = after / (before + after);
    mean += distance * share;
    squared_deviations += next.squared_deviations + distance * distance * before * share;
    squares += next.squares;
    finite += next.finite;
    min = std::min(min, next.min);
    max = std::max(max, next.max);
}

PartialStatistics statistics_plain(const double* values, std::int64_t count)
{
    PartialStatistics part;
    double sum = 0;
    for (std::int64_t i = 0; i < count; ++i) {
        if (!std::isfinite(values[i])) {
            ++part.nonfinite;
            continue;
        }
        ++part.finite;
        part.zeros += values[i] == 0;
        part.min = std::min(part.min, values[i]);
        part.max = std::max(part.max, values[i]);
        sum += values[i];
    }
    if (part.finite == 0)
        return part;
    part.mean = sum / static_cast<double>(part.finite);
    for (std::int64_t i = 0; i < count; ++i) {
        if (!std::isfinite(values[i]))
            continue;
        const double deviation = values[i] - part.mean;
        part.squared_deviations += deviation * deviation;
        part.squares += values[i] * values[i];
    }
    return part;
}

PICTOR_VECTOR_WIDTHS
PartialStatistics statistics_fast(const float* values, std::int64_t count)
{
    const std::int64_t n_whole = count / lanes * lanes;  // the last few numbers take the first lanes
    float lowest[lanes], highest[lanes];
    std::fill_n(lowest, lanes, HUGE_VALF);
    std::fill_n(highest, lanes, -HUGE_VALF);
    std::int32_t zeros[lanes] = {};
    double sums[lanes] = {};
    const auto take = [&](std::int64_t lane, float value) {
        lowest[lane] = value < lowest[lane] ? value : lowest[lane];
        highest[lane] = value > highest[lane] ? value : highest[lane];
        zeros[lane] += value == 0 ? 1 : 0;
        sums[lane] += static_cast<double>(value);
    };
    for (std::int64_t i = 0; i < n_whole; i += lanes)
        for (std::int64_t lane = 0; lane < lanes; ++lane)
            take(lane, values[i + lane]);
    for (std::int64_t i = n_whole; i < count; ++i)
        take(i - n_whole, values[i]);

    PartialStatistics part;
    double sum = 0;
    for (std::int64_t lane = 0; lane < lanes; ++lane) {
        part.zeros += zeros[lane];
        sum += sums[lane];
    }
    // No sum of floats overflows a double: this one is finite unless a NaN or an infinity is among them.
    if (count == 0 || !std::isfinite(sum)) {
        const std::vector<double> wide(values, values + count);
        return statistics_plain(wide.data(), count);
    }
    part.finite = count;
    part.mean = sum / static_cast<double>(count);
    part.min = *std::min_element(lowest, lowest + lanes);
    part.max = *std::max_element(highest, highest + lanes);

    double squared_deviations[lanes] = {};
    const auto take_deviation = [&](std::int64_t lane, float value) {
        const double deviation = static_cast<double>(value) - part.mean;
        squared_deviations[lane] += deviation * deviation;
    };
    for (std::int64_t i = 0; i < n_whole; i += lanes)
        for (std::int64_t lane = 0; lane < lanes; ++lane)
            take_deviation(lane, values[i + lane]);
    for (std::int64_t i = n_whole; i < count; ++i)
        take_deviation(i - n_whole, values[i]);
    for (const double lane : squared_deviations)
        part.squared_deviations += lane;
    // Two positive terms: nothing cancels.
    part.squares = part.squared_deviations + static_cast<double>(count) * part.mean * part.mean;
    return part;
}

void StatisticsGatherer::add(const float* values, std::int64_t count)
{
    const auto n_waiting = static_cast<std::int64_t>(waiting_.size());
    if (n_waiting > 0 || count < chunk) {
        const std::int64_t n_first = std::min(count, chunk - n_waiting);
        waiting_.insert(waiting_.end(), values, values + n_first);
        values += n_first;
        count -= n_first;
        if (n_waiting + n_first < chunk)
            return;
        whole_.join(statistics_fast(waiting_.data(), chunk));
        waiting_.clear();
    }
    const std::int64_t n_chunks = count / chunk;
    std::vector<PartialStatistics> parts(static_cast<std::size_t>(n_chunks));
#pragma omp parallel for schedule(static) if (n_chunks >= worth_threads)
    for (std::int64_t i = 0; i < n_chunks; ++i)
        at(parts, i) = statistics_fast(values + i * chunk, chunk);
    for (const PartialStatistics& part : parts)
        whole_.join(part);
    waiting_.assign(values + n_chunks * chunk, values + count);
}

void StatisticsGatherer::add(const std::int64_t* values, std::int64_t count)
{
    // Whole numbers are ids and masks, a few thousand at most: one by one, wherever a piece ends.
    for (std::int64_t i = 0; i < count; ++i) {
        const auto value = static_cast<double>(values[i]);
        whole_.join(statistics_plain(&value, 1));
    }
}

TensorStatistics StatisticsGatherer::result() const
{
    PartialStatistics all = whole_;
    all.join(statistics_fast(waiting_.data(), static_cast<std::int64_t>(waiting_.size())));
    TensorStatistics statistics;
    statistics.zeros = all.zeros;
    statistics.nonfinite = all.nonfinite;
    if (all.finite == 0)
        return statistics;
    statistics.min = all.min;
    statistics.max = all.max;
    statistics.mean = std::clamp(all.mean, all.min, all.max);
    statistics.std = std::sqrt(all.squared_deviations / static_cast<double>(all.finite));
    statistics.l2 = std::sqrt(all.squares);
    return statistics;
}

}  // namespace pictor
