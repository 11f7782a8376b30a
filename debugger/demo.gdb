# gdb -x debugger/demo.gdb: the demo's question, and the first stop at the word "fish" in cross-attention.
source debugger/pictor.gdb
stop-at cross_attention layer 8 head 2 token "fish" at context
heat probs row
