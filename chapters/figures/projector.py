"""Chapter 13: one matrix from the patch's row to the text side's width."""

from draw import Drawing

d = Drawing(
    "The projector is one matrix and a bias",
    "A patch's row of 384 numbers, 96 of the final state and 288 of three kept states that alternate, is "
    "multiplied by a matrix of 128 by "
    "384; a bias is added; the result has 128 numbers.",
    700,
    240,
)
KINDS = ("green", "blue", "violet")
for cell in range(12):
    d.rect(30, 24 + cell * 14, 26, 14, "orange" if cell < 3 else KINDS[(cell - 3) % 3])
d.text(66, 48, "final state, 96", 13, kind="orange")
d.text(66, 112, "three kept states,", 13)
d.text(66, 130, "alternating, 288", 13)
d.text(43, 216, "384", 13, "middle", "quiet")
d.arrow(210, 108, 262, 108)
d.box(268, 60, 150, 96, ["weight", "128 x 384"], "violet", 16)
d.arrow(424, 108, 462, 108)
d.box(468, 84, 70, 48, "+ bias", "violet", 14)
d.arrow(544, 108, 586, 108)
for cell in range(8):
    d.rect(594, 52 + cell * 14, 26, 14, "blue")
d.text(607, 188, "128", 13, "middle", "quiet")
d.text(607, 210, "the text side's width", 13, "middle", "quiet")
d.save("projector")
