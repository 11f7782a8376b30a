"""Meta's own code (llama-models) through the conformance kit, on one CPU in float32.

trace/python/meta_model.py builds Meta's modules with a checkpoint's sizes and without fairscale; here they
run as Meta's generation runs them: pictures once, then the prompt, then one given token at a time. Meta's
create_vision_mask and _pad_masks make the cross-attention mask, for prompt and answer at once; where a case
gives it, its rows of the prompt.
"""

import sys
from importlib.metadata import version

import numpy
import torch

import adapter

sys.path.insert(0, str(adapter.CONFORMANCE.parent.parent / "trace" / "python"))
import meta_model
import record_meta


class Meta:
    name, dtype = "llama-models", "F32"

    def __init__(self):
        self.version = version("llama-models")
        self.how = f"Meta's modules on one CPU, unsplit, its own masks; torch {torch.__version__}"
        self.code = meta_model.import_meta()

    def mask(self, case, total):
        """Meta's additive mask [1][token][image][tile], for the prompt and everything that follows."""
        from llama_models.llama3.chat_format import create_vision_mask

        spans = create_vision_mask(case.ids, case.image_token)
        tiles = [h * w for h, w in case.grids]
        mask = self.code._pad_masks([spans], [tiles], total, case.config["vision_config"]["max_num_tiles"])
        if "cross_attention_mask" in case.inputs:
            given = record_meta.additive(case.inputs["cross_attention_mask"])
            mask[:, : given.shape[1]] = given
        return mask

    def logits(self, case):
        settings, total = case.config, len(case.ids) + len(case.teacher_ids)
        try:
            meta_model.check_supported(settings)
        except ValueError as problem:
            raise adapter.Refused(str(problem)) from None
        model = meta_model.load_model(case.checkpoint, settings, total)
        text, pictures = model.text_model, {"xattn_mask": None, "full_text_row_masked_out_mask": None}
        caches, rows, start = None, [], 0
        ids = case.ids + case.teacher_ids
        with torch.inference_mode():
            if case.n_pictures:
                tokens, caches = record_meta.encode_pictures(model, case.inputs, settings)
                pictures = dict(zip(pictures, text._get_xattn_mask(
                    num_tokens=total, text_device="cpu", text_dtype=torch.float32, vision_tokens=tokens,
                    cross_attention_masks=self.mask(case, total))))
            for end in range(len(case.ids), total + 1):
                positions = torch.arange(start, end)
                hidden = text.get_partially_trainable_embedding(torch.tensor([ids[start:end]]))
                step = {
                    name: mask if mask is None else mask[:, :, positions] for name, mask in pictures.items()}
                out = text.forward(position_ids=positions, h=hidden, xattn_caches=caches,
                                   text_only_inference=not case.n_pictures, **step)
                rows.append(out[0].numpy())
                start = end
        return numpy.concatenate(rows)


if __name__ == "__main__":
    adapter.main(Meta, __doc__)
