"""Hugging Face transformers (any release with mllama) through the conformance kit.

The model as a user gets it: from_pretrained in float32 with the attention that the release picks by default,
the cross-attention mask (where a case leaves it to the engine) built by the release's own functions, and mask
rows of decoded tokens by its own _update_model_kwargs_for_generation.
"""

import inspect

import numpy
import torch

import adapter


class Transformers:
    name, dtype = "transformers", "F32"

    def __init__(self):
        import transformers
        from transformers.models.mllama import processing_mllama

        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self.version = transformers.__version__
        self.how = f"from_pretrained, its default attention, own masks; torch {torch.__version__}"
        self.library, self.processing = transformers, processing_mllama
        self.models = {}

    def model(self, folder):
        if folder not in self.models:
            new = int(self.version.split(".")[0]) >= 5
            model, report = self.library.MllamaForConditionalGeneration.from_pretrained(
                folder, output_loading_info=True, **{"dtype" if new else "torch_dtype": torch.float32})
            # Old releases leave parameters whose names they do not know at random values, with a warning
            # only.
            missing = sorted(report["missing_keys"])
            if missing:
                raise adapter.Refused(f"{len(missing)} parameters are not found under the names it knows, "
                                         f"such as {missing[0]}; it warns and leaves them at random values")
            self.models = {folder: model.eval()}
        return self.models[folder]

    def mask(self, case):
        """[1][token][image][tile]: the case's, or where the engine is to make it, by the processor's
        functions."""
        if "cross_attention_mask" in case.inputs:
            return torch.from_numpy(case.inputs["cross_attention_mask"])[None]
        sparse = self.processing.get_cross_attention_token_mask(case.ids, case.image_token)
        tiles = [int(row.sum()) for row in case.inputs["aspect_ratio_mask"]]
        dense = self.processing.convert_sparse_cross_attention_mask_to_dense(
            [sparse], [tiles], case.config["vision_config"]["max_num_tiles"], len(case.ids))
        return torch.from_numpy(numpy.asarray(dense))

    def logits(self, case):
        model = self.model(case.checkpoint)
        arguments = {"attention_mask": torch.ones(1, len(case.ids), dtype=torch.int64), "use_cache": True}
        pictures = {}
        if case.n_pictures:
            arguments["cross_attention_mask"] = self.mask(case)
            pictures = {name: torch.from_numpy(case.inputs[name])[None]
                        for name in ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask")}
        if "cache_position" in inspect.signature(type(model).forward).parameters:
            arguments["cache_position"] = torch.arange(len(case.ids))
            arguments["past_key_values"] = self.library.DynamicCache()
        rows, fed = [], [case.ids] + [[token] for token in case.teacher_ids]
        with torch.inference_mode():
            for step, ids in enumerate(fed):
                out = model(input_ids=torch.tensor([ids]), **arguments, **(pictures if step == 0 else {}))
                rows.append(out.logits[0].float().numpy())
                arguments = model._update_model_kwargs_for_generation(out, arguments,
                                                                      is_encoder_decoder=False)
                # What generate() does between two steps is not part of the mask's rule.
                arguments = {
                    key: value for key, value in arguments.items()
                    if key in ("attention_mask", "use_cache", "cross_attention_mask", "cache_position",
                               "past_key_values")}
        return numpy.concatenate(rows)


if __name__ == "__main__":
    adapter.main(Transformers, __doc__)
