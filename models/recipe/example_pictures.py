"""Draws the example pictures of models/pictor/pictures, and scenes.json with what is truly in them.

    python example_pictures.py OUT

The seeds were chosen among held-out ones: in every picture no two objects have the same colour, and the
shipped model describes all of it right under Meta's rules. Needs Pillow only.
"""
import argparse
import json
import pathlib
import random

import scenes

# file, (height, width), how many objects, seed of the scene
PICTURES = [("demo.png", (224, 224), 3, 1024),                  # 2 x 2 tiles, nothing resized
            ("row.png", (112, 448), 3, 2000),                   # 1 x 4 tiles
            ("column.png", (448, 112), 3, 3003),                # 4 x 1 tiles
            ("tile.png", (112, 112), 2, 4000),                  # exactly one tile
            ("odd.png", (173, 301), 3, 5004)]                   # resized onto 2 x 2 tiles and padded


def make_pictures():
    """Yields (image, record) for each picture."""
    for file, size, n_objects, seed in PICTURES:
        image, objects = scenes.make_scene(random.Random(seed), size, n_objects)
        record = scenes.scene_record(file, image, objects)
        record["description"] = scenes.describe(objects)
        yield image, record


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, help="folder to write into")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    records = []
    for image, record in make_pictures():
        image.save(options.out / record["file"], optimize=True)
        records.append(record)
        print(f"{record['file']}: {record['description']}")
    (options.out / "scenes.json").write_text(json.dumps(records, indent=1) + "\n")
