"""From scenes and dialogs to the tensors a training or evaluation step takes.

Shapes: B dialogs, T tokens of the longest one, MAX_TILES tiles per picture, 1 + 64 patches per tile.
"""
import dataclasses
import random

import numpy as np
import torch
from PIL import Image
from transformers.models.mllama.image_processing_pil_mllama import (
    get_image_size_fit_to_canvas, get_optimal_tiled_canvas, split_to_tiles_np)

import dialogs
import photographs
import scenes
import varied
from measure import PatchGrid
from model import BOS, EOT, IMAGE, MAX_TILES, PAD, PATCH, PATCHES_PER_SIDE, TILE, TILE_GRIDS

MOST_OBJECTS = NO_OBJECT = 4
IGNORED = -100                                                  # a label that cross_entropy leaves out
TOKENS = 192                                                    # a picture's dialogs in training
HARD_FROM = 2640  # step of its stage from which on pictures are harder
LONG_SHARE = .2  # of steps, whose dialogs may fill the whole row
PHOTOGRAPHS = .3                                                # of pictures in the last stage
CHAT_SHARE = .05                                                # of dialogs, which are without a picture


@dataclasses.dataclass
class Picture:
    """A picture cut into tiles, and where on the canvas of tiles it lies."""
    pixels: np.ndarray  # [MAX_TILES, 3, TILE, TILE], absent tiles zero
    aspect_ratio_id: int
    tile_mask: np.ndarray                                       # [MAX_TILES], 1 = present
    grid: tuple                                                 # (rows, columns) of tiles
    resized: tuple                                              # (height, width) on the canvas, in pixels
    size: tuple                                                 # (height, width) of the original


def preprocess(image):
    """The steps of transformers' PIL processor for one RGB picture (a test holds the two together)."""
    canvas = [int(side) for side in get_optimal_tiled_canvas(image.height, image.width, MAX_TILES, TILE)]
    size = get_image_size_fit_to_canvas(image.height, image.width, *canvas, TILE)
    height, width = (int(side) for side in size)
    same = (height, width) == (image.height, image.width)
    resized = image if same else image.resize((width, height), Image.BILINEAR)

    padded = np.zeros((3, *canvas), np.float32)
    padded[:, :height, :width] = np.asarray(resized).transpose(2, 0, 1) / 255.0
    grid = (canvas[0] // TILE, canvas[1] // TILE)
    tiles = split_to_tiles_np((padded - 0.5) / 0.5, *grid)
    pixels = np.zeros((MAX_TILES, 3, TILE, TILE), np.float32)
    pixels[:len(tiles)] = tiles
    tile_mask = np.zeros(MAX_TILES, np.int64)
    tile_mask[:len(tiles)] = 1
    return Picture(pixels, TILE_GRIDS.index(grid) + 1, tile_mask, grid, (height, width),
                   (image.height, image.width))


def patch_centres(picture):
    """-> (y of each row, x of each column) of patch centres over all tiles, in pixels of the original
    picture."""
    (n_rows, n_columns), (height, width) = picture.grid, picture.resized
    ys = (np.arange(n_rows * PATCHES_PER_SIDE) + .5) * PATCH * picture.size[0] / height
    xs = (np.arange(n_columns * PATCHES_PER_SIDE) + .5) * PATCH * picture.size[1] / width
    return ys, xs


def object_label(thing):
    """(kind, colour, place) as class numbers; kind and colour 0 are the background's."""
    kind, colour = scenes.KINDS.index(thing.kind), scenes.COLOUR_NAMES.index(thing.colour)
    return 1 + kind, 1 + colour, 3 * thing.row + thing.column


def patch_labels(picture, objects):
    """[MAX_TILES, 1 + patches, 3]: kind and colour under each patch's centre, and in which of the nine places
    it is (that of the object, if there is one); IGNORED where there is no picture."""
    ys, xs = patch_centres(picture)
    grid = np.full((len(ys), len(xs), 3), IGNORED, np.int64)
    grid[np.ix_(ys <= picture.size[0], xs <= picture.size[1])] = 0
    for y, x in np.argwhere(grid[..., 0] == 0):
        row, column = int(ys[y] / picture.size[0] * 3), int(xs[x] / picture.size[1] * 3)
        grid[y, x, 2] = 3 * min(2, row) + min(2, column)
    for thing in objects:
        x0, y0, x1, y1 = thing.box
        grid[np.ix_((ys >= y0) & (ys <= y1), (xs >= x0) & (xs <= x1))] = object_label(thing)

    (n_rows, n_columns), n = picture.grid, PATCHES_PER_SIDE
    labels = np.full((MAX_TILES, 1 + n * n, 3), IGNORED, np.int64)
    tiles = grid.reshape(n_rows, n, n_columns, n, 3).transpose(0, 2, 1, 3, 4)
    labels[:n_rows * n_columns, 1:] = tiles.reshape(n_rows * n_columns, n * n, 3)
    return labels


def encode_dialog(tokenizer, turns, with_image=True):
    """Chat format -> (token ids, labels); labels are IGNORED but for the answers and their end token."""
    ids, labels = [tokenizer.token_to_id(BOS)], [IGNORED]
    for index, (question, answer) in enumerate(turns):
        image = IMAGE if index == 0 and with_image else ""
        text = (f"<|start_header_id|>user<|end_header_id|>\n\n{image}{question}{EOT}"
                "<|start_header_id|>assistant<|end_header_id|>\n\n")
        asked = tokenizer.encode(text, add_special_tokens=False).ids
        answered = tokenizer.encode(answer + EOT, add_special_tokens=False).ids
        ids += asked + answered
        labels += [IGNORED] * len(asked) + answered
    return ids, labels


@dataclasses.dataclass
class Sample:
    picture: Picture
    ids: list
    labels: list
    with_image: bool  # False: the picture is there but no token may see it


def collate(samples, tokenizer):
    """-> the arguments of transformers' model, with labels [B, T] beside them."""
    n_tokens = max(len(sample.ids) for sample in samples)
    ids = torch.full((len(samples), n_tokens), tokenizer.token_to_id(PAD))
    labels = torch.full((len(samples), n_tokens), IGNORED)
    cross_mask = torch.zeros(len(samples), n_tokens, 1, MAX_TILES, dtype=torch.int64)
    for row, sample in enumerate(samples):
        ids[row, :len(sample.ids)] = torch.tensor(sample.ids)
        labels[row, :len(sample.labels)] = torch.tensor(sample.labels)
        if sample.with_image:  # seen from <|image|> on; nothing before it sees anything
            first = sample.ids.index(tokenizer.token_to_id(IMAGE))
            cross_mask[row, first:, 0, :] = torch.tensor(sample.picture.tile_mask)
    pictures = [sample.picture for sample in samples]
    masks = np.stack([picture.tile_mask for picture in pictures])
    return dict(input_ids=ids, labels=labels, cross_attention_mask=cross_mask,
                pixel_values=torch.from_numpy(np.stack([picture.pixels for picture in pictures]))[:, None],
                aspect_ratio_ids=torch.tensor([[picture.aspect_ratio_id] for picture in pictures]),
                aspect_ratio_mask=torch.from_numpy(masks)[:, None])


# ---- what training takes -----------------------------------------------------------------------------

def box_patches(picture, objects):
    """[MOST_OBJECTS + 1, MAX_TILES * (1 + patches)]: the patches of each object's box, with half a patch of
    margin; last of all, what lies in no box, class tokens too."""
    patches = PatchGrid(picture.grid, picture.resized, picture.size, TILE, PATCH)
    boxes = np.zeros((MOST_OBJECTS + 1, MAX_TILES, 1 + PATCHES_PER_SIDE**2), bool)
    (n_rows, n_columns), n = picture.grid, PATCHES_PER_SIDE
    for index, thing in enumerate(objects):
        inside = patches.inside(thing.box).reshape(n_rows, n, n_columns, n).transpose(0, 2, 1, 3)
        boxes[index, :n_rows * n_columns, 1:] = inside.reshape(n_rows * n_columns, n * n)
    boxes[NO_OBJECT, :n_rows * n_columns] = ~boxes[:NO_OBJECT, :n_rows * n_columns].any(0)
    return boxes.reshape(len(boxes), -1)


def answer_owners(tokenizer, turn, objects):
    """For each token of an answer and its end token: the number of the object that it is about, NO_OBJECT
    where one was looked for and is not there, or -1."""
    encoded = tokenizer.encode(turn.answer, add_special_tokens=False)
    if turn.kind != "describe":
        owner = objects.index(turn.thing) if turn.thing in objects else -1
        if turn.thing is None and turn.kind in ("what is at", "is there", "not there", "nothing known"):
            owner = NO_OBJECT
        return [owner] * len(encoded.ids) + [-1]
    starts, cursor = [], 0
    for thing in objects:
        cursor = turn.answer.index(f"{thing.phrase} {thing.place}", cursor)
        starts.append(cursor)
    return [sum(start < end for start in starts) - 1 for _, end in encoded.offsets] + [-1]


@dataclasses.dataclass
class Packed:
    """One picture with a row of tokens that holds several dialogs about it, one after the other."""
    picture: Picture
    patches: np.ndarray
    ids: np.ndarray                                             # [TOKENS]
    labels: np.ndarray  # [TOKENS]: the token to predict AFTER each one
    dialogs: np.ndarray  # [TOKENS]: a number for each dialog, -1 for padding
    sees: np.ndarray  # [TOKENS]: whether the token may see the picture
    owners: np.ndarray  # [TOKENS]: which object the token to predict is about, NO_OBJECT or -1
    boxes: np.ndarray  # [MOST_OBJECTS + 1, keys]: the patches of each object, and of none


def fill_segment(rng, tokenizer, objects, packed, start, length):
    """Puts dialogs into packed[start : start + length] until no more fit."""
    place, failures = start, 0
    while failures < 3:
        with_image = rng.random() > CHAT_SHARE
        n_turns = rng.choice([1, 1, 1, 2, 2, 3, 4]) if length < TOKENS else rng.choice([1, 2, 5, 6, 7, 8])
        turns = dialogs.make_dialog(rng, objects, n_turns, with_image)
        ids, labels = encode_dialog(tokenizer, [(turn.question, turn.answer) for turn in turns], with_image)
        if place + len(ids) > start + length:
            failures += 1
            continue
        here = slice(place, place + len(ids))
        owners = [answer_owners(tokenizer, turn, objects) for turn in turns] if with_image else []
        answered = place + np.flatnonzero(np.array(labels[1:]) != IGNORED)
        packed.owners[answered] = [owner for turn in owners for owner in turn] if with_image else -1
        packed.ids[here], packed.labels[here] = ids, labels[1:] + [IGNORED]
        packed.dialogs[here] = place
        if with_image:
            packed.sees[place + ids.index(tokenizer.token_to_id(IMAGE)):place + len(ids)] = True
        place += len(ids)


def empty_row(tokenizer, image, objects):
    picture = preprocess(image)
    return Packed(picture, patch_labels(picture, objects), np.full(TOKENS, tokenizer.token_to_id(PAD)),
                  np.full(TOKENS, IGNORED), np.full(TOKENS, -1), np.zeros(TOKENS, bool), np.full(TOKENS, -1),
                  box_patches(picture, objects))


def pack(rng, tokenizer, image, objects, n_segments):
    packed = empty_row(tokenizer, image, objects)
    length = TOKENS // n_segments
    for segment in range(n_segments):
        fill_segment(rng, tokenizer, objects, packed, segment * length, length)
    return packed


def collate_packed(rows, n_segments):
    """-> one training step's tensors; pixels in 8 bits, which are a quarter of the memory to move."""
    def stack(name, of=lambda row: row):
        return torch.from_numpy(np.stack([getattr(of(row), name) for row in rows]))
    bytes_of = [np.round((row.picture.pixels + 1) * 127.5).astype(np.uint8) for row in rows]
    return dict(bytes=torch.from_numpy(np.stack(bytes_of)),
                aspect_ratio_mask=stack("tile_mask", lambda row: row.picture),
                aspect_ratio_ids=torch.tensor([row.picture.aspect_ratio_id for row in rows]),
                patches=stack("patches"), owners=stack("owners"), boxes=stack("boxes"),
                input_ids=stack("ids"), labels=stack("labels"), sees=stack("sees"),
                dialogs=stack("dialogs").reshape(len(rows) * n_segments, -1))


def draw_batch(tokenizer, seed, step, batch, photograph_files=()):
    """The batch of one step: the same for the same seed and step, whatever came before."""
    rng = random.Random(seed * 1_000_003 + step)
    n_segments = 1 if rng.random() < LONG_SHARE else 2
    draw = varied.make_hard if photograph_files or step >= HARD_FROM else varied.make_any

    def draw_picture():
        if photograph_files and rng.random() < PHOTOGRAPHS:
            return photographs.make_photograph(rng, photograph_files)
        return draw(rng)
    rows = [pack(rng, tokenizer, *draw_picture(), n_segments) for _ in range(batch)]
    return collate_packed(rows, n_segments)


def pixels_of(batch):
    """[B, tiles, 3, TILE, TILE] from -1 to 1, absent tiles zero, as preprocess gives them."""
    present = batch["aspect_ratio_mask"][:, :batch["bytes"].shape[1], None, None, None]
    return (batch["bytes"].float() / 127.5 - 1) * present


class Batches(torch.utils.data.IterableDataset):
    """Batches without end from a step on, drawn as they are asked for."""

    def __init__(self, draw, first_step, *arguments):
        self.draw, self.step, self.arguments = draw, first_step, arguments

    def __iter__(self):
        while True:
            yield self.draw(*self.arguments[:2], self.step, *self.arguments[2:])
            self.step += 1
