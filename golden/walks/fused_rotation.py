"""A walk: somebody wrote a rotation of their own, "one pass, no concatenation". Something is wrong with it."""

import torch
from safetensors.torch import load_file
from transformers import DynamicCache, MllamaForConditionalGeneration
from transformers.models.mllama import modeling_mllama

MODEL, INPUTS, N_TOKENS = "golden/checkpoints/base", "golden/cases/2x2/inputs.safetensors", 2


def fused_rotation(query, key, cos, sin, unsqueeze_dim=1):
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    return turned(query, cos, sin), turned(key, cos, sin)


def turned(x, cos, sin):
    out = torch.empty_like(x)
    even, odd, cos, sin = x[..., 0::2], x[..., 1::2], cos[..., : x.shape[-1] // 2], sin[..., : x.shape[-1] // 2]
    out[..., 0::2] = even * cos - odd * sin
    out[..., 1::2] = odd * cos + even * sin
    return out


def answer(model, inputs):
    ids, mask = inputs["input_ids"][None], inputs["cross_attention_mask"][None]
    picture = {name: inputs[name][None] for name in ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask")}
    cache, words = DynamicCache(config=model.config.text_config), []
    for _ in range(N_TOKENS):
        out = model(input_ids=ids, cross_attention_mask=mask, past_key_values=cache, use_cache=True, **picture)
        words.append(int(out.logits[0, -1].argmax()))
        ids, picture = torch.tensor([[words[-1]]]), {}
        mask = torch.cat([mask, mask[:, -1:]], dim=1)  # the new token sees what the last one saw
    return words


if __name__ == "__main__":
    modeling_mllama.apply_rotary_pos_emb = fused_rotation
    model = MllamaForConditionalGeneration.from_pretrained(MODEL, attn_implementation="eager").eval()
    with torch.inference_mode():
        print(*answer(model, load_file(INPUTS)))
