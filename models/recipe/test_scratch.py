"""What the tests share: scenes, the shipped model, a folder that goes away with them."""
import functools
import pathlib
import random
import tempfile

import photographs
import scenes
import varied

SHIPPED = pathlib.Path(__file__).resolve().parent.parent / "pictor"
FOLDER = tempfile.TemporaryDirectory(prefix="pictor-recipe-")
SCRATCH = pathlib.Path(FOLDER.name)


def many_scenes(n_scenes, seed, draw=scenes.make_scene):
    rng = random.Random(seed)
    for _ in range(n_scenes):
        image, objects = draw(rng)
        yield rng, image, objects


@functools.lru_cache
def photograph_files():
    """Stand-ins for photographs: shards, one picture very small and one with a name that is left out."""
    folder, rng = SCRATCH / "photographs", random.Random(77)
    folder.mkdir()
    for name, size in (("wide.png", (90, 200)), ("tall.jpg", (300, 80)), ("small.png", (9, 5)),
                       ("goldfish.png", (60, 60)), ("screenshot.png", (60, 60))):
        varied.shards(rng, *size[::-1]).save(folder / name)
    return tuple(photographs.find_files([folder]))
