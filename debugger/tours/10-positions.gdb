# Positions: what one gate divides between two tables. Patch 1 is the first behind the class token.
stop-at positions at sum
print weights.position_gate
print share
tensor states[0, 0, 1, :8]
# EQUALS: vision_model.pre_tile_positional_embedding[0, 0, 0, :8]
print $at(aspect_ratio_ids, 0)
# CHECK: $3 = 6
tensor weights.position_embedding[1, :8]
print $at(states, 0, 0, 1, 0) + (1 - share) * $at(weights.position_embedding, 1, 0) + share * $at(weights.tile_position_embedding, 6, 0, 96)
# EQUALS: vision_model.gated_positional_embedding[0, 0, 1, 0]
stop-at layer_norm
tensor x[0, 0, 1, :8]
# EQUALS: vision_model.gated_positional_embedding[0, 0, 1, :8]
