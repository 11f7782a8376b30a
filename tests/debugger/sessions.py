"""Sessions of gdb and lldb for the tests: commands in, what each printed out."""

import glob
import json
import os
import shutil
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
STEP = os.path.join(ROOT, "build", "step", "reference")
FAST = os.path.join(ROOT, "build", "reference")
QUESTION = (
    'run --image models/pictor/pictures/demo.png --prompt "What is in this image?" --max-new-tokens 1'
)
MARK = "@@ command "


def split(output, count):
    pieces = [piece.split("\n", 1)[1] if "\n" in piece else "" for piece in output.split(MARK)[1:]]
    if len(pieces) < count:
        raise AssertionError(
            f"the debugger ended after {len(pieces)} of {count} commands:\n{output[-3000:]}"
        )
    return [piece.strip("\n") for piece in pieces[:count]]


def run(arguments, environment=None):
    result = subprocess.run(
        arguments,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=500,
        env=environment,
    )
    return result.stdout


def gdb(commands, program=None, core=None, colour="off"):
    """What each command printed, in one session of gdb with Pictor's commands."""
    lines = [f"set pictor-colour {colour}", "set width 0", "set style enabled off"]
    lines += [f"set args {QUESTION} > /dev/null"]
    for number, command in enumerate(commands):
        lines += [f"echo \\n{MARK}{number}\\n", command]
    arguments = ["gdb", "-nx", "-q", "-batch"]
    arguments += ([program] if program else []) + (["-core", core] if core else [])
    arguments += ["-x", "debugger/pictor.gdb"] + [word for line in lines for word in ("-ex", line)]
    return split(run(arguments), len(commands))


def lldb_environment():
    """Debian's package does not tell its Python where lldb's own module is."""
    module = glob.glob("/usr/lib/llvm-*/lib/python3*/dist-packages/lldb")
    environment = {**os.environ, "NO_COLOR": "1"}
    if module:
        environment["PYTHONPATH"] = os.path.dirname(module[-1]) + ":/usr/lib/python3/dist-packages"
    return environment


def adapter_program():
    """lldb's debug adapter, whose name changed with version 18."""
    for name in ("lldb-dap", "lldb-vscode"):
        found = shutil.which(name) or (sorted(glob.glob(f"/usr/bin/{name}-*")) or [None])[-1]
        if found:
            return found
    raise AssertionError("neither lldb-dap nor lldb-vscode is installed; Debian's lldb has one")


def lldb(commands):
    """The same as gdb() for lldb."""
    environment = lldb_environment()
    environment.update(PICTOR_COMMANDS=json.dumps(commands), PICTOR_MARK=MARK)
    arguments = ["lldb", "-x", "-b", "-o", "command script import debugger/lldb/pictor_lldb.py"]
    arguments += ["-o", "command script import tests/debugger/lldb_session.py"]
    lines = [line for line in run(arguments, environment).splitlines() if not line.startswith("(lldb) ")]
    return split("\n".join(lines), len(commands))
