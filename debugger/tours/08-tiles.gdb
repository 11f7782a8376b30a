# The image was resized onto its canvas and is cut into tiles; bytes become normalised numbers.
stop-at tiles at normalise
print grid
# CHECK: {height = 2, width = 2}
print resized
print tile_size
print (int) source[0]
stop-at tiles at done
print tiled.aspect_ratio_id
# CHECK: = 6
tensor tiled.pixel_values[0, 0, 0, :16]
# EQUALS: pixel_values[0, 0, 0, 0, :16]
heat tiled.pixel_values[3, 1, :, :]
