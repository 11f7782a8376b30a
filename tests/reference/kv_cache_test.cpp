#include "reference/text/kv_cache.h"

#include "tests/catch.h"
#include "tests/reference/small_model.h"

using namespace pictor;
using pictor_test::RandomWeights;

TEST_CASE("an empty cache has no rows", "[kv_cache]")
{
    const HeadRows rows;
    CHECK(rows.empty());
    CHECK(rows.n_rows() == 0);
}

TEST_CASE("a head's rows lie side by side, in the order they came", "[kv_cache]")
{
    RandomWeights random(1);
    const Tensor first = random.tensor({5, 3, 4}), second = random.tensor({1, 3, 4});
    HeadRows rows;
    rows.append(first);
    CHECK(rows.d_head == 4);
    CHECK(rows.n_rows() == 5);
    rows.append(second);
    REQUIRE(rows.n_rows() == 6);
    for (std::int64_t head = 0; head < 3; ++head) {
        for (std::int64_t index = 0; index < 6; ++index)
            for (std::int64_t channel = 0; channel < 4; ++channel)
                CHECK(rows.row(head, index)[channel] ==
                      (index < 5 ? first(index, head, channel) : second(0, head, channel)));
        CHECK(rows.row(head, 5) == rows.row(head, 0) + 5 * 4);
    }
}

TEST_CASE("the cache refuses rows of other heads than it has", "[kv_cache]")
{
    HeadRows rows;
    CHECK_THROWS_WITH(rows.append(Tensor({2, 6})), ContainsSubstring("kv cache"));
    rows.append(Tensor({2, 3, 2}));
    CHECK_THROWS_WITH(rows.append(Tensor({2, 2, 2})), ContainsSubstring("kv cache"));
    CHECK_THROWS_WITH(rows.append(Tensor({2, 3, 4})), ContainsSubstring("kv cache"));
}
