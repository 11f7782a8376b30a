// `trace diff --html FILE`: the comparison as one page that needs nothing from elsewhere.
#pragma once

#include <string>

#include "trace/comparing/compare.h"

namespace pictor {

// HTML5. Whatever comes from a trace is text in it, never markup, however it is spelt.
std::string comparison_page(const Comparison& comparison, const Trace& a, const Trace& b,
                            const CompareOptions& options);

// The tensors that differ, each once however many steps it differs in, folded by the layer they belong to.
std::string tensors_section(const Comparison& comparison, const Trace& a, const Trace& b);

// A number as the page shows it, or "not finite".
std::string real_text(double value, const char* form = "{:.3g}");

extern const char* const page_style;
extern const char* const page_script;

}  // namespace pictor
