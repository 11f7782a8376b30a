// Whose rules to follow where the two references disagree.
#pragma once

namespace pictor {

// meta          what the released weights were trained with
// transformers  what transformers >= 4.56 computes (tested with 5.23)
enum class Rule { meta, transformers };

}  // namespace pictor
