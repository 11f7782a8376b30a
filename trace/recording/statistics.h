// What a trace says about every tensor, whether or not it keeps the numbers.
#pragma once

#include <cstdint>
#include <limits>

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

// Gathers statistics in one pass, number by number, so that the result does not depend on how a caller cuts
// its blocks.
class StatisticsGatherer {
public:
    void add(double value)
    {
        if (!(value - value == 0)) {  // NaN or infinite
            ++nonfinite_;
            return;
        }
        if (finite_++ == 0) {
            shift_ = min_ = max_ = value;
        }
        if (value < min_)
            min_ = value;
        if (value > max_)
            max_ = value;
        if (value == 0)
            ++zeros_;
        // Sums of differences to the first number: a large mean does not eat the digits of the deviation.
        const double difference = value - shift_;
        sum_ += difference;
        sum_of_squares_ += difference * difference;
        l2_squared_ += value * value;
    }
    TensorStatistics result() const;

private:
    std::int64_t finite_ = 0, zeros_ = 0, nonfinite_ = 0;
    double shift_ = 0, min_ = 0, max_ = 0, sum_ = 0, sum_of_squares_ = 0, l2_squared_ = 0;
};

}  // namespace pictor
