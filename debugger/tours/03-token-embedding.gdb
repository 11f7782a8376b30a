# A token becomes a row of the embedding table: token 6, the first word of the question.
stop-at embed_tokens token 6
# CHECK: token 6 "What"
print token_ids
# CHECK: "<|image|>"
print id
tensor table[id, :16]
# EQUALS: language_model.embed_tokens[token 6, :16]
