"""mlx-vlm through the conformance kit, with mlx's CPU build.

The model by its own load_model, masks by its own processor's functions, and the steps of its own
generate/ar.py: the prompt with everything, then each token with the cross-attention states and nothing else.
Weights are float32.
"""

from importlib.metadata import version

import numpy

import adapter


class MlxVlm:
    name, dtype = "mlx-vlm", "F32"

    def __init__(self):
        import mlx.core
        from mlx_vlm.models import cache
        from mlx_vlm.models.mllama import processing_mllama
        from mlx_vlm.utils import load_model

        self.mx, self.load, self.cache, self.processing = mlx.core, load_model, cache, processing_mllama
        self.version = version("mlx-vlm")
        self.how = (f"load_model and the steps of its generate; mlx {version('mlx')} "
                    f"on {mlx.core.default_device()}")

    def pictures(self, case):
        if not case.n_pictures:
            return {}
        tiles = case.config["vision_config"]["max_num_tiles"]
        if "cross_attention_mask" in case.inputs:
            mask = case.inputs["cross_attention_mask"][None]
        else:
            sparse = self.processing.get_cross_attention_token_mask(case.ids, case.image_token)
            counts = [int(row.sum()) for row in case.inputs["aspect_ratio_mask"]]
            mask = self.processing.convert_sparse_cross_attention_mask_to_dense([sparse], [counts], tiles,
                                                                                len(case.ids))
        given = {name: self.mx.array(case.inputs[name][None])
                 for name in ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask")}
        return given | {"cross_attention_mask": self.mx.array(numpy.asarray(mask))}

    def logits(self, case):
        mx, model = self.mx, self.load(case.checkpoint)
        prompt_cache = self.cache.make_prompt_cache(model.language_model)
        prompt, rows = mx.array([case.ids]), []
        features = model.get_input_embeddings(prompt, **self.pictures(case)).to_dict()
        arguments = {key: value for key, value in features.items() if value is not None}
        for token in [None, *case.teacher_ids]:
            out = model.language_model(prompt if token is None else mx.array([[token]]), cache=prompt_cache,
                                       **arguments)
            rows.append(numpy.array(out.logits[0].astype(mx.float32)))
            states = out.cross_attention_states  # what generate/ar.py hands to the next step
            arguments = {} if states is None else {"cross_attention_states": states}
        return numpy.concatenate(rows)


if __name__ == "__main__":
    adapter.main(MlxVlm, __doc__)
