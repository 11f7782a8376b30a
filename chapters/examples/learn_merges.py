"""Learns a few merges from a line of text, as a tokenizer's vocabulary is learned from a library.

    python3 chapters/examples/learn_merges.py
"""

from collections import Counter
import itertools

TEXT = "the cat that sat on the mat ate the hat"


def learn(text, n_merges):
    """Yields (the pair that is merged, how often it was there, the words afterwards)."""
    words = [list("␣" + word) for word in text.split()]
    for _ in range(n_merges):
        pairs = Counter(pair for word in words for pair in itertools.pairwise(word))
        (left, right), count = pairs.most_common(1)[0]  # of equals the first that was met
        for word in words:
            at = 0
            while at < len(word) - 1:
                if word[at] == left and word[at + 1] == right:
                    word[at : at + 2] = [left + right]
                at += 1
        yield left + " + " + right, count, " ".join("".join(f"[{part}]" for part in word) for word in words)


if __name__ == "__main__":
    for pair, count, after in learn(TEXT, 4):
        print(f"{pair:9} {count} times: {after}")
