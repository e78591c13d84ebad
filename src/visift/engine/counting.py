"""A lab that only counts: what a method asks for, and how much of it is left to measure.

Counts are the same that the ledger of a real run shows, because both look at the same items, the
same store and the same stated costs. Nothing is measured, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visift.amounts import data_size, short
from visift.engine.items import Items, Targets
from visift.engine.lab import Examples, Handle, LocalLab, handed_in_labels
from visift.engine.ledger import Entry
from visift.engine.measured import Measured, Rows
from visift.engine.store import Keys, Store, first_places, item_keys, signal_folder
from visift.engine.trainings import Training, Tuned, still_needed, training_for
from visift.models.facts import read_facts
from visift.models.ref import ModelRef
from visift.pool.annotations import Annotations
from visift.pool.labelled import Labels, TeacherLabels
from visift.pool.pool import Pool
from visift.signals.cost import Cost, Load
from visift.signals.imported import Imported
from visift.signals.signal import Signal, identity
from visift.training.recipe import Recipe
from visift.training.tuned import FineTuning

Find = Callable[[Signal], Store | None]


@dataclass(frozen=True, slots=True)
class Count:
    """What one request comes to.

    Attributes:
        signal: what is asked for.
        items: all items of the request.
        left: positions in `items` of those to measure, each content once.
        entry: the line that a run without faults writes into its ledger.
        given: whether the numbers come from `--signals`.
        training: of the model that is trained, where this is one.
    """

    signal: Signal
    items: Items = field(repr=False)
    left: NDArray[np.int64] = field(repr=False)
    entry: Entry
    given: bool = False
    training: Training | None = field(default=None, repr=False)

    @property
    def lacks_model(self) -> bool:
        """Whether this cannot be measured, because no model was named."""
        return not self.given and getattr(self.signal, "model", self.signal) is None


@dataclass(slots=True)
class CountingLab:
    """Takes requests like `LocalLab`, and counts them.

    Attributes:
        pool: what rows refer to.
        cache: folder of the stores; looked at, never written to.
        imported: numbers measured elsewhere.
        annotations: conversations written for images that have none.
        teacher: labels of records.
        handles: the requests.
        wanted: records that somebody must annotate first.
        unlabelled: records that a teacher must label first.
        read_labels: whether labels were asked for.
    """

    pool: Pool
    cache: Path
    imported: Imported = field(default_factory=Imported)
    annotations: Annotations = field(default_factory=Annotations)
    teacher: TeacherLabels = field(default_factory=TeacherLabels)
    handles: list[Handle] = field(default_factory=list)
    wanted: int = 0
    unlabelled: int = 0
    read_labels: bool = False
    trainings: list[Training] = field(default_factory=list)

    def measure(self, signal: Signal, examples: Examples) -> Measured:
        """See `Lab.measure`; the handle it returns must not be read."""
        items = Items.of(self.pool, signal.unit, examples.rows, examples.targets)
        handle = Handle(examples.rows, items, signal, _refuse)
        self.handles.append(handle)
        return handle

    def finetune(self, model: ModelRef | None, recipe: Recipe, examples: Examples) -> Tuned:
        """See `Lab.finetune`."""
        if model is None:
            return Tuned(None)
        self.trainings.append(Training.of(self.cache, model, recipe, examples.items(self.pool)))
        return Tuned(self.trainings[-1].tuned)

    def instructions(self, rows: Rows, purpose: str) -> Targets:
        """See `Lab.instructions`; what is not written yet is counted, and stands for itself."""
        bare = rows[self.pool.unannotated[rows]].tolist()
        there = [row for row in bare if row in self.annotations.of_row]
        self.wanted += len(bare) - len(there)
        return {row: self.annotations.turns(row) for row in there}

    def labels(self, rows: Rows, capabilities: Sequence[str], *, styles: bool = True) -> Labels:
        """See `Lab.labels`; where some are missing, they are counted, and nothing is known."""
        self.read_labels = True
        if self.teacher.handed_in:
            return handed_in_labels(self.teacher, capabilities, styles)
        lacking = self.teacher.lacking(rows.tolist(), capabilities, styles)
        if not lacking:
            return self.teacher.of(rows, capabilities, styles)
        self.unlabelled += len(lacking)
        return Labels(np.sort(rows), known=False)

    def given(self, *columns: str) -> bool:
        """See `Lab.given`."""
        return self.imported.holds(*columns)

    def marked(self, column: str) -> Rows | None:
        """See `Lab.marked`."""
        return self.imported.marked(self.pool, column)

    def counts(self) -> list[Count]:
        """Return what every request comes to, in the order asked.

        Raises:
            ModelError: the model named does not exist.
        """
        find = partial(_stored, self.cache)
        return _count(self.handles, self.trainings, self.imported, find)


def left_to_measure(lab: LocalLab) -> list[Count]:
    """Return what the requests to a lab come to, before any of them is answered.

    Raises:
        InputError: a model is needed and was not named.
        ModelError: there is no such model.
    """
    return _count(lab.handles, lab.trainings, lab.imported, lab.store)


def _refuse(handle: Handle) -> Measured:
    raise RuntimeError(f"{handle!r} was read while its method was still asking for values.")


def _count(
    handles: Sequence[Handle], trainings: Sequence[Training], imported: Imported, find: Find
) -> list[Count]:
    before: list[tuple[Signal, Keys]] = []
    counts: list[Count] = []
    trained: list[Training] = []
    for handle in handles:
        signal, items = handle.signal, handle.items
        if imported.giving(signal.columns) is not None:
            entry = Entry.of(signal, len(items), 0, 0, Load())
            counts.append(Count(signal, items, np.empty(0, np.int64), entry, given=True))
            continue
        keys = item_keys(items.keys())
        distinct = first_places(keys)
        left = _not_asked_before(keys, distinct, [k for asked, k in before if asked == signal])
        store = find(signal) if len(left) else None
        if store is not None:
            left = left[store.find(keys[left])[:, 0] < 0]
        training = training_for(signal, trainings) if len(left) else None
        needed = [] if training is None else still_needed(training, trainings)
        for one in (one for one in needed if one not in trained):
            counts.append(_training(one))
            trained.append(one)
        entry = Entry.of(signal, len(distinct), len(left), 0, items.holding(left))
        counts.append(Count(signal, items, left, entry))
        before.append((signal, keys[distinct]))
    return counts


def _training(training: Training) -> Count:
    everything = np.arange(len(training.items))
    entry = training.entry()
    return Count(training.signal, training.items, everything, entry, training=training)


def _not_asked_before(
    keys: Keys, positions: NDArray[np.int64], before: Sequence[Keys]
) -> NDArray[np.int64]:
    """Return the positions whose keys no earlier request of the same signal has."""
    known = np.concatenate([*before, keys[:0]])
    first = first_places(np.concatenate([known, keys[positions]]))
    return positions[first[first >= len(known)] - len(known)]


def _stored(cache: Path, signal: Signal) -> Store | None:
    """Return what is kept of a signal, if anything can be.

    The identity of a signal takes its model's digest, and perhaps torch, so that it is asked for
    only where some values of such a signal are kept, and the model is here.
    """
    model = getattr(signal, "model", signal)
    if model is None or (isinstance(model, ModelRef) and model.here() is None):
        return None
    if not any(cache.glob(f"{type(signal).__name__}-*")):
        return None
    folder = signal_folder(cache, identity(signal))
    if not folder.is_dir():
        return None
    store = Store(folder, signal.columns, b"")
    store.refresh()
    return store


# --- in words --------------------------------------------------------------------------------


def asked_for(count: Count) -> str:
    """Return what a request asks for: `338k partial forwards (2 of 32 blocks)`, or `nothing`."""
    cost, name = count.entry.cost, _columns(count.signal)
    if count.given:
        return f"{name} from --signals"
    if not count.entry.measured:
        return f"{name} of {_many(count.entry.items, count.signal.unit)}, all stored"
    stored = count.entry.items - count.entry.measured
    more = f", {short(stored)} stored" if stored else ""
    read = f"{name} of {_many(count.entry.measured, count.signal.unit)}"
    return f"{_passes(count, cost) or read}{more}"


def _passes(count: Count, cost: Cost) -> str:
    """Return the passes through the model, or an empty string if there are none."""
    said = []
    if cost.forwards_partial:
        said.append(f"{_many(cost.forwards_partial, 'partial forward')} ({_depth(count)})")
    if cost.forwards_full:
        said.append(_many(cost.forwards_full, "forward"))
    if cost.backwards:
        said.append(_many(cost.backwards, "backward"))
    if cost.training_steps:
        said.append(_many(cost.training_steps, "training step"))
    return " + ".join(said)


def _depth(count: Count) -> str:
    """Return how deep partial forwards go: `2 of 32 blocks`; empty if the model does not say."""
    model = getattr(count.signal, "model", None)
    there = read_facts(model).blocks if isinstance(model, ModelRef) else None
    run = count.entry.blocks // max(count.entry.forwards_partial, 1)
    return f"{run} of {there} blocks" if there else _many(run, "block")


def _many(number: int, noun: str) -> str:
    return f"{short(number)} {noun}{'' if number == 1 else 's'}"


def _columns(signal: Signal) -> str:
    return ", ".join(column.name for column in signal.columns if not column.extra)


def plan_text(counts: Sequence[Count]) -> str:
    """Return what is left to measure, in one line: `338,377 images × 2 of 32 blocks · 2.7 GB`.

    Empty if nothing is asked for.
    """
    said = []
    for count in counts:
        items = f"{count.entry.measured:,} {count.signal.unit}s"
        if isinstance(count.signal, FineTuning):
            said.append(f"training on {items} ({count.entry.training_steps:,} steps)")
            continue
        if not count.entry.measured:
            said.append(f"nothing to measure: {asked_for(count)}")
        elif count.entry.forwards_partial:
            said.append(f"{items} × {_depth(count)}")
        else:
            said.append(f"{_columns(count.signal)} of {items}")
    total = sum((count.entry.cost for count in counts), Cost()).bytes_stored
    return " · ".join([*said, *([f"{data_size(total)} of values"] if total else [])])
