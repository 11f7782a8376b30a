# From the last state to words: the logits after "fish", and the token that is chosen.
stop-at lm_head token "fish" at logits
tensor logits[0, :16]
# EQUALS: lm_head[token "fish", :16]
tensor hidden[0, :8]
# EQUALS: language_model.norm[token "fish", :8]
stop-at sampler
print n_vocabulary
# CHECK: $1 = 512
tensor logits[:16]
# EQUALS: lm_head[token "fish", :16]
up
tensor generated
# CHECK: " fish"
