# A patch is 14 x 14 pixels of three colours in one row: patch 9 is the second of the second row.
stop-at patch_embedding at linear
tensor patches[0, 0, 9, :14]
# EQUALS: pixel_values[0, 0, 0, 14, 14:28]
print weights.patch_embedding
# CHECK: [96, 588]
stop-at tile_embedding
tensor states[0, 0, 9, :8]
# EQUALS: vision_model.patch_embedding[0, 0, 9, :8]
