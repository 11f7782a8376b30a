# The projector: one matrix from the states of the encoder to the width of the text.
stop-at projector
tensor states[0, 0, 1, :8]
# EQUALS: vision_model[0, 0, 1, :8]
print weights
# CHECK: ProjectorWeights weight [128, 384]{{.*}}, bias [128]
stop-at decoder
tensor images[0, 0, 1, :8]
# EQUALS: multi_modal_projector[0, 0, 1, :8]
