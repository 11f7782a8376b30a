"""Exact inputs for the golden cases: token ids, and pictures as transformers' PIL processor cuts them into
tiles."""

import numpy
from PIL import Image
from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil
from transformers.models.mllama.processing_mllama import (convert_sparse_cross_attention_mask_to_dense,
                                                          get_cross_attention_token_mask)


def picture(random, width, height):
    """Broad blobs under fine noise, so that tiles and patches differ from one another."""
    coarse = Image.fromarray(random.integers(0, 256, (3, 4, 3), dtype=numpy.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC)
    noise = random.integers(-40, 41, (height, width, 3))
    return Image.fromarray(
        numpy.clip(numpy.asarray(coarse, dtype=numpy.int64) + noise, 0, 255).astype(numpy.uint8))


def make_inputs(tokens, sizes, settings, seed):
    """tokens: ids, where the image token stands for the next picture. sizes: (width, height) of each
    picture."""
    inputs = {"input_ids": numpy.asarray(tokens, dtype=numpy.int64)}
    if not sizes:
        return inputs
    random = numpy.random.default_rng(seed)
    vision = settings["vision_config"]
    tiles, tile_size = vision["max_num_tiles"], vision["image_size"]
    processor = MllamaImageProcessorPil(size={"height": tile_size, "width": tile_size}, max_image_tiles=tiles,
                                        image_mean=[0.48145466, 0.4578275, 0.40821073],
                                        image_std=[0.26862954, 0.26130258, 0.27577711])
    out = processor([[picture(random, *size) for size in sizes]], return_tensors="np")
    inputs["pixel_values"] = numpy.ascontiguousarray(out["pixel_values"][0], dtype=numpy.float32)
    inputs["aspect_ratio_ids"] = numpy.asarray(out["aspect_ratio_ids"][0], dtype=numpy.int64)
    inputs["aspect_ratio_mask"] = numpy.asarray(out["aspect_ratio_mask"][0], dtype=numpy.int64)
    sparse = get_cross_attention_token_mask([int(t) for t in tokens], settings["image_token_index"])
    if len(sparse) != len(sizes):
        raise ValueError(f"{len(sparse)} image tokens for {len(sizes)} pictures")
    dense = convert_sparse_cross_attention_mask_to_dense([sparse], [[int(n) for n in out["num_tiles"][0]]],
                                                         tiles, len(tokens))
    inputs["cross_attention_mask"] = numpy.ascontiguousarray(dense[0], dtype=numpy.int64)
    return inputs
