"""vLLM's model code through the conformance kit, on one CPU in float32.

vLLM's mllama.py, its layers and its weight loader as they are, in what the last releases with that model
install; there it runs on GPUs only. What stands in for the GPU: the attention kernel over paged keys and
values, here a softmax over keys kept in a row, and the writing to those pages. What the scheduler hands to
the model (lengths, slots, the tokens of a step) is made here as vllm/worker/enc_dec_model_runner.py makes it
for one request. vLLM makes its own masks.
"""

import os
import tempfile
from importlib.metadata import version
from types import SimpleNamespace

import numpy
import torch
from torch.nn import functional

import adapter

os.environ["VLLM_USE_V1"] = "0"  # the model is written for the older engine


class Kernel:
    """Attention with a cache: what vLLM's backends compute on a GPU."""

    def __init__(self, n_heads, head_size, scale, n_kv_heads, *rest, **ignored):
        self.shape, self.kv_shape, self.scale = (-1, n_heads, head_size), (-1, n_kv_heads, head_size), scale
        self.cross = "encoder_decoder" in rest
        self.kept = torch.zeros(2, 0, n_kv_heads, head_size)

    def forward(self, layer, query, key, value, cache, metadata):
        query, mask = query.view(self.shape), None
        if self.cross and key is None:  # a generated token: what the prompt left in the cache
            key, value = cache[:, : metadata.max_encoder_seq_len]
        elif self.cross:
            cache[0, : len(key)], cache[1, : len(key)] = key, value
        else:
            new = torch.stack([key.view(self.kv_shape), value.view(self.kv_shape)])
            key, value = self.kept = torch.cat([self.kept, new], dim=1)
            places = torch.arange(len(key))
            mask = places[None] <= places[len(key) - len(query):, None]
        query, key, value = (x.transpose(0, 1)[None] for x in (query, key, value))
        out = functional.scaled_dot_product_attention(query, key, value, mask, scale=self.scale,
                                                      enable_gqa=True)
        return out[0].transpose(0, 1).flatten(1)


class Backend:
    accept_output_buffer = False
    get_name = staticmethod(lambda: "TORCH_SDPA")
    get_impl_cls = staticmethod(lambda: Kernel)


class Pages:
    """PagedAttention's two functions that mllama.py calls, with one token for a page."""
    split_kv_cache = staticmethod(lambda cache, n_kv_heads, head_size: (cache[0], cache[1]))

    @staticmethod
    def write_to_paged_cache(key, value, key_cache, value_cache, slots, *ignored):
        key_cache[slots], value_cache[slots] = key, value


class Vllm:
    name, dtype = "vllm", "F32"

    def __init__(self):
        import vllm.attention.layer
        from vllm import distributed, forward_context
        from vllm.config import CompilationConfig, DeviceConfig, VllmConfig, set_current_vllm_config
        from vllm.model_executor.models import mllama

        self.version = version("vllm")
        self.how = ("its mllama.py and layers on a CPU, a dense attention for its paged kernel; "
                    f"torch {torch.__version__}")
        vllm.attention.layer.get_attn_backend = lambda *ignored, **also: Backend
        mllama.PagedAttention = Pages
        self.mllama, self.context = mllama, forward_context.set_forward_context
        self.set_config = set_current_vllm_config
        self.make_config = lambda: VllmConfig(device_config=DeviceConfig("cpu"),
                                              compilation_config=CompilationConfig(custom_ops=["none"]))
        with set_current_vllm_config(self.make_config()):
            distributed.init_distributed_environment(
                world_size=1, rank=0, local_rank=0, backend="gloo",
                distributed_init_method=f"file://{tempfile.mkdtemp()}/group")
            distributed.initialize_model_parallel(1, 1)

    def build(self, case):
        from transformers import AutoConfig

        config = self.make_config()
        config.model_config = SimpleNamespace(hf_config=AutoConfig.from_pretrained(case.checkpoint))
        with self.set_config(config):
            model = self.mllama.MllamaForConditionalGeneration(vllm_config=config)
        loaded = model.load_weights(adapter.read_weights(case.checkpoint).items())
        missing = sorted(set(dict(model.named_parameters())) - loaded)
        if missing:
            raise adapter.Refused(f"{len(missing)} parameters are not found, such as {missing[0]}")
        return model.eval(), config

    def metadata(self, case, n_tokens, first, n_keys):
        """What the scheduler tells of one step. Under Meta's rule tokens behind several pictures see none."""
        if self.decode == "meta" and not first and case.n_pictures > 1:
            n_keys = 0
        return SimpleNamespace(
            num_prefill_tokens=n_tokens if first else 0, num_decode_tokens=0 if first else n_tokens,
            seq_lens=[n_tokens], encoder_seq_lens=[n_keys], encoder_seq_lens_tensor=torch.tensor([n_keys]),
            max_encoder_seq_len=n_keys, cross_slot_mapping=torch.arange(n_keys))

    def keys_of_last_group(self, case, config):
        """How many keys the scheduler keeps for a request: those of its last pictures side by side."""
        if not case.n_pictures:
            return 0
        info = SimpleNamespace(get_hf_config=lambda: config)
        images = self.mllama.MllamaMultiModalProcessor._get_num_image_in_last_group(
            SimpleNamespace(info=info), case.ids)
        tiles = sum(h * w for h, w in case.grids[case.n_pictures - images:])
        return tiles * self.mllama.calc_token_per_chunk(config.vision_config.image_size)

    def logits(self, case):
        model, config = self.build(case)
        n_keys = self.keys_of_last_group(case, model.config)
        every_key = case.n_pictures * 4 * self.mllama.calc_token_per_chunk(model.image_size)
        for layer in config.compilation_config.static_forward_context.values():
            if layer.impl.cross:
                layer.kv_cache = [torch.zeros(2, every_key, layer.num_kv_heads, layer.head_size)]
        pictures = {}
        if case.n_pictures:
            pictures = {name: torch.from_numpy(case.inputs[name])[None]
                        for name in ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask")}
            pictures["num_tiles"] = [torch.tensor([h * w for h, w in case.grids])]
        rows, start, ids = [], 0, case.ids + case.teacher_ids
        with torch.inference_mode():
            for end in range(len(case.ids), len(ids) + 1):
                metadata = self.metadata(case, end - start, start == 0, n_keys)
                with self.context(metadata, config):
                    hidden = model(torch.tensor(ids[start:end]), torch.arange(start, end),
                                   **(pictures if start == 0 else {}))
                rows.append(model.compute_logits(hidden, None).float().numpy())
                start = end
        return numpy.concatenate(rows)


if __name__ == "__main__":
    adapter.main(Vllm, __doc__)
