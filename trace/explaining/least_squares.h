// One linear map y = W x for many rows, by least squares: what a linear step obeys even where its weights are
// not at hand.
#pragma once

#include <cstddef>
#include <vector>

namespace pictor {

class LeastSquares {
public:
    LeastSquares(std::size_t n_in, std::size_t n_out)
        : n_in_(n_in), n_out_(n_out), gram_(n_in * n_in), right_(n_in * n_out), used_(n_in, 1)
    {
    }

    void add(const std::vector<double>& x, const float* y);  // one row
    void solve();                                            // once, behind the last row
    std::vector<double> predict(const std::vector<double>& x) const;

private:
    std::size_t n_in_, n_out_;
    std::vector<double> gram_;   // [n_in][n_in], lower half; solve() puts its Cholesky factor there
    std::vector<double> right_;  // [n_in][n_out]; solve() puts W, transposed, there
    std::vector<char> used_;     // 0: a direction that no row takes gets no weight
};

}  // namespace pictor
