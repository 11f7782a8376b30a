"""Scenes less tidy than those of scenes.py: two sizes of objects, slight overlaps, backgrounds with a
gradient or light noise, and pictures of nothing that Pictor knows. Needs Pillow and numpy.

Everything random comes from the `random.Random` that is passed in.

    python varied.py sheet.png      draws twelve scenes on one sheet and prints what they show
"""
import random
import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

import scenes

TIDY, UNKNOWN = .45, .06                                        # shares of pictures; the rest is varied
SMALLEST_SIZES = [(112, 112), (112, 336), (336, 112), (112, 448), (448, 112)]
SMALLEST_SIDE = 22                                              # of a small object on the canvas, in pixels


# ---- backgrounds -------------------------------------------------------------------------------------

def ramp(rng, width, height):
    """[height, width]: from 0 to 1 across the picture, in some direction."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:height, 0:width]
    along = np.cos(angle) * x / width + np.sin(angle) * y / height
    return (along - along.min()) / max(along.max() - along.min(), 1e-9)


def make_background(rng, width, height):
    """-> (picture, the colours that it runs between)."""
    base = rng.choice(scenes.BACKGROUNDS)
    if rng.random() < .5:
        return Image.new("RGB", (width, height), base), [base]
    other = tuple(max(0, min(255, value + rng.randint(-28, 28))) for value in base)
    share = ramp(rng, width, height)[..., None]
    mixed = np.array(base) * (1 - share) + np.array(other) * share
    return Image.fromarray(mixed.round().astype(np.uint8)), [base, other]


def colours_on(backgrounds):
    """The names of the colours that can be told apart from all of these."""
    return [name for name in scenes.COLOUR_NAMES
            if all(name in scenes.colours_that_show(background) for background in backgrounds)]


def add_noise(rng, image, strength):
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, strength, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).round().astype(np.uint8))


# ---- objects -----------------------------------------------------------------------------------------

def paint(image, kind, box, rgb):
    """Draws an object so that its holes show whatever lies below."""
    shape = Image.new("L", image.size, 0)
    scenes.draw_object(ImageDraw.Draw(shape), kind, box, 255, 0)
    image.paste(rgb, mask=shape)


def canvas_scale(width, height):
    """How much smaller a picture of an odd size gets on its canvas of at most 4 tiles, roughly."""
    return min(1.0, 336 / max(width, height))


def shrink(rng, box):
    """A smaller box inside a box."""
    x0, y0, x1, y1 = box
    scale = rng.uniform(.55, .7)
    width, height = (x1 - x0) * scale, (y1 - y0) * scale
    x = rng.uniform(x0, x1 - width)
    y = rng.uniform(y0, y1 - height)
    return x, y, x + width, y + height


def stretch(rng, cell, reach, width, height):
    """A box about as large as its cell (x, y, width, height), and moved by up to `reach` either way, still
    inside the picture: stretched neighbours overlap a little, and their middles stay in their cells."""
    side = min(cell[2], cell[3]) * rng.uniform(.92, 1.0)
    x = max(0, min(width - side, cell[0] + rng.uniform(0, cell[2] - side) + rng.uniform(-reach, reach)))
    y = max(0, min(height - side, cell[1] + rng.uniform(0, cell[3] - side) + rng.uniform(-reach, reach)))
    return x, y, x + side, y + side


def neighbouring_cells(rng, n_cells):
    """Cells in reading order, each but the first beside or below another."""
    cells = {rng.randrange(9)}
    while len(cells) < n_cells:
        row, column = divmod(rng.choice(sorted(cells)), 3)
        down, right = rng.choice([(0, 1), (1, 0), (0, -1), (-1, 0)])
        if 0 <= row + down < 3 and 0 <= column + right < 3:
            cells.add(3 * (row + down) + column + right)
    return sorted(cells)


def make_varied(rng, size=None, n_objects=None):
    """-> (picture, objects in reading order) with anything this file adds but unknown pictures."""
    height, width = size or scenes.choose_size(rng)
    image, backgrounds = make_background(rng, width, height)
    colours = colours_on(backgrounds)
    n_objects = n_objects or rng.choice([1, 1, 2, 2, 2, 3, 3, 4])
    crowded = n_objects > 1 and rng.random() < .35
    cells = neighbouring_cells(rng, n_objects) if crowded else sorted(rng.sample(range(9), n_objects))
    kinds = rng.sample(scenes.KINDS, n_objects)
    cell_width, cell_height = width / 3, height / 3
    chosen = rng.sample(colours, n_objects) if crowded else [rng.choice(colours) for _ in kinds]
    smallest = SMALLEST_SIDE / canvas_scale(width, height)
    objects = []
    for kind, colour, cell in zip(kinds, chosen, cells):
        row, column = divmod(cell, 3)
        box = scenes.place_box(rng, row, column, cell_width, cell_height)
        if crowded:
            cell = column * cell_width, row * cell_height, cell_width, cell_height
            box = stretch(rng, cell, .17 * min(cell_width, cell_height), width, height)
        elif rng.random() < .4 and min(box[2] - box[0], box[3] - box[1]) * .55 > smallest:
            box = shrink(rng, box)
        objects.append(scenes.SceneObject(kind, colour, row, column, box))
    for thing in rng.sample(objects, len(objects)):             # any of two that overlap may lie above
        paint(image, thing.kind, thing.box, scenes.shade(rng, thing.colour))
    if rng.random() < .4:
        image = add_noise(rng, image, rng.uniform(2, 8))
    return image, objects


# ---- pictures of nothing -----------------------------------------------------------------------------

def clouds(random_numbers, width, height, finest):
    """[height, width, 3] from 0 to 1: noise of several sizes added up, as skies, woods and walls have it."""
    total, weight = np.zeros((height, width, 3)), 0.0
    side = random_numbers.integers(2, 4)
    while side <= finest:
        grid = random_numbers.random((side, side, 3)).astype(np.float32)
        layers = [np.asarray(Image.fromarray(grid[..., channel]).resize((width, height), Image.BICUBIC))
                  for channel in range(3)]
        total += np.stack(layers, -1) / side**.7
        weight += 1 / side**.7
        side *= 2
    return total / weight


def shards(rng, width, height):
    """Overlapping pieces with straight edges, in any colour."""
    image = Image.new("RGB", (width, height), tuple(rng.randrange(256) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randint(4, 40)):
        middle = rng.uniform(0, width), rng.uniform(0, height)
        reach = rng.uniform(.1, .7) * max(width, height)
        corners = [tuple(place + rng.uniform(-reach, reach) for place in middle) for _ in range(3)]
        draw.polygon(corners, fill=tuple(rng.randrange(256) for _ in range(3)))
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 3)))


def make_unknown(rng, size=None):
    """-> (picture, []): an empty background, or a texture somewhat like a photograph's."""
    height, width = size or scenes.choose_size(rng)
    draw = rng.random()
    if draw < .25:
        image = make_background(rng, width, height)[0]
        return (add_noise(rng, image, rng.uniform(2, 8)) if rng.random() < .3 else image), []
    if draw < .5:
        image = shards(rng, width, height)
    else:
        random_numbers = np.random.default_rng(rng.getrandbits(32))
        pixels = clouds(random_numbers, width, height, rng.choice([4, 16, 64]))
        pixels = (pixels - pixels.min()) / max(pixels.max() - pixels.min(), 1e-9)
        if rng.random() < .5:                                   # towards one hue
            pixels = pixels.mean(-1, keepdims=True) * random_numbers.random(3) + pixels * .3
        if rng.random() < .3:
            pixels = np.floor(pixels * 5) / 5
        image = Image.fromarray((np.clip(pixels, 0, 1) * 255).astype(np.uint8))
        if rng.random() < .5:
            image = Image.blend(image, shards(rng, width, height), rng.uniform(.2, .6))
    return (add_noise(rng, image, rng.uniform(2, 14)) if rng.random() < .5 else image), []


def make_any(rng):
    """-> (picture, objects): what Pictor is trained and measured on."""
    draw = rng.random()
    if draw < TIDY:
        return scenes.make_scene(rng)
    return make_unknown(rng) if draw < TIDY + UNKNOWN else make_varied(rng)


def make_hard(rng):
    """As make_any, but with more objects, and more pictures of one tile or of three or four in a row, where
    objects are smallest: what was still wrong when two thirds of the training were over."""
    if rng.random() < .3:
        return make_any(rng)
    size = rng.choice(SMALLEST_SIZES) if rng.random() < .5 else scenes.choose_size(rng)
    make = scenes.make_scene if rng.random() < .5 else make_varied
    return make(rng, size, rng.choice([1, 2, 2, 3, 3, 4, 4, 4]))


def contact_sheet(path):
    rng = random.Random(0)
    sheet = Image.new("RGB", (1000, 750), "white")
    for index in range(12):
        image, objects = make_varied(rng) if index < 8 else make_unknown(rng)
        image.thumbnail((240, 240))
        sheet.paste(image, ((index % 4) * 250, (index // 4) * 250))
        print(scenes.describe(objects) if objects else "nothing that Pictor knows")
    sheet.save(path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("varied: give the file to draw a sheet of twelve scenes into, such as sheet.png")
    contact_sheet(sys.argv[1])
