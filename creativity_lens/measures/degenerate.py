"""Is a text broken? A coarse alarm with its reasons, for texts of a model that was pushed too far.

The limits were set on texts of SmolLM2-135M-Instruct, read one by one: 128 unsteered ones of 48
tokens, and 168 steered at layers 4, 8 and 16 by up to twice the residual norm. They were checked on
1000 other unsteered texts of 24 tokens and on 400 WritingPrompts stories, half of them by people.

It is meant to be quiet on text: it sees loops, stutters and letters that make no words. It does not
see ungrammatical sentences made of real words, nor new-made words between real ones; the likelihood
does (`mean_nll`).
"""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from creativity_lens.errors import InputError

REASONS = ("empty", "short", "loop", "one_token", "not_words")
"""All reasons, in the order in which they are given."""

# Of the steered texts that stopped early, those of 6 tokens are fragments ("This is Mr.B.") and
# those of 11 are sentences. No unsteered text stopped within 48.
SHORT_TOKENS = 8

# Loops are sought in stretches of the length that the limits were set on, since every measure of
# repetition rises with length by itself.
STRETCH = 240
STEP = 120
# A loop is seldom left again; this share lets a refrain pass in a long text.
LOOP_SHARE = 0.25
# Characters, not words: broken text often has no spaces where words should end.
LOOP_GRAM = 4
# Below 0.25 in 127 of 128 unsteered texts, and the one above (0.64) is a loop; below 0.30 in 997
# of 1000 short ones, and the three above begin their sentence again. 0.3 % of 3000 stretches of
# the stories are above, most of them refrains and tables.
LOOP_REPETITION = 0.3
LOOP_CHARACTERS = 40

# The most frequent word or symbol: at most 0.22 of an unsteered text of 48 tokens, 0.30 of one of
# 24 and 0.38 of a stretch of a story.
ONE_TOKEN_SHARE = 0.4
ONE_TOKEN_PIECES = 8

# Letters and digits among what is visible: at least 0.89 in unsteered texts and 0.66 in the
# stories. Source code has 0.83 in the middle, and less than this in one stretch of thirty.
ALNUM_SHARE = 0.65
# Letters alone: at least 0.78 in unsteered texts; 0.3 % of the stretches of stories have less than
# 0.7, the lowest 0.33.
LETTER_SHARE = 0.4
# Words of a single letter ("a", the "s" of "it's"): at most 0.22 of an unsteered text of 48 tokens
# and 0.25 of a stretch of a story.
SINGLE_SHARE = 0.4
# Share of letters in words longer than this: 0 in all unsteered texts, whose longest word has 17
# letters, and at most 0.11 (one word) in the stories.
LONG_WORD = 20
LONG_SHARE = 0.15
# Set without data: none of these texts mixes scripts, while larger models do when they break.
SCRIPTS = 3
SCRIPT_SHARE = 0.05
# A text that was cut off inside a character ends in one replacement character.
REPLACEMENTS = 3

# Written together in ordinary Japanese and Korean, and with Han alone in Chinese.
_EAST_ASIAN = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL"})
_PIECE = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")  # noqa: RUF001 (both apostrophes occur)
_LETTERS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Degeneracy:
    """What is wrong with a text.

    Attributes:
        reasons: those of `REASONS` that hold, in that order; () for a text that is not broken.
    """

    reasons: tuple[str, ...]

    @property
    def flag(self) -> bool:
        """Whether the text is broken for any reason."""
        return bool(self.reasons)


def degeneracy(text: str, n_tokens: int, finish_reason: str) -> Degeneracy:
    """Judge whether a text is broken, and why.

    - `empty`: nothing visible, only white space. No other reason is sought then.
    - `short`: the model stopped by itself before `SHORT_TOKENS` tokens.
    - `loop`: in at least `LOOP_SHARE` of its stretches of `STRETCH` characters, more than
      `LOOP_REPETITION` of the runs of `LOOP_GRAM` characters occurred before.
    - `one_token`: one word or symbol makes at least `ONE_TOKEN_SHARE` of all.
    - `not_words`: mostly symbols or digits; many single letters; many letters in words of more than
      `LONG_WORD` letters (fragments glued together; counted in scripts with upper and lower case
      only, since others may not part words); letters of `SCRIPTS` scripts; broken characters.

    The limits are those of English prose. Lists and tables can raise a false alarm, and source
    code does in one stretch of four: it repeats itself.

    Args:
        text: the text without its prompt.
        n_tokens: its tokens, the end of sequence not counted.
        finish_reason: `stop` (the model ended the text) or `length` (it was cut off).

    Raises:
        InputError: a negative `n_tokens`, or another `finish_reason`.
    """
    if n_tokens < 0:
        raise InputError(f"n_tokens must be at least 0, got {n_tokens}.")
    if finish_reason not in ("stop", "length"):
        raise InputError(f"finish_reason must be 'stop' or 'length', got {finish_reason!r}.")
    # Zero-width characters are no space to Python, but nothing to a reader either.
    visible = [c for c in text if c.isprintable() and not c.isspace()]
    if not visible:
        return Degeneracy(("empty",))
    found = {
        "short": finish_reason == "stop" and n_tokens < SHORT_TOKENS,
        "loop": _loops(text),
        "one_token": _is_one_token(text),
        "not_words": _is_symbols(visible) or _has_no_words(text) or _is_mixed(visible),
    }
    return Degeneracy(tuple(reason for reason in REASONS if found.get(reason)))


def _loops(text: str) -> bool:
    # Line breaks and indents are layout, and they would be the repetition of a poem.
    text = " ".join(text.casefold().split())
    last = max(len(text) - STRETCH, 0)
    starts = [*range(0, last, STEP), last]
    looping = sum(_is_loop(text[start : start + STRETCH]) for start in starts)
    return looping >= LOOP_SHARE * len(starts)


def _is_loop(stretch: str) -> bool:
    if len(stretch) < LOOP_CHARACTERS:
        return False
    total = len(stretch) - LOOP_GRAM + 1
    distinct = len({stretch[i : i + LOOP_GRAM] for i in range(total)})
    return total - distinct > LOOP_REPETITION * total


def _is_one_token(text: str) -> bool:
    pieces = Counter(_PIECE.findall(text.casefold()))
    total = pieces.total()
    return total >= ONE_TOKEN_PIECES and max(pieces.values()) >= ONE_TOKEN_SHARE * total


def _is_symbols(visible: list[str]) -> bool:
    # Marks (M) belong to the letters (L) that they are written on, as in Devanagari; N is digits.
    kinds = Counter(unicodedata.category(c)[0] for c in visible)
    letters = kinds["L"] + kinds["M"]
    return (
        letters + kinds["N"] < ALNUM_SHARE * len(visible)
        or letters < LETTER_SHARE * len(visible)
        or visible.count("\ufffd") >= REPLACEMENTS
    )


def _has_no_words(text: str) -> bool:
    lengths = [len(run) for run in _LETTERS.findall(text) if run.upper() != run.lower()]
    single = lengths.count(1) > SINGLE_SHARE * len(lengths)
    long = sum(length for length in lengths if length > LONG_WORD)
    return (single and len(lengths) >= ONE_TOKEN_PIECES) or long > LONG_SHARE * sum(lengths)


def _is_mixed(visible: list[str]) -> bool:
    scripts = Counter(_script(c) for c in visible if c.isalpha())
    return sum(n > SCRIPT_SHARE * scripts.total() for n in scripts.values()) >= SCRIPTS


def _script(letter: str) -> str:
    # The first word of a letter's Unicode name is its script, or near enough.
    script = unicodedata.name(letter, "").split(" ")[0]
    return "EAST ASIAN" if script in _EAST_ASIAN else script
