"""Chapter 21: panels of a weight matrix, and the tile of sums in registers."""

from draw import Drawing

d = Drawing(
    "Panels and register tiles",
    "Left the weight matrix, outputs downwards and inputs across; 32 of its rows are one panel. In the "
    "middle the packed panel: for each "
    "input the 32 outputs side by side. Right a tile of 12 rows by 32 outputs of sums, which stays in "
    "registers while the loop runs over "
    "the inputs.",
    720,
    310,
)
d.text(90, 30, "weight[out][in]", 14, "middle", code=True)
for index in range(5):
    d.rect(30, 46 + index * 40, 120, 36, "violet" if index == 1 else "plain")
d.text(90, 112, "32 outputs", 12, "middle", "violet")
d.text(90, 268, "inputs", 13, "middle", "quiet")
d.arrow(52, 264, 30, 264)
d.arrow(128, 264, 150, 264)
d.arrow(156, 106, 236, 106, "violet", 2)
d.text(196, 96, "pack", 13, "middle", "violet", bold=True)
d.text(310, 30, "panel[in][32]", 14, "middle", code=True)
for index in range(9):
    for out in range(8):
        d.rect(244 + out * 16, 46 + index * 20, 16, 20, "violet" if index != 3 else "green")
d.text(308, 248, "one input's outputs", 13, "middle")
d.text(308, 266, "lie side by side", 13, "middle")
d.arrow(378, 116, 458, 116, "green", 2)
d.text(418, 104, "x[row][in] *", 12, "middle", "green", code=True)
d.text(550, 30, "sums[12][32]", 14, "middle", code=True)
for row in range(12):
    for out in range(8):
        d.rect(466 + out * 21, 46 + row * 15, 21, 15, "orange")
d.text(550, 248, "12 rows x 32 outputs, in registers:", 13, "middle")
d.text(550, 266, "each loaded weight serves 12 rows", 13, "middle")
d.save("panels")
