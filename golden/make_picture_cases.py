"""Makes golden/picture/: input pictures, and what transformers' PIL image processor makes of each.

    python golden/make_picture_cases.py [OUTPUT_FOLDER]

For every case the processor's pixel_values are checked, element by element, to be a 256-entry table applied
to the bytes of a padded canvas. So the canvas as PNG and the tables are the whole expectation, and small.
Needs transformers 5.23.0, Pillow 13.0.0, numpy (golden/requirements.txt); pictures are deterministic.
"""

import csv
import json
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL
import transformers
from PIL import Image
from transformers.models.mllama.image_processing_pil_mllama import (
    MllamaImageProcessorPil,
    convert_aspect_ratios_to_ids_np,
    get_image_size_fit_to_canvas,
    get_optimal_tiled_canvas,
    split_to_tiles_np,
)

MAX_TILES = 4
RESCALE = 0.00392156862745098
NORMALISATIONS = {
    "clip": {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]},
    "half": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
}
GRIDS = [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (3, 1), (4, 1)]


# --------------------------------------------------------------------------------------------- input pictures

def scene(height, width, seed=0):
    """Gradients, a disc, a bar and a little noise: every resize filter leaves its mark, PNG still packs it
    well."""
    row, column = np.mgrid[0:height, 0:width]
    y, x = row / max(height - 1, 1), column / max(width - 1, 1)
    step = 4  # few levels, so that large pictures stay small as files
    picture = np.stack([250 * x, 40 + 200 * y, 230 - 110 * x - 110 * y], axis=-1) // step * step
    picture[(y - 0.4) ** 2 + (x - 0.6) ** 2 < 0.05] = (250, 220, 20)
    picture[(np.abs(y - 0.75) < 0.05) & (x > 0.1) & (x < 0.9)] = (10, 20, 90)
    noise = np.random.default_rng(1000 + seed).integers(0, 256, (min(24, height), min(24, width), 3))
    picture[-noise.shape[0]:, -noise.shape[1]:] = noise
    return picture.astype(np.uint8)


def gray_scene(height, width, seed=0):
    return scene(height, width, seed).mean(axis=-1).astype(np.uint8)


def alpha_scene(height, width):
    row, column = np.mgrid[0:height, 0:width]
    alpha = 255 * column // max(width - 1, 1)
    alpha[row < height // 4] = 0
    return alpha.astype(np.uint8)


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed_rows(samples, depth):
    """samples [height, width * channels] -> filter byte and packed samples of every row."""
    if depth == 16:
        rows = samples.astype(">u2").view(np.uint8).reshape(samples.shape[0], -1)
    elif depth == 8:
        rows = samples.astype(np.uint8)
    else:
        bits = (samples[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        rows = np.packbits(bits.reshape(samples.shape[0], -1).astype(np.uint8), axis=1)
    return b"".join(b"\0" + row.tobytes() for row in rows)


def write_png(path, samples, depth, colour, palette=b"", transparent=None, interlaced=False):
    """A PNG of any kind, since Pillow writes only some. samples [height, width] or [height, width,
    channels]."""
    height, width = samples.shape[:2]
    channels = samples.reshape(height, width, -1)
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
                  (1, 0, 2, 1)]
        parts = [channels[top::down, left::across] for top, left, down, across in passes]
    else:
        parts = [channels]
    pixels = b"".join(packed_rows(part.reshape(part.shape[0], -1), depth) for part in parts if part.size)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.write(
            png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))))
        if palette:
            file.write(png_chunk(b"PLTE", palette))
        if transparent is not None:
            file.write(png_chunk(b"tRNS", transparent))
        packed = zlib.compress(pixels, 9)
        for start in range(0, len(packed), 8192):  # several IDAT chunks, as most encoders write
            file.write(png_chunk(b"IDAT", packed[start:start + 8192]))
        file.write(png_chunk(b"IEND", b""))


def save(path, picture, **options):
    Image.fromarray(picture).save(path, optimize=path.suffix == ".png", **options)


def kinds_of_file(folder):
    """One picture per kind of file that a decoder treats differently: (stem of the name, path)."""
    rng = np.random.default_rng(7)
    h, w = 90, 150
    rgb, gray, alpha = scene(h, w, 3), gray_scene(h, w, 3), alpha_scene(h, w)
    deep = rgb.astype(np.uint16) * 257 + rng.integers(0, 200, rgb.shape, dtype=np.uint16)
    palette = bytes(rng.integers(0, 256, 48, dtype=np.uint8))
    index = (gray >> 4).astype(np.uint8)
    files = {}

    def png(name, *args, **options):
        files[name] = folder / f"{name}.png"
        write_png(files[name], *args, **options)

    png("gray", gray, 8, 0)
    png("gray-1-bit", gray >> 7, 1, 0)
    png("gray-1-bit-transparent", gray >> 7, 1, 0, transparent=struct.pack(">H", 0))
    png("gray-2-bit", gray >> 6, 2, 0)
    png("gray-2-bit-transparent", gray >> 6, 2, 0, transparent=struct.pack(">H", 1))
    png("gray-4-bit", gray >> 4, 4, 0)
    png("gray-4-bit-transparent", gray >> 4, 4, 0, transparent=struct.pack(">H", 0))
    png("gray-transparent", gray, 8, 0, transparent=struct.pack(">H", int(gray[40, 75])))
    png("gray-16-bit", np.arange(h * w, dtype=np.uint16).reshape(h, w) % 700, 16, 0)
    png("gray-16-bit-transparent",
        np.arange(h * w, dtype=np.uint16).reshape(h, w) % 700, 16, 0, transparent=struct.pack(">H", 9))
    png("gray-alpha", np.stack([gray, alpha], -1), 8, 4)
    every = np.stack(np.meshgrid(np.arange(256), np.arange(256), indexing="ij"), -1)
    png("gray-alpha-every-pair", every, 8, 4)
    png("gray-alpha-16-bit", np.stack([deep[..., 0], alpha.astype(np.uint16) * 257], -1), 16, 4)
    png("rgb-interlaced", rgb, 8, 2, interlaced=True)
    png("rgb-transparent", rgb, 8, 2, transparent=struct.pack(">3H", *[int(c) for c in rgb[40, 90]]))
    png("rgb-16-bit", deep, 16, 2)
    low = rgb.copy()
    low[:20] = (0x34, 0xFF, 0x00)
    png("rgb-16-bit-transparent",
        low.astype(np.uint16) * 256, 16, 2, transparent=struct.pack(">3H", 0x1234, 0xFEFF, 0))
    png("rgba", np.concatenate([rgb, alpha[..., None]], -1), 8, 6)
    png("rgba-16-bit", np.concatenate([deep, alpha[..., None].astype(np.uint16) * 257], -1), 16, 6)
    png("palette", index, 8, 3, palette=palette)
    png("palette-4-bit", index, 4, 3, palette=palette)
    png("palette-transparent", index, 8, 3, palette=palette, transparent=bytes([0, 128, 255, 40]))
    png("palette-one-transparent", index, 4, 3, palette=palette,
        transparent=bytes([255, 255, 255, 255, 255, 0]))
    png("palette-too-short", index, 8, 3, palette=palette[:15], transparent=bytes([255, 90]))

    files["bmp-24-bit"] = folder / "bmp-24-bit.bmp"
    save(files["bmp-24-bit"], scene(20, 31, 4))
    files["bmp-rows-downwards"] = folder / "bmp-rows-downwards.bmp"
    bmp = bytearray(files["bmp-24-bit"].read_bytes())
    bmp[22:26] = struct.pack("<i", -20)
    files["bmp-rows-downwards"].write_bytes(bmp)
    files["bmp-8-bit"] = folder / "bmp-8-bit.bmp"
    save(files["bmp-8-bit"], gray_scene(20, 31, 4))
    files["gif"] = folder / "gif.gif"
    Image.fromarray(rgb).quantize(32).save(files["gif"])
    files["gif-part-of-screen"] = folder / "gif-part-of-screen.gif"
    gif = bytearray(files["gif"].read_bytes())
    gif[6:10] = struct.pack("<HH", 170, 101)  # a screen larger than the first frame
    gif[11] = 5  # its background colour, which Pillow does not use
    files["gif-part-of-screen"].write_bytes(gif)
    files["gif-transparent"] = folder / "gif-transparent.gif"
    Image.fromarray(rgb).quantize(32).save(files["gif-transparent"], transparency=3)
    return files


def jpeg_files(folder):
    files = {}
    for name, picture, options in [
        ("jpeg-420", scene(150, 210, 5), dict(quality=90)),
        ("jpeg-444", scene(110, 97, 6), dict(quality=95, subsampling=0)),
        ("jpeg-422", scene(120, 161, 10), dict(quality=90, subsampling=1)),
        ("jpeg-progressive", scene(130, 131, 7), dict(quality=80, progressive=True)),
        ("jpeg-gray", gray_scene(100, 140, 8), dict(quality=85)),
        ("jpeg-noise", np.random.default_rng(9).integers(0, 256, (48, 64, 3),
                                                         dtype=np.uint8), dict(quality=90)),]:
        files[name] = folder / f"{name}.jpg"
        save(files[name], picture, **options)
    return files


def sizes(tile):
    """Names and sizes that tell one rule of the canvas from another."""
    yield "1x1", 1, 1
    yield "13x997", 13, 997
    yield "997x13", 997, 13
    yield "tile", tile, tile
    yield "tile-plus-1", tile + 1, tile + 1
    yield "tile-minus-1", tile - 1, tile - 1
    yield "tile-plus-1-high", tile + 1, tile
    yield "larger", tile * 9 // 4 + 1, tile * 3 + 7
    yield "larger-high", tile * 9 // 2 + 3, tile // 2
    for high, wide in GRIDS[1:]:
        yield f"grid-{high}x{wide}", high * tile * 93 // 100, wide * tile * 97 // 100


# ----------------------------------------------------------------------------------------------- expectations

def processor(tile, normalisation):
    return MllamaImageProcessorPil(
        size={"height": tile, "width": tile}, max_image_tiles=MAX_TILES, rescale_factor=RESCALE,
        image_mean=NORMALISATIONS[normalisation]["mean"], image_std=NORMALISATIONS[normalisation]["std"],
    )


def byte_table(normalisation):
    """[3, 256] float32: what each byte of each colour becomes."""
    process = processor(112, normalisation)
    every_byte = np.tile(np.arange(256, dtype=np.uint8), (3, 1))[:, :, None]
    table = process.normalize(process.rescale(every_byte, RESCALE), process.image_mean, process.image_std)
    assert table.dtype == np.float32
    return table[:, :, 0]


def expected_case(folder, name, path, tile, normalisation):
    process = processor(tile, normalisation)
    output = process(images=Image.open(path), return_tensors="np")

    pixels = process.process_image(Image.open(path), do_convert_rgb=True)
    resized, grid = process.resize(pixels, process.size, MAX_TILES, process.resample)
    canvas = process.pad(resized, {"height": tile, "width": tile}, grid)
    assert canvas.dtype == np.uint8

    values = np.stack([byte_table(normalisation)[colour][canvas[colour]] for colour in range(3)])
    tiles = split_to_tiles_np(values, *grid)
    pixel_values = output["pixel_values"][0, 0]
    assert np.array_equal(pixel_values[: len(tiles)], tiles) and not pixel_values[len(tiles):].any(), name
    assert output["aspect_ratio_mask"][0, 0].tolist() == [int(i < len(tiles)) for i in range(MAX_TILES)]

    canvas_file = f"{name}.canvas.png"
    save(folder / canvas_file, np.ascontiguousarray(canvas.transpose(1, 2, 0)))
    return {
        "name": name,
        "file": path.name,
        "canvas": canvas_file,
        "tile_size": tile,
        "normalisation": normalisation,
        "size": list(pixels.shape[1:]),
        "resized": list(resized.shape[1:]),
        "tiles": [int(n) for n in grid],
        "aspect_ratio_id": int(output["aspect_ratio_ids"][0, 0]),}


def make_cases(folder):
    cases = []
    for tile in (112, 560):
        seen = set()
        for number, (name, height, width) in enumerate(sizes(tile)):
            path = folder / f"size-{name}-{tile}.png"
            save(path, scene(height, width, number))
            normalisation = "half" if number % 3 == 2 else "clip"
            cases.append(expected_case(folder, path.stem, path, tile, normalisation))
            seen.add(tuple(cases[-1]["tiles"]))
        assert seen == set(GRIDS), (tile, seen)
    for number, (name, path) in enumerate(kinds_of_file(folder).items()):
        cases.append(expected_case(folder, name, path, 112, "half" if number % 3 == 2 else "clip"))
        if name in ("gray", "rgba", "palette-transparent", "rgb-16-bit", "gray-16-bit"):
            cases.append(expected_case(folder, f"{name}-560", path, 560, "clip"))
    return cases


def make_jpegs(folder):
    """JPEG decoders differ: the expectation is Pillow's decoded picture, to measure the distance from."""
    decoded = []
    for name, path in jpeg_files(folder).items():
        save(folder / f"{name}.decoded.png", np.array(Image.open(path).convert("RGB")))
        decoded.append({"file": path.name, "decoded": f"{name}.decoded.png"})
    return decoded


def make_canvas_sizes(path):
    rng = np.random.default_rng(11)
    with open(path, "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([
            "height", "width", "tile_size", "max_tiles", "canvas_height", "canvas_width", "resized_height",
            "resized_width", "aspect_ratio_id"])
        for number in range(2400):
            tile = (112, 560, 448, 14)[number % 4]
            max_tiles = (4, 4, 4, 1, 6, 2, 9)[number % 7]
            height, width = (int(2 ** exponent) for exponent in rng.uniform(0, 13.5, 2))
            if number % 5 == 0:  # around whole tiles
                height = max(1, tile * int(rng.integers(1, 5)) + int(rng.integers(-1, 2)))
            if number % 3 == 0:
                width = max(1, tile * int(rng.integers(1, 5)) + int(rng.integers(-1, 2)))
            if number % 11 == 0:  # thin ones, whose short side would come out as 0
                height, width = ((1, width * 40), (height * 40, 1))[number % 2]
            canvas = tuple(int(n) for n in get_optimal_tiled_canvas(height, width, max_tiles, tile))
            resized = [int(n) for n in get_image_size_fit_to_canvas(height, width, *canvas, tile)]
            grid = (canvas[0] // tile, canvas[1] // tile)
            rows.writerow([
                height, width, tile, max_tiles, *canvas, *resized,
                convert_aspect_ratios_to_ids_np([[grid]], max_tiles)[0, 0]])


def formula_picture(height, width):
    row, column, colour = np.mgrid[0:height, 0:width, 0:3]
    return ((row * 73 + column * 151 + colour * 57 + row * column * 7) % 256).astype(np.uint8)


def make_resizes(path):
    """Pillow's resize of pictures that both sides compute from a formula; the expectation is the bytes'
    CRC-32."""
    rng = np.random.default_rng(12)
    with open(path, "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["height", "width", "resized_height", "resized_width", "crc32"])
        for number in range(300):
            height, width, new_height, new_width = (int(n) for n in rng.integers(1, 90, 4))
            if number % 10 == 0:
                width = int(rng.integers(300, 900))
            if number % 10 == 1:
                height = int(rng.integers(300, 900))
            if number % 6 == 0:
                new_width = width
            if number % 9 == 0:
                new_height = height
            resized = Image.fromarray(formula_picture(height, width)).resize((new_width, new_height),
                                                                             Image.Resampling.BILINEAR)
            rows.writerow([height, width, new_height, new_width, zlib.crc32(np.array(resized).tobytes())])


def write_json(path, fields):
    """One line per case and per row of a table: readable, and differences show."""
    lines = []
    for key, value in fields.items():
        if isinstance(value, list):
            text = "[\n" + ",\n".join(f"  {json.dumps(entry)}" for entry in value) + "\n ]"
        elif key == "normalisations":
            text = "{\n" + ",\n".join(f"  {json.dumps(name)}: {json.dumps(entry)}"
                                      for name, entry in value.items()) + "\n }"
        else:
            text = json.dumps(value)
        lines.append(f" {json.dumps(key)}: {text}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "picture")
    folder.mkdir(parents=True, exist_ok=True)
    expected = {
        "made_with": {
            "transformers": transformers.__version__, "pillow": PIL.__version__, "numpy": np.__version__},
        "max_tiles": MAX_TILES,
        "rescale_factor": RESCALE,
        "normalisations": {
            name: {**numbers, "table": [[float(str(value)) for value in row] for row in byte_table(name)]}
            for name, numbers in NORMALISATIONS.items()},
        "cases": make_cases(folder),
        "jpegs": make_jpegs(folder),}
    write_json(folder / "expected.json", expected)
    make_canvas_sizes(folder / "canvas_sizes.csv")
    make_resizes(folder / "resizes.csv")
    print(f"{len(expected['cases'])} cases, {len(expected['jpegs'])} JPEGs in {folder}")


if __name__ == "__main__":
    main()
