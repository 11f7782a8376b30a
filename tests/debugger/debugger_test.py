#!/usr/bin/env python3
"""The debuggers' printers and commands: on good objects, on damaged ones, on a core file, in gdb and lldb.

The last line is "N passed, N failed". Needs build/step/reference (make debug) and build/reference.
"""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "debugger"))
sys.dont_write_bytecode = True
import sessions
from pictor_debugger.common import golden, heat, layout, objects, steps, text, vocabulary

ROW = 'stop-at cross_attention layer 3 head 2 token "image" at context'
NUMBERS = "tensor block.probs[row, :8]"


class Memory:
    """Bytes at an address, as a debugger reads them."""

    def __init__(self, base, data):
        self.base, self.data = base, data

    def read(self, address, count):
        if not self.base <= address <= address + count <= self.base + len(self.data):
            raise layout.Unreadable(f"memory at {address:#x} cannot be read")
        return self.data[address - self.base : address - self.base + count]


class Node:
    def __init__(self, type_name, address, **members):
        self.type_name, self.address, self.members, self.size = type_name, address, members, 8

    def field(self, name):
        return self.members[name]

    def fields(self):
        return list(self.members.items())


def tensor_node(shape, values):
    """A Tensor laid out as libstdc++ does, and its memory."""
    base = 0x1000
    shape_at, values_at = base + 48, base + 48 + 8 * len(shape)
    data = struct.pack("<3Q", shape_at, shape_at + 8 * len(shape), shape_at + 8 * len(shape))
    data += struct.pack("<3Q", values_at, values_at + 4 * len(values), values_at + 4 * len(values))
    data += struct.pack(f"<{len(shape)}q", *shape) + struct.pack(f"<{len(values)}f", *values)
    node = Node("Tensor", base, shape=Node("Shape", base), values=Node("std::vector<float>", base + 24))
    return node, Memory(base, data)


class WithoutDebugger(unittest.TestCase):
    def test_a_tensor_in_one_line(self):
        node, memory = tensor_node([2, 3], [0, 1, 2, 3, 4, 5])
        wanted = "Tensor [2, 3]  min 0  max 5  mean 2.5  {{0, 1, 2}, {3, 4, 5}}"
        self.assertEqual(objects.summary(node, memory.read), wanted)

    def test_nan_infinity_and_masked_numbers_are_counted(self):
        node, memory = tensor_node([4], [float("nan"), float("inf"), -3.4028234e38, 2])
        self.assertIn("masked 1  NaN or infinite 2", objects.summary(node, memory.read))

    def test_a_part_of_a_tensor(self):
        node, memory = tensor_node([2, 3], [0, 1, 2, 3, 4, 5])
        numbers = objects.numbers_of(node, memory.read)
        lines = text.tensor_lines("x", numbers, "1, 1:", int)
        self.assertEqual(lines[1].split(), ["[1,", "1]", "4", "5"])
        self.assertEqual(text.tensor_lines("x", numbers, "-1, -1", int), ["x[1, 2] = 5"])
        with self.assertRaisesRegex(layout.Unreadable, "axis 1: index 3 is outside 0 ... 2"):
            text.tensor_lines("x", numbers, "0, 3", int)

    def test_at_most_forty_lines_unless_asked(self):
        node, memory = tensor_node([100, 16], [0.5] * 1600)
        numbers = objects.numbers_of(node, memory.read)
        self.assertLessEqual(len(text.tensor_lines("x", numbers, ":, :", int)), 40)
        self.assertEqual(len(text.tensor_lines("x", numbers, ":, :", int, True)), 201)

    def test_every_damaged_tensor_gets_a_sentence(self):
        node, memory = tensor_node([2, 3], [0] * 6)
        damage = [(0, 1), (8, 0), (24, 0xDEADBEEF), (32, 0x7FFFFFFFFFFF), (48, 1 << 62), (48, 5), (56, -1)]
        for offset, value in damage:
            data = bytearray(memory.data)
            data[offset : offset + 8] = struct.pack("<Q", value & (1 << 64) - 1)
            said = objects.summary(node, Memory(memory.base, bytes(data)).read)
            self.assertRegex(said, r"^Tensor \(.+\)$", f"offset {offset}")

    def test_moved_from_and_empty(self):
        node, _ = tensor_node([], [])
        self.assertEqual(objects.summary(node, Memory(0x1000, bytes(48)).read), "Tensor, empty")

    def test_bfloat16_is_shown_as_numbers(self):
        halves = [struct.unpack("<I", struct.pack("<f", v))[0] >> 16 for v in (1.0, -2.5)]
        self.assertEqual(layout.decode(struct.pack("<2H", *halves), "bf16"), [1.0, -2.5])

    def test_a_row_over_the_image(self):
        row = [0.0] * (4 * 5)
        row[5 + 1 + 2] = 0.75  # tile 1, patch 2: second row, first column of the right tile
        row[0] = 0.25
        drawn, ledger = heat.lay_out(row, heat.Grid(20, 1, 4, [(1, 2)]))
        self.assertEqual((len(drawn), len(drawn[0]), drawn[1][2]), (2, 4, 0.75))
        self.assertIn("patches 75.0%, class tokens 25.0%, absent tiles 0.0%", ledger)

    def test_differences_with_a_tolerance(self):
        self.assertTrue(golden.same(1.0, 1.00001, 1e-4, 0))
        self.assertFalse(golden.same(1.0, 1.1, 1e-4, 0))
        self.assertFalse(golden.same(float("nan"), 1.0, 1, 1))
        self.assertTrue(golden.same(float("inf"), float("inf"), 0, 0))

    def test_wishes_that_cannot_be_understood(self):
        for words, said in (
            (["nowhere"], "no step 'nowhere'"),
            (["rope", "layer"], "needs a value"),
            (["rope", "layer", "x"], "no number"),
            (["rope", "at", "x"], "it has: turn"),
            (["rope", "colour", "1"], "'colour' is none of"),
        ):
            with self.assertRaisesRegex(ValueError, said):
                steps.Wish(words)

    def test_every_step_has_its_function_in_the_source_and_its_chapter(self):
        stems = {name[:-3] for name in os.listdir(os.path.join(sessions.ROOT, "chapters"))}
        for name, step in steps.STEPS.items():
            command = ["grep", "-rlE", rf"\b{step.function}\(", "reference"]
            found = subprocess.run(command, cwd=sessions.ROOT, capture_output=True, text=True).stdout
            self.assertTrue(found, f"{name}: no {step.function}() in reference/")
            self.assertIn(step.chapter, stems, name)

    def test_words_come_from_the_tokenizers_file(self):
        words = vocabulary.from_file(os.path.join(sessions.ROOT, "models", "pictor", "tokenizer.json"))
        self.assertIn(" fish", words.values())
        self.assertEqual(vocabulary.from_file("/nonexistent"), {})

    def test_vs_code_names_what_is_there(self):
        with open(os.path.join(sessions.ROOT, ".vscode", "launch.json"), encoding="utf-8") as file:
            launch = json.loads(re.sub(r"^\s*//.*$", "", file.read(), flags=re.M))
        with open(os.path.join(sessions.ROOT, ".vscode", "tasks.json"), encoding="utf-8") as file:
            tasks = [task["label"] for task in json.load(file)["tasks"]]
        for configuration in launch["configurations"]:
            self.assertIn(configuration["preLaunchTask"], tasks)
            named = re.findall(
                r"\$\{workspaceFolder\}/((?:debugger|\.vscode)[\w./]+)", json.dumps(configuration)
            )
            self.assertTrue(named)
            for path in named:
                self.assertTrue(os.path.exists(os.path.join(sessions.ROOT, path)), path)


class Tours(unittest.TestCase):
    def test_each_chapter_shows_its_tour_or_is_named_as_one_without(self):
        folder = os.path.join(sessions.ROOT, "chapters")
        chapters = {name[:-3] for name in os.listdir(folder) if re.match(r"\d\d-.*\.md$", name)}
        without = set()
        for stem in chapters:
            with open(os.path.join(folder, stem + ".md"), encoding="utf-8") as file:
                shown = f"<!-- tour debugger/tours/{stem}.gdb -->" in file.read()
            there = os.path.exists(os.path.join(sessions.ROOT, "debugger", "tours", stem + ".gdb"))
            self.assertEqual(shown, there, stem)
            without |= set() if there else {stem[:2]}
        with open(os.path.join(sessions.ROOT, "debugger", "README.md"), encoding="utf-8") as file:
            named = re.search(r"Chapters without a tour: (.*)", file.read()).group(1)
        self.assertEqual(set(re.findall(r"\b(\d\d) \(", named)), without)


class InGdb(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.core = os.path.join(tempfile.mkdtemp(), "core")
        commands = [
            "tensor x",
            "where-am-i",
            "who-wrote",
            "who-wrote x[0]",
            ROW,
            NUMBERS,
            "heat probs row",
            "print mask",
        ]
        commands += ["heat probs 99", "tensor context[0, 0, 99]", "print $at(block.probs, row, 1) * 0"]
        commands += ["tensor head", "tensor context[nothing]", "tensor context["]
        commands += ["info locals", f"generate-core-file {cls.core}", "who-wrote query[token, head, 0]"]
        commands += ["stop-at cross_attention head 99"]
        commands += ["set var context.shape._M_impl._M_start = 1", "print context", "tensor context"]
        commands += ["set var q_proj.values._M_impl._M_finish = 0x7fffffffff00", "print q_proj"]
        commands += ["set var query.shape._M_impl._M_finish = query.shape._M_impl._M_start", "print query"]
        cls.said = dict(zip(commands, sessions.gdb(commands)))

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(os.path.dirname(cls.core))

    def test_before_the_program_runs(self):
        self.assertIn("stop-at cross_attention", self.said["tensor x"])
        self.assertIn("the program is not running", self.said["where-am-i"])
        self.assertIn("name one number", self.said["who-wrote"])
        self.assertIn("has to be running", self.said["who-wrote x[0]"])

    def test_it_stops_in_the_wished_row(self):
        self.assertIn('text decoder, layer 3, head 2, token 10 " image"', self.said[ROW])
        self.assertIn("=>", self.said[ROW])

    def test_it_shows_numbers_and_the_map(self):
        self.assertEqual(len(self.said[NUMBERS].splitlines()[1].split("]")[1].split()), 8)
        drawn = self.said["heat probs row"].splitlines()
        self.assertEqual(sum(line.startswith("  |") for line in drawn), 16)
        self.assertIn("see nothing", self.said["print mask"])
        self.assertTrue(self.said["print $at(block.probs, row, 1) * 0"].endswith("= 0"))

    def test_mistakes_get_a_sentence(self):
        self.assertIn("row 99 is outside 0 ... 16", self.said["heat probs 99"])
        self.assertIn("index 99 is outside 0 ... 15", self.said["tensor context[0, 0, 99]"])
        self.assertIn(
            "there is no head 99; they run from 0 to 7", self.said["stop-at cross_attention head 99"]
        )
        self.assertIn("this is one number, a long", self.said["tensor head"])
        self.assertIn("nothing: No symbol", self.said["tensor context[nothing]"])
        self.assertIn("cannot be read as a name with indices", self.said["tensor context["])
        said = "\n".join(self.said.values())
        self.assertNotIn("Traceback", said)
        self.assertNotIn("Python Exception", said)

    def test_damaged_objects_get_a_sentence(self):
        for name in ("context", "q_proj", "query"):
            self.assertRegex(self.said[f"print {name}"], r"= Tensor \(.*\)$")
        self.assertIn("overwritten", self.said["tensor context"])
        self.assertLess(len(self.said["info locals"].splitlines()), 41)

    def test_who_wrote_names_the_line(self):
        said = self.said["who-wrote query[token, head, 0]"]
        self.assertIn("reference/text/rms_norm.cpp, rms_norm:  normalised", said)

    def test_backwards_in_a_recording(self):
        commands = ["stop-at rope layer 0 token 5", "record", "next", "next", "next"]
        commands += ["who-wrote rotated[5, 0, 0]", "next", "next", "next", "who-wrote rotated[4, 0, 0]"]
        said = sessions.gdb(commands)
        self.assertIn("rotate:  rotated(token, head, pair) = first * cos - second * sin;", said[5])
        self.assertIn("before the recording began", said[9])

    def test_a_place_that_lies_behind_is_gone_to(self):
        said = sessions.gdb(["stop-at lm_head", "stop-at rope layer 0", "frame function main", "where-am-i"])
        self.assertIn("the run starts anew", said[1])
        self.assertIn("text decoder, layer 0, head 0", said[1])
        self.assertIn("reference/main.cpp, main:", said[3])

    def test_uninitialised_lists_and_the_model_take_a_line(self):
        said = sessions.gdb(["stop-at sampler", "print probabilities", "up", "print model", "print inputs"])
        self.assertRegex(said[1], r"= (vector \(.*not yet initialised|std::vector)")
        self.assertIn("Model  text: n_layers", said[3])
        self.assertIn('"<|begin_of_text|>"', said[4])
        self.assertEqual([len(text.splitlines()) for text in said[3:]], [1, 1])

    def test_a_core_file_shows_the_same(self):
        commands = [NUMBERS, "heat probs row", "where-am-i"]
        said = sessions.gdb(commands, sessions.STEP, self.core)
        self.assertEqual(said[:2], [self.said[command] for command in commands[:2]])
        self.assertIn('layer 3, head 2, token 10 " image"', said[2])

    def test_colour_is_24_bit(self):
        said = sessions.gdb(["heat probs row"], sessions.STEP, self.core, "on")[0]
        self.assertRegex(said, r"\x1b\[48;2;\d+;\d+;\d+m")

    def test_an_optimised_program_and_one_without_symbols(self):
        for program, why in ((sessions.FAST, "optimised"), ("/bin/true", "no symbols")):
            said = sessions.gdb(["stop-at rope"], program)[0]
            self.assertIn("make debug", said)
            self.assertIn(why, said)


class Difference(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.trace = os.path.join(self.folder, "trace")
        words = ["run", "--image", "models/pictor/pictures/demo.png", "--prompt", "What is in this image?"]
        words += ["--max-new-tokens", "1", "--trace", self.trace, "--trace-values", "all"]
        words += ["--trace-only", "vision_model.transformer.layers.0.*"]
        subprocess.run([sessions.FAST] + words, cwd=sessions.ROOT, check=True, capture_output=True)

    def tearDown(self):
        shutil.rmtree(self.folder)

    def test_the_first_changed_number_is_found(self):
        whole = sessions.gdb([f"stop-at-difference {self.trace}"])[0]
        self.assertRegex(whole, r"no difference: \d\d+ tensors compared")
        path = os.path.join(self.trace, "tensors", "000-vision_model.transformer.layers.0.residual.json")
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        content["values"][2 * 96 + 5] += 0.5
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file)
        said, where = sessions.gdb([f"stop-at-difference {self.trace}", "where-am-i"])
        self.assertIn(
            "vision_model.transformer.layers.0.residual in step 0 is the first that differs", said
        )
        self.assertIn("[image 0, tile 0, patch 2, channel 5]", said)
        self.assertIn("made by vision_layer in reference/vision/encoder.cpp", said)
        self.assertIn("vision encoder, layer 0", where)

    def test_what_is_no_trace_gets_a_sentence(self):
        said = sessions.gdb(["stop-at-difference /nonexistent"])[0]
        self.assertIn("/nonexistent: cannot be read as a trace", said)


class InLldb(unittest.TestCase):
    def test_the_first_commands(self):
        page = "python beside.page(frame)[:2000]"
        commands = ["tensor x", ROW, "where-am-i", NUMBERS, "heat probs row"]
        commands += ["frame variable context mask", "tensor nothing"]
        commands += ["command script import debugger/lldb/beside.py", page]
        said = dict(zip(commands, sessions.lldb(commands)))
        self.assertIn("not running", said["tensor x"])
        self.assertIn('text decoder, layer 3, head 2, token 10 " image"', said[ROW])
        self.assertIn("chapter: chapters/14-cross-attention.md", said["where-am-i"])
        self.assertIn("class tokens", said["heat probs row"])
        self.assertIn("Tensor [17, 8, 16]  min", said["frame variable context mask"])
        self.assertIn("see nothing", said["frame variable context mask"])
        self.assertIn("nothing is called nothing here", said["tensor nothing"])
        self.assertIn("<svg", said[page])
        mine = sessions.gdb([ROW, NUMBERS])[1]
        self.assertEqual(said[NUMBERS].split(), mine.split(), "gdb prints other numbers")


def main():
    for tool in ("gdb", "lldb"):
        if shutil.which(tool) is None:
            sys.exit(f"debugger_test.py: {tool} is not installed; `make test` installs it")
    for program, target in ((sessions.STEP, "make debug"), (sessions.FAST, "make")):
        if not os.path.exists(program):
            sys.exit(f"debugger_test.py: {program} is not there; `{target}` builds it")
    loader, module = unittest.defaultTestLoader, sys.modules[__name__]
    suite = (
        loader.loadTestsFromNames(sys.argv[1:], module)
        if sys.argv[1:]
        else loader.loadTestsFromModule(module)
    )
    result = unittest.TextTestRunner(verbosity=1).run(suite)
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed", flush=True)
    return 0 if failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
