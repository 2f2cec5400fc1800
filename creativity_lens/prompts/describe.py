"""What a corpus is like: how varied, how balanced, and how much of it gives its label away.

Nothing here is right or wrong; the rules that can be broken are in `checks`.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline

from creativity_lens.prompts.pairs import ContrastPair, PassagePair
from creativity_lens.prompts.text import (
    content_words,
    n_negations,
    windowed_type_token_ratio,
    words,
)
from creativity_lens.stats import Interval, auroc_interval, grouped_folds

_FOLDS = 5
_LEAST_PREMISES = 20


@dataclass(frozen=True)
class FileReport:
    """What one corpus is like.

    "First" is the creative or the high side, "second" the uncreative or the low one.

    Attributes:
        name: of the corpus.
        kind: contrast `pairs` or nuisance `passages`.
        rows: how many.
        splits: rows in train, dev and test.
        type_token_ratio: different words over words, over windows of 500 words, so that files can
            be compared. Prose lies near 0.5; text from a template far below.
        content_words: different words in the premises that carry a topic.
        topic_cosine: mean cosine between the TF-IDF vectors of two premises' topic words; 0 if no
            two share a word, 1 if all are the same; NaN for fewer than two.
        first_longer: share of rows whose first side has more characters; ties count half. 0.5 is
            balance.
        length_ratio: the longer side over the shorter in characters, averaged over rows.
        negations: denying words in a text of the first and of the second side, on average.
        leak: AUROC, with its interval over premises, of a bag of words that tells the two sides
            apart on premises it has not seen. A direction from these texts may read the same
            words; 0.5 would mean that it cannot. None for fewer than 20 premises.
    """

    name: str
    kind: Literal["pairs", "passages"]
    rows: int
    splits: dict[str, int]
    type_token_ratio: float
    content_words: int
    topic_cosine: float
    first_longer: float
    length_ratio: float
    negations: tuple[float, float]
    leak: Interval | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which knows no NaN."""
        record = dict(vars(self))
        record["negations"] = list(self.negations)
        record["leak"] = self.leak and self.leak._asdict()
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in record.items()
        }


def sides(row: ContrastPair | PassagePair) -> tuple[str, str]:
    """The two texts of a row: creative and uncreative, or high and low."""
    if isinstance(row, ContrastPair):
        return row.creative, row.uncreative
    return row.high, row.low


def describe(name: str, rows: Sequence[ContrastPair | PassagePair]) -> FileReport:
    """Describe one corpus; it must hold a row."""
    pairs = [sides(row) for row in rows]
    counts = Counter(row.split for row in rows)
    lengths = np.array([[len(text) for text in pair] for pair in pairs], dtype=float)
    denials = np.array([[n_negations(text) for text in pair] for pair in pairs], dtype=float)
    topics = [content_words(row.premise) for row in rows]
    tokens = [word for pair in pairs for text in dict.fromkeys(pair) for word in words(text)]
    first, second = denials.mean(axis=0)
    return FileReport(
        name=name,
        kind="pairs" if isinstance(rows[0], ContrastPair) else "passages",
        rows=len(rows),
        splits={split: counts[split] for split in ("train", "dev", "test")},
        type_token_ratio=windowed_type_token_ratio(tokens),
        content_words=len(frozenset().union(*topics)),
        topic_cosine=_topic_cosine(topics),
        first_longer=float((np.sign(lengths[:, 0] - lengths[:, 1]) / 2 + 0.5).mean()),
        length_ratio=float((lengths.max(axis=1) / lengths.min(axis=1)).mean()),
        negations=(float(first), float(second)),
        leak=surface_leak(rows),
    )


def surface_leak(rows: Sequence[ContrastPair | PassagePair]) -> Interval | None:
    """How well single words tell the two sides apart, on premises that were held out.

    TF-IDF over words and logistic regression, five folds that keep a premise together.

    Returns:
        The AUROC and its interval over premises, or None for fewer than 20 premises. Bare
        premises have one text and are left out.
    """
    used = [row for row in rows if not (isinstance(row, ContrastPair) and row.premise_only)]
    groups = [row.premise_id for row in used]
    if len(set(groups)) < _LEAST_PREMISES:
        return None
    texts = [sides(row)[k] for k in (0, 1) for row in used]
    labels = np.repeat([1, 0], len(used))
    classifier = make_pipeline(
        TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=10.0, max_iter=1000)
    )
    folds = grouped_folds(groups * 2, _FOLDS)
    scores = cross_val_predict(classifier, texts, labels, cv=folds, method="decision_function")
    return auroc_interval(scores[: len(used)], scores[len(used) :], groups)


def _topic_cosine(topics: Sequence[frozenset[str]]) -> float:
    known = [sorted(topic) for topic in topics if topic]
    n = len(known)
    if n < 2:
        return float("nan")
    vectors = TfidfVectorizer(analyzer=lambda topic: topic).fit_transform(known)
    # Unit vectors: the squared norm of their sum is n plus every cosine, each counted twice.
    total = np.asarray(vectors.sum(axis=0))
    return float(((total**2).sum() - n) / (n * (n - 1)))
