# RoPE: token 5 of the query is about to be turned, pair of channels by pair.
stop-at rope layer 0 token 5
# CHECK: text decoder, layer 0, head 0, token 5
tensor x[token, 0, :]
# EQUALS: language_model.layers.0.self_attn.q_proj[token 5, 0, :]
tensor angles.cos[token, :]
# EQUALS: language_model.rotary_emb.cos[token 5, :]
tensor angles.sin[token, :]
# EQUALS: language_model.rotary_emb.sin[token 5, :]
# Pair 0 is channel 0 with channel 8, half the head away.
print half
# CHECK: $1 = 8
print $at(x, token, 0, 0) * $at(angles.cos, token, 0) - $at(x, token, 0, 8) * $at(angles.sin, token, 0)
# EQUALS: language_model.layers.0.self_attn.rotated_q[token 5, 0, 0]
stop-at self_attention layer 0 head 0 token 5
tensor query[token, 0, :]
# EQUALS: language_model.layers.0.self_attn.rotated_q[token 5, 0, :]
