"""Chapter 12: the order in which final and kept states are joined."""

from draw import Drawing

KINDS, CELL, CHANNELS = ("green", "blue", "violet"), 38, 4
d = Drawing(
    "Stacked on the last axis, then flattened: the numbers alternate",
    "Above, a final state and three kept states of four channels each. Below, the joined row: the four "
    "channels of the final state, then "
    "channel 0 of states 0, 1 and 2, channel 1 of states 0, 1 and 2, and so on.",
    700,
    330,
)
d.text(30, 40, "final state", 14, kind="orange", bold=True)
for channel in range(CHANNELS):
    d.box(150 + channel * CELL, 20, CELL, 30, str(channel), "orange", 14)
for state in range(3):
    y = 66 + state * 38
    d.text(30, y + 20, f"kept state {state}", 14, kind=KINDS[state], bold=True)
    for channel in range(CHANNELS):
        d.box(150 + channel * CELL, y, CELL, 30, str(channel), KINDS[state], 14)
d.text(380, 60, "place of channel c", 14)
d.text(380, 80, "of kept state s:", 14)
d.text(380, 110, "d_model + c * n_kept + s", 14, code=True)
d.arrow(226, 184, 226, 224)
for place in range(CHANNELS * 4):
    kind, label = (
        ("orange", str(place))
        if place < CHANNELS
        else (KINDS[(place - CHANNELS) % 3], str((place - CHANNELS) // 3))
    )
    d.box(30 + place * 40, 232, 38, 34, label, kind, 14)
    d.text(49 + place * 40, 284, str(place), 11, "middle", "quiet")
d.text(30, 310, "the joined row: channel in the box, place under it", 13, kind="quiet")
d.save("interleaved")
