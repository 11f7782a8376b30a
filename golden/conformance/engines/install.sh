#!/bin/bash
# A Python for each engine, in the folder that is named (default: build/engines). PyTorch, the large one, is installed
# once and lent to the others. Python 3.11; about 8 GB.
set -euo pipefail
folder=$(realpath -m "${1:-build/engines}")
python=${PYTHON:-python3}
mkdir -p "$folder"

venv() {  # NAME PACKAGE...
    [ -e "$folder/$1/ready" ] && return
    "$python" -m venv "$folder/$1"
    local packages="$folder/$1/lib/python3.11/site-packages"
    [ -d "$packages" ] || { echo "install.sh: $python is not Python 3.11, which the pinned versions were run with" >&2; exit 2; }
    case $1 in transformers-*|torchtune) echo "$folder/torch/lib/python3.11/site-packages" > "$packages/torch.pth" ;; esac
    "$folder/$1/bin/pip" install --quiet "${@:2}"
    touch "$folder/$1/ready"
}

venv torch torch==2.14.1 numpy==2.4.6 safetensors==0.8.0 pillow==13.0.0 llama_models==0.3.0 tiktoken regex
for version in 4.45.2 4.54.1 4.55.4 4.57.1 5.0.0 5.23.0; do
    venv "transformers-$version" "transformers==$version"
done
venv torchtune torchtune==0.6.1 torchao==0.10.0
"$folder/torchtune/bin/pip" install --quiet --no-deps torchvision==0.29.1  # of the lent torch; imported, not used
venv mlx-vlm mlx-vlm==0.7.10 mlx==0.32.4 mlx-cpu==0.32.4
venv mistralrs mistralrs==0.9.5 numpy==2.4.6 safetensors==0.8.0 pillow==13.0.0
