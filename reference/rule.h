// Whose rules to follow where the two references disagree.
#pragma once

#include <optional>
#include <string_view>

namespace pictor {

// meta          what the released weights were trained with
// transformers  what transformers >= 4.56 computes (tested with 5.23)
enum class Rule { meta, transformers };

const char* rule_name(Rule rule);
std::optional<Rule> parse_rule(std::string_view name);  // nothing when no rule has this name

}  // namespace pictor
