"""What the tests share: scenes, the shipped model, a folder that goes away with them."""
import pathlib
import random
import tempfile

import scenes

SHIPPED = pathlib.Path(__file__).resolve().parent.parent / "pictor"
FOLDER = tempfile.TemporaryDirectory(prefix="pictor-recipe-")
SCRATCH = pathlib.Path(FOLDER.name)


def many_scenes(n_scenes, seed, draw=scenes.make_scene):
    rng = random.Random(seed)
    for _ in range(n_scenes):
        image, objects = draw(rng)
        yield rng, image, objects
