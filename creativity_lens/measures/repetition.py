"""How much a text repeats itself: in its word n-grams, and as a compressor finds it."""

import zlib

from creativity_lens.measures.diversity import distinct_n


def repetition(text: str, n: int = 3) -> float:
    """Share of word n-grams that occurred before in the text (rep-n, Welleck et al. 2020).

    In [0, 1): 0 if no run of `n` words comes back, near 1 for a loop. It is 1 - `distinct_n`, so it
    rises with length by itself; compare texts of similar length only. A refrain counts as a
    repetition. NaN for a text of fewer than `n` words. (arXiv 1908.04319.)
    """
    return 1.0 - distinct_n(text, n)


def compression_ratio(text: str) -> float:
    """Bytes of the text after zlib at level 9, divided by its bytes in UTF-8.

    Above 0; lower is more repetitive, in letters and in phrases (Shaib et al. 2024, arXiv
    2403.00553, use the inverse). It falls with length by itself. The format costs some 11 bytes and
    a short text gives nothing to look back at: below about 100 characters the ratio says how long
    the text is and can be above 1. NaN for an empty text.
    """
    raw = text.encode("utf-8", errors="surrogatepass")
    return len(zlib.compress(raw, 9)) / len(raw) if raw else float("nan")
