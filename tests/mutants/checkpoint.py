"""Faults in reading a checkpoint: names, dtypes, both styles of config."""

from mutant import Mutant

MUTANTS = [
    Mutant("embedding table as long as the vocabulary", "reference/checkpoint/weights.cpp",
           '"embed_tokens.weight", {config.n_vocabulary + 8, config.d_model}',
           '"embed_tokens.weight", {config.n_vocabulary, config.d_model}',
           refuses="embed_tokens.weight is F32", case="2x2 meta", traps=("embedding_rows",)),
    Mutant("the first tile embedding twice", "reference/checkpoint/weights.cpp",
           'finder.tensor(post_tile + "embedding.weight"', 'finder.tensor(pre_tile + "embedding.weight"',
           breaks="vision_model.post_tile_positional_embedding", case="2x2 meta"),
    Mutant("v_proj read from k_proj", "reference/checkpoint/weights.cpp", '"cross_attn.v_proj.weight"',
           '"cross_attn.k_proj.weight"', breaks="language_model.layers.1.cross_attn.v_proj", case="2x2 meta"),
    Mutant("gate_ffn read from gate_attn", "reference/checkpoint/weights.cpp",
           'finder.gate(name + "gate_ffn")', 'finder.gate(name + "gate_attn")',
           breaks="vision_model.global_transformer.layers.0.mlp.gated", case="2x2 meta"),
    Mutant("BF16 read as F16", "reference/math/linear.cpp", "row[i] = float_from_bf16(halves[i]);",
           "row[i] = float_from_f16(halves[i]);", breaks="vision_model.patch_embedding", case="bf16 meta"),
    Mutant("F16's exponent off by one", "base/small_floats.h", "(exponent + 112)", "(exponent + 113)",
           breaks="vision_model.patch_embedding", case="f16 meta"),
    Mutant("older config: RoPE scaling not read", "reference/checkpoint/config.cpp",
           'is_old = find_field(text, "rope_scaling") != nullptr;', 'is_old = false;',
           breaks="language_model.rotary_emb.cos", case="shards meta"),
    Mutant("newer config: RoPE scaling not read", "reference/checkpoint/config.cpp",
           'is_new = find_field(text, "rope_parameters") != nullptr;', 'is_new = false;',
           breaks="language_model.rotary_emb.cos", case="text_only meta"),]
