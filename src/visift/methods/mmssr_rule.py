"""The parameters of mmSSR's rule, and what picks rows by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from visift.engine.measured import Measured
from visift.methods.mmssr_official import official_sample
from visift.methods.mmssr_ratings import Rated, queues_of
from visift.methods.mmssr_sampling import Bins, Sample, sample_queues
from visift.numerics.rounding import significant

Tie = Literal["expectation", "content", "uid", "loss"]


@dataclass(frozen=True, slots=True)
class Rule:
    """How rows are picked; see the parameters of mmssr.

    Attributes:
        thr: rows are rated above this.
        tie: what settles equal ratings before the key of their content.
        by_expectation: whether expectations rank where ratings would.
        digits: significant ones of losses.
        exact: whether picks beyond what was asked for are given back.
        official: whether rows are sorted as the official program does.
    """

    thr: float
    tie: Tie
    by_expectation: bool
    digits: int
    exact: bool
    official: bool

    def sampler(
        self, rated: Rated, bins: Bins, keys: NDArray[np.uint64], losses: Measured | None
    ) -> Callable[[int], Sample]:
        """Return what picks so many rows.

        Args:
            rated: the rows.
            bins: theirs.
            keys: (N,) tie keys of the pool.
            losses: of their answers, where these settle ties.
        """
        if self.official:
            names, exact = rated.capabilities, self.exact
            return lambda n: official_sample(n, rated.scores, names, self.thr, bins, exact=exact)
        before = rated.expected if self.tie == "expectation" else (None,) * len(rated.scores)
        if losses is not None:
            nll = losses.take("nll", rated.rows).astype(np.float64)
            before = (significant(nll, self.digits),) * len(rated.scores)
        place = np.argsort(keys[rated.rows], kind="stable")
        queues = queues_of(rated, bins, self.thr, place, before, by_expectation=self.by_expectation)
        return lambda n: sample_queues(n, len(rated.rows), queues, exact=self.exact)
