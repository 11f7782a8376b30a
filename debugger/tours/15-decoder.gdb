# A cross-attention layer of the decoder: the gate before the residual, on the last token of the prompt.
stop-at cross_layer layer 3 at gate
# CHECK: text decoder, layer 3
tensor attention_output[16, :8]
# EQUALS: language_model.layers.3.cross_attn.o_proj[token 16, :8]
print layer.attention_gate
stop-at cross_layer layer 3 at residual
tensor gated[16, :8]
# EQUALS: language_model.layers.3.cross_attn.gated[token 16, :8]
tensor hidden[16, :8]
# EQUALS: language_model.layers.2[token 16, :8]
# One frame up is the loop over the layers, with what earlier tokens left behind.
up
# CHECK: text_decoder
print index
# CHECK: = 3
print cache
# CHECK: KvCache of 10 layers
