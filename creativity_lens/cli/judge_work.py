"""Who is asked by `creativity-lens judge`: a model in this process, or one behind an endpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from creativity_lens.cli import terminal

if TYPE_CHECKING:
    from creativity_lens.evaluation.endpoint_judge import EndpointChoices, EndpointRatings
    from creativity_lens.evaluation.judge_asking import AnswerSettings
    from creativity_lens.evaluation.pairwise_judge import JudgedPair, Judgements
    from creativity_lens.generation.endpoint import ChatEndpoint
    from creativity_lens.scoring.score import Text

SCALE = (1, 9)


class Rated(NamedTuple):
    """Ratings of texts."""

    columns: dict[str, Any]
    """A number for each text, by the column's name."""
    record: dict[str, Any]


class Chosen(NamedTuple):
    """Choices between texts."""

    found: "Judgements | EndpointChoices"
    orders: Any
    """`[pair, 2]`: that `a` is chosen when it stands first, and second."""
    record: dict[str, Any]


class Judge(Protocol):
    """Answers both questions."""

    def rate(self, texts: "Sequence[Text]", column: str, quality: str, advance: Any) -> Rated:
        """Rate each text."""

    def choose(self, pairs: "Sequence[JudgedPair]", quality: str, advance: Any) -> Chosen:
        """Choose a text of each pair, in both orders."""

    def usage(self, prices: tuple[float, float] | None) -> dict[str, Any] | None:
        """What it took."""

    def settings(self) -> dict[str, Any]:
        """How it was asked."""


class LocalJudge:
    """A model in this process."""

    def __init__(self, model: Any, seed: int, max_tokens: int | None, batch_size: int) -> None:
        self._model, self._seed = model, seed
        self._max_tokens, self._batch_size = max_tokens, batch_size

    def rate(self, texts: "Sequence[Text]", column: str, quality: str, advance: Any) -> Rated:
        """See `Judge`."""
        from creativity_lens.evaluation.naive_rating import rate_texts

        found = rate_texts(
            self._model,
            texts,
            quality=quality,
            scale=SCALE,
            seed=self._seed,
            max_tokens=self._max_tokens,
            batch_size=self._batch_size,
            on_progress=advance,
        )
        columns = {column: found.expected, f"{column}_sampled": found.sampled}
        return Rated(columns, _rating_record(found.expected, found.mass, found.n_unparsed))

    def choose(self, pairs: "Sequence[JudgedPair]", quality: str, advance: Any) -> Chosen:
        """See `Judge`."""
        from scipy.special import expit

        from creativity_lens.evaluation.pairwise_judge import judge_pairs

        found = judge_pairs(
            self._model,
            pairs,
            quality=quality,
            max_tokens=self._max_tokens,
            batch_size=self._batch_size,
            on_progress=advance,
        )
        summary = _choice_record(found, 0) | {"labels_mass": found.labels_mass}
        return Chosen(found, expit(found.log_odds), summary)

    def usage(self, prices: tuple[float, float] | None) -> None:
        """Nothing is counted: nobody is paid."""

    def settings(self) -> dict[str, Any]:
        """See `Judge`."""
        return {"max_tokens": self._max_tokens, "batch_size": self._batch_size}


class EndpointJudge:
    """A model behind an endpoint."""

    def __init__(
        self,
        endpoint: "ChatEndpoint",
        settings: "AnswerSettings",
        cache: Path,
        concurrency: int,
    ) -> None:
        from creativity_lens.evaluation.judge_asking import Usage

        self._endpoint, self._settings = endpoint, settings
        self._cache, self._concurrency = cache, concurrency
        self._usage: Usage = Usage()
        self._refused: set[str] = set()

    def rate(self, texts: "Sequence[Text]", column: str, quality: str, advance: Any) -> Rated:
        """See `Judge`."""
        from creativity_lens.evaluation.endpoint_judge import endpoint_ratings

        found = endpoint_ratings(
            self._endpoint,
            texts,
            quality=quality,
            scale=SCALE,
            cache=self._cache,
            concurrency=self._concurrency,
            settings=self._settings,
            on_progress=advance,
        )
        self._add(found, "ratings")
        return Rated(
            {column: found.values}, _rating_record(found.values, found.mass, found.n_unparsed)
        )

    def choose(self, pairs: "Sequence[JudgedPair]", quality: str, advance: Any) -> Chosen:
        """See `Judge`."""
        from creativity_lens.evaluation.endpoint_judge import endpoint_choices

        found = endpoint_choices(
            self._endpoint,
            pairs,
            quality=quality,
            cache=self._cache,
            concurrency=self._concurrency,
            settings=self._settings,
            on_progress=advance,
        )
        self._add(found, "choices")
        orders = np.stack([found.first_order, found.second_order], axis=1)
        return Chosen(found, orders, _choice_record(found, found.n_unparsed))

    def _add(self, found: "EndpointRatings | EndpointChoices", what: str) -> None:
        self._usage = self._usage + found.usage
        refused = [name for name in found.refused if name not in self._refused]
        self._refused.update(refused)
        if refused:
            terminal.note(
                f"the endpoint refused {' and '.join(refused)}: it was asked without, and answers "
                "as it does by default."
            )
        if found.n_unparsed:
            cut = f", {found.n_cut} of them cut off: raise --max-answer-tokens"
            terminal.note(
                f"{found.n_unparsed} {what} could not be read from the answers"
                f"{cut if found.n_cut else ''}."
            )

    def usage(self, prices: tuple[float, float] | None) -> dict[str, Any]:
        """See `Judge`."""
        usage = self._usage
        return usage.to_dict() | {
            "price_in_per_million": None if prices is None else prices[0],
            "price_out_per_million": None if prices is None else prices[1],
            "cost": None if prices is None else usage.cost(*prices),
            "cost_of_cached": None if prices is None else usage.cached_cost(*prices),
        }

    def settings(self) -> dict[str, Any]:
        """See `Judge`."""
        return {
            **self._settings.to_dict(),
            "refused": sorted(self._refused),
            "concurrency": self._concurrency,
        }


def _rating_record(values: Any, mass: Any, n_unparsed: int) -> dict[str, Any]:
    known, masses = values[~np.isnan(values)], mass[~np.isnan(mass)]
    return {
        "scale": list(SCALE),
        "mean": float(known.mean()) if len(known) else None,
        "sd": float(known.std()) if len(known) else None,
        "different": len(set(known.tolist())),
        "mass": float(masses.mean()) if len(masses) else None,
        "from_probabilities": len(masses),
        "n_unparsed": n_unparsed,
    }


def _choice_record(found: Any, n_unparsed: int) -> dict[str, Any]:
    return {
        "n": len(found),
        "consistency": found.consistency,
        "position_bias": found.position_bias,
        "n_unparsed": n_unparsed,
    }
