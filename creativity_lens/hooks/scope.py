"""Which tokens an intervention acts on, and how strongly at each step of a generation.

Both are small frozen values that can be written as one word: `response`, `prompt/last:1`, `1:`;
`constant`, `ramp:16`, `pulse:8/2`. Tokens are counted within their part, from 0; padding has no
number.
"""

import re
from dataclasses import dataclass
from typing import Literal, Union, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from creativity_lens.errors import InputError

Part = Literal["all", "prompt", "response"]
ScheduleKind = Literal["constant", "ramp", "decay", "pulse", "stop"]

_SYNONYMS = {"generated": "response"}
_SCOPE = re.compile(
    r"(?:(?P<part>[a-z]+)(?:/|$))?"
    r"(?:first:(?P<first>[0-9]{1,9})|last:(?P<last>[0-9]{1,9})"
    r"|(?P<start>[0-9]{1,9}):(?P<stop>[0-9]{1,9})?)?"
)
_COUNT = re.compile(r"[0-9]{1,9}")
_SCOPES = (
    "all, prompt, response, first:N, last:N (of the prompt), START:STOP (counted from 0), or a "
    "part and one of these, as in response/first:8"
)
_SCHEDULES = "constant, ramp:N, decay:N, pulse:PERIOD/ON, stop:N"


@dataclass(frozen=True)
class Scope:
    """The tokens of a row that are changed.

    As text: a part (`all`, `prompt`, `response`; `generated` means `response`), a choice, or
    `part/choice`. The choices are `first:N`, `last:N` and `START:STOP`, which count within the
    part: `response/0:8` and `response/first:8` are the same eight tokens, however long the prompt.

    Attributes:
        part: every token, the prompt's (up to and with the assistant header), or the response's.
            The last token of the prompt predicts the first of the response, so with `response`
            the first generated token is drawn as if there were no steering.
        first: only the first so many tokens of the part.
        last: only the last so many tokens of the prompt. The end of a response is not known
            while it is written.
        start: only from this token of the part on. 0 is the part's first: of `response` the first
            that is generated, of `prompt` and `all` the first of the row that is no padding.
        stop: only before this token of the part; None has no end.

    Raises:
        InputError: an unknown part, more than one choice, a number below 1, an empty range, or
            `last` of a response.
    """

    part: Part = "all"
    first: int | None = None
    last: int | None = None
    start: int | None = None
    stop: int | None = None

    def __post_init__(self) -> None:
        if self.part not in get_args(Part):
            raise InputError(f"unknown scope {self.part!r}; choose one of {_SCOPES}.")
        ranged = self.start is not None or self.stop is not None
        if (self.first is not None) + (self.last is not None) + ranged > 1:
            raise InputError("a scope takes one of first, last and a range, not several.")
        if self.last is not None and self.part == "response":
            raise InputError(
                "a scope cannot be the last tokens of a response, whose end is not known while "
                "it is written; use prompt/last:N."
            )
        for name, value in (("first", self.first), ("last", self.last)):
            if value is not None and value < 1:
                raise InputError(f"a scope's {name} must be at least 1 token, got {value}.")
        start = self.start or 0
        if start < 0 or (self.stop is not None and self.stop <= start):
            raise InputError(f"the scope's range {self.start}:{self.stop} holds no token.")
        if ranged:  # one value for one meaning, so that equal scopes are computed together
            object.__setattr__(self, "start", start)

    @classmethod
    def parse(cls, value: Union[str, "Scope"]) -> "Scope":
        """Read a scope from text; a `Scope` is returned as it is.

        Raises:
            InputError: naming the text and what is allowed.
        """
        if isinstance(value, Scope):
            return value
        text = str(value).strip()
        found = _SCOPE.fullmatch(text) if text and not text.endswith("/") else None
        part = (found["part"] or "all") if found else ""
        part = _SYNONYMS.get(part, part)
        if found is None or part not in get_args(Part):
            raise InputError(f"unknown scope {value!r}; choose one of {_SCOPES}.")
        numbers = {
            name: None if found[name] is None else int(found[name])
            for name in ("first", "last", "start", "stop")
        }
        return cls(part, **numbers)  # type: ignore[arg-type]

    def __str__(self) -> str:
        choice = ""
        if self.first is not None:
            choice = f"first:{self.first}"
        elif self.last is not None:
            choice = f"last:{self.last}"
        elif self.start is not None or self.stop is not None:
            choice = f"{self.start or 0}:{'' if self.stop is None else self.stop}"
        if not choice:
            return self.part
        return choice if self.part == "all" else f"{self.part}/{choice}"

    @property
    def touches_prompt(self) -> bool:
        """Whether a token of a prompt can be changed; if not, prompts need reading only once."""
        return self.part != "response"

    def mask(
        self, positions: Int[Tensor, "row pos"], prompt_lengths: Int[Tensor, "row 1"]
    ) -> Bool[Tensor, "row pos"]:
        """Whether each token is acted on.

        Args:
            positions: of the real tokens in their rows; negative for padding.
            prompt_lengths: how many tokens the prompt of each row has.
        """
        chosen = positions >= 0
        inside = positions
        if self.part == "prompt" or self.last is not None:
            chosen = chosen & (positions < prompt_lengths)
        elif self.part == "response":
            inside = positions - prompt_lengths
            chosen = chosen & (inside >= 0)
        if self.first is not None:
            chosen = chosen & (inside < self.first)
        if self.last is not None:
            chosen = chosen & (positions >= prompt_lengths - self.last)
        if self.start is not None:
            chosen = chosen & (inside >= self.start)
        if self.stop is not None:
            chosen = chosen & (inside < self.stop)
        return chosen


@dataclass(frozen=True)
class Schedule:
    """How much of an intervention acts at each generated token, which are counted from k = 0.

    As text: `constant`; `ramp:N` (k / N, then 1); `decay:N` (halves every N tokens);
    `pulse:P/N` (on for the first N of every P tokens); `stop:N` (on for the first N tokens).
    Tokens of the prompt count as k = 0, so a ramp leaves the prompt alone and the others do not.

    Attributes:
        kind: which of the five.
        steps: N; the length of a ramp, the half-life, the tokens that are on, or the end.
        period: P, of a pulse alone.

    Raises:
        InputError: an unknown kind, a number missing, too many, or below 1, or a pulse that is
            longer than its period.
    """

    kind: ScheduleKind = "constant"
    steps: int | None = None
    period: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(ScheduleKind):
            raise InputError(f"unknown schedule {self.kind!r}; choose one of {_SCHEDULES}.")
        needed = (self.kind != "constant", self.kind == "pulse")
        if needed != (self.steps is not None, self.period is not None):
            raise InputError(
                f"the schedule {self.kind} does not take these numbers; choose one of {_SCHEDULES}."
            )
        if self.steps is not None and self.steps < 1:
            raise InputError(f"a schedule's N must be at least 1, got {self.steps}.")
        if self.period is not None and self.steps is not None and self.period < self.steps:
            raise InputError(f"a pulse of {self.steps} tokens does not fit a period {self.period}.")

    @classmethod
    def parse(cls, value: Union[str, "Schedule"]) -> "Schedule":
        """Read a schedule from text; a `Schedule` is returned as it is.

        Raises:
            InputError: naming the text and what is allowed.
        """
        if isinstance(value, Schedule):
            return value
        kind, _, numbers = str(value).strip().partition(":")
        parts = numbers.split("/") if numbers else []
        counted = len(parts) <= 2 and all(_COUNT.fullmatch(part) for part in parts)
        if kind not in get_args(ScheduleKind) or not counted:
            raise InputError(f"unknown schedule {value!r}; choose one of {_SCHEDULES}.")
        counts = [int(part) for part in parts]
        period, steps = counts if len(counts) == 2 else (None, counts[0] if counts else None)
        return cls(kind, steps, period)  # type: ignore[arg-type]

    def __str__(self) -> str:
        if self.kind == "constant":
            return self.kind
        numbers = f"{self.period}/{self.steps}" if self.kind == "pulse" else str(self.steps)
        return f"{self.kind}:{numbers}"

    def factors(self, generated: Int[Tensor, "row pos"]) -> Float[Tensor, "row pos"]:
        """The share of the strength, in [0, 1], at each number k of a generated token."""
        k = generated.clamp_min(0)
        steps = self.steps or 1
        if self.kind == "ramp":
            return (k / steps).clamp_max(1).float()
        if self.kind == "decay":
            return torch.pow(0.5, k / steps).float()
        if self.kind == "pulse":
            return (k % (self.period or 1) < steps).float()
        if self.kind == "stop":
            return (k < steps).float()
        return torch.ones_like(k, dtype=torch.float32)
