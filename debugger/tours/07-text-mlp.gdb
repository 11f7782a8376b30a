# The MLP of layer 0, where the gate meets the other half: element by element.
stop-at mlp layer 0 at gated
# CHECK: text decoder, layer 0
tensor gate[6, :8]
# EQUALS: language_model.layers.0.mlp.gate_proj[token 6, :8]
tensor activated[6, :8]
# EQUALS: language_model.layers.0.mlp.act_fn[token 6, :8]
tensor up[6, :8]
# EQUALS: language_model.layers.0.mlp.up_proj[token 6, :8]
print $at(activated, 6, 0) * $at(up, 6, 0)
# EQUALS: language_model.layers.0.mlp.gated[token 6, 0]
stop-at mlp layer 0 at output
tensor gated[6, :8]
# EQUALS: language_model.layers.0.mlp.gated[token 6, :8]
print weights.down_proj
# CHECK: Matrix {{.*}}down_proj{{.*}} [128, 320]
