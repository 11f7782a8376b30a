// The command line of `reference`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "reference/checkpoint/synthesize.h"
#include "reference/rule.h"
#include "reference/text/sampler.h"
#include "trace/recording/recorder.h"

namespace pictor {

struct Options {
    std::string command;          // run, forward, tokenize, preprocess, inspect, synthesize
    std::filesystem::path model;  // checkpoint folder
    Rule rule = Rule::meta;
    int threads = 0;  // 0: as many as the machine has

    std::vector<std::filesystem::path> images;  // run
    std::string prompt;
    bool raw = false;
    bool chat = false;
    std::int64_t max_new_tokens = 128;
    SamplingOptions sampling;

    std::filesystem::path inputs;  // forward
    std::int64_t greedy = 0;

    std::optional<TraceOptions> trace;  // run, forward

    std::filesystem::path tokenizer;  // tokenize; empty: the model's
    bool special = false;
    std::string file;  // tokenize: where texts come from; empty: the argument
    std::string text;

    std::filesystem::path image;  // preprocess
    std::filesystem::path output;
    bool force = false;  // replaces whatever file `output` names

    bool json = false;  // inspect

    SynthesizeOptions synthesize;
    bool quiet = false;  // no progress
};

// Reads the command line. Prints help and leaves with 0 when asked for it; leaves with 2 on bad usage, having
// said why.
Options read_options(int argc, char** argv);

}  // namespace pictor
