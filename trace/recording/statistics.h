// What a trace says about every tensor, whether or not it keeps the numbers.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

namespace pictor {

// Over the whole tensor. NaN and infinities are counted in `nonfinite` and left out of everything else; where
// no finite number is left, min, max, mean and std are NaN here and null in JSON.
struct TensorStatistics {
    double min = std::numeric_limits<double>::quiet_NaN();
    double max = std::numeric_limits<double>::quiet_NaN();
    double mean = std::numeric_limits<double>::quiet_NaN();
    double std = std::numeric_limits<double>::quiet_NaN();  // population
    double l2 = 0;                                          // square root of the sum of squares
    std::int64_t zeros = 0;
    std::int64_t nonfinite = 0;
};

// The same of some of a tensor's numbers, in a form that can be joined.
struct PartialStatistics {
    std::int64_t finite = 0, zeros = 0, nonfinite = 0;
    double min = std::numeric_limits<double>::infinity();
    double max = -std::numeric_limits<double>::infinity();
    double mean = 0;
    double squared_deviations = 0;  // sum of (value - mean)^2
    double squares = 0;             // sum of value^2

    void join(const PartialStatistics& next);
};

// One number after another. Two passes: sums of squared differences to the mean keep the digits that sums of
// squares would lose beside a large mean.
PartialStatistics statistics_plain(const double* values, std::int64_t count);

// The same but for rounding, 16 numbers at a time. The sums are in double here too.
PartialStatistics statistics_fast(const float* values, std::int64_t count);

// Gathers the statistics of a tensor that comes in pieces. The tensor is cut into chunks at fixed positions,
// which threads share and which are joined in order, so the result depends neither on the caller's pieces nor
// on the number of threads, to the last bit.
class StatisticsGatherer {
public:
    static constexpr std::int64_t chunk = 4096;  // floats, 16 KB: the second pass finds them in the cache

    void add(const float* values, std::int64_t count);
    void add(const std::int64_t* values, std::int64_t count);
    TensorStatistics result() const;

private:
    PartialStatistics whole_;     // of the complete chunks
    std::vector<float> waiting_;  // the beginning of the next one
};

}  // namespace pictor
