# Cross-attention: the row of the word "fish" in head 2 of layer 8, before its softmax and after.
stop-at image_keys layer 8 at append
print k_norm
# The image's keys and values are made with the prompt and kept; the word "fish" comes twelve steps later.
stop-at cross_attention layer 8 head 2 token "fish"
# CHECK: text decoder, layer 8, head 2, token {{[0-9]+}} " fish"
# CHECK: block.scores(row, key) =
print kv_head
# CHECK: = 1
tensor query[token, head, :]
# EQUALS: language_model.layers.8.cross_attn.q_norm[token "fish", 2, :]
tensor image.keys[kv_head, 1, :]
# EQUALS: language_model.layers.8.cross_attn.k_norm[1, 1, :] at step 0
stop-at cross_attention layer 8 head 2 token "fish" at masked_scores
tensor block.scores[row, :8]
# EQUALS: language_model.layers.8.cross_attn.scores[2, token "fish", :8]
print mask
# CHECK: CrossAttentionMask 1 tokens x 1 image(s) x 4 tiles, 0 see nothing
stop-at cross_attention layer 8 head 2 token "fish" at context
tensor block.probs[row, :16]
# EQUALS: language_model.layers.8.cross_attn.probs[2, token "fish", :16]
heat probs row
# CHECK: token {{[0-9]+}} " fish", layer 8, head 2, over the image
# CHECK: patches {{[0-9.]+}}%, class tokens
where-am-i
# CHECK: the answer so far: {{.*}} fish
# CHECK: chapter: chapters/14-cross-attention.md
