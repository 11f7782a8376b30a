"""Applies .patch files to an engine's Python source while it is imported; what is installed stays as it
is."""

import importlib.machinery
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path


def patched_module(patch):
    """a/transformers/models/mllama/modeling_mllama.py -> the module's dotted name."""
    for line in patch.read_text().splitlines():
        if line.startswith("+++ b/") and line.endswith(".py"):
            return line.removeprefix("+++ b/").removesuffix(".py").replace("/", ".")
    raise ValueError(f"{patch}: no line '+++ b/PACKAGE/FILE.py'")


class PatchedLoader(importlib.machinery.SourceFileLoader):
    def __init__(self, name, path, patches):
        super().__init__(name, path)
        self.patches = patches

    def get_code(self, fullname):
        with tempfile.TemporaryDirectory() as scratch:
            source = Path(scratch) / Path(self.path).name
            source.write_bytes(Path(self.path).read_bytes())
            for patch in self.patches:
                done = subprocess.run(["patch", "--batch", "--forward", str(source), str(patch)],
                                      capture_output=True, text=True)
                if done.returncode != 0:
                    raise ValueError(f"{patch} does not fit {self.path}: {done.stdout.strip()}")
            return compile(source.read_text(), self.path, "exec")


class PatchFinder(importlib.machinery.PathFinder):
    wanted = {}

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name not in cls.wanted:
            return None
        spec = super().find_spec(name, path, target)
        spec.loader = PatchedLoader(name, spec.origin, cls.wanted[name])
        return spec


def apply_on_import(patches):
    """The patches of this run; a module that was imported already would stay unpatched, so that is an
    error."""
    for patch in patches:
        name = patched_module(patch)
        if name in sys.modules:
            raise ValueError(f"{patch}: {name} is imported already")
        PatchFinder.wanted.setdefault(name, []).append(patch.resolve())
    if patches:
        sys.meta_path.insert(0, PatchFinder)
