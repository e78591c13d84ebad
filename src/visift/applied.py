"""How a list fits a pool: what of it can be taken, what is left out and why, and in sentences."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from visift.errors import InputError
from visift.finished import Run
from visift.lists.matching import CALLED, Match, pool_names, rows_of
from visift.lists.published import Published
from visift.pool.pool import Pool
from visift.report.text import label
from visift.say import Say
from visift.unusable import Quarantine

IntArray = NDArray[np.int64]

_SHOWN = 3
_LONGEST = 160
_NOT_THERE = "not in the pool"
_REPEATED = "named more often than the pool holds it"


@dataclass(frozen=True)
class Fit:
    """A list, a pool, and what the one finds in the other.

    Attributes:
        listed: the list.
        pool: where its records were looked for.
        match: which of them are there.
        aside: the records of the pool that cannot be used.
    """

    listed: Published
    pool: Pool
    match: Match
    aside: Quarantine

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        """(m,) which of the matched rows can be used."""
        return ~np.isin(self.match.rows, list(self.aside.reasons))

    @property
    def rows(self) -> IntArray:
        """Pool rows that can be taken, best first."""
        return self.match.rows[self.usable]

    @property
    def entries(self) -> IntArray:
        """The entry that each of `rows` comes from."""
        return self.match.entries[self.usable]

    @cached_property
    def left_out(self) -> list[tuple[int, str]]:
        """Entry and reason of every listed record that cannot be taken, in the list's order."""
        faults = self.listed.faults
        missing = [
            (entry, f"unreadable in the list: {faults[entry]}" if entry in faults else _NOT_THERE)
            for entry in self.match.missing.tolist()
        ]
        repeated = [(entry, _REPEATED) for entry in self.match.repeated.tolist()]
        rows, entries = self.match.rows[~self.usable], self.match.entries[~self.usable]
        pairs = zip(entries.tolist(), rows.tolist(), strict=True)
        unusable = [(entry, self.aside.reasons[row]) for entry, row in pairs]
        return sorted([*missing, *repeated, *unusable])

    def left_out_table(self) -> pa.Table:
        """Return `left_out` with rank in the list, name and reason."""
        entries, reasons = zip(*self.left_out, strict=True) if self.left_out else ((), ())
        return pa.table(
            {
                "rank": pa.array([entry + 1 for entry in entries], pa.int64()),
                "name": pa.array(map(self.listed.called, entries), pa.string()),
                "reason": pa.array(reasons, pa.string()),
            }
        )

    def first_left_out(self) -> str:
        """Return the first few of them in one line."""
        plain = (_NOT_THERE, _REPEATED)
        return ", ".join(
            label(self.listed.called(entry) + ("" if why in plain else f" ({why})"), _LONGEST)
            for entry, why in self.left_out[:_SHOWN]
        )

    def check(self, least: Fraction) -> None:
        """Stop where too few of the listed records can be taken.

        Args:
            least: share of them.

        Raises:
            InputError: says how many, names the first, and what most likely helps.
        """
        good, listed = len(np.unique(self.entries)), self.match.listed
        if good and good >= least * listed:
            return
        go_on = f", or go on without: --min-match {percent(good, listed)}" if good else ""
        raise InputError(
            f"{good:,} of its {listed:,} records can be taken from the pool "
            f"({_counts(self)}; first: {self.first_left_out()}).",
            where=str(self.listed.path),
            fix=f"{self._remedy()}{go_on}. Nothing was written.",
        )

    def _remedy(self) -> str:
        """Say what most likely helps where records cannot be taken."""
        listed = self.listed
        if (~self.usable).sum() > len(self.match.missing) + len(self.match.repeated):
            roots = ", ".join(str(root.path) for root in self.pool.roots)
            return f"Check --image-folder (looked in {roots})"
        for kind in ("id", "uid"):
            names = listed.keys.get(kind, ()) if self.match.by == "content" else ()
            if len(names) and (rows_of(names, pool_names(self.pool, kind)) >= 0).sum() > len(
                self.match.rows
            ):
                return f"More of their {kind}s are there, with other texts: --by {kind}"
        records = listed.folder / "export/llava/subset.json" if listed.folder else None
        if records is not None and records.is_file() and not listed.said:
            return f"Name the pool it was chosen from, or apply the records themselves ({records})"
        return "Name the pool it was chosen from"


@dataclass(frozen=True)
class Applied:
    """A list that was applied.

    Attributes:
        run: what was written: pool, selection and random arms.
        fit: what of the list was taken.
    """

    run: Run
    fit: Fit = field(repr=False)

    def summary(self) -> dict[str, Any]:
        """Return the facts as plain data, see `docs/schemas/apply.schema.json`."""
        fit, match, run = self.fit, self.fit.match, self.run
        return {
            "list": str(fit.listed.path),
            "by": match.by,
            "also": match.also,
            "listed": match.listed,
            "found": match.found,
            "match_rate": match.found / match.listed,
            "found_by_images_and_text": len(match.loose),
            "repeated": len(match.repeated),
            "not_in_pool": len(match.missing),
            "not_usable": int((~fit.usable).sum()),
            "first_left_out": fit.left_out_table().slice(0, _SHOWN).to_pylist(),
            "selected": len(run.selection),
            "records": len(run.pool),
            "sources": {
                source: {"pool": count, "selected": chosen}
                for source, (count, chosen) in run.mix().items()
            },
            "output": str(run.folder),
            "exports": [str(run.folder / "export" / trainer) for trainer in run.config.export],
            "seconds": round(run.seconds, 1),
        }


def say_fit(say: Say, fit: Fit) -> None:
    """Say what is applied, how much of it the pool holds, and what is left out."""
    match = fit.match
    say("List", f"{fit.listed.path} · {len(fit.listed):,} entries")
    said = [
        f"{match.found:,} of {match.listed:,} records found "
        f"({percent(match.found, match.listed)}) by {CALLED[match.by]}"
    ]
    if len(match.loose):
        said.append(f"{len(match.loose):,} of them by images and text, white space aside")
    if len(match.rows) > match.found:
        said.append(f"{len(match.rows) - match.found:,} more that share an id")
    say("Match", " · ".join(said))
    if fit.left_out:
        say("Left out", f"{_counts(fit)}; first: {fit.first_left_out()}")
    if match.by == "row":
        say("Note", "row numbers prove nothing: they fit only the pool they were counted in")
    if match.also is not None:
        other = f"a {CALLED[match.also]}"
        say("Note", f"every entry is {other} of this pool as well: --by {match.also} reads it so")


def percent(part: int, whole: int) -> str:
    """Return a share in per cent, rounded down: never 100% for less than all."""
    return f"{1000 * part // whole / 10:g}%" if whole else "0%"


def _counts(fit: Fit) -> str:
    """Return how many listed records are left out, by cause."""
    causes = (
        (len(fit.match.missing), _NOT_THERE),
        (len(fit.match.repeated), _REPEATED),
        (int((~fit.usable).sum()), "not usable here"),
    )
    return ", ".join(f"{count:,} {cause}" for count, cause in causes if count)
