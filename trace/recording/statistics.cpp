#include "trace/recording/statistics.h"

#include <algorithm>
#include <cmath>

namespace pictor {

TensorStatistics StatisticsGatherer::result() const
{
    TensorStatistics statistics;
    statistics.zeros = zeros_;
    statistics.nonfinite = nonfinite_;
    if (finite_ == 0)
        return statistics;
    const double count = static_cast<double>(finite_);
    statistics.min = min_;
    statistics.max = max_;
    statistics.mean = std::clamp(shift_ + sum_ / count, min_, max_);
    statistics.std = std::sqrt(std::max(0.0, (sum_of_squares_ - sum_ * sum_ / count) / count));
    statistics.l2 = std::sqrt(l2_squared_);
    return statistics;
}

}  // namespace pictor
