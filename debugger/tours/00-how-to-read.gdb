# The image has been read, and the text begins. This is the patch whose eight numbers you have just seen.
stop-at decoder at layers
tensor images[0, 0, 1, :8]
# EQUALS: multi_modal_projector[0, 0, 1, :8]
where-am-i
# CHECK: prefill: {{[0-9]+}} tokens of the prompt at once
# CHECK: chapter: chapters/15-decoder.md
