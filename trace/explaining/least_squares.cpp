#include "trace/explaining/least_squares.h"

#include <algorithm>
#include <cmath>

namespace pictor {

void LeastSquares::add(const std::vector<double>& x, const float* y)
{
    for (std::size_t i = 0; i < n_in_; ++i) {
        for (std::size_t j = 0; j <= i; ++j)
            gram_[i * n_in_ + j] += x[i] * x[j];
        for (std::size_t out = 0; out < n_out_; ++out)
            right_[i * n_out_ + out] += x[i] * y[out];
    }
}

void LeastSquares::solve()
{
    double largest = 0;
    for (std::size_t i = 0; i < n_in_; ++i)
        largest = std::max(largest, gram_[i * n_in_ + i]);
    for (std::size_t i = 0; i < n_in_; ++i) {
        for (std::size_t j = 0; j <= i; ++j) {
            double sum = gram_[i * n_in_ + j];
            for (std::size_t k = 0; k < j; ++k)
                sum -= gram_[i * n_in_ + k] * gram_[j * n_in_ + k];
            if (i == j) {
                used_[i] = sum > 1e-11 * largest;
                gram_[i * n_in_ + i] = used_[i] ? std::sqrt(sum) : 1;
            } else
                gram_[i * n_in_ + j] = used_[j] ? sum / gram_[j * n_in_ + j] : 0;
        }
        for (std::size_t out = 0; out < n_out_; ++out) {
            double sum = right_[i * n_out_ + out];
            for (std::size_t k = 0; k < i; ++k)
                sum -= gram_[i * n_in_ + k] * right_[k * n_out_ + out];
            right_[i * n_out_ + out] = used_[i] ? sum / gram_[i * n_in_ + i] : 0;
        }
    }
    for (std::size_t i = n_in_; i-- > 0;)
        for (std::size_t out = 0; out < n_out_; ++out) {
            double sum = right_[i * n_out_ + out];
            for (std::size_t k = i + 1; k < n_in_; ++k)
                sum -= gram_[k * n_in_ + i] * right_[k * n_out_ + out];
            right_[i * n_out_ + out] = used_[i] ? sum / gram_[i * n_in_ + i] : 0;
        }
}

std::vector<double> LeastSquares::predict(const std::vector<double>& x) const
{
    std::vector<double> y(n_out_);
    for (std::size_t i = 0; i < n_in_; ++i)
        for (std::size_t out = 0; out < n_out_; ++out)
            y[out] += x[i] * right_[i * n_out_ + out];
    return y;
}

}  // namespace pictor
