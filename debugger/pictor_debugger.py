"""The folder debugger/ as a package. Its own name would not do: CodeLLDB has a module `debugger`.

Whoever imports this has put the folder on Python's path first.
"""

import os

__path__ = [os.path.dirname(os.path.abspath(__file__))]
