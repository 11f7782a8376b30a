# gdb for Pictor: `gdb -x debugger/pictor.gdb`, in the repository's folder. debugger/README.md explains it.
set confirm off
set pagination off
set print thread-events off
set debuginfod enabled off
python
import os
if not os.path.exists("debugger/gdb/load.py"):
    gdb.write("Pictor: start gdb in the repository's folder, not in " + os.getcwd() + "\n", gdb.STDERR)
    gdb.execute("quit 2")
end
source debugger/gdb/load.py
