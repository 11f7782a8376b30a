# The plain linear, in the LM head: row 16 is the last token of the prompt, output 40 is the word "I".
stop-at lm_head
stop-at linear row 16 out 40 at output
print weight
# CHECK: Matrix language_model.lm_head.weight [512, 128]
tensor input[:8]
# EQUALS: language_model.norm[16, :8]
tensor row_of_weight[:8]
# The products of these and of 120 more pairs are added: the logit that chose the first word of the answer.
print sum
# EQUALS: lm_head[16, 40]
