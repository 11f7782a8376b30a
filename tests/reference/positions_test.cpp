#include "reference/vision/positions.h"

#include "base/at.h"
#include "tests/catch.h"
#include "tests/reference/vision_in_double.h"

using namespace pictor;
using namespace pictor_test;

namespace {

struct Setup {
    RandomWeights random;
    VisionConfig config = small_vision_config();
    VisionWeights weights;
    Tensor states;
    std::vector<std::int64_t> ids{4, 0};  // the second picture is none: id 0 has rows of its own

    explicit Setup(std::uint32_t seed)
        : random(seed), weights(random_vision_weights(random, config)),
          states(random.tensor({2, config.max_tiles, config.n_patches(), config.d_model}))
    {
    }
    // tile_share, position_share: what the gates make of the tables; id_shift: a wrong start of counting.
    Rows positions_in_double(double position_share, double tile_share, std::int64_t id_shift = 0) const
    {
        Rows rows = rows_of(states);
        std::size_t row = 0;
        for (std::int64_t id : ids)
            for (std::int64_t tile = 0; tile < config.max_tiles; ++tile)
                for (std::int64_t patch = 0; patch < config.n_patches(); ++patch, ++row)
                    for (std::int64_t i = 0; i < config.d_model; ++i)
                        at(rows[row], i) += position_share * weights.position_embedding(patch, i) +
                                            tile_share * weights.tile_position_embedding(
                                                             std::max<std::int64_t>(0, id + id_shift), tile,
                                                             patch * config.d_model + i);
        return rows;
    }
    Rows tile_in_double(double share, std::int64_t id_shift = 0) const
    {
        Rows rows = rows_of(states);
        std::size_t row = 0;
        for (std::int64_t id : ids)
            for (std::int64_t tile = 0; tile < config.max_tiles; ++tile)
                for (std::int64_t patch = 0; patch < config.n_patches(); ++patch, ++row)
                    for (std::int64_t i = 0; i < config.d_model; ++i)
                        at(rows[row], i) += share * weights.pre_tile_embedding(
                                                        std::max<std::int64_t>(0, id + id_shift), tile, i);
        return rows;
    }
};

}  // namespace

TEST_CASE("the class token stands in front of every tile's patches", "[positions]")
{
    RandomWeights random(1);
    const Tensor states = random.tensor({2, 3, 4, 5}), token = random.tensor({5});
    const Tensor longer = with_class_token(states, token);
    REQUIRE(longer.shape == Shape{2, 3, 5, 5});
    for (std::int64_t image = 0; image < 2; ++image)
        for (std::int64_t tile = 0; tile < 3; ++tile) {
            CHECK(std::equal(token.values.begin(), token.values.end(), longer.row(image, tile)));
            CHECK(std::equal(states.row(image, tile), states.row(image, tile) + 20,
                             longer.row(image, tile) + 5));
        }
    CHECK_THROWS_WITH(with_class_token(states, Tensor({6})), ContainsSubstring("class embedding"));
}

TEST_CASE("tables of another size are refused", "[positions]")
{
    Setup setup(2);
    CHECK_THROWS_WITH(add_tile_embedding(setup.states, setup.ids, Tensor({6, 2, 10}), 1.0f),
                      ContainsSubstring("tile embedding"));
    VisionWeights wrong = setup.weights;
    wrong.position_embedding = Tensor({6, 10});
    CHECK_THROWS_WITH(add_positions(setup.states, setup.ids, wrong), ContainsSubstring("position embedding"));
    wrong = setup.weights;
    wrong.tile_position_embedding = Tensor({6, 3, 49});
    CHECK_THROWS_WITH(add_positions(setup.states, setup.ids, wrong),
                      ContainsSubstring("tile position embedding"));
}

TEST_CASE("TRAP gate_without_tanh: the tile embedding's gate is opened by tanh", "[trap]")
{
    const Setup setup(3);
    const float gate = -1.1f;
    const Rows right = setup.tile_in_double(std::tanh(-1.1));
    CHECK(distance(setup.tile_in_double(-1.1), right) > plainly_visible);
    CHECK(distance(add_tile_embedding(setup.states, setup.ids, setup.weights.pre_tile_embedding, gate),
                   right) < rounding);
}

TEST_CASE("TRAP one_minus_tanh: plain positions get what tile positions leave", "[trap]")
{
    const Setup setup(4);
    const double share = std::tanh(0.7);
    const Rows right = setup.positions_in_double(1 - share, share);
    CHECK(distance(setup.positions_in_double(1, share), right) > plainly_visible);
    CHECK(distance(setup.positions_in_double(1 - 0.7, 0.7), right) > plainly_visible);  // a gate without tanh
    CHECK(distance(setup.positions_in_double(share, 1 - share), right) > plainly_visible);
    CHECK(distance(add_positions(setup.states, setup.ids, setup.weights), right) < rounding);
}

TEST_CASE("TRAP aspect_id_0: ids index the tables as they are, 0 included", "[trap]")
{
    const Setup setup(5);
    const double share = std::tanh(0.7), gate = std::tanh(0.8);
    CHECK(distance(setup.positions_in_double(1 - share, share, -1),
                   setup.positions_in_double(1 - share, share)) > plainly_visible);
    CHECK(distance(setup.tile_in_double(gate, -1), setup.tile_in_double(gate)) > plainly_visible);
    CHECK(distance(add_positions(setup.states, setup.ids, setup.weights),
                   setup.positions_in_double(1 - share, share)) < rounding);
    CHECK(distance(add_tile_embedding(setup.states, setup.ids, setup.weights.pre_tile_embedding, 0.8f),
                   setup.tile_in_double(gate)) < rounding);
}
