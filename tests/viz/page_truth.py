"""What the report page must show, straight from the tensor files, and how a check is counted."""

import json

counted = {"checks": 0}
failures = []


def check(what, ok, detail=""):
    counted["checks"] += 1
    if not ok:
        failures.append(what)
        print(f"FAILED: {what} {detail}")


class Truth:
    """The same maps, straight from the tensor files."""

    def __init__(self, folder):
        self.folder = folder
        self.header = json.loads((folder / "trace.json").read_text())
        self.files = {(t["name"], t["step"]): t for t in self.header["tensors"]}
        self.tokens = self.header["prompt"]["token_texts"] + self.header["generated"]["token_texts"]
        self.n_prompt = len(self.header["prompt"]["token_texts"])
        self.layers = sorted(
            int(name.split(".")[2]) for name, step in self.files
            if name.endswith("cross_attn.probs") and step == 0)
        self.cache = {}

    def tensor(self, name, step):
        if (name, step) not in self.cache:
            entry = self.files[name, step]
            self.cache[name, step] = entry["shape"], json.loads(
                (self.folder / entry["file"]).read_text())["values"]
        return self.cache[name, step]

    def place(self, token):
        for step in self.header["steps"]:
            if step["first_token"] <= token - 1 < step["first_token"] + step["token_count"]:
                return step["index"], token - 1 - step["first_token"]
        return None

    def sees(self, token):
        step, row = self.place(token)
        shape, values = self.tensor("cross_attention_mask", step)
        per_row = shape[1] * shape[2]
        return any(values[row * per_row:(row + 1) * per_row])

    def heads(self, layer):
        return self.tensor(f"language_model.layers.{layer}.cross_attn.probs", 0)[0][0]

    def grid(self, layer, head, token):
        """Patches of the first picture as they lie on the canvas; head None is the mean."""
        step, row = self.place(token)
        (n_heads, rows, n_keys), values = self.tensor(f"language_model.layers.{layer}.cross_attn.probs", step)
        keys = [
            sum(values[(h * rows + row) * n_keys + key]
                for h in (range(n_heads) if head is None else [head])) / (n_heads if head is None else 1)
            for key in range(n_keys)]
        image = self.header["images"][0]
        side = image["tile_size"] // image["patch_size"]
        high, wide = image["tiles"]
        grid = []
        for row_ in range(high * side):
            for column in range(wide * side):
                tile = row_ // side * wide + column // side
                grid.append(keys[tile * (side * side + 1) + 1 + row_ % side * side + column % side])
        return grid

    def strongest(self, layer, head, token):
        image = self.header["images"][0]
        columns = image["tiles"][1] * (image["tile_size"] // image["patch_size"])
        grid = self.grid(layer, head, token)
        inside = [
            i for i in range(len(grid)) if i // columns * image["patch_size"] < image["resized"][0] and i
            % columns * image["patch_size"] < image["resized"][1]]
        best = max(inside, key=lambda i: grid[i])
        return best, grid[best]


def same_map(page, truth, layer, head, token, where):
    shown = page.run(
        "const c = document.querySelector('.stage canvas'); return {strongest: c.dataset.strongest, value: "
        "c.dataset.value, caption: document.querySelector('.stage figcaption').textContent, veil: "
        "!document.querySelector('.veil').hidden}"
    )
    if not truth.sees(token):
        check(f"{where}: token {token} is drawn as no effect", shown["veil"] and shown["strongest"] is None,
              shown)
        return
    patch, value = truth.strongest(layer, head, token)
    # Stored as 16-bit parts of the map's largest; the strongest is within half a part.
    check(f"{where}: token {token}, layer {layer}, head {head}: value",
          abs(float(shown["value"]) - value) <= value / 65535 + 1e-7, f"{shown} {value}")
    grid = truth.grid(layer, head, token)
    check(f"{where}: token {token}, layer {layer}, head {head}: patch", grid[int(shown["strongest"])]
          >= value * (1 - 2 / 65535), f"{shown} {patch}")
    total = page.run(
        "return [...document.querySelectorAll('.ledger-words b')].reduce((a, b) => a + "
        "parseFloat(b.textContent), 0)"
    )
    check(f"{where}: token {token}: the ledger adds up to 100", abs(total - 100) < 1e-6, total)
