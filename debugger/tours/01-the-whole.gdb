# The whole model is one function, and this is its first line: token ids and images go in.
stop-at prefill
print model
# CHECK: Model  text: n_layers 10
print images
# CHECK: pixel_values [1, 4, 3, 112, 112]
tensor token_ids
# CHECK: "<|image|>"
# EQUALS: input_ids[:]
