# Self-attention: what the last token of the prompt looks at, in head 0 of layer 0.
stop-at self_attention layer 0 head 0 token 16 at masked_scores
# CHECK: text decoder, layer 0, head 0, token 16
tensor query[token, head, :]
# EQUALS: language_model.layers.0.self_attn.rotated_q[16, 0, :]
tensor block.scores[row, :]
# EQUALS: language_model.layers.0.self_attn.scores[0, 16, :]
stop-at self_attention layer 0 head 0 token 16 at context
tensor block.masked_scores[row, :]
# EQUALS: language_model.layers.0.self_attn.masked_scores[0, 16, :]
tensor block.probs[row, :]
# EQUALS: language_model.layers.0.self_attn.probs[0, 16, :]
heat block.probs
print cache
where-am-i
# CHECK: chapter: chapters/06-self-attention.md
