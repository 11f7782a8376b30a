#!/bin/bash
# A Python for each engine, in the folder that is named (default: build/engines). PyTorch, the large one, is installed
# once and lent to the others. Python 3.11; about 10 GB.
set -euo pipefail
folder=$(realpath -m "${1:-build/engines}")
python=${PYTHON:-python3}
mkdir -p "$folder"

venv() {  # NAME PACKAGE...
    [ -e "$folder/$1/ready" ] && return
    "$python" -m venv "$folder/$1"
    local packages="$folder/$1/lib/python3.11/site-packages"
    [ -d "$packages" ] || { echo "install.sh: $python is not Python 3.11, which the pinned versions were run with" >&2; exit 2; }
    case $1 in transformers-*|torchtune|vllm) echo "$folder/torch/lib/python3.11/site-packages" > "$packages/torch.pth" ;; esac
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
venv vllm transformers==4.57.1 blake3==1.0.11 cachetools==8.0.2 cbor2==6.3.0 cloudpickle==3.1.3 dill==0.4.1 gguf==0.19.0 \
    msgspec==0.22.0 psutil==7.2.2 pybase64==1.5.1 pyzmq==27.3.0 setproctitle==1.3.8
"$folder/vllm/bin/pip" install --quiet --no-deps vllm==0.10.1.1 compressed-tensors==0.10.2  # what its model code imports
venv mistralrs mistralrs==0.9.5 numpy==2.4.6 safetensors==0.8.0 pillow==13.0.0
