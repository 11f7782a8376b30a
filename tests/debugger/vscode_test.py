#!/usr/bin/env python3
"""F5 in VS Code: what its extensions do with .vscode/launch.json and tasks.json, done by the same debuggers.

The C/C++ extension drives gdb through MI, in this order: setupCommands, the folder, the program, the
arguments, a breakpoint at main, run (MIEngine, GetInitializeCommands). CodeLLDB has its own lldb;
lldb-vscode, which Debian ships, speaks the same protocol and takes the same initCommands and
preRunCommands. A stand-in for CodeLLDB's module catches pages: none may be drawn where no block of
attention is. The last line is "N passed, N failed".
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
import sessions

SECONDS = 240
FIRST_LINE = "record_inputs(token_ids, images, mask, record);"


def read_settings(name):
    """A settings file of VS Code, which may have comments, with its variables filled in."""
    with open(os.path.join(sessions.ROOT, ".vscode", name), encoding="utf-8") as file:
        text = "\n".join(line for line in file.read().splitlines() if not line.strip().startswith("//"))
    text = text.replace("${workspaceFolder}", sessions.ROOT)
    left = re.search(r"\$\{\w+.*?\}", text)
    if left:
        raise ValueError(f".vscode/{name}: this test does not know {left.group(0)}")
    return json.loads(text)


def configuration(kind):
    return next(c for c in read_settings("launch.json")["configurations"] if c["type"] == kind)


def line_of_source(file, line):
    with open(os.path.join(sessions.ROOT, file), encoding="utf-8") as source:
        return source.read().split("\n")[line - 1].strip()


class Machine:
    """gdb behind --interpreter=mi2: a command in, its records out."""

    def __init__(self, folder):
        command = ["gdb", "-nx", "-q", "--interpreter=mi2"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.gdb = subprocess.Popen(command, cwd=folder, text=True, **pipes)
        self.alarm = threading.Timer(SECONDS, self.gdb.kill)
        self.alarm.start()

    def send(self, command, until=r"^\^(done|running|error)"):
        self.gdb.stdin.write(command + "\n")
        self.gdb.stdin.flush()
        return self.records(until)

    def records(self, until):
        lines = []
        for line in self.gdb.stdout:
            lines.append(line.rstrip("\n"))
            if re.match(until, lines[-1]):
                return lines
        raise AssertionError("gdb ended:\n" + "\n".join(lines[-20:]))

    def console(self, command):
        """What a command typed behind -exec prints."""
        escaped = command.replace("\\", "\\\\").replace('"', '\\"')
        # A command that lets the program run is never said to be done.
        lines = self.send(f'-interpreter-exec console "{escaped}"', r"^(\^done|\^error|~.*=>)")
        return "".join(json.loads(line[1:]) for line in lines if line.startswith("~"))

    def close(self):
        self.alarm.cancel()
        self.gdb.kill()
        self.gdb.wait()
        self.gdb.stdin.close()
        self.gdb.stdout.close()


class Adapter:
    """lldb-vscode, spoken to in the Debug Adapter Protocol."""

    def __init__(self, program, environment):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.adapter = subprocess.Popen([program], env=environment, **pipes)
        self.alarm = threading.Timer(SECONDS, self.adapter.kill)
        self.alarm.start()
        self.number, self.events, self.responses, self.printed = 0, [], {}, ""

    def ask(self, command, **arguments):
        self.number += 1
        body = json.dumps({"seq": self.number, "type": "request", "command": command, "arguments": arguments})
        data = body.encode()
        self.adapter.stdin.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
        self.adapter.stdin.flush()
        return self.number

    def message(self):
        header = self.adapter.stdout.readline()
        if not header:
            raise AssertionError("lldb-vscode ended; it had printed:\n" + self.printed[-3000:])
        self.adapter.stdout.readline()
        message = json.loads(self.adapter.stdout.read(int(header.split(b":")[1])))
        if message["type"] == "event":
            self.events.append(message)
            if message["event"] == "output":
                self.printed += message["body"].get("output", "")
        elif message["type"] == "response":
            self.responses[message["request_seq"]] = message

    def answer(self, number):
        while number not in self.responses:
            self.message()
        message = self.responses.pop(number)
        if not message["success"]:
            raise AssertionError(f"{message['command']}: {message.get('message')}\n{self.printed[-2000:]}")
        return message.get("body", {})

    def wait(self, event):
        while True:
            for place, seen in enumerate(self.events):
                if seen["event"] == event:
                    return self.events.pop(place).get("body", {})
            self.message()

    def close(self):
        self.alarm.cancel()
        self.adapter.kill()
        self.adapter.wait()
        self.adapter.stdin.close()
        self.adapter.stdout.close()


class Settings(unittest.TestCase):
    def test_each_configuration_builds_and_finds_what_it_starts(self):
        tasks = {task["label"]: task["command"] for task in read_settings("tasks.json")["tasks"]}
        for one in read_settings("launch.json")["configurations"]:
            command = tasks[one["preLaunchTask"]].split()
            dry = subprocess.run(command + ["-n"], cwd=one["cwd"], capture_output=True, text=True)
            self.assertEqual(dry.returncode, 0, dry.stderr)
            self.assertEqual(one["program"], sessions.STEP)
            picture = one["args"][one["args"].index("--image") + 1]
            self.assertTrue(os.path.exists(os.path.join(one["cwd"], picture)), picture)
            said = json.dumps(one)
            for path in re.findall(re.escape(sessions.ROOT) + r"(/[\w./-]+\.(?:py|natvis))", said):
                self.assertTrue(os.path.exists(sessions.ROOT + path), path)

    def test_recommended_extensions_are_those_that_the_configurations_need(self):
        extensions = {"cppdbg": "ms-vscode.cpptools", "lldb": "vadimcn.vscode-lldb"}
        kinds = {one["type"] for one in read_settings("launch.json")["configurations"]}
        recommended = set(read_settings("extensions.json")["recommendations"])
        self.assertEqual({extensions[kind] for kind in kinds}, recommended)


class CppTools(unittest.TestCase):
    def test_f5_lands_at_the_first_line_of_prefill(self):
        one, folder = configuration("cppdbg"), tempfile.mkdtemp()
        machine = Machine(folder)  # VS Code starts gdb wherever it likes
        try:
            machine.records(r"^\(gdb\)")
            for command in one["setupCommands"]:
                said = machine.send(command["text"])
                self.assertFalse(said[-1].startswith("^error"), said)
            arguments = " ".join(json.dumps(word) for word in one["args"])
            for command in (
                f"-environment-cd {one['cwd']}",
                f"-file-exec-and-symbols {one['program']}",
                f"-exec-arguments {arguments} > /dev/null",
                "-break-insert main",
                *(f"-gdb-set env {pair['name']}={pair['value']}" for pair in one.get("environment", [])),
                "-exec-run",
            ):
                said = machine.send(command)
                self.assertFalse(said[-1].startswith("^error"), said)
            self.assertIn('func="main"', machine.records(r"^\*stopped")[-1])
            machine.send("-exec-continue")
            stopped = machine.records(r"^\*stopped")[-1]
            self.assertIn("pictor::prefill", stopped)
            line = int(re.search(r'line="(\d+)"', stopped).group(1))
            self.assertEqual(line_of_source("reference/model.cpp", line), FIRST_LINE)
            # The list of variables, and Pictor's commands behind -exec.
            variables = "".join(machine.send("-stack-list-variables --simple-values"))
            self.assertIn('name="projected"', variables)
            made = "".join(machine.send("-var-create - * mask"))
            self.assertIn("CrossAttentionMask 17 tokens", made)
            self.assertIn("prefill: 17 tokens of the prompt at once", machine.console("where-am-i"))
            self.assertIn("text decoder, layer 0", machine.console("stop-at rms_norm layer 0"))
        finally:
            machine.close()
            shutil.rmtree(folder)


class CodeLldb(unittest.TestCase):
    STAND_IN = "import os\ndef display_html(drawn, title='', position=None, reveal=False):\n" + (
        "    folder = os.environ['PICTOR_PAGES']\n"
        "    path = os.path.join(folder, '%04d.html' % len(os.listdir(folder)))\n"
        "    open(path, 'w', encoding='utf-8').write(drawn)\n"
    )

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.pages = os.path.join(self.folder, "pages")
        os.mkdir(self.pages)
        with open(os.path.join(self.folder, "debugger.py"), "w", encoding="utf-8") as file:
            file.write(self.STAND_IN)
        environment = sessions.lldb_environment()
        environment["PYTHONPATH"] = self.folder + os.pathsep + environment.get("PYTHONPATH", "")
        environment["PICTOR_PAGES"] = self.pages
        self.adapter = Adapter(sessions.adapter_program(), environment)

    def tearDown(self):
        self.adapter.close()
        shutil.rmtree(self.folder)

    def launch(self):
        one, adapter = configuration("lldb"), self.adapter
        adapter.answer(adapter.ask("initialize", adapterID="lldb", linesStartAt1=True, pathFormat="path"))
        # CodeLLDB imports its module before initCommands; here that is a command of its own.
        launch = adapter.ask(
            "launch",
            program=one["program"],
            args=one["args"],
            cwd=one["cwd"],
            initCommands=["script import debugger"] + one["initCommands"],
            preRunCommands=one["preRunCommands"],
        )
        adapter.wait("initialized")
        adapter.answer(adapter.ask("configurationDone"))
        adapter.answer(launch)

    def top(self):
        stopped = self.adapter.wait("stopped")
        self.thread = stopped["threadId"]
        asked = self.adapter.ask("stackTrace", threadId=self.thread, levels=1)
        return self.adapter.answer(asked)["stackFrames"][0]

    def test_f5_lands_in_prefill(self):
        self.launch()
        frame = self.top()
        self.assertIn("prefill", frame["name"])
        self.assertEqual(line_of_source("reference/model.cpp", frame["line"]), FIRST_LINE)
        self.assertEqual(os.listdir(self.pages), [], "a page without a block of attention")


class BesideTheCode(unittest.TestCase):
    """The heatmap that CodeLLDB shows, in lldb with a stand-in for CodeLLDB's module."""

    def test_it_grows_row_by_row(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        pages = os.path.join(folder, "pages")
        os.mkdir(pages)
        with open(os.path.join(folder, "debugger.py"), "w", encoding="utf-8") as file:
            file.write(CodeLldb.STAND_IN)
        environment = sessions.lldb_environment()
        environment["PYTHONPATH"] = folder + os.pathsep + environment.get("PYTHONPATH", "")
        environment["PICTOR_PAGES"] = pages
        one = configuration("lldb")
        arguments = " ".join(shlex.quote(word) for word in one["args"])
        commands = ["script import debugger", *one["initCommands"], f"target create {one['program']}",
                    f"settings set -- target.run-args {arguments}", "target stop-hook add -P beside.Show",
                    "breakpoint set -f cross_attention.cpp -p softmax_row", "run", *["continue"] * 3,
                    "process kill"]
        words = [word for command in commands for word in ("-o", command)]
        subprocess.run([shutil.which("lldb") or "lldb", "-b", *words], cwd=sessions.ROOT, env=environment,
                       capture_output=True, timeout=120)
        filled = []
        for name in sorted(os.listdir(pages)):
            with open(os.path.join(pages, name), encoding="utf-8") as file:
                drawn = file.read()
            self.assertIn("text decoder, layer 3, head 0", drawn)
            colours = re.findall(r'fill="(#[0-9a-f]{6})"', drawn[drawn.index("<h3>probs"):])
            zero = max(set(colours), key=colours.count)
            filled.append(sum(colour != zero for colour in colours))
        self.assertEqual(len(filled), 4, "a page at each stop")
        self.assertEqual(filled[0], 0, "the first row's softmax is still to come")
        self.assertTrue(filled == sorted(set(filled)), filled)


def main():
    for tool in ("gdb", "lldb"):
        if shutil.which(tool) is None:
            sys.exit(f"vscode_test.py: {tool} is not installed; `make test` installs it")
    if not os.path.exists(sessions.STEP):
        sys.exit("vscode_test.py: build/step/reference is not there; `make debug` builds it")
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__])
    if sys.argv[1:]:
        suite = unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:], sys.modules[__name__])
    result = unittest.TextTestRunner(verbosity=1).run(suite)
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed", flush=True)
    return 0 if failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
