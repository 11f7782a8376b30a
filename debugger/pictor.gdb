# gdb for Pictor: `gdb -x debugger/pictor.gdb`, in the repository's folder. debugger/README.md explains it.
set confirm off
set pagination off
set print thread-events off
set debuginfod enabled off
source debugger/gdb/load.py
