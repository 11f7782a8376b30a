"""torchtune through the conformance kit: its builders, its weight converter, its masks, its KV caches.

What is done with them follows torchtune's own recipe for generation (recipes/dev/generate_v2.py): pictures
padded to the greatest number of tiles by its collator's rule, its VisionCrossAttentionMask, and while
decoding the last row of that mask again and again. Sizes that its builders fix in code are refusals here, for
the weights do not fit.
"""

from importlib.metadata import version

import numpy
import torch

import adapter


class Torchtune:
    name, dtype = "torchtune", "F32"

    def __init__(self):
        import torchtune.models.llama3_2_vision as models
        from torchtune.models.llama3_2_vision._convert_weights import llama3_vision_hf_to_tune
        from torchtune.modules.model_fusion import DeepFusionModel
        from torchtune.modules.transforms import VisionCrossAttentionMask

        self.models, self.convert, self.fusion = models, llama3_vision_hf_to_tune, DeepFusionModel
        self.mask_transform = VisionCrossAttentionMask
        self.version = version("torchtune")
        self.how = ("its builders and its converter from the hub's names, own masks; "
                    f"torch {torch.__version__}")

    def interval(self, text):
        """torchtune puts a cross-attention layer before every n-th layer: 3, 8, 13, ... in the hub's
        count."""
        cross, n_self = text["cross_attention_layers"], text["num_hidden_layers"] - len(
            text["cross_attention_layers"])
        step = n_self // len(cross)
        if cross != [step - 1 + i * (step + 1) for i in range(len(cross))]:
            raise adapter.Refused(f"cross-attention layers at {cross}; its builder wants a fixed distance")
        return n_self, step

    def build(self, case, total):
        text, vision = case.config["text_config"], case.config["vision_config"]
        n_self, step = self.interval(text)
        rope = text.get("rope_scaling") or text.get("rope_parameters")
        if rope["factor"] != 8.0 or rope["original_max_position_embeddings"] != 8192:
            raise adapter.Refused("its builder gives RoPE's scaling no other constants than 8, 1, 4 and 8192")
        per_tile = (vision["image_size"] // vision["patch_size"]) ** 2 + 1
        keys = max(case.n_pictures, 1) * vision["max_num_tiles"] * per_tile
        decoder = self.models.llama3_2_vision_decoder(
            vocab_size=text["vocab_size"], num_layers=n_self, fusion_interval=step, num_special_tokens=8,
            num_heads=text["num_attention_heads"], num_kv_heads=text["num_key_value_heads"],
            embed_dim=text["hidden_size"], max_seq_len=max(total, 64), encoder_max_seq_len=keys,
            rope_base=text.get("rope_theta") or rope["rope_theta"],
            intermediate_dim=text["intermediate_size"])
        encoder = self.models.llama3_2_vision_encoder(
            patch_size=vision["patch_size"], num_heads=vision["attention_heads"],
            clip_embed_dim=vision["hidden_size"], clip_num_layers=vision["num_hidden_layers"],
            clip_hidden_states=vision["intermediate_layers_indices"],
            num_layers_projection=vision["num_global_layers"], decoder_embed_dim=text["hidden_size"],
            tile_size=vision["image_size"], max_num_tiles=vision["max_num_tiles"])
        model = self.fusion(decoder, encoder)
        model.load_state_dict(self.convert(
            adapter.read_weights(case.checkpoint), num_heads=text["num_attention_heads"],
            num_kv_heads=text["num_key_value_heads"], dim=text["hidden_size"], vocab_size=text["vocab_size"],
            cross_attention_layers=text["cross_attention_layers"], encoder_dim=vision["hidden_size"],
            tile_size=vision["image_size"], num_tiles=vision["max_num_tiles"],
            supported_aspect_ratios=vision["supported_aspect_ratios"]))
        with torch.device("cpu"):
            model.setup_caches(1, torch.float32, encoder_max_seq_len=keys, decoder_max_seq_len=max(total, 64))
        return model.eval(), max(total, 64)

    def pictures(self, case):
        """What transform and collator make: tiles of each picture, padded with zeros, and one mask."""
        vision = case.config["vision_config"]
        tiles, per_tile = vision["max_num_tiles"], (vision["image_size"] // vision["patch_size"]) ** 2 + 1
        images = [
            torch.from_numpy(case.inputs["pixel_values"][i, :h * w]) for i, (h, w) in enumerate(case.grids)]
        sample = {"tokens": case.ids, "encoder_input": {"images": images}}
        transform = self.mask_transform(tile_size=vision["image_size"], patch_size=vision["patch_size"],
                                        image_token_id=case.image_token)
        masks = transform(sample, inference=True)["encoder_mask"]
        # padded_collate_tiled_images_and_mask(pad_max_tiles=...) fills with False, whatever its tokens
        masks = [torch.nn.functional.pad(mask, (0, tiles * per_tile - mask.shape[1])) for mask in masks]
        images = torch.stack([torch.nn.functional.pad(image, (0, 0, 0, 0, 0, 0, 0, tiles - len(image)))
                              for image in images])
        mask = torch.cat([mask[: len(case.ids)] for mask in masks], dim=1)[None]
        return {"images": images[None], "aspect_ratio": torch.tensor(case.grids)[None]}, mask

    def logits(self, case):
        total = len(case.ids) + len(case.teacher_ids)
        model, length = self.build(case, total)
        causal = torch.tril(torch.ones(length, length, dtype=torch.bool))
        rows, ids, start = [], case.ids + case.teacher_ids, 0
        encoder_input, encoder_mask = self.pictures(case) if case.n_pictures else (None, None)
        with torch.inference_mode():
            for end in range(len(case.ids), total + 1):
                out = model(torch.tensor([ids[start:end]]), mask=causal[None, start:end],
                            encoder_input=encoder_input, encoder_mask=encoder_mask,
                            input_pos=torch.arange(start, end)[None])
                rows.append(out[0].float().numpy())
                if encoder_mask is not None:
                    encoder_input, encoder_mask = None, encoder_mask[:, -1:]
                    if self.decode == "meta" and case.n_pictures > 1:
                        encoder_mask = torch.zeros_like(encoder_mask)
                start = end
        return numpy.concatenate(rows)


if __name__ == "__main__":
    adapter.main(Torchtune, __doc__)
