"""`help pictor`, and the setting pictor-colour."""

import gdb

TEXT = """Pictor's commands. `help COMMAND` says more of each.
  stop-at STEP layer N head N token "WORD"   go into a step's loop; `stop-at` alone lists the steps
  stop-at-difference TRACE                   run until the first tensor differs from a recorded trace
  where-am-i                                 image or text, layer, token and word, step, chapter
  tensor x[0, :8]                            numbers of a tensor, matrix, cache, mask, list of token ids
  print $at(x, 0, 8) * 2                     one number of a tensor in an expression
  heat x                                     a heatmap in the terminal; `heat probs 7` lays it over the image
  who-wrote x[i]                             which line wrote this number last
`print x` and `info locals` show one line of each tensor; `set pictor-colour on|off|auto`."""


class Help(gdb.Command):
    __doc__ = TEXT

    def __init__(self):
        super().__init__("pictor", gdb.COMMAND_USER)

    def invoke(self, argument, from_tty):
        gdb.write(TEXT + "\n")


class Colour(gdb.Parameter):
    """Whether heatmaps use 24-bit colour."""

    set_doc = "Set whether heatmaps use 24-bit colour: on, off or auto (where the terminal has it)."
    show_doc = "Show whether heatmaps use 24-bit colour."

    def __init__(self):
        super().__init__("pictor-colour", gdb.COMMAND_DATA, gdb.PARAM_ENUM, ["auto", "on", "off"])
        self.value = "auto"

    def get_set_string(self):
        return ""

    def get_show_string(self, value):
        return f"Heatmaps in colour: {value}."


def register():
    Help()
    Colour()
