# The whole model is one function, and this is its first line: token ids and images go in.
stop-at prefill
print model
# CHECK: Model  text: n_layers 10
print images
# CHECK: pixel_values [1, 4, 3, 112, 112]
tensor token_ids
# CHECK: "<|image|>"
# EQUALS: input_ids[:]
# The encoder has run, and its states have the text's width: one row for each patch of each tile.
stop-at prefill at text
print projected
# CHECK: Tensor [1, 4, 65, 128]
tensor projected[0, 0, 59, :8]
# EQUALS: multi_modal_projector[0, 0, 59, :8]
