"""Faults of diagrams, graphs and the report page: what is counted, what is drawn, and what comes from a trace
is text."""

from mutant import Mutant

GRAPH = "viz/graphs/graph.cpp"
SIZES = "viz/graphs/model_sizes.cpp"
SVG = "viz/drawing/svg.cpp"
REPORT = "viz/report/report.cpp"
MAPS = "viz/report/report_attention.cpp"
SHOWN = "base/shown_text.cpp"

CAPTIONS = "markup and captions show every character and obey none"
HOSTILE = "nothing from a trace becomes markup or script"
COUNTS = "parameter counts equal the shipped checkpoint's"
EXACT = "the report's maps are the trace's to one part in 65535"
SYNTAX = "names with markup or Graphviz syntax in them draw safely"
UTF8 = "utf8: bytes that are not UTF-8 become U+FFFD"

MUTANTS = [
    Mutant("< is left in markup", SHOWN, '"&lt;"', '"<"', test=CAPTIONS),
    Mutant("quotes end an attribute", SHOWN, '"&quot;"', '"\\""', test=CAPTIONS),
    Mutant("apostrophes end an attribute", SHOWN, '"&#39;"', '"\'"', test=CAPTIONS),
    Mutant("captions of any length", SHOWN, "if (++count > most)", "if (++count > most + text.size())",
           test=CAPTIONS),
    Mutant("overlong UTF-8 passes", "base/utf8.cpp", "first == 0xE0 ? 0xA0", "first == 0xE0 ? 0x80",
           test=UTF8),
    Mutant("surrogates pass in UTF-8", "base/utf8.cpp", "first == 0xED ? 0x9F", "first == 0xED ? 0xBF",
           test=UTF8),

    Mutant("words of an SVG are markup", SVG, 'escape_markup(words) + "</text>', 'words + "</text>',
           test="words of an SVG are text, in its title too"),
    Mutant("an SVG's title is markup", SVG, "escape_markup(title_)", "title_",
           test="words of an SVG are text, in its title too"),
    Mutant("Graphviz reads a name's backslashes", GRAPH,
           'escape_markup(visible_text(text, most)), "&#92;&#92;")',
           'escape_markup(visible_text(text, most)), "&#92;")', test=SYNTAX),
    Mutant("a graph's titles are markup", GRAPH, ": escape_markup(visible_text(found->second, 300))",
           ": found->second", test=SYNTAX),
    Mutant("a graph's labels are markup", GRAPH,
           'with_backslashes(escape_markup(visible_text(text, most)), "&#92;&#92;")',
           'with_backslashes(visible_text(text, most), "&#92;&#92;")', test=SYNTAX),
    Mutant("a trace's words end the page's script", REPORT, 'safe += "\\\\u003c";', "safe += c;",
           test=HOSTILE),
    Mutant("the report's title is markup", REPORT, 'escape_markup(data["name"].get<std::string>())',
           'data["name"].get<std::string>()', test=HOSTILE),
    Mutant("the page may load anything", REPORT, "default-src 'none'; img-src", "default-src *; img-src",
           test=HOSTILE),
    Mutant("any script may run in the page", REPORT, "script-src 'nonce-{0}'", "script-src 'unsafe-inline'",
           test=HOSTILE),

    Mutant("maps in steps of 1 in 255", MAPS, "std::lround(value / most * 65535)",
           "std::lround(value / most * 255) * 257", test=EXACT),
    Mutant("maps of the row after", MAPS, "run.row_predicting(position + 1)", "run.row_predicting(position)",
           test=EXACT),
    Mutant("bytes of a map's numbers swapped", MAPS, "maps.bytes += static_cast<char>(stored & 0xFF);",
           "maps.bytes += static_cast<char>(stored >> 8 & 0xFF);", test=EXACT),
    Mutant("a report of any size", MAPS, "if (rows.size() > most_rows) {", "if (rows.size() < most_rows) {",
           test="a report of any size stays bounded"),
    Mutant("another picture under the map", MAPS, "if (whole.width != g.width || whole.height != g.height)",
           "if (whole.width != whole.width)", test="a report without its picture, or without any"),

    Mutant("no aspect ratio id 0 in the count", SIZES, "ids = s.n_aspect_ratios + 1;",
           "ids = s.n_aspect_ratios;", test=COUNTS),
    Mutant("no row of <|image|> in the count", SIZES, "(s.n_vocabulary + 8)", "s.n_vocabulary", test=COUNTS),
    Mutant("as many key heads as query heads in the count", SIZES, "2 * s.d_text * s.n_kv_heads * s.d_head",
           "2 * s.d_text * s.n_heads * s.d_head", test=COUNTS),
    Mutant("an odd tensor is drawn like any other", "viz/graphs/layer_graph.cpp", "if (s.nonfinite > 0)",
           "if (s.nonfinite < 0)", test="odd tensors are marked"),
]
