"""Words of token ids: from the tokenizer in the program's memory, else from a tokenizer.json."""

import json
import os

from pictor_debugger.common import layout


def byte_of_letter():
    """tokenizer.json writes bytes as letters: printable ones as they are, others from U+0100 on."""
    plain = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    others = [byte for byte in range(256) if byte not in plain]
    table = {chr(byte): byte for byte in plain}
    table.update({chr(256 + i): byte for i, byte in enumerate(others)})
    return table


def from_file(path):
    """{id: text}; empty when the file cannot be read as a tokenizer."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        letters = byte_of_letter()
        words = {}
        for piece, token in content["model"]["vocab"].items():
            data = (
                bytes(letters[letter] for letter in piece)
                if all(c in letters for c in piece)
                else piece.encode()
            )
            words[token] = data.decode("utf-8", "replace")
        for added in content.get("added_tokens", []):
            words[added["id"]] = added["content"]
        return words
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def piece_in_memory(read, pieces_address, token):
    """The text of a token from the tokenizer's list of pieces, a std::vector<std::string>; None if it has
    no such id."""
    start, count = layout.vector(read, pieces_address, 32)
    if not 0 <= token < count:
        return None
    return layout.string(read, start + 32 * token).decode("utf-8", "replace")


def quoted(text):
    return json.dumps(text, ensure_ascii=False)


def same_word(asked, text):
    """Whether a token is the word that somebody asked for: leading space and case of quotes aside."""
    return asked == text or asked.strip() == text.strip() != ""


def model_folder(arguments, root):
    """The model that a command line names, else the shipped one."""
    for place, argument in enumerate(arguments):
        if argument == "--model" and place + 1 < len(arguments):
            return arguments[place + 1]
        if argument.startswith("--model="):
            return argument.split("=", 1)[1]
    return os.environ.get("PICTOR_MODEL") or os.path.join(root, "models", "pictor")
