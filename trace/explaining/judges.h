// Who judges a step: the rows of graph/operations.cpp, each with its judge.
#pragma once

#include "trace/explaining/rules.h"

namespace pictor {

using Judge = Judgement (*)(const Pair& pair, const NameParts& parts);

// nullptr: no step of this model.
Judge judge_of(const Operation& operation);

// Judges a tensor by its step's judge.
Judgement judge_step(const Pair& pair);

}  // namespace pictor
