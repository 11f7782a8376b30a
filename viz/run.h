// One recorded run as the drawings see it: words, pictures, which row predicts which word, what a row may
// see.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "trace/reading/reader.h"
#include "viz/heatmaps/patch_grid.h"

namespace pictor {

struct RunPicture {
    PictureGeometry geometry;
    std::string file;  // as the trace names it
};

// The row of a step's tensors that belongs to a position of the whole sequence.
struct RowPlace {
    std::int64_t position = 0;  // in prompt and answer together
    std::int64_t step = 0;
    std::int64_t row = 0;   // within the step
    std::int64_t rows = 0;  // of the step
    std::string kind;       // "prefill" or "decode"
};

class Run {
public:
    explicit Run(const std::filesystem::path& folder);

    const Trace& trace() const { return trace_; }
    const std::vector<std::string>& tokens() const { return tokens_; }  // texts: prompt, then answer
    std::int64_t n_prompt() const { return n_prompt_; }
    std::int64_t n_tokens() const { return static_cast<std::int64_t>(tokens_.size()); }
    const std::vector<RunPicture>& pictures() const { return pictures_; }
    const std::vector<std::int64_t>& cross_layers() const
    {
        return cross_layers_;
    }  // that recorded their probabilities
    std::string reference() const;

    // The row that predicts this token is the one before it. None: the first token, or a row no step
    // recorded.
    std::optional<RowPlace> row_predicting(std::int64_t token) const;

    // Whether the row may see a picture: picture -1 means any. Throws when the recorded mask has a wrong
    // shape.
    bool row_sees(const RowPlace& row, std::int64_t picture = -1) const;
    // How many cross-attention keys it may see, of n_keys; all of them where the trace has no mask of tiles.
    std::int64_t keys_seen(const RowPlace& row, std::int64_t n_keys) const;

    // The word a token begins or belongs to, without blanks at its ends: " pict" + "ure" -> "picture".
    std::string word_at(std::int64_t token) const;

    // TEXT or INDEX as the command line gives it -> a token. Whole tokens first, then words of several
    // tokens; the answer before the prompt; capital letters count only when some match exactly. Throws with
    // the list of words.
    std::int64_t find_token(const std::string& wanted) const;

    // The file as named, else relative to the trace folder. Throws a clear error when it is gone.
    std::filesystem::path picture_file(std::size_t picture) const;

    // A whole tensor, kept in memory. Throws with a hint how to record it when the trace lacks it or its
    // numbers.
    const TraceTensor& tensor(const std::string& name, std::int64_t step) const;

    // Cross-attention probabilities of one layer and row, [head][key].
    std::vector<std::vector<double>> cross_probs(std::int64_t layer, const RowPlace& row) const;

    std::int64_t n_heads(std::int64_t layer) const;
    std::int64_t max_tiles(std::int64_t n_keys) const;  // tiles per picture, absent ones included

private:
    void read_tokens();
    void read_pictures();

    Trace trace_;
    std::vector<std::string> tokens_;
    std::int64_t n_prompt_ = 0;
    std::vector<RunPicture> pictures_;
    std::vector<std::int64_t> cross_layers_;
    mutable std::map<std::pair<std::string, std::int64_t>, std::unique_ptr<TraceTensor>> cache_;
};

std::string layer_name(std::int64_t layer);  // "language_model.layers.N"
std::string trimmed(const std::string& text);

}  // namespace pictor
