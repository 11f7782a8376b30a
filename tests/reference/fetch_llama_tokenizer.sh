#!/bin/bash
# Fetches the real Llama 3 tokenizer.model, which its licence keeps out of this repository, from the package
# llama-models 0.3.0:   tests/reference/fetch_llama_tokenizer.sh [FOLDER]   (default build/llama-models)
# Exit 0: the file is there and is the right one. Exit 1: it could not be had, and why. Removes nothing of yours.
set -u
folder=${1:-build/llama-models}
file=$folder/tokenizer.model
sum=82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55

give_up() { echo "fetch_llama_tokenizer: $1; the tests against the real Llama 3 tokenizer will be left out" >&2; exit 1; }
is_right() { [ -f "$1" ] && python3 -c 'import hashlib, sys; sys.exit(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest() != sys.argv[2])' "$1" "$sum"; }

command -v python3 >/dev/null || give_up "python3 is missing"
is_right "$file" && exit 0
[ -e "$file" ] && give_up "$file is there but is another file (SHA-256 differs); move it away"
mkdir -p "$folder" || give_up "cannot make $folder"

python=python3
if ! python3 -m pip --version >/dev/null 2>&1; then
    python3 -m venv "$folder/venv" >/dev/null 2>&1 || give_up "neither pip nor venv works (Debian: apt install python3-pip)"
    python=$folder/venv/bin/python
fi
echo "fetch_llama_tokenizer: downloading llama-models 0.3.0 (7 MB)" >&2
"$python" -m pip download --quiet --disable-pip-version-check --retries 1 --timeout 20 --no-deps --only-binary :all: \
    --dest "$folder" llama-models==0.3.0 >"$folder/pip.log" 2>&1 || give_up "pip could not download llama-models 0.3.0 ($(tail -n 1 "$folder/pip.log"))"
"$python" - "$folder" <<'PYTHON' || give_up "the package holds no llama_models/llama3/tokenizer.model"
import pathlib, sys, zipfile
folder = pathlib.Path(sys.argv[1])
wheel = next(folder.glob("llama_models-0.3.0-*.whl"))
(folder / "tokenizer.model.part").write_bytes(zipfile.ZipFile(wheel).read("llama_models/llama3/tokenizer.model"))
PYTHON
is_right "$folder/tokenizer.model.part" || give_up "the downloaded tokenizer.model is not the known one (SHA-256 differs)"
mv "$folder/tokenizer.model.part" "$file"
