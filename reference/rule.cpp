#include "reference/rule.h"

namespace pictor {

const char* rule_name(Rule rule) { return rule == Rule::meta ? "meta" : "transformers"; }

std::optional<Rule> parse_rule(std::string_view name)
{
    for (Rule rule : {Rule::meta, Rule::transformers})
        if (name == rule_name(rule))
            return rule;
    return std::nullopt;
}

}  // namespace pictor
