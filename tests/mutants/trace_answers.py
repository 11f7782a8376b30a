"""Faults of what answers questions about traces: trace/comparing, trace/explaining, trace/why, and the
escapes for terminals."""

from mutant import Mutant

COMPARE = "trace/comparing/compare.cpp"
ALIGN = "trace/comparing/align.cpp"
POLICY = "trace/comparing/policy.cpp"
RULES = "trace/explaining/rules.cpp"
EXPLAIN = "trace/explaining/explain.cpp"
BRANCHES = "trace/explaining/branches.cpp"
SUMS = "trace/why/sums.cpp"
SHOWN = "base/shown_text.cpp"

FIRST = "compare: finds the first tensor"
ALLOWED = "compare: the tolerance is atol + rtol"
NAN = "TRAP nan_passes"
LACKING = "compare: other shapes and missing tensors fail"
PARTED = "explain: where the two references part"
ADDS_UP = "every kind of number in the graph adds up from its terms"
TERMINAL = "what a terminal would obey is spelt out"

MUTANTS = [
    Mutant("NaN is close to everything", COMPARE, "return std::isfinite(a) && std::isfinite(b) &&",
           "return !(std::fabs(a - b) > tolerance.atol) ||", test=NAN),
    Mutant("an infinite error is no error", COMPARE,
           "return std::isfinite(error) ? error : std::numeric_limits<double>::infinity()",
           "return std::isfinite(error) ? error : 0", test=NAN),
    Mutant("rtol of the run, not of the golden", COMPARE, "tolerance.rtol * std::fabs(b)",
           "tolerance.rtol * std::fabs(a)", test=ALLOWED),
    Mutant("exactly the tolerance is too much", COMPARE, "std::fabs(a - b) <= tolerance",
           "std::fabs(a - b) < tolerance", test=ALLOWED),
    Mutant("atol is left out", COMPARE, "<= tolerance.atol + ", "<= ", test=ALLOWED),
    Mutant("the last number off is called the first", COMPARE, "if (result.off++ == 0)",
           "if (result.off++ >= 0)", test=FIRST),
    Mutant("the last number off is called the worst", COMPARE, "if (error > result.max_error) {",
           "if (error > 0) {", test=FIRST),
    Mutant("the last tensor that differs is called the first", COMPARE,
           "for (std::int64_t i = count; i-- > 0;)", "for (std::int64_t i = 0; i < count; ++i)", test=FIRST),
    Mutant("later steps come first", COMPARE, "return left.step < right.step;",
           "return left.step > right.step;", test="compare: steps come in order"),
    Mutant("missing tensors pass", COMPARE, "lacking = !options.common && ", "lacking = options.common && ",
           test=LACKING),
    Mutant("any shape of as many numbers passes", COMPARE, "!(flat && result", "!(result", test=LACKING),
    Mutant("samples of other strides are taken for the same", COMPARE,
           "left.position() == right.position() && left.stride() == right.stride();",
           "left.position() == right.position();",
           test="compare: samples are compared where both have numbers"),
    Mutant("as many NaN on both sides are the same", COMPARE, "x.nonfinite != 0 || y.nonfinite != 0",
           "x.nonfinite != y.nonfinite", test="compare: statistics alone cannot vouch for NaN"),
    Mutant("whole numbers are compared as floats", COMPARE, "compare_numbers<std::int64_t>(a, b, result);",
           "compare_numbers<float>(a, b, result);", test="compare: whole numbers must be equal"),
    Mutant("a run that falls to 16 bits passes", COMPARE,
           'if (!options.dtype.empty() || comparison.rounding != "F32")',
           'if (options.dtype.empty() || comparison.rounding != "F32")', test="CAUSE rounded_to_16_bits"),
    Mutant("the shortest glob wins", POLICY, "plain_characters(left.first) > plain_characters(right.first)",
           "plain_characters(left.first) < plain_characters(right.first)",
           test="policy: the glob with the most plain characters wins"),
    Mutant("the finer dtype sets the tolerance", POLICY, "unit_roundoff(b) > unit_roundoff(a)",
           "unit_roundoff(b) < unit_roundoff(a)", test="explain: BF16 against F32 cries no wolf"),
    Mutant("left padding is taken off the other side", ALIGN, "first_a = padding.a;", "first_a = padding.b;",
           test="a prompt padded on the left is compared"),
    Mutant("spare keys may have weight", ALIGN, "if ((key < first || key >= first + count) &&",
           "if (key < first &&", test="a static cache with spare keys is compared"),

    Mutant("the side that follows the references is called odd", RULES,
           "odd = odd_is_a ? rule_a : rule_b, other = odd_is_a ? rule_b : rule_a;",
           "odd = odd_is_a ? rule_b : rule_a, other = odd_is_a ? rule_a : rule_b;", test=PARTED),
    Mutant("rounding is no excuse", RULES, "return factor * unit * largest;",
           "return 0 * factor * unit * largest;", test="explain: rounding alone is no fault"),
    Mutant("what follows from a fault is a fault", EXPLAIN, "if (judgement.verdict != Verdict::fault)",
           "if (judgement.verdict == Verdict::unknown)", test=PARTED),
    Mutant("a cause is told once for each tensor", EXPLAIN, "return each.name == cause;",
           "return each.name == cause && cause.empty();", test=PARTED),
    Mutant("outputs are blamed though inputs differ", EXPLAIN,
           "judgement.verdict == Verdict::unknown && agree == 1",
           "judgement.verdict == Verdict::unknown && agree != 1",
           test="explain: a fault without a known cause"),
    Mutant("a sum with its branch taken off is right", BRANCHES,
           'rule("branch_sign", from + " minus the branch", from, branch, -1)',
           'rule("branch_sign", from + " minus the branch", from, branch, 1)', test="CAUSE branch_sign"),
    Mutant("GELU's rules in SiLU's order", BRANCHES, "std::swap(rules[0], rules[parts.vision ? 0 : 3]);",
           "std::swap(rules[0], rules[parts.vision ? 3 : 0]);", test="CAUSE mlp_activation"),
    Mutant("gates are not read through tanh", BRANCHES,
           "std::optional(std::tanh(static_cast<double>(gate->front())))",
           "std::optional(static_cast<double>(gate->front()))", test="CAUSE gate_without_tanh"),
    Mutant("kept states in blocks are taken for interleaved", "trace/explaining/kept_states.cpp",
           "return {1 + at / width, at % width};", "return {1 + at % n_kept, at / n_kept};",
           test="CAUSE interleaved_concat"),

    Mutant("the rest is left out of the sum", SUMS, "answer.others += value;", "answer.others = value;",
           test="why: the largest terms come first, the rest is one"),
    Mutant("the smallest terms come first", SUMS, "return a != b ? a > b : x < y;",
           "return a != b ? a < b : x < y;", test="why: the largest terms come first, the rest is one"),
    Mutant("terms that take away are added", SUMS, "answer.total += value;",
           "answer.total += std::fabs(value);", test=ADDS_UP),
    Mutant("rounding excuses any number", SUMS, "answer.floor += 16 * 0x1p-24 * size;",
           "answer.floor += 16 * size;", test="a number that its inputs do not make is called out"),
    Mutant("a direction is read at the wrong row", SUMS, "numbers->values[row + channel]",
           "numbers->values[channel + 0 * row]", test="a logit followed back"),
    Mutant("query heads are told of keys in turns", "trace/why/attention.cpp",
           "kv_head = at.head / (q.heads / k.heads);", "kv_head = at.head % k.heads;", test=ADDS_UP),
    Mutant("scores are told without their scale", "trace/why/attention.cpp", "y[channel] * scale)",
           "y[channel])", test=ADDS_UP),
    Mutant("a linear layer is told without its bias", "trace/why/linear.cpp", "values.push_back(*bias);",
           "values.push_back(0 * *bias);", test=ADDS_UP),
    Mutant("a trace's words are markup in an answer's page", "trace/why/page.cpp",
           'text += "<p>" + escape_markup(note) +', 'text += "<p>" + note +',
           test="why: what comes from a trace is text on the page"),
    Mutant("an answer's page may load anything", "trace/why/page.cpp", "default-src 'none'; style-src",
           "style-src", test="why: what comes from a trace is text on the page"),

    Mutant("text can turn a terminal's line around", SHOWN, "(is_control(c) || turns_the_line(c) ||",
           "(is_control(c) ||", test=TERMINAL),
    Mutant("C1 controls reach the terminal", SHOWN, "(c >= 0x7F && c <= 0x9F)", "c == 0x7F", test=TERMINAL),
    Mutant("quoted values reach the terminal raw", SHOWN, "terminal_text(text.substr(0, most))",
           "std::string(text.substr(0, most))", test=TERMINAL),
]
