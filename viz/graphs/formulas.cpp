#include "viz/graphs/formulas.h"

#include <utility>
#include <vector>

namespace pictor {

std::string formula(const std::string& leaf, bool vision)
{
    static const std::vector<std::pair<std::string, std::string>> by_end{
        {"q_norm", "per head x / rms(x) \xC2\xB7 w"},
        {"k_norm", "per head x / rms(x) \xC2\xB7 w"},
        {"q_proj", "x \xC2\xB7 W_q\xE1\xB5\x80"},
        {"k_proj", "x \xC2\xB7 W_k\xE1\xB5\x80"},
        {"v_proj", "x \xC2\xB7 W_v\xE1\xB5\x80"},
        {"o_proj", "context \xC2\xB7 W_o\xE1\xB5\x80"},
        {"rotated_q", "x cos + rotate_half(x) sin"},
        {"rotated_k", "x cos + rotate_half(x) sin"},
        {"masked_scores", "hidden keys: lowest float"},
        {"scores", "q \xC2\xB7 k / \xE2\x88\x9A"
                   "d_head"},
        {"probs", "exp(score \xE2\x88\x92 max) / sum"},
        {"context", "\xCE\xA3 prob \xC2\xB7 v"},
        {"residual", "in + attention"},
        {"gate_proj", "x \xC2\xB7 W_gate\xE1\xB5\x80"},
        {"up_proj", "x \xC2\xB7 W_up\xE1\xB5\x80"},
        {"act_fn", "x / (1 + exp(\xE2\x88\x92x))"},
        {"fc1", "x \xC2\xB7 W_1\xE1\xB5\x80 + b_1"},
        {"activation_fn", "x \xC2\xB7 (1 + erf(x / \xE2\x88\x9A"
                          "2)) / 2"}};
    if (leaf.ends_with("layernorm"))
        return vision ? "(x \xE2\x88\x92 mean) / std \xC2\xB7 w + b" : "x / rms(x) \xC2\xB7 w";
    if (leaf == "mlp")
        return vision ? "x \xC2\xB7 W_2\xE1\xB5\x80 + b_2" : "x \xC2\xB7 W_down\xE1\xB5\x80";
    for (const auto& [end, text] : by_end)
        if (leaf.ends_with(end))
            return text;
    return "";
}

}  // namespace pictor
