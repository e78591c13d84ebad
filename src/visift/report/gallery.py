"""A few records of a run in a notebook: `run.show("near-cut", 12)`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from visift.errors import InputError, did_you_mean
from visift.report.cards import Card
from visift.report.html import render
from visift.report.outcome import Outcome
from visift.report.samples import Samples

if TYPE_CHECKING:
    from visift.finished import Run

KINDS = ("kept", "near-cut", "dropped")
MOST_CARDS = 200
REPORT_CARDS = 12


@dataclass(frozen=True)
class Shelf:
    """Some cards with a heading.

    Attributes:
        name: of the shelf, fit for an address.
        title: the heading.
        text: one sentence on what is shown.
        cards: the records.
    """

    name: str
    title: str
    text: str
    cards: Sequence[Card]


@dataclass(frozen=True)
class Gallery:
    """Records to look at; a notebook shows them, `html` is the same as text.

    Attributes:
        shelves: the cards, in groups.
    """

    shelves: Sequence[Shelf]

    def __repr__(self) -> str:
        said = ", ".join(f"{len(shelf.cards)} {shelf.title.lower()}" for shelf in self.shelves)
        return f"Gallery({said or 'nothing to show'})"

    def _repr_html_(self) -> str:
        return self.html

    @property
    def html(self) -> str:
        """The gallery as a piece of HTML with its own style."""
        return render("gallery.html", shelves=self.shelves)


def gallery(run: Run, kind: str = "near-cut", count: int = 12) -> Gallery:
    """Return some records of a run to look at.

    Args:
        run: the run.
        kind: `kept`, `dropped`, or `near-cut`: half of them just inside, half just outside.
        count: how many, at most 200.

    Raises:
        InputError: there is no such kind, or the count is out of bounds.
    """
    if kind not in KINDS:
        raise InputError(
            f'there is no gallery "{kind}".{did_you_mean(kind, KINDS)}',
            fix=f"Galleries: {', '.join(KINDS)}.",
        )
    if not 1 <= count <= MOST_CARDS:
        raise InputError(f"a gallery of {count} records: 1 to {MOST_CARDS} was expected.")
    samples = Samples.of(run, Outcome.of(run))
    if kind != "near-cut":
        return Gallery(nonempty([shelf(samples, kind, count)]))
    if not samples.scored:
        return Gallery(nonempty([shelf(samples, "inside", count)]))
    halves = [("inside", (count + 1) // 2), ("outside", count // 2)]
    return Gallery(nonempty([shelf(samples, name, size) for name, size in halves]))


def report_shelves(samples: Samples) -> list[Shelf]:
    """Return what a report shows: shelves of twelve, which fill rows of two, three and four."""
    return nonempty([shelf(samples, name, REPORT_CARDS) for name in _SAID])


def shelf(samples: Samples, name: str, count: int) -> Shelf:
    """Return one of `kept`, `inside`, `outside`, `dropped` with so many cards."""
    title, text = _SAID[name] if samples.scored or name != "inside" else _LAST
    rows = {
        "kept": samples.kept,
        "inside": samples.inside,
        "outside": samples.outside,
        "dropped": samples.dropped,
    }[name](count)
    return Shelf(name, title, text, samples.cards(rows))


def nonempty(shelves: Sequence[Shelf]) -> list[Shelf]:
    """Return the shelves with something on them."""
    return [shelf for shelf in shelves if shelf.cards]


_SAID = {
    "kept": ("Chosen", "Drawn at random from the selection, in rank order."),
    "inside": ("Just inside the cut", "Chosen last: every group in turn, from the cut inwards."),
    "outside": (
        "Just outside the cut",
        "Would have been chosen next: every group in turn, from the cut outwards.",
    ),
    "dropped": ("Not chosen", "Drawn at random from the records that could have been chosen."),
}
_LAST = ("Chosen last", "The end of the ranking; this method has no score to draw a cut by.")
