# RMSNorm at the start of layer 0: the squares of the first token's row are summed.
stop-at rms_norm layer 0 at scale
# CHECK: text decoder, layer 0
tensor x[0, :16]
# EQUALS: language_model.embed_tokens[token 0, :16]
print square_sum
print square_sum / d
stop-at rms_norm layer 0 at normalised
print scale
print $at(weight, 0) * (row[0] * scale)
# EQUALS: language_model.layers.0.input_layernorm[token 0, 0]
where-am-i
# CHECK: chapter: chapters/04-rms-norm.md
