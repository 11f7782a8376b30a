// A small check that markup is balanced, quoted and escaped: what an SVG must be to be drawn at all.
#pragma once

#include <string_view>

namespace pictor_fuzz {

// Throws std::logic_error naming the fault and where it is. Knows elements, attributes, character
// references, comments, the XML declaration and DOCTYPE; no CDATA.
void require_well_formed(std::string_view xml);

// The page's scripts are those it was made with: data within its element, nothing after it that a trace
// wrote.
void require_whole_page(std::string_view html);

// Nothing that moves a terminal's cursor.
void require_no_controls(std::string_view text);

}  // namespace pictor_fuzz
