"""What `source debugger/gdb/load.py` does: printers and commands, and the demo when no program was named."""

import os
import sys

import gdb

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if os.path.join(ROOT, "debugger") not in sys.path:
    sys.path.insert(0, os.path.join(ROOT, "debugger"))
sys.dont_write_bytecode = True

from pictor_debugger.gdb import help as help_of_pictor
from pictor_debugger.gdb import difference, show, stop, writer

DEMO = 'run --image models/pictor/pictures/demo.png --prompt "What is in this image?"'

help_of_pictor.register()
show.register()
stop.register()
difference.register()
writer.register()
gdb.execute(f"directory {ROOT}")

if not gdb.objfiles():
    program = os.path.join(ROOT, "build", "step", "reference")
    if os.path.exists(program):
        gdb.execute(f"file {program}", to_string=True)
        gdb.execute(f"cd {ROOT}", to_string=True)
        gdb.execute(f"set args {DEMO}")
        gdb.write(
            "Pictor: build/step/reference is loaded with the demo's question. `help pictor` lists the"
            ' commands;\nstop-at cross_attention layer 8 head 2 token "fish"   goes into the loop.\n'
        )
    else:
        gdb.write("Pictor: build/step/reference is not there yet; `make debug` builds it.\n")
