"""Inside lldb: runs the commands of $PICTOR_COMMANDS and prints what each said, marked. lldb -b would end at
the first one that fails. A command that begins with "python " is an expression whose value is printed."""

import json
import os

import lldb


def __lldb_init_module(debugger, _internal):
    for number, command in enumerate(json.loads(os.environ["PICTOR_COMMANDS"])):
        print(os.environ["PICTOR_MARK"] + str(number), flush=True)
        frame = debugger.GetSelectedTarget().GetProcess().GetSelectedThread().GetSelectedFrame()
        if command.startswith("python "):
            import beside

            print(eval(command[7:], {"beside": beside, "frame": frame}), flush=True)
            continue
        result, interpreter = lldb.SBCommandReturnObject(), debugger.GetCommandInterpreter()
        if frame.IsValid():
            interpreter.HandleCommand(command, lldb.SBExecutionContext(frame), result)
        else:
            interpreter.HandleCommand(command, result)
        print((result.GetOutput() or "") + (result.GetError() or ""), flush=True)
