"""From scenes and dialogs to the tensors a training or evaluation step takes.

Shapes: B dialogs, T tokens of the longest one, MAX_TILES tiles per picture, 1 + 64 patches per tile.
"""
import dataclasses
import random

import numpy as np
import torch
from PIL import Image
from transformers.models.mllama.image_processing_pil_mllama import (get_image_size_fit_to_canvas,
                                                                    get_optimal_tiled_canvas, split_to_tiles_np)

import scenes
from model import BOS, EOT, IMAGE, MAX_TILES, PAD, PATCH, PATCHES_PER_SIDE, TILE, TILE_GRIDS

IGNORED = -100                                                  # a label that cross_entropy leaves out


@dataclasses.dataclass
class Picture:
    """A picture cut into tiles, and where on the canvas of tiles it lies."""
    pixels: np.ndarray                                          # [MAX_TILES, 3, TILE, TILE], absent tiles zero
    aspect_ratio_id: int
    tile_mask: np.ndarray                                       # [MAX_TILES], 1 = present
    grid: tuple                                                 # (rows, columns) of tiles
    resized: tuple                                              # (height, width) on the canvas, in pixels
    size: tuple                                                 # (height, width) of the original


def preprocess(image):
    """The steps of transformers' PIL processor for one RGB picture (a test holds the two together)."""
    canvas = [int(side) for side in get_optimal_tiled_canvas(image.height, image.width, MAX_TILES, TILE)]
    height, width = (int(side) for side in get_image_size_fit_to_canvas(image.height, image.width, *canvas, TILE))
    resized = image if (height, width) == (image.height, image.width) else image.resize((width, height), Image.BILINEAR)

    padded = np.zeros((3, *canvas), np.float32)
    padded[:, :height, :width] = np.asarray(resized).transpose(2, 0, 1) / 255.0
    grid = (canvas[0] // TILE, canvas[1] // TILE)
    tiles = split_to_tiles_np((padded - 0.5) / 0.5, *grid)
    pixels = np.zeros((MAX_TILES, 3, TILE, TILE), np.float32)
    pixels[:len(tiles)] = tiles
    tile_mask = np.zeros(MAX_TILES, np.int64)
    tile_mask[:len(tiles)] = 1
    return Picture(pixels, TILE_GRIDS.index(grid) + 1, tile_mask, grid, (height, width), (image.height, image.width))


def patch_centres(picture):
    """-> (y of each row, x of each column) of patch centres over all tiles, in pixels of the original picture."""
    (n_rows, n_columns), (height, width) = picture.grid, picture.resized
    ys = (np.arange(n_rows * PATCHES_PER_SIDE) + .5) * PATCH * picture.size[0] / height
    xs = (np.arange(n_columns * PATCHES_PER_SIDE) + .5) * PATCH * picture.size[1] / width
    return ys, xs


def object_label(thing):
    """(kind, colour) as class numbers; 0 is the background's."""
    return 1 + scenes.KINDS.index(thing.kind), 1 + scenes.COLOUR_NAMES.index(thing.colour)


def patch_labels(picture, objects):
    """[MAX_TILES, 1 + patches, 2]: kind and colour under each patch's centre; IGNORED where there is no picture."""
    ys, xs = patch_centres(picture)
    grid = np.full((len(ys), len(xs), 2), IGNORED, np.int64)
    grid[np.ix_(ys <= picture.size[0], xs <= picture.size[1])] = 0
    for thing in objects:
        x0, y0, x1, y1 = thing.box
        grid[np.ix_((ys >= y0) & (ys <= y1), (xs >= x0) & (xs <= x1))] = object_label(thing)

    (n_rows, n_columns), n = picture.grid, PATCHES_PER_SIDE
    labels = np.full((MAX_TILES, 1 + n * n, 2), IGNORED, np.int64)
    tiles = grid.reshape(n_rows, n, n_columns, n, 2).transpose(0, 2, 1, 3, 4)
    labels[:n_rows * n_columns, 1:] = tiles.reshape(n_rows * n_columns, n * n, 2)
    return labels


def encode_dialog(tokenizer, turns, with_image=True):
    """Chat format -> (token ids, labels); labels are IGNORED but for the answers and their end token."""
    ids, labels = [tokenizer.token_to_id(BOS)], [IGNORED]
    for index, (question, answer) in enumerate(turns):
        image = IMAGE if index == 0 and with_image else ""
        asked = tokenizer.encode(f"<|start_header_id|>user<|end_header_id|>\n\n{image}{question}{EOT}"
                                 "<|start_header_id|>assistant<|end_header_id|>\n\n", add_special_tokens=False).ids
        answered = tokenizer.encode(answer + EOT, add_special_tokens=False).ids
        ids += asked + answered
        labels += [IGNORED] * len(asked) + answered
    return ids, labels


@dataclasses.dataclass
class Sample:
    picture: Picture
    ids: list
    labels: list
    with_image: bool                                            # False: the picture is there but no token may see it
    patches: np.ndarray


def draw_sample(rng, tokenizer):
    """One picture with a dialog of four turns; three in a hundred are chats without a picture."""
    image, objects = scenes.make_scene(rng)
    turns = scenes.make_dialog(rng, objects)
    with_image = rng.random() > .03
    if not with_image:
        turns = [rng.choice(scenes.CHAT) for _ in range(3)]
    picture = preprocess(image)
    return Sample(picture, *encode_dialog(tokenizer, turns, with_image), with_image, patch_labels(picture, objects))


def collate(samples, tokenizer):
    """-> the model's arguments, with labels [B, T] and patches [B, MAX_TILES, 1 + patches, 2] beside them."""
    n_tokens = max(len(sample.ids) for sample in samples)
    ids = torch.full((len(samples), n_tokens), tokenizer.token_to_id(PAD))
    labels = torch.full((len(samples), n_tokens), IGNORED)
    cross_mask = torch.zeros(len(samples), n_tokens, 1, MAX_TILES, dtype=torch.int64)
    for row, sample in enumerate(samples):
        ids[row, :len(sample.ids)] = torch.tensor(sample.ids)
        labels[row, :len(sample.labels)] = torch.tensor(sample.labels)
        if sample.with_image:                                   # seen from <|image|> on; nothing before it sees anything
            first = sample.ids.index(tokenizer.token_to_id(IMAGE))
            cross_mask[row, first:, 0, :] = torch.tensor(sample.picture.tile_mask)
    pictures = [sample.picture for sample in samples]
    return dict(input_ids=ids, labels=labels, cross_attention_mask=cross_mask,
                pixel_values=torch.from_numpy(np.stack([picture.pixels for picture in pictures]))[:, None],
                aspect_ratio_ids=torch.tensor([[picture.aspect_ratio_id] for picture in pictures]),
                aspect_ratio_mask=torch.from_numpy(np.stack([picture.tile_mask for picture in pictures]))[:, None],
                patches=torch.from_numpy(np.stack([sample.patches for sample in samples])))


class Batches(torch.utils.data.IterableDataset):
    """Batches without end, drawn as they are asked for; the same seed gives the same ones."""

    def __init__(self, tokenizer, batch, seed=7):
        self.tokenizer, self.batch, self.seed = tokenizer, batch, seed

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        rng = random.Random(self.seed * 1000 + (worker.id if worker else 0))
        while True:
            yield collate([draw_sample(rng, self.tokenizer) for _ in range(self.batch)], self.tokenizer)
