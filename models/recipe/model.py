"""Pictor itself: its tokenizer, its sizes, how it is initialised, Meta's rules, and the files it is kept in.

Everything is the mllama architecture of transformers 5.23 at 2.9 million parameters. The checkpoint is
written under the hub's names (language_model.model..., vision_model..., multi_modal_projector...).
"""
import json
import pathlib

import numpy as np
import torch
import transformers.models.mllama.modeling_mllama as mllama
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, MllamaConfig, MllamaForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.mllama.configuration_mllama import MllamaTextConfig, MllamaVisionConfig
from transformers.models.mllama.image_processing_pil_mllama import get_all_supported_aspect_ratios

import scenes

TILE, PATCH, MAX_TILES = 112, 14, 4
PATCHES_PER_SIDE = TILE // PATCH
VOCABULARY = 512  # <|image|> is 512, the first of 8 rows without a logit
# (rows, columns) of tiles; aspect ratio id = 1 + index
TILE_GRIDS = get_all_supported_aspect_ratios(MAX_TILES)

BOS, PAD, IMAGE, EOT = "<|begin_of_text|>", "<|finetune_right_pad_id|>", "<|image|>", "<|eot_id|>"
END_TOKENS = ["<|end_of_text|>", "<|eom_id|>", EOT]
SPECIAL_TOKENS = [BOS, "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>", PAD,
                  "<|step_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", EOT,
                  "<|python_tag|>"]
# How Llama 3 splits text before the byte pairs are merged.
SPLIT_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
                 r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


# ---- tokenizer ---------------------------------------------------------------------------------------

def tokenizer_texts():
    yield from scenes.corpus()
    for _ in range(2000):
        yield from ("user", "assistant", "system", "\n\n")


def build_tokenizer(path):
    """Trains the byte-level BPE on the dialogs and writes it to path: 480 ordinary tokens, 32 special
    ones, <|image|>."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT_PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY - 32, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(tokenizer_texts(), trainer)

    n_reserved = VOCABULARY - tokenizer.get_vocab_size() - len(SPECIAL_TOKENS)
    reserved = [f"<|reserved_special_token_{index}|>" for index in range(2, 2 + n_reserved)]
    for name in SPECIAL_TOKENS + reserved + [IMAGE]:
        tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False)])
    if tokenizer.token_to_id(IMAGE) != VOCABULARY:
        raise RuntimeError(f"tokenizer: {IMAGE} has id {tokenizer.token_to_id(IMAGE)}, expected {VOCABULARY}")
    tokenizer.save(str(path))
    return tokenizer


def load_tokenizer(folder):
    return Tokenizer.from_file(str(pathlib.Path(folder) / "tokenizer.json"))


# ---- sizes and initial values ------------------------------------------------------------------------

def vision_config():
    return MllamaVisionConfig(
        hidden_size=96, num_hidden_layers=6, num_global_layers=2, attention_heads=6, intermediate_size=256,
        image_size=TILE, patch_size=PATCH, max_num_tiles=MAX_TILES, intermediate_layers_indices=[1, 3, 4],
        vision_output_dim=96 * 4, supported_aspect_ratios=[list(grid) for grid in TILE_GRIDS],
        norm_eps=1e-5, initializer_range=0.08)


def text_config(tokenizer):
    rope = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0,
                high_freq_factor=4.0, original_max_position_embeddings=8192)
    return MllamaTextConfig(
        vocab_size=VOCABULARY, hidden_size=128, num_hidden_layers=10, num_attention_heads=8,
        num_key_value_heads=4, intermediate_size=320, cross_attention_layers=[3, 8], rope_parameters=rope,
        max_position_embeddings=131072, rms_norm_eps=1e-5, initializer_range=0.08, tie_word_embeddings=False,
        bos_token_id=tokenizer.token_to_id(BOS), pad_token_id=tokenizer.token_to_id(PAD),
        eos_token_id=[tokenizer.token_to_id(name) for name in END_TOKENS])


def new_model(tokenizer, seed=1):
    """A model with random weights, its gates ajar, its positions already in order."""
    torch.manual_seed(seed)
    config = MllamaConfig(vision_config=vision_config(), text_config=text_config(tokenizer),
                          image_token_index=VOCABULARY)
    model = MllamaForConditionalGeneration(config)
    model.set_attn_implementation("sdpa")
    open_gates(model)
    sincos_positions(model)
    return model


def open_gates(model):
    """The real model starts from zero gates beside a trained text model; here both start from nothing, so
    gates start ajar."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("cross_attn_attn_gate", "cross_attn_mlp_gate", "gate_attn", "gate_ffn")):
                parameter.fill_(0.6)
            elif name.endswith("gated_positional_embedding.gate"):
                parameter.fill_(0.8)
            elif name.endswith("gate") and "vision" in name:
                parameter.fill_(0.4)


def waves(y, x, frequency):
    return np.concatenate([wave(place * frequency) for place in (y, x) for wave in (np.sin, np.cos)])


def sincos(y, x, width):
    """Sine and cosine features [width] of a position, in patches."""
    quarter = width // 4
    return waves(y, x, 1.0 / (40.0 ** (np.arange(quarter) / quarter)))


def share_sincos(y, x, width):
    """The same of a position given as shares of the canvas: waves of a quarter, a half, three quarters...
    of it."""
    return waves(y, x, np.pi / 2 * (1 + np.arange(width // 4)))


def tile_positions(grid, tile, width):
    """[1 + patches, width]: features of each patch's place on the canvas, half of them counted in patches,
    half in shares of the canvas; zeros for the class token."""
    features = np.zeros((1 + PATCHES_PER_SIDE**2, width))
    tile_row, tile_column = divmod(tile, grid[1])
    for patch in range(PATCHES_PER_SIDE**2):
        row, column = divmod(patch, PATCHES_PER_SIDE)
        y, x = tile_row * PATCHES_PER_SIDE + row, tile_column * PATCHES_PER_SIDE + column
        shares = (y + .5) / (grid[0] * PATCHES_PER_SIDE), (x + .5) / (grid[1] * PATCHES_PER_SIDE)
        features[1 + patch] = np.concatenate([sincos(y, x, width // 2), share_sincos(*shares, width // 2)])
    return features


def sincos_positions(model):
    """Starts the position embeddings (inside a tile, and inside the picture for every tile grid) as sines and
    cosines: learnt from noise they would cost most of the training time."""
    positions = model.model.vision_model.gated_positional_embedding
    width = positions.hidden_size
    table = np.zeros((len(TILE_GRIDS) + 1, MAX_TILES, 1 + PATCHES_PER_SIDE**2, width))
    for index, grid in enumerate(TILE_GRIDS):
        for tile in range(grid[0] * grid[1]):
            table[index + 1, tile] = tile_positions(grid, tile, width)
    with torch.no_grad():
        positions.embedding.copy_(torch.from_numpy(0.6 * tile_positions((1, 1), 0, width)))
        positions.tile_embedding.weight.copy_(torch.from_numpy(table.reshape(len(TILE_GRIDS) + 1, -1)))


# ---- Meta's rules ------------------------------------------------------------------------------------

TRANSFORMERS_RULES = (mllama.MllamaVisionEncoder.forward, mllama.MllamaCrossAttentionDecoderLayer.forward)


def keep_layer_inputs(self, hidden_states, attention_mask=None):
    """Vision encoder whose kept states are the INPUTS of its layers; transformers >= 4.56 keeps their
    outputs."""
    states = ()
    for layer in self.layers:
        states = states + (hidden_states,)
        hidden_states = layer(hidden_states=hidden_states, attention_mask=attention_mask)
    return BaseModelOutput(last_hidden_state=hidden_states, hidden_states=states)


def mask_both_branches(self, hidden_states, cross_attention_states, cross_attention_mask, attention_mask,
                       full_text_row_masked_out_mask, position_ids=None, past_key_values=None,
                       use_cache=False, position_embeddings=None, **kwargs):
    """Cross-attention layer in which a row that may see no picture gets nothing from EITHER branch;
    transformers zeroes such rows after the MLP only."""
    residual = hidden_states
    hidden_states, _ = self.cross_attn(
        hidden_states=self.input_layernorm(hidden_states), attention_mask=cross_attention_mask,
        cross_attention_states=cross_attention_states, past_key_values=past_key_values, **kwargs)
    if full_text_row_masked_out_mask is not None:
        hidden_states = full_text_row_masked_out_mask[:, 0] * hidden_states
    hidden_states = residual + self.cross_attn_attn_gate.tanh() * hidden_states

    residual = hidden_states
    hidden_states = self.mlp(self.post_attention_layernorm(hidden_states))
    if full_text_row_masked_out_mask is not None:
        hidden_states = full_text_row_masked_out_mask[:, 0] * hidden_states
    return residual + self.cross_attn_mlp_gate.tanh() * hidden_states


def use_rules(reference):
    """From here on every mllama model of this process follows the rules of "meta" or of "transformers"."""
    rules = {"meta": (keep_layer_inputs, mask_both_branches), "transformers": TRANSFORMERS_RULES}
    if reference not in rules:
        raise ValueError(f"use_rules: unknown reference {reference!r}: one of {', '.join(rules)}")
    mllama.MllamaVisionEncoder.forward, mllama.MllamaCrossAttentionDecoderLayer.forward = rules[reference]


# ---- files -------------------------------------------------------------------------------------------

HUB_NAMES = {"model.language_model.": "language_model.model.", "lm_head.": "language_model.lm_head.",
             "model.vision_model.": "vision_model.", "model.multi_modal_projector.": "multi_modal_projector."}

CHAT_TEMPLATE = """\
{{- bos_token }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {%- if message['content'] is string %}
        {{- message['content'] }}
    {%- else %}
        {%- for part in message['content'] %}
            {%- if part['type'] == 'image' %}
                {%- if message['role'] != 'user' %}
                    {{- raise_exception('Pictor takes pictures in user messages only') }}
                {%- endif %}
                {{- '<|image|>' }}
            {%- elif part['type'] == 'text' %}
                {{- part['text'] }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
    {{- '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

TOKENIZER_CONFIG = dict(
    tokenizer_class="PreTrainedTokenizerFast", processor_class="MllamaProcessor", bos_token=BOS,
    eos_token=EOT, pad_token=PAD, model_max_length=131072, clean_up_tokenization_spaces=False,
    model_input_names=["input_ids", "attention_mask"])

PREPROCESSOR_CONFIG = dict(
    image_processor_type="MllamaImageProcessor", processor_class="MllamaProcessor", do_convert_rgb=True,
    do_resize=True, do_rescale=True, do_normalize=True, do_pad=True, resample=2, rescale_factor=1 / 255,
    image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5], max_image_tiles=MAX_TILES,
    size=dict(height=TILE, width=TILE))


def write_json(path, value):
    pathlib.Path(path).write_text(json.dumps(value, indent=2) + "\n")


def write_processor_files(folder):
    """What transformers needs beside the tokenizer to make a processor."""
    folder = pathlib.Path(folder)
    special = {name: TOKENIZER_CONFIG[name] for name in ("bos_token", "eos_token", "pad_token")}
    write_json(folder / "tokenizer_config.json", TOKENIZER_CONFIG)
    write_json(folder / "special_tokens_map.json", special)
    write_json(folder / "preprocessor_config.json", PREPROCESSOR_CONFIG)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)


def hub_name(name):
    """The name on the hub of a parameter of MllamaForConditionalGeneration."""
    for own, hub in HUB_NAMES.items():
        if name.startswith(own):
            return hub + name[len(own):]
    raise KeyError(f"hub_name: no hub name for parameter {name}")


def save_model(model, folder):
    """Weights, config and processor files: all that models/pictor holds but the tokenizer and the model
    card."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {hub_name(name): value.detach().contiguous().clone()
             for name, value in model.state_dict().items()}
    save_file(state, str(folder / "model.safetensors"), metadata={"format": "pt"})
    model.config.architectures = ["MllamaForConditionalGeneration"]
    model.config.dtype = model.dtype
    model.config.save_pretrained(folder)
    generation = GenerationConfig.from_model_config(model.config)
    generation.trained_turns = 8  # the longest dialogs of samples.fill_segment: a longer chat gets a warning
    generation.save_pretrained(folder)
    write_processor_files(folder)


def load_weights(model, folder):
    """Puts the weights that save_model wrote into a model; every parameter must be there."""
    state = load_file(str(pathlib.Path(folder) / "model.safetensors"))
    model.load_state_dict({name: state[hub_name(name)] for name in model.state_dict()})


def load_model(folder, attention="eager"):
    model = MllamaForConditionalGeneration.from_pretrained(folder, attn_implementation=attention,
                                                           local_files_only=True)
    return model.eval()
