// `trace diff --html FILE`: the comparison as one page that needs nothing from elsewhere.
#pragma once

#include <string>

#include "trace/comparing/compare.h"

namespace pictor {

// HTML5. Whatever comes from a trace is text in it, never markup, however it is spelt.
std::string comparison_page(const Comparison& comparison, const Trace& a, const Trace& b,
                            const CompareOptions& options);

extern const char* const page_style;
extern const char* const page_script;

}  // namespace pictor
