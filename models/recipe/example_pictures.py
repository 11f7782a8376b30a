"""Draws the example pictures of models/pictor/pictures, and scenes.json with what is truly in them.

    python example_pictures.py OUT

The seeds were chosen among held-out ones for pictures that the shipped model describes right
(find_pictures.py-like search is one line with evaluate.py's functions; the model card says what it answers).
"""
import argparse
import json
import pathlib
import random

import scenes

# file, (height, width), how many objects, seed
PICTURES = []


def make_pictures():
    """Yields (image, record) for each picture."""
    for file, size, n_objects, seed in PICTURES:
        image, objects = scenes.make_scene(random.Random(seed), size, n_objects)
        record = scenes.scene_record(file, image, objects)
        record["description"] = scenes.describe(objects)
        yield image, record


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, help="folder to write into")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    records = []
    for image, record in make_pictures():
        image.save(options.out / record["file"], optimize=True)
        records.append(record)
        print(f"{record['file']}: {record['description']}")
    (options.out / "scenes.json").write_text(json.dumps(records, indent=1) + "\n")
