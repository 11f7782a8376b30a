#!/usr/bin/env bash
# Makes the pictures that README.md shows, from a run of the shipped model: bash viz/pictures.sh, after make.
# Needs Chromium for the picture of the report, and Pillow to make them small.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
build/reference run --image models/pictor/pictures/demo.png --prompt "What is in this image?" --trace "$work/demo"
build/viz heatmap "$work/demo" --layer 8 --token fish --output "$work/heatmap.png"
build/viz architecture --preset 11b --style slide --output "$work/architecture.png"
build/viz report "$work/demo" --output "$work/report.html"
chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$work/profile" --virtual-time-budget=4000 \
    --force-device-scale-factor=2 --window-size=1280,1060 --screenshot="$work/report.png" "file://$work/report.html" 2>"$work/chromium.log" ||
    { cat "$work/chromium.log" >&2; exit 1; }
mkdir -p viz/pictures
"${PYTHON:-/usr/bin/python3}" - "$work" <<'PYTHON'
import pathlib, sys
from PIL import Image
for name, file, width in [("heatmap", "models/pictor/heatmap.png", 1200), ("architecture", "viz/pictures/architecture.png", 1600), ("report", "viz/pictures/report.png", 1000)]:
    picture = Image.open(pathlib.Path(sys.argv[1]) / f"{name}.png").convert("RGB")
    picture = picture.resize((width, round(picture.height * width / picture.width)), Image.LANCZOS)
    if name == "architecture":   # flat colours; in a heatmap every shade says something
        picture = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    picture.save(file, optimize=True)
    print(file, pathlib.Path(file).stat().st_size, "bytes")
PYTHON
