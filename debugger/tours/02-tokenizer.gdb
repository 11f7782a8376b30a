# From text to token ids: the question is tokenized, and the header of the answer comes next.
stop-at encode_chat at answer
# CHECK: append_header(tokenizer, "assistant", ids);
tensor ids
# CHECK: "<|begin_of_text|>"
# CHECK: "<|image|>"
# CHECK: "What"
# CHECK: "?"
# CHECK: "<|eot_id|>"
# EQUALS: input_ids[:13]
