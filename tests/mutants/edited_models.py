"""Copies of the shipped model in which something rare is true, so that a fault that the shipped one never
meets can show.

Each stands in build/mutants/models/NAME and is seen from a worker's tree as edited/NAME."""

import base64
import json
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SHIPPED = ROOT / "models" / "pictor"
EDITED = ROOT / "build" / "mutants" / "models"

# In the alphabet of tokenizer.json: three line breaks; ! with U+180E; a word that no merges make.
WHOLE_PIECES = ["ĊĊĊ", "!áłİ", "zqx"]


def rare_tokens(folder):
    """The ids of the last merges go to pieces that the tokenizer's traps are about."""
    file = json.loads((SHIPPED / "tokenizer.json").read_text())
    vocabulary, merges = file["model"]["vocab"], file["model"]["merges"]
    for piece in WHOLE_PIECES:
        vocabulary[piece] = vocabulary.pop("".join(merges.pop()))
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").write_text(json.dumps(file))


def metas_tokenizer(folder):
    """A tokenizer.model: every byte, ' with U+017F and an x, and runs of up to 512 a's."""
    pieces = [bytes([byte])
              for byte in range(256)] + ["'\u017fx".encode()] + [b"a" * 2**n for n in range(1, 10)]
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_text("".join(f"{base64.b64encode(piece).decode()} {rank}\n"
                                                    for rank, piece in enumerate(pieces)))


def tied_words(folder):
    """Every odd word's logit is that of the even word before it."""
    data = bytearray((SHIPPED / "model.safetensors").read_bytes())
    length = int.from_bytes(data[:8], "little")
    entry = json.loads(data[8 : 8 + length])["language_model.lm_head.weight"]
    begin, end = (8 + length + offset for offset in entry["data_offsets"])
    row = (end - begin) // entry["shape"][0]
    for at in range(begin, end - row, 2 * row):
        data[at + row : at + 2 * row] = data[at : at + row]
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").write_bytes(data)


EDITS = {"rare-tokens": rare_tokens, "metas-tokenizer": metas_tokenizer, "tied-words": tied_words}


def make_edited_models():
    shutil.rmtree(EDITED, ignore_errors=True)
    for name, edit in EDITS.items():
        folder = EDITED / name
        folder.mkdir(parents=True)
        for part in SHIPPED.iterdir():
            if part.is_file():
                (folder / part.name).symlink_to(part)
        edit(folder)
