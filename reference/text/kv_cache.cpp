#include "reference/text/kv_cache.h"

namespace pictor {

void HeadRows::append(const Tensor& rows, std::int64_t n_kv_heads)
{
    d_head = rows.shape.back() / n_kv_heads;
    require_shape("kv cache", rows, {-1, n_kv_heads * d_head});
    heads.resize(static_cast<std::size_t>(n_kv_heads));
    for (std::int64_t index = 0; index < rows.extent(0); ++index) {
        for (std::int64_t head = 0; head < n_kv_heads; ++head) {
            const float* row = rows.row(index) + head * d_head;
            std::vector<float>& list = heads[static_cast<std::size_t>(head)];
            list.insert(list.end(), row, row + d_head);
        }
    }
}

}  // namespace pictor
