# Patches attend to patches: patch 20 of tile 0 in head 0 of layer 0, then a row of padding.
stop-at vision_attention layer 0 head 0 tile 0 patch 20 at context
# CHECK: vision encoder, layer 0, head 0, token 20 (tile 0, row 20)
tensor query[0, token, head, :]
# EQUALS: vision_model.transformer.layers.0.self_attn.q_proj[0, 0, 20, 0, :]
tensor block.scores[row, :16]
# EQUALS: vision_model.transformer.layers.0.self_attn.scores[0, 0, 20, :16]
tensor block.probs[row, :16]
# EQUALS: vision_model.transformer.layers.0.self_attn.probs[0, 0, 20, :16]
# Row 70 is padding: it sees everything but padding.
stop-at vision_attention layer 0 head 0 tile 0 patch 70 at context
tensor block.masked_scores[row, 60:76]
# CHECK: lowest
# EQUALS: vision_model.transformer.layers.0.self_attn.masked_scores[0, 0, 70, 60:76]
stop-at vision_mlp layer 0 at output
tensor activated[0, 0, 20, :8]
# EQUALS: vision_model.transformer.layers.0.mlp.activation_fn[0, 0, 20, :8]
