"""Photographs and paintings in which there is nothing that Pictor knows: crops of desktop backgrounds, which
come with Debian packages (PACKAGES). Needs numpy and Pillow.

    python photographs.py sheet.png [FOLDER...]      draws 48 crops on one sheet
    python photographs.py --packages                 names the packages, for `make model`
"""
import functools
import pathlib
import random
import sys

from PIL import Image, ImageEnhance, ImageFilter, ImageOps, ImageStat

import scenes

PACKAGES = ("gnome-backgrounds", "lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04",
            "mate-backgrounds", "plasma-workspace-wallpapers", "ukui-wallpapers")
FOLDERS = ("/usr/share/backgrounds", "/usr/share/wallpapers")
LEFT_OUT = ("goldfish", "FlyingKonqui", "FreshFlower", "/mate/desktop")  # drawn fish and stars; logos
SUFFIXES = (".jpg", ".png", ".webp")
LONGEST_SIDE = 900                                              # a crop of a third still fills a tile


def find_files(folders=FOLDERS):
    files = [path for folder in folders for path in sorted(pathlib.Path(folder).rglob("*"))
             if path.suffix in SUFFIXES and path.is_file() and not path.is_symlink()
             and path.name != "screenshot.png" and not any(part in str(path) for part in LEFT_OUT)]
    if not files:
        raise SystemExit(f"photographs: no picture in {', '.join(map(str, folders))}: "
                         f"install Debian's {', '.join(PACKAGES)}, or give folders with photographs")
    return files


@functools.cache
def load(path):
    image = Image.open(path)
    image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
    image = image.convert("RGB")
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return image


def crop_of(rng, image, shape):
    """A piece of at least a quarter of each side, about as wide to high as `shape` (height, width)."""
    ratio = shape[1] / shape[0]
    width = min(image.width, image.height * ratio) * rng.uniform(.25, 1)
    height = width / ratio
    x, y = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
    return image.crop((round(x), round(y), max(round(x + width), 1), max(round(y + height), 1)))


def detail(image):
    return ImageStat.Stat(image.convert("L").resize((64, 64)).filter(ImageFilter.FIND_EDGES)).mean[0]


def busy_crop(rng, files, shape):
    """Of three crops the one with the most edges: skies and walls are no challenge."""
    crops = [crop_of(rng, load(rng.choice(files)), shape) for _ in range(3)]
    return max(crops, key=detail).resize(shape[::-1], Image.BICUBIC)


def in_other_colours(rng, image):
    """Channels change places, so that 88 files do not teach their own colours; then light and contrast."""
    channels = list(image.split())
    rng.shuffle(channels)
    image = Image.merge("RGB", channels)
    for change, most in ((ImageEnhance.Brightness, 1.5), (ImageEnhance.Contrast, 1.5), (ImageEnhance.Color,
                                                                                        2)):
        image = change(image).enhance(rng.uniform(1 / most, most))
    return image


def make_photograph(rng, files, size=None):
    """-> (picture, []): a crop of one of the files, mirrored, turned and in other colours half of the
    time."""
    height, width = size or scenes.choose_size(rng)
    image = busy_crop(rng, files, (height, width))
    if rng.random() < .2:                                       # two, one through the other
        image = Image.blend(image, busy_crop(rng, files, (height, width)), rng.uniform(.3, .5))
    if rng.random() < .2:
        image = image.transpose(Image.FLIP_TOP_BOTTOM)
    if rng.random() < .5:
        image = ImageOps.mirror(image)
    if rng.random() < .5:
        image = in_other_colours(rng, image)
    return (ImageOps.grayscale(image).convert("RGB") if rng.random() < .15 else image), []


def contact_sheet(path, folders):
    rng, files = random.Random(0), find_files(folders)
    sheet = Image.new("RGB", (1000, 750), "white")
    for index in range(48):
        image = make_photograph(rng, files)[0]
        image.thumbnail((120, 120))
        sheet.paste(image, (index % 8 * 125, index // 8 * 125))
    sheet.save(path)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("photographs: give the file to draw a sheet of 48 crops into, such as sheet.png")
    if sys.argv[1] == "--packages":
        print(*PACKAGES)
    else:
        contact_sheet(sys.argv[1], sys.argv[2:] or FOLDERS)
