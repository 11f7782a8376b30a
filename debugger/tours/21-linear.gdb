# The plain linear, in the last step of an MLP: row 16 is the last token of the prompt, channel 40 its output.
stop-at mlp layer 7 at output
stop-at linear row 16 out 40 at output
print weight
# CHECK: Matrix language_model.model.layers.7.mlp.down_proj.weight [128, 320]
tensor input[:8]
# EQUALS: language_model.layers.7.mlp.gated[16, :8]
tensor row_of_weight[:8]
# The products of these and of 312 more pairs are added up.
print sum
# EQUALS: language_model.layers.7.mlp[16, 40]
