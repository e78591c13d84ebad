"""Progress that shows nothing, for validations in tests."""

from __future__ import annotations

from visift.engine.progress import Silent


class Quiet(Silent):
    """Notes how many models were trained, and shows nothing."""

    def __init__(self) -> None:
        self.trials: list[tuple[int, int]] = []
        self.models = 0

    def begin_models(self, total: int) -> None:
        self.models += total

    def begin_trials(self, total: int, done: int) -> None:
        self.trials.append((total, done))

    def trial_done(self) -> None:
        pass

    def end_trials(self) -> None:
        pass
