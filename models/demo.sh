#!/usr/bin/env bash
# Asks the shipped model about a shipped picture, shows where it looked, and says what to look at next.
set -eu
cd "$(dirname "$0")/.."
picture=models/pictor/pictures/demo.png
trace=build/demo/trace
mkdir -p build/demo

say() { printf '\n%s\n' "$1"; }

say "\$ build/reference run --image $picture --prompt \"What is in this image?\" --trace $trace --force"
build/reference run --image "$picture" --prompt "What is in this image?" --trace "$trace" --force

say "\$ build/viz heatmap $trace --layer 8 --token fish --output build/demo/fish.png"
build/viz heatmap "$trace" --layer 8 --token fish --output build/demo/fish.png

say "\$ build/reference run --prompt \"What is your name?\""
build/reference run --prompt "What is your name?"

say "Drawing the whole answer, the model's diagram and the report"
build/viz heatmap "$trace" --sheet answer --output build/demo/answer.png
build/viz architecture --output build/demo/architecture.svg
build/viz report "$trace" --output build/demo/report.html

say "Look next at
  build/demo/fish.png           where the model looked before it said \"fish\"
  build/demo/answer.png         the same for every word of the answer
  build/demo/report.html        the run as a page: point at words and patches
  build/demo/architecture.svg   the model
  build/trace show $trace       every tensor of the run, with shape and statistics
  build/trace show $trace 'language_model.layers.8.cross_attn.probs[0,3,:8]'
  build/reference run --chat --image $picture     ask it yourself"
