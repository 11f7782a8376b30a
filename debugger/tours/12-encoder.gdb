# The encoder's layers: what enters layer 3 is kept for later, and global layers have gates.
stop-at vision_layer layer 3
# CHECK: vision encoder, layer 3
tensor hidden[0, 0, 1, :8]
# EQUALS: vision_model.transformer.layers.2[0, 0, 1, :8]
stop-at vision_layer global layer 1 at residual
# CHECK: vision encoder, global layer 1
print layer.gate_attn
tensor residual[0, 0, 1, :8]
# EQUALS: vision_model.global_transformer.layers.1.residual[0, 0, 1, :8]
# Kept states 0, 1, 2 are what entered layers 1, 3 and 4: the outputs of layers 0, 2 and 3.
stop-at kept_states at interleave
print n_kept
# CHECK: = 3
tensor kept[1][0, 0, 1, :8]
# EQUALS: vision_model.transformer.layers.2[0, 0, 1, :8]
