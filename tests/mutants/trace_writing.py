"""Faults of what writes, reads and converts traces: trace/recording, trace/reading, trace/converting, and the
.npy of base/."""

from mutant import Mutant

STATISTICS = "trace/recording/statistics.cpp"
RECORDER = "trace/recording/recorder.cpp"
ROWS = "trace/recording/recorded_rows.cpp"
TEXT = "trace/recording/number_text.cpp"
ENTRY = "trace/recording/entry.cpp"
FOLDER = "trace/recording/new_trace_folder.cpp"
STREAM = "trace/reading/value_stream.cpp"
PLACES = "trace/reading/places.cpp"
SHOW = "trace/reading/show.cpp"
CONVERT = "trace/converting/convert.cpp"
SAFETENSORS = "trace/converting/safetensors_source.cpp"
DEBUGGER = "trace/converting/debugger_source.cpp"

WHOLE = "recorder: statistics over the whole tensor"
CHUNKS = "statistics: within double rounding of a plain loop"
TEXTS = "number text: the same bytes"
SAMPLE = "recorder: a sample wanders over every axis"
BITS = "recorder: every float reads back to the same bits"
BROKEN = "trace reader: broken tensor files"
SLICES = "show: one tensor and its slices"
BACK = "convert: trace to .safetensors and back"
DTYPES = "convert: every dtype of .safetensors"
TREE = "convert: the debugger tree of transformers"

MUTANTS = [
    Mutant("std of a sample, not of the whole", STATISTICS,
           "squared_deviations / static_cast<double>(all.finite)",
           "squared_deviations / static_cast<double>(all.finite - 1)", test=WHOLE),
    Mutant("std around 0, not around the mean", STATISTICS,
           "deviation = static_cast<double>(value) - part.mean",
           "deviation = static_cast<double>(value)", test=CHUNKS),
    Mutant("joined as if chunks had one mean", STATISTICS, " + distance * distance * before * share", "",
           test=CHUNKS),
    Mutant("a joined mean as if all chunks were as long", STATISTICS, "share = after / (before + after)",
           "share = before == 0 ? 1 : 0.5", test=CHUNKS),
    Mutant("the last chunk is left out", STATISTICS,
           "all.join(statistics_fast(waiting_.data(), static_cast<std::int64_t>(waiting_.size())));", "",
           test=WHOLE),
    Mutant("numbers that wait are forgotten", STATISTICS,
           "waiting_.assign(values + n_chunks * chunk, values + count);", "waiting_.clear();", test=CHUNKS),
    Mutant("infinities pass for numbers", STATISTICS, "if (count == 0 || !std::isfinite(sum))",
           "if (count == 0 || std::isnan(sum))", test=CHUNKS),
    Mutant("l2 without its root", STATISTICS, "std::sqrt(all.squares)", "all.squares", test=WHOLE),
    Mutant("zeros count as nonfinite", STATISTICS, "= all.nonfinite;",
           "= all.nonfinite + all.zeros;", test=WHOLE),
    Mutant("zeros are not counted", STATISTICS, "= all.zeros;", "= 0;", test=WHOLE),

    Mutant("a stride that divides an axis", RECORDER, "while (std::gcd(stride, size) != 1)",
           "while (stride < 1)", test=SAMPLE),
    Mutant("samples from the block's beginning", ROWS, "values + (next_kept - position)", "values",
           test=SAMPLE),
    Mutant("a sample's last position is not counted", RECORDER,
           "(tensor.size + tensor.stride - 1) / tensor.stride", "tensor.size / tensor.stride", test=SAMPLE),
    Mutant("infinities change their sign on the way out", TEXT, "value > 0", "value < 0", test=BITS),
    Mutant("too few numbers are not missed", ROWS, "if (position != size)", "if (position > size)",
           test="recorder: too few and too many numbers are errors"),
    Mutant("numbers beyond the tensor's end are taken", ROWS, "count > size - position", "count > size",
           test="recorder: too few and too many numbers are errors"),
    Mutant("a piece's lines begin anew", TEXT, "kept.written % kept.per_line", "0", test=TEXTS),
    Mutant("a piece's stride is forgotten", TEXT, "kept.values + start * kept.stride", "kept.values + start",
           test=TEXTS),
    Mutant("a name may come twice", RECORDER, "if (!names_of_step.insert(name).second)",
           "if (!names_of_step.insert(name).second && name.empty())", test="recorder: misuse is named"),
    Mutant("whole numbers called floats in .npy", RECORDER, 'npy_header(shape, dtype == "I64")',
           "npy_header(shape, false)", test="schema: load_trace.py gives numpy"),
    Mutant("no finite number, yet a mean of 0", ENTRY, 'return std::string("null");',
           'return std::string("0");', test="schema: load_trace.py gives numpy"),


    Mutant("a tensor file may have another shape than trace.json says", STREAM, "if (header[key] != value)",
           'if (header[key] != value && key == "name")', test=BROKEN),
    Mutant("short files pass", STREAM, "if (count != entry.kept())", "if (count > entry.kept())",
           test="trace reader: missing and short files"),
    Mutant("minus infinity loses its sign", STREAM, "-std::numeric_limits<Number>::infinity()",
           "std::numeric_limits<Number>::infinity()", test=BITS),
    Mutant("a number at the buffer's edge is cut", STREAM,
           "if (end - at < static_cast<std::ptrdiff_t>(2 * longest_number) && !whole_file_seen)",
           "if (end == at && !whole_file_seen)",
           test="trace reader: numbers that fall on the edge of the buffer"),
    Mutant("something behind the end passes", STREAM, "if (next_sign() != '\\0' || at != end)",
           "if (next_sign() != '\\0' && at == end)", test=BROKEN),
    Mutant("too large for a float is infinite", STREAM,
           "if (std::is_integral_v<Number> || !std::isfinite(static_cast<double>(value)))",
           "if (std::is_integral_v<Number>)", test=BROKEN),
    Mutant("decimals between two floats are rounded twice", STREAM, "if (rest - (middle - 1) <= 2 ||", "if (",
           test="numbers in plain decimals are read as the nearest float"),
    Mutant("decimals of 16 digits are taken for exact", STREAM, "n_digits > 15", "n_digits > 19",
           test="numbers in plain decimals are read as the nearest float"),
    Mutant("a trace may name files outside its folder", "trace/reading/reader.cpp", 'return part == "..";',
           'return part == "...";', test="TRAP climbing_file_name"),

    Mutant("rows and columns swapped in words", PLACES,
           "column {})\", patch, (patch - 1) / patches_per_side_,",
           "column {})\", patch, (patch - 1) % patches_per_side_,", test="places: indices in words"),
    Mutant("generated tokens count from 0 in words", PLACES,
           "const std::int64_t token = index + (step < first_token_.size() ? ",
           "const std::int64_t token = index + (step > first_token_.size() ? ",
           test="places: indices in words"),
    Mutant("tiles in words run down before across", PLACES, "tile / wide * patches_per_side_ + down",
           "tile % wide * patches_per_side_ + down", test="places: a patch by its row and column"),
    Mutant("[-1] is no longer the last", SHOW, "return index < 0 ? index + extent : index;", "return index;",
           test=SLICES),
    Mutant("a slice holds its end, too", SHOW,
           "parse_index(part.substr(colon + 1), extent, extent, indices))",
           "1 + parse_index(part.substr(colon + 1), extent, extent, indices))", test=SLICES),
    Mutant("what a sample lacks is shown as its neighbour", SHOW, "kept % stride != 0", "kept % stride < 0",
           test="show: what a sample and statistics can show"),
    Mutant("a slice may print a million numbers", SHOW, "if (count > most_numbers_shown)", "if (count < 0)",
           test="show: a slice is no way to print a million numbers"),

    Mutant("the debugger's std as it stands", DEBUGGER, "deviation * std::sqrt((count - 1) / count)",
           "deviation", test=TREE),
    Mutant("a module's second call under the same name", DEBUGGER, 'fmt::format("{}.call{}", name, call)',
           "name", test=TREE),
    Mutant("the debugger's tree may name files elsewhere", DEBUGGER, 'return part == "..";',
           'return part == "...";', test="convert: broken debugger trees"),
    Mutant("an .npy's name loses its step", "trace/converting/tensor_source.cpp",
           "numbered ? std::stoll(stem.substr(0, dash)) : 0", "numbered ? 0 : 0",
           test="convert: trace to a folder of .npy"),
    Mutant("one axis is no tuple in Python", "base/npy.cpp", 'shape.size() == 1 ? "," : ""',
           'shape.empty() ? "," : ""', test="schema: load_trace.py gives numpy"),
]
