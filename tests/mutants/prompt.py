"""Faults between what a person types and the ids."""

from mutant import Mutant

MUTANTS = [
    Mutant("merges from left to right", "reference/prompt/tokenizer.cpp",
           "std::tie(a.merge.rank, a.begin) > std::tie(b.merge.rank, b.begin);", "std::tie(a.begin, a.merge.rank) > std::tie(b.begin, b.merge.rank);",
           breaks="input_ids", run="words", test="tokenizer: Pictor's ids are those of the tokenizers library", traps=("merge_order",)),
    Mutant("ignore_merges not read", "reference/prompt/tokenizer_file.cpp",
           'table.whole_piece_first = model.value("ignore_merges", false);', "table.whole_piece_first = false;",
           breaks="input_ids", run="a whole piece that no merges make", test="TRAP ignore_merges", traps=("ignore_merges",)),
    Mutant("PCRE2's own idea of a space", "reference/prompt/split_pattern.cpp",
           'out += in_class ? spaces : "[" + spaces + "]";', 'out += "\\\\s";',
           breaks="input_ids", run="Mongolian vowel separator", test="TRAP mongolian_vowel_separator", traps=("mongolian_vowel_separator",)),
    Mutant("contractions in ASCII only", "reference/prompt/ranked_tokens.cpp",
           "R\"((?i:'s|'t|'re|'ve|'m|'ll|'d)|", "R\"('[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|",
           breaks="input_ids", run="contraction with a long s", test="TRAP case_insensitive_contractions", traps=("case_insensitive_contractions",)),
    Mutant("long runs stay whole", "reference/prompt/split_pattern.cpp", "run == longest_run", "run == longest_run * most_characters",
           breaks="input_ids", run="run of 25,024 letters", test="TRAP long_runs_are_cut", traps=("long_runs_are_cut",)),
    Mutant("<|image|> keeps the tokenizer's id", "reference/prompt/chat_template.cpp",
           "std::replace(ids.begin(), ids.end(), *own_image_id, image_token);", "static_cast<void>(*own_image_id);",
           test="TRAP image_id_of_tokenizer", traps=("image_id_of_tokenizer",)),
    Mutant("special tokens of the text are honoured", "reference/prompt/chat_template.cpp",
           "append(ids, tokenizer.encode(turn.text, false));", "append(ids, tokenizer.encode(turn.text, true));",
           breaks="input_ids", run="special token in the text", test="TRAP special_tokens_in_user_text", traps=("special_tokens_in_user_text",)),
    Mutant("text is trimmed", "reference/prompt/chat_template.cpp", "append(ids, tokenizer.encode(turn.text, false));",
           "append(ids, tokenizer.encode(turn.text.substr(std::min(turn.text.find_first_not_of(' '), turn.text.size())), false));",
           breaks="input_ids", run="spaces around the text", test="TRAP text_is_not_trimmed", traps=("text_is_not_trimmed",)),
    Mutant("header and text are encoded as one", "reference/prompt/chat_template.cpp", "append(ids, tokenizer.encode(turn.text, false));",
           'ids.resize(ids.size() - (turn.n_images > 0 ? 0 : tokenizer.encode("\\n\\n", false).size())), '
           'append(ids, tokenizer.encode((turn.n_images > 0 ? "" : "\\n\\n") + turn.text, false));',
           breaks="input_ids", run="line break in front", test="TRAP header_is_encoded_apart", traps=("header_is_encoded_apart",)),
    Mutant("the turn does not end", "reference/prompt/chat_template.cpp", 'ids.push_back(tokenizer.special_id("<|eot_id|>"));', "",
           breaks="input_ids", run="words", test="chat_template: ids are those of Meta's ChatFormat"),
    Mutant("pictures in anybody's turn", "reference/prompt/chat_template.cpp", '(turn.n_images > 0 && role != "user")', "false",
           test="TRAP image_token_in_system_message", traps=("image_token_in_system_message",)),
    Mutant("BOS doubled", "reference/prompt/chat_template.cpp", "if (first == ids.end() || *first != begin_of_text)", "if (first != ids.end() || begin_of_text > 0)",
           breaks="input_ids", run="prompt with its BOS", test="TRAP bos_doubled", traps=("bos_doubled",)),
]
