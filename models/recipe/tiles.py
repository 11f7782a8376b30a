"""Single tiles for the first stage of training: objects at mixed scales, sometimes cut by the border, as
tiles of a larger picture cut them. One tile costs a sixth of a picture, so kinds and colours are learnt there
first.
"""
import random

import numpy as np
import torch

import scenes
import varied
from model import PATCH, PATCHES_PER_SIDE, TILE
from samples import IGNORED, object_label


def draw_object(rng, image, cell, size, colours):
    """One object somewhere in (or a little over the edge of) cell number `cell`; size is the cell's side
    in pixels."""
    n_cells = round(TILE / size)
    side = size * rng.uniform(0.5, 1.0)
    aspect = rng.uniform(0.88, 1.14)
    width, height = min(side * aspect, size), min(side / aspect, size)
    shift = 0.25 * size if rng.random() < .3 else 0.0
    x = (cell % n_cells) * size + rng.uniform(-shift, size - width + shift)
    y = (cell // n_cells) * size + rng.uniform(-shift, size - height + shift)
    kind, colour = rng.choice(scenes.KINDS), rng.choice(colours)
    thing = scenes.SceneObject(kind, colour, 0, 0, (x, y, x + width, y + height))
    varied.paint(image, kind, thing.box, scenes.shade(rng, colour))
    return thing


def tile_labels(objects):
    """[1 + patches, 3]: kind and colour under each patch's centre; no place, for the picture is unknown."""
    labels = np.zeros((PATCHES_PER_SIDE, PATCHES_PER_SIDE, 3), np.int64)
    centres = (np.arange(PATCHES_PER_SIDE) + .5) * PATCH
    for thing in objects:
        x0, y0, x1, y1 = thing.box
        inside = np.ix_((centres >= y0) & (centres <= y1), (centres >= x0) & (centres <= x1))
        labels[inside] = object_label(thing)
    labels[..., 2] = IGNORED
    return np.concatenate([np.full((1, 3), IGNORED), labels.reshape(-1, 3)])


def draw_tile(rng):
    """-> (pixels [TILE, TILE, 3] of 8 bits, labels [1 + patches, 3])."""
    n_cells = rng.choice([1, 2, 2, 3, 3])
    image, backgrounds = varied.make_background(rng, TILE, TILE)
    colours = varied.colours_on(backgrounds)
    n_objects = rng.randint(1, min(4, n_cells * n_cells)) if n_cells > 1 else 1
    objects = [draw_object(rng, image, cell, TILE / n_cells, colours)
               for cell in rng.sample(range(n_cells * n_cells), n_objects)]
    if rng.random() < .25:
        image = varied.add_noise(rng, image, rng.uniform(2, 8))
    return np.asarray(image), tile_labels(objects)


def draw_tiles(seed, step, batch):
    """The batch of one step, in the form of samples.draw_batch: pictures of one tile, without text."""
    rng = random.Random(seed * 1_000_003 + step)
    pixels, labels = zip(*(draw_tile(rng) for _ in range(batch)))
    return dict(bytes=torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)[:, None].contiguous(),
                aspect_ratio_mask=torch.tensor([[1]] * batch),
                aspect_ratio_ids=torch.ones(batch, dtype=torch.int64),
                patches=torch.from_numpy(np.stack(labels))[:, None])
