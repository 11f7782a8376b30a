#include "reference/text/kv_cache.h"

namespace pictor {

void HeadRows::append(const Tensor& rows)
{
    require_shape("kv cache", rows,
                  {-1, heads.empty() ? -1 : std::ssize(heads), heads.empty() ? -1 : d_head});
    d_head = rows.extent(2);
    heads.resize(static_cast<std::size_t>(rows.extent(1)));
    for (std::int64_t index = 0; index < rows.extent(0); ++index) {
        for (std::int64_t head = 0; head < rows.extent(1); ++head) {
            const float* row = rows.row(index, head);
            std::vector<float>& list = at(heads, head);
            list.insert(list.end(), row, row + d_head);
        }
    }
}

}  // namespace pictor
