"""Repetition and compression of a text, by hand."""

import math

import pytest

from creativity_lens.measures.repetition import compression_ratio, repetition


def test_repetition_by_hand():
    # a-b-c, b-c-a, c-a-b, a-b-c: the fourth occurred before.
    assert repetition("A b c a b c.") == pytest.approx(1 / 4)
    assert repetition("one two three four") == 0
    # Nine words, one word: the trigram occurs seven times, six of them again.
    assert repetition("no " * 9) == pytest.approx(6 / 7)
    assert repetition("no no no", 1) == pytest.approx(2 / 3)


def test_too_short_a_text_has_no_repetition():
    assert math.isnan(repetition("two words"))
    assert math.isnan(repetition("", 1))


def test_compression_ratio_by_hand():
    # A zlib stream is 2 bytes of header, the block, 4 bytes of checksum. A block of fixed codes is
    # 3 bits, 8 for each byte below 144 or 9 from there on, and 7 for its end.
    assert compression_ratio("a") == (2 + 3 + 4) / 1  # 3 + 8 + 7 = 18 bits
    assert compression_ratio("é") == (2 + 4 + 4) / 2  # 0xC3 0xA9: 3 + 18 + 7 = 28 bits
    assert math.isnan(compression_ratio(""))


def test_a_loop_compresses_and_a_lone_surrogate_is_no_error():
    varied = " ".join(str(n**3) for n in range(100))
    loop = ("the sea was calm. " * 100)[: len(varied)]
    assert compression_ratio(loop) < 0.15 < compression_ratio(varied) < 1
    assert compression_ratio("\ud800") > 0
