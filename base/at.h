// Containers indexed by std::int64_t, which counts everything here; the standard ones want std::size_t.
#pragma once

#include <cassert>
#include <cstdint>
#include <iterator>

namespace pictor {

// Element `index`; the debug build checks that there is one.
template <typename Container> decltype(auto) at(Container&& container, std::int64_t index)
{
    assert(index >= 0 && index < std::ssize(container));
    return container[static_cast<std::size_t>(index)];
}

}  // namespace pictor
