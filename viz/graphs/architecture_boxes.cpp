#include "viz/graphs/architecture_boxes.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace pictor {

namespace {

constexpr const char* times = "\xC3\x97";

std::string vision_rows(const Builder& b)
{
    const ModelSizes& s = b.sizes;
    return fmt::format("[{}{} {} {}, {}]", s.max_tiles, b.detail(" tiles"), times, s.n_padded_patches(),
                       s.d_vision);
}

void add_local_layers(Builder& b)
{
    const ModelSizes& s = b.sizes;
    if (b.options.unfold) {
        for (std::int64_t i = 0; i < s.n_local_layers; ++i) {
            // The arrow to the kept states leaves from the layer before, whose output is this one's input.
            const bool kept =
                std::find(s.kept_layers.begin(), s.kept_layers.end(), i + 1) != s.kept_layers.end();
            b.node(fmt::format("local{}", i), "local", fmt::format("vision layer {}", i),
                   {kept ? fmt::format("kept: the input of layer {}", i + 1) : ""}, 0,
                   "reference/vision/encoder.cpp", "encoder");
        }
    } else {
        b.node("local", "local",
               b.slide ? "vision encoder" : fmt::format("vision encoder {}{}", times, s.n_local_layers),
               {b.slide ? fmt::format("{} layers, {} heads", s.n_local_layers, s.n_vision_heads) : "",
                vision_rows(b),
                b.detail(fmt::format("{} heads of {}, MLP {}", s.n_vision_heads,
                                     s.d_vision / s.n_vision_heads, s.d_vision_mlp)),
                b.detail("all tiles at once, GELU"),
                b.detail(fmt::format("inputs of layers {} are kept", list_text(s.kept_layers)))},
               b.parameters.local_layer * s.n_local_layers, "reference/vision/encoder.cpp", "encoder");
    }
}

void add_global_layers(Builder& b)
{
    const ModelSizes& s = b.sizes;
    if (b.options.unfold) {
        for (std::int64_t i = 0; i < s.n_global_layers; ++i)
            b.node(fmt::format("global{}", i), "global", fmt::format("global layer {}", i), {"gated"}, 0,
                   "reference/vision/encoder.cpp", "encoder");
    } else {
        b.node("global", "global",
               b.slide ? "global encoder" : fmt::format("global encoder {}{}", times, s.n_global_layers),
               {b.slide ? fmt::format("{} layers, gated", s.n_global_layers) : "", vision_rows(b),
                b.detail("each branch \xC2\xB7 tanh(gate)")},
               b.parameters.global_layer * s.n_global_layers, "reference/vision/encoder.cpp", "encoder");
    }
}

void add_picture_edges(Builder& b)
{
    const ModelSizes& s = b.sizes;
    b.edge("picture", "tiles");
    b.edge("tiles", "patches");
    b.edge("patches", "positions");
    const std::string first = b.options.unfold ? "local0" : "local",
                      last = b.options.unfold ? fmt::format("local{}", s.n_local_layers - 1) : "local";
    b.edge("positions", first);
    if (b.options.unfold) {
        for (std::int64_t i = 1; i < s.n_local_layers; ++i)
            b.edge(fmt::format("local{}", i - 1), fmt::format("local{}", i));
        for (std::int64_t i = 1; i < s.n_global_layers; ++i)
            b.edge(fmt::format("global{}", i - 1), fmt::format("global{}", i));
        for (const std::int64_t i : s.kept_layers)
            b.edge(i == 0 ? "positions" : fmt::format("local{}", i - 1), "kept", "kept", "", false);
    } else {
        b.edge("local", "kept", "kept", "", false,
               b.slide ? "headport=n" : "");  // a label would stand in the way of other lines
    }
    b.edge(last, "post_tile");
    b.edge("post_tile", b.options.unfold ? "global0" : "global");
    b.edge(b.options.unfold ? fmt::format("global{}", s.n_global_layers - 1) : "global", "kept");
    b.edge("kept", "projector");
}

// One node for a run of layers; returns its id.
std::string add_layer_run(Builder& b, const LayerRun& run)
{
    const ModelSizes& s = b.sizes;
    const std::string id = fmt::format("text{}", run.first);
    std::string layers = run.count == 1
                             ? fmt::format("layer {}", run.first)
                             : fmt::format("layers {}\xE2\x80\x93{}", run.first, run.first + run.count - 1);
    if (run.times > 1)
        layers = run.is_cross ? fmt::format("{} times: {}, {}, \xE2\x80\xA6, {}", run.times, run.first,
                                            run.first + run.stride, run.first + run.stride * (run.times - 1))
                              : fmt::format("{} times: after each of these", run.times);
    const std::string count = run.count > 1 && !b.slide ? fmt::format(" {}{}", times, run.count) : "";
    if (b.slide && run.times > 1)
        layers = run.is_cross ? fmt::format("{} layers: {}, {}, \xE2\x80\xA6, {}", run.times, run.first,
                                            run.first + run.stride, run.first + run.stride * (run.times - 1))
                              : fmt::format("{} after each of these", run.count);
    if (run.is_cross)
        b.node(id, "cross", "cross-attention" + count,
               {layers,
                b.detail(fmt::format("{} query heads, keys {} {} {}", s.n_heads, s.max_tiles, times,
                                     s.n_patches())),
                b.detail("branches \xC2\xB7 tanh(gate); no RoPE")},
               b.parameters.cross_layer * run.count * run.times, "reference/text/cross_attention.cpp",
               "cross-attention");
    else
        b.node(id, "self", "self-attention" + count,
               {layers,
                b.slide ? "RoPE on Q, K"
                        : fmt::format("{} query, {} key heads of {}", s.n_heads, s.n_kv_heads, s.d_head),
                b.detail(fmt::format("SwiGLU MLP {}", s.d_text_mlp))},
               b.parameters.self_layer * run.count * run.times, "reference/text/self_attention.cpp",
               "self-attention");
    return id;
}

// From the last layer's states to the next word, which goes in again.
void add_head(Builder& b, const std::string& last)
{
    const ModelSizes& s = b.sizes;
    const ParameterCounts& c = b.parameters;
    const std::string logits = fmt::format("logits [T, {}]", s.n_vocabulary);
    if (b.slide) {  // large type: two boxes for four
        b.node("lm_head", "head", "LM head", {"after a last RMSNorm", logits}, c.final_norm + c.lm_head,
               "reference/text/lm_head.cpp", "lm-head");
        b.node("sample", "head", "sample", {"greedy, top-k, top-p", "until an end token"}, 0,
               "reference/text/sampler.cpp", "sampler");
        b.edge(last, "lm_head");
        b.edge("lm_head", "sample");
        b.edge("sample", "embedding", "flow", b.options.unfold || b.options.run ? "" : "next word", false,
               "style=dashed");
        return;
    }
    b.node("final_norm", "norm", "RMSNorm", {fmt::format("[T, {}]", s.d_text)}, c.final_norm,
           "reference/text/rms_norm.cpp", "rms-norm");
    b.node("lm_head", "head", "LM head", {logits}, c.lm_head, "reference/text/lm_head.cpp", "lm-head");
    b.node("sample", "head", "sample", {"greedy, or temperature,", "top-k, top-p"}, 0,
           "reference/text/sampler.cpp", "sampler");
    b.node("word", "data", "next word", {"until an end token"}, 0, "reference/generate.cpp", "generate");
    b.edge(last, "final_norm", "flow", "", true, "weight=8");
    b.edge("final_norm", "lm_head");
    b.edge("lm_head", "sample");
    b.edge("sample", "word");
    b.edge("word", "embedding", "flow", "again, one token at a time", false, "style=dashed");
}

}  // namespace

std::string list_text(const std::vector<std::int64_t>& numbers)
{
    if (numbers.size() <= 10)
        return fmt::format("{}", fmt::join(numbers, ", "));
    return fmt::format("{}, {}, {}, \xE2\x80\xA6, {}", numbers[0], numbers[1], numbers[2], numbers.back());
}

void add_picture_side(Builder& b)
{
    const ModelSizes& s = b.sizes;
    const ParameterCounts& c = b.parameters;
    b.node("picture", "data", "picture", {"RGB, any size"}, 0, "base/image_decode.cpp", "decode");
    b.node("tiles", "plain", "resize, pad, cut",
           {fmt::format("\xE2\x89\xA4 {}{} {} 3 {} {} {} {}", s.max_tiles, b.detail(" tiles"), times, times,
                        s.tile_size, times, s.tile_size),
            b.detail(fmt::format("{} aspect ratios (h, w)", s.n_aspect_ratios))},
           0, "reference/image/tiles.cpp", "tiles");
    b.node("patches", "embedding", "conv patches",
           {fmt::format("{} {} {} of {} px{}", s.patches_per_side(), times, s.patches_per_side(),
                        s.patch_size, b.detail(fmt::format(", stride {}", s.patch_size))),
            b.detail(fmt::format("[tiles, {}, {}]", s.n_patches() - 1, s.d_vision))},
           c.patch_embedding, "reference/vision/patch_embedding.cpp", "patch-embedding");
    b.node("positions", "embedding", b.slide ? "+ positions" : "+ aspect ratio, position, tile",
           {b.slide ? fmt::format("{} a tile, with class", s.n_patches())
                    : fmt::format("{} patches a tile with class", s.n_patches()),
            b.detail("tanh(g) \xC2\xB7 pre-tile[aspect id]"),
            b.detail("(1 \xE2\x88\x92 tanh g) \xC2\xB7 position + tanh g \xC2\xB7 tile position"),
            b.detail("LayerNorm")},
           c.pre_tile + c.positions + c.vision_norms / 2, "reference/vision/positions.cpp", "positions");
    add_local_layers(b);
    b.node("post_tile", "embedding", b.slide ? "+ post-tile" : "LayerNorm + post-tile",
           {b.detail("tanh(g) \xC2\xB7 post-tile[aspect id]")}, c.post_tile + c.vision_norms / 2,
           "reference/vision/positions.cpp", "positions");
    add_global_layers(b);
    b.node(
        "kept", "data", b.slide ? "final | kept" : "final | kept states",
        {fmt::format("[{}{} {} {}, {}]", s.max_tiles, b.detail(" tiles"), times, s.n_patches(),
                     s.d_vision_output()),
         b.slide ? "inputs of " + list_text(s.kept_layers) : "padding rows dropped; kept states interleaved"},
        0, "reference/vision/encoder.cpp", "encoder");
    b.node("projector", "projector", "projector",
           {fmt::format("{} \xE2\x86\x92 {}", s.d_vision_output(), s.d_text)}, c.projector,
           "reference/vision/projector.cpp", "projector");

    add_picture_edges(b);
}

void add_text_side(Builder& b)
{
    const ModelSizes& s = b.sizes;
    const ParameterCounts& c = b.parameters;
    b.node("prompt", "data", "prompt", {"chat template, <|image|>"}, 0, "reference/prompt/chat_template.cpp",
           "chat-template");
    b.node("tokenizer", "plain", "tokenizer", {"byte-level BPE", fmt::format("{} tokens", s.n_vocabulary)}, 0,
           "reference/prompt/tokenizer.cpp", "tokenizer");
    b.node("embedding", "embedding", "embedding table",
           {fmt::format("[{} + 8, {}]", s.n_vocabulary, s.d_text),
            b.detail("token ids [T] \xE2\x86\x92 [T, d]")},
           c.embedding_table, "reference/text/token_embedding.cpp", "token-embedding");
    if (!b.slide)
        b.node("rope", "norm", "RoPE", {"turns Q and K", "of every self-attention"}, 0,
               "reference/text/rope.cpp", "rope");
    b.edge("prompt", "tokenizer");
    b.edge("tokenizer", "embedding", "flow", b.detail("ids [T]"));

    std::string last = "embedding", first_self;
    bool first_cross = true;
    for (const auto& group : fold_layers(s, b.options.unfold)) {
        std::vector<std::string> members;
        for (const LayerRun& run : group) {
            const std::string id = add_layer_run(b, run);
            b.edge(last, id, "flow", "", true, "weight=8");
            if (run.is_cross)
                b.edge("projector", id, "picture", "", false,
                       first_cross && !b.slide ? "tailport=e, headport=w" : "");
            else if (first_self.empty())
                first_self = id;
            first_cross = first_cross && !run.is_cross;
            last = id;
            members.push_back(id);
        }
        if (group.size() > 1 && !b.slide)  // the pair comes several times in a row
            b.edge(members.back(), members.front(), "flow", fmt::format("{} {}", times, group.front().times),
                   false, "style=dashed, tailport=e, headport=e");
    }
    if (!first_self.empty() && !b.slide) {
        b.edge("rope", first_self, "rope", "", true, "weight=0");
        b.graph.same_rank.push_back({"rope", "embedding"});
    }
    add_head(b, last);
}

}  // namespace pictor
