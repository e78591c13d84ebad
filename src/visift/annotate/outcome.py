"""How an annotation ended, as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from visift.annotate.money import Tokens
from visift.annotate.records import failed_path


@dataclass(frozen=True, slots=True)
class Annotated:
    """How an annotation ended.

    Attributes:
        lines: of the list.
        requests: to be sent when it began; equal ones are sent once.
        known: requests that had a reply when it began.
        estimate: tokens the requests were expected to have.
        tokens: tokens they had.
        estimated_cost: dollars; None without prices, as the next three.
        cost: dollars for the replies of this run.
        cost_before: dollars that earlier runs spent on this list, or may have.
        cost_uncertain: dollars of requests of this run without a reply, which may be billed.
        output: the file of finished records; None for a dry run, as all that follows.
        annotated: lines with a record.
        failed: why a line has none, by uid.
        left: lines that nobody was asked about, because of the limit of money.
    """

    lines: int
    requests: int
    known: int
    estimate: Tokens
    tokens: Tokens
    estimated_cost: Decimal | None = None
    cost: Decimal | None = None
    cost_before: Decimal | None = None
    cost_uncertain: Decimal | None = None
    output: Path | None = None
    annotated: int | None = None
    failed: Mapping[str, str] | None = None
    left: int | None = None

    def reasons(self) -> dict[str, int]:
        """Return how often lines failed for which kind of reason, the most frequent first."""
        kinds = Counter(reason.partition(":")[0] for reason in (self.failed or {}).values())
        return dict(kinds.most_common())

    def summary(self) -> dict[str, Any]:
        """Return this as plain data; described by `docs/schemas/annotate.schema.json`."""
        done = self.output is not None
        return {
            "output": str(self.output) if self.output else None,
            "failed_output": str(failed_path(self.output)) if self.output else None,
            "lines": self.lines,
            "annotated": self.annotated,
            "failed": len(self.failed or {}) if done else None,
            "failed_by_kind": self.reasons() if done else None,
            "left": self.left,
            "requests": self.requests,
            "known": self.known,
            "estimated_tokens": {"in": self.estimate.sent, "out": self.estimate.received},
            "tokens": {"in": self.tokens.sent, "out": self.tokens.received},
            "estimated_cost": _number(self.estimated_cost),
            "cost": _number(self.cost),
            "cost_before": _number(self.cost_before),
            "cost_uncertain": _number(self.cost_uncertain),
        }


def _number(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)
