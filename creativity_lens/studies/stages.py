"""The stages of a study: how long each took, and how far it is."""

import time
from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""


class Stages:
    """Times the stages and reports their progress."""

    def __init__(self, on_progress: Progress | None) -> None:
        self.seconds: dict[str, float] = {}
        self._report = on_progress or (lambda stage, done, total: None)

    def stage(self, name: str, total: int) -> "Stage":
        """Begin a stage; use it in a `with` block, which yields a function that advances it."""
        return Stage(self, name, total)

    def report(self, name: str, done: int, total: int) -> None:
        """Hand progress on."""
        self._report(name, done, total)


class Stage:
    """One stage of a study."""

    def __init__(self, stages: Stages, name: str, total: int) -> None:
        self._stages, self._name, self._total = stages, name, total
        self._done = 0

    def __enter__(self) -> Callable[[int], None]:
        self._started = time.perf_counter()
        self._stages.report(self._name, 0, self._total)
        return self._advance

    def __exit__(self, *error: object) -> None:
        self._stages.seconds[self._name] = time.perf_counter() - self._started

    def _advance(self, n: int) -> None:
        self._done += n
        self._stages.report(self._name, self._done, self._total)
