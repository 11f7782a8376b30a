"""Parameters, memory and arithmetic of a model by its sizes alone: what the chapter on the real model is
computed from."""


def own_sizes(config):
    """Sizes of a checkpoint by the names that the presets use."""
    text, vision = config["text_config"], config["vision_config"]
    side = vision["image_size"] // vision["patch_size"]
    return {
        "d_text": text["hidden_size"],
        "n_text_layers": text["num_hidden_layers"],
        "n_heads": text["num_attention_heads"],
        "n_kv_heads": text["num_key_value_heads"],
        "d_head": text["hidden_size"] // text["num_attention_heads"],
        "d_text_mlp": text["intermediate_size"],
        "n_vocabulary": text["vocab_size"],
        "cross_layers": text["cross_attention_layers"],
        "d_vision": vision["hidden_size"],
        "n_local_layers": vision["num_hidden_layers"],
        "n_global_layers": vision["num_global_layers"],
        "d_vision_mlp": vision["intermediate_size"],
        "patch_size": vision["patch_size"],
        "max_tiles": vision["max_num_tiles"],
        "n_aspect_ratios": len(vision["supported_aspect_ratios"]),
        "n_patches": side * side + 1,
        "n_keys": vision["max_num_tiles"] * (side * side + 1),
        "d_vision_output": vision["vision_output_dim"],
    }


def parameters(s):
    """How many parameters each part has; `total` is all of them."""
    d, ids = s["d_vision"], s["n_aspect_ratios"] + 1  # one more: aspect ratio id 0, no image
    attention, mlp = 4 * d * d, 2 * d * s["d_vision_mlp"] + s["d_vision_mlp"] + d
    local = attention + mlp + 4 * d
    tile_vectors = ids * s["max_tiles"] * d
    count = {
        "patch_embedding": 3 * s["patch_size"] ** 2 * d,
        "tile_embeddings": 2 * (tile_vectors + 1),
        "positions": d + s["n_patches"] * d + tile_vectors * s["n_patches"] + 1,
        "local_layer": local,
        "global_layer": local + 2,
        "encoder_layers": s["n_local_layers"] * local + s["n_global_layers"] * (local + 2),
        "projector": s["d_vision_output"] * s["d_text"] + s["d_text"],
    }
    vision = ("patch_embedding", "tile_embeddings", "positions", "encoder_layers", "projector")
    count["vision"] = sum(count[part] for part in vision) + 4 * d
    d, q, kv = s["d_text"], s["n_heads"] * s["d_head"], s["n_kv_heads"] * s["d_head"]
    count["self_layer"] = 2 * d * q + 2 * d * kv + 3 * d * s["d_text_mlp"] + 2 * d
    count["cross_layer"] = count["self_layer"] + 2 * s["d_head"] + 2
    n_cross = len(s["cross_layers"])
    count["self_layers"] = (s["n_text_layers"] - n_cross) * count["self_layer"]
    count["cross_layers"] = n_cross * count["cross_layer"]
    count["embedding_table"] = (s["n_vocabulary"] + 8) * d
    count["lm_head"] = s["n_vocabulary"] * d
    text = ("self_layers", "cross_layers", "embedding_table", "lm_head")
    count["text"] = sum(count[part] for part in text) + d
    count["total"] = count["vision"] + count["text"]
    return count


def cache(s):
    """Numbers kept for each token by self layers, and for one image by cross layers: keys and values."""
    row = 2 * s["n_kv_heads"] * s["d_head"]
    n_cross = len(s["cross_layers"])
    return {"token": (s["n_text_layers"] - n_cross) * row, "image": n_cross * s["n_keys"] * row}


def operations(s):
    """Multiplications with an addition: of one image (its padded rows included), and of one token."""
    rows = s["max_tiles"] * (-(-s["n_patches"] // 8) * 8)
    d = s["d_vision"]
    n_layers = s["n_local_layers"] + s["n_global_layers"]
    image_layers = n_layers * rows * (4 * d * d + 2 * d * s["d_vision_mlp"])
    image_attention = n_layers * 2 * rows * rows * d
    d, q, kv = s["d_text"], s["n_heads"] * s["d_head"], s["n_kv_heads"] * s["d_head"]
    n_cross = len(s["cross_layers"])
    matrices = 2 * d * q + 2 * d * kv + 3 * d * s["d_text_mlp"]
    return {
        "image_layers": image_layers,
        "image_attention": image_attention,
        "projector": s["n_keys"] * s["d_vision_output"] * s["d_text"],
        "image_keys": n_cross * s["n_keys"] * 2 * d * kv,
        "token_self": (s["n_text_layers"] - n_cross) * matrices,
        "token_cross": n_cross * (matrices - 2 * d * kv + 2 * s["n_keys"] * q),
        "lm_head": d * s["n_vocabulary"],
    }
