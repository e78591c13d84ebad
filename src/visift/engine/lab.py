"""What a method may ask for, and the lab that answers on this machine.

A request costs nothing until its values are needed. Then what the store lacks is cut, in pool
order, into fixed blocks of 1,024 items, which are run and committed as `engine.blocks` says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from visift.amounts import counted
from visift.engine.blocks import OpenBlocks, lacking_blocks, run_blocks
from visift.engine.executor import Executor, Inline
from visift.engine.items import Items, Targets, Turns
from visift.engine.ledger import Entry
from visift.engine.measured import ByRow, Measured, Rows, StoredItems
from visift.engine.progress import Progress, Silent
from visift.engine.store import Keys, Store, first_places, item_keys
from visift.engine.trainings import Training, Tuned, still_needed, training_for
from visift.errors import AnnotationNeeded, InputError
from visift.models.ref import ModelRef
from visift.pool.annotations import Annotations
from visift.pool.labelled import Labels, TeacherLabels
from visift.pool.pool import Pool
from visift.signals.cost import Load
from visift.signals.imported import Imported
from visift.signals.signal import Signal, identity
from visift.training.recipe import Recipe
from visift.training.tuned import TunedRef


@dataclass(frozen=True, slots=True)
class Examples:
    """Rows to measure, or to train on.

    Attributes:
        rows: which ones.
        targets: by row, turns that stand in for its conversation.
        several: to train on, by row: conversations that stand in for its own, one after the other;
            all rows have some, or none has.
    """

    rows: Rows
    targets: Targets = field(default_factory=dict)
    several: Mapping[int, Sequence[Turns]] = field(default_factory=dict)

    def items(self, pool: Pool) -> Items:
        """Return what to train on, see `Items`."""
        if self.several:
            return Items.of_several(pool, self.rows, self.several)
        return Items.of(pool, "record", self.rows, self.targets)


def must_be_said(pool: Pool, examples: Examples) -> None:
    """Raise `InputError` for images without a conversation that a model shall be tuned on."""
    silent = examples.rows[pool.unannotated[examples.rows]].tolist()
    bare = [row for row in silent if row not in examples.targets and row not in examples.several]
    if bare:
        raise InputError(
            f"{counted(len(bare), 'record')} to tune a model on have no conversation.",
            fix="Methods for images alone: presel, typical, and those that compare images.",
        )


def handed_in_labels(teacher: TeacherLabels, capabilities: Sequence[str], styles: bool) -> Labels:
    """Return all labels that somebody handed in.

    Raises:
        InputError: not all that is asked for is labelled.
    """
    lacking = [key for key in capabilities if not teacher.scores.get(key)]
    if lacking:
        raise InputError(
            f"--labels holds no score.{lacking[0]} for any record of the pool.",
            fix="Learn from what it holds (--set rated=…), or label some records in it: "
            "visift annotate --for mmssr --only",
        )
    if styles and not teacher.styles:
        raise InputError(
            "--labels holds no styles for any record of the pool.",
            fix="Hand them in (--signals FILE), or name who knows them: --set styler=PATH",
        )
    return teacher.of(teacher.labelled(), capabilities, styles)


class Lab(Protocol):
    """All a method may ask for; every answer is a handle that is filled when it is read."""

    def measure(self, signal: Signal, examples: Examples) -> Measured:
        """Ask for a signal over some rows."""
        ...

    def finetune(self, model: ModelRef | None, recipe: Recipe, examples: Examples) -> Tuned:
        """Ask for a model tuned on some rows; it is trained when a value that needs it is read.

        Args:
            model: what to tune; None where none was named.
            recipe: how.
            examples: on what; those it cannot be trained on are set aside when it is trained.
        """
        ...

    def instructions(self, rows: Rows, purpose: str) -> Targets:
        """Return conversations for those of some rows that have none of their own.

        Args:
            rows: in the order in which they are wanted.
            purpose: what they are wanted for, in one word.

        Raises:
            AnnotationNeeded: nobody has written some of them yet.
        """
        ...

    def labels(self, rows: Rows, capabilities: Sequence[str], *, styles: bool = True) -> Labels:
        """Return a teacher's labels of some rows.

        Args:
            rows: in the order in which they are wanted. Where labels were handed in, these say
                which rows are labelled.
            capabilities: what they are rated in.
            styles: whether their interaction styles are asked for, too.

        Raises:
            AnnotationNeeded: nobody has labelled some of them yet.
            InputError: labels were handed in, and not of all that is asked for.
        """
        ...

    def given(self, *columns: str) -> bool:
        """Return whether one file of numbers measured elsewhere holds all of some columns."""
        ...

    def marked(self, column: str) -> Rows | None:
        """Return the rows that a column measured elsewhere marks, None if there is no such column.

        Rows, not values: `is_seed` and `is_reference` say what to ask for.
        """
        ...


@dataclass(slots=True, repr=False)
class Handle:
    """A lazy answer: asks its lab when it is read for the first time."""

    rows: Rows
    items: Items
    signal: Signal
    answer: Callable[[Handle], Measured]
    _values: Measured | None = None

    def __repr__(self) -> str:
        state = "asked" if self._values is None else "measured"
        return f"Handle({type(self.signal).__name__} of {len(self.rows):,} rows, {state})"

    def resolve(self) -> Measured:
        """Return the values, measuring what is missing."""
        if self._values is None:
            self._values = self.answer(self)
        return self._values

    def ok(self, rows: Rows) -> NDArray[np.bool_]:
        """See `Measured.ok`."""
        return self.resolve().ok(rows)

    def reasons(self, rows: Rows) -> list[str | None]:
        """See `Measured.reasons`."""
        return self.resolve().reasons(rows)

    def take(self, column: str, rows: Rows) -> NDArray[Any]:
        """See `Measured.take`."""
        return self.resolve().take(column, rows)

    def blocks(self, column: str, rows: Rows) -> Iterator[NDArray[Any]]:
        """See `Measured.blocks`."""
        return self.resolve().blocks(column, rows)


@dataclass(slots=True)
class LocalLab:
    """Answers from imported numbers, from the store, or by measuring.

    Attributes:
        pool: what rows refer to.
        cache: folder of the stores.
        devices: called only when something must be measured; gives one device a worker.
        executor: called with the number of blocks to measure; gives the executor for them.
        imported: numbers measured elsewhere.
        annotations: conversations written for images that have none.
        teacher: labels of records.
        progress: told how it goes.
        ledger: what was asked and done.
        memory: the most bytes that a worker has held while it measured; 0 where none did, or where
            nobody counts.
        training_seconds: that passed while it trained models.
    """

    pool: Pool
    cache: Path
    devices: Callable[[], Sequence[str]]
    executor: Callable[[int], Executor] = lambda blocks: Inline()
    imported: Imported = field(default_factory=Imported)
    annotations: Annotations = field(default_factory=Annotations)
    teacher: TeacherLabels = field(default_factory=TeacherLabels)
    progress: Progress = field(default_factory=Silent)
    ledger: list[Entry] = field(default_factory=list)
    handles: list[Handle] = field(default_factory=list)
    trainings: list[Training] = field(default_factory=list)
    memory: int = 0
    training_seconds: float = 0.0
    _relied_on: list[Training] = field(default_factory=list)
    _opened: list[tuple[Signal, dict[str, Any], Store]] = field(default_factory=list)

    def measure(self, signal: Signal, examples: Examples) -> Measured:
        """See `Lab.measure`."""
        items = Items.of(self.pool, signal.unit, examples.rows, examples.targets)
        handle = Handle(examples.rows, items, signal, self._answer)
        self.handles.append(handle)
        return handle

    def finetune(self, model: ModelRef | None, recipe: Recipe, examples: Examples) -> Tuned:
        """See `Lab.finetune`."""
        must_be_said(self.pool, examples)
        if model is None:
            return Tuned(None)
        training = Training.of(self.cache, model, recipe, examples.items(self.pool))
        self.trainings.append(training)
        return Tuned(training.tuned, lambda: self._left_out(training.tuned))

    def given(self, *columns: str) -> bool:
        """See `Lab.given`."""
        return self.imported.holds(*columns)

    def marked(self, column: str) -> Rows | None:
        """See `Lab.marked`."""
        return self.imported.marked(self.pool, column)

    def instructions(self, rows: Rows, purpose: str) -> Targets:
        """See `Lab.instructions`."""
        bare = rows[self.pool.unannotated[rows]].tolist()
        lacking = [row for row in bare if row not in self.annotations.of_row]
        if lacking:
            raise AnnotationNeeded(
                f"{counted(len(lacking), 'record')} of the {purpose} want instructions first.",
                bare,  # all of them: what was written for the others stays in the same file
                purpose,
            )
        return {row: self.annotations.turns(row) for row in bare}

    def labels(self, rows: Rows, capabilities: Sequence[str], *, styles: bool = True) -> Labels:
        """See `Lab.labels`."""
        if self.teacher.handed_in:
            return handed_in_labels(self.teacher, capabilities, styles)
        lacking = self.teacher.lacking(rows.tolist(), capabilities, styles)
        if lacking:
            raise AnnotationNeeded(
                f"{len(lacking):,} of {len(rows):,} records want a teacher's labels first.",
                rows.tolist(),  # all of them: what was labelled before is known by its content
                "labels",
                capabilities=capabilities,
                styles=styles,
            )
        return self.teacher.of(rows, capabilities, styles)

    def resolve(self) -> None:
        """Fill all handles, in the order they were asked for."""
        for handle in self.handles:
            handle.resolve()

    def failures(self) -> dict[int, str]:
        """Return the rows that lack a value somebody asked for, and why."""
        reasons: dict[int, str] = {}
        for training in self._relied_on:
            reasons |= training.left_out()
        for handle in self.handles:
            lacking = handle.rows[~handle.ok(handle.rows)]
            for row, why in zip(lacking, handle.reasons(lacking), strict=True):
                reasons.setdefault(int(row), str(why))
        return reasons

    def identities(self) -> list[dict[str, Any]]:
        """Return the identity of every signal that was measured or read from the store."""
        return [known for _, known, _ in self._opened]

    def store(self, signal: Signal) -> Store:
        """Return where the values of a signal are kept; its identity is worked out once.

        Raises:
            InputError: its model was not named.
            ModelError: there is no such model.
        """
        for asked, _, store in self._opened:
            if asked == signal:
                return store
        known = identity(signal)
        store = Store.open(self.cache, known, signal.columns)
        self._opened.append((signal, known, store))
        return store

    def ready(self, signal: Signal) -> Signal:
        """Return a signal as workers take it: its model is trained, and they know where it is.

        Training runs on this machine, wherever the workers are.
        """
        training = training_for(signal, self.trainings)
        if training is None:
            return signal
        for one in still_needed(training, self.trainings):
            from visift.models.devices import available

            began = time.monotonic()
            one.run(tuple(available(one.tuned.device)), self.progress)
            self.training_seconds += time.monotonic() - began
            self.ledger.append(one.entry())
        return replace(signal, model=training.tuned.located())  # type: ignore[type-var]

    def _left_out(self, tuned: TunedRef) -> dict[int, str]:
        """Return the rows a model could not be trained on, if a value that was read needs it."""
        used = (one.left_out() for one in self._relied_on if one.tuned == tuned)
        return next(used, {})

    def _answer(self, handle: Handle) -> Measured:
        signal, items = handle.signal, handle.items
        given = self.imported.answer(self.pool, signal.columns, signal.unit, self.cache)
        if given is not None:
            values = ByRow(given.values, given.starts, given.flat)
            failed = int((~values.ok(handle.rows)).sum())
            self.ledger.append(Entry.of(signal, len(items), 0, failed, Load()))
            return values
        training = training_for(signal, self.trainings)
        if training is not None and training not in self._relied_on:
            self._relied_on.append(training)
        store = self.store(signal)
        keys = item_keys(items.keys())
        distinct = first_places(keys)
        measured, lost = self._complete(store, signal, items, keys, distinct)
        places = store.find(keys)
        reasons = _reasons(store, keys, places, lost)
        bad = list(reasons)
        failed = int(np.isin(distinct, bad).sum())
        fine = items.holding(np.setdiff1d(measured, bad))
        self.ledger.append(Entry.of(signal, len(distinct), len(measured), failed, fine))
        failures = {int(items.ids[p]): why for p, why in reasons.items()}
        stored = StoredItems.of(signal.columns, store.parts, items.scatter(places), failures)
        if signal.unit == "image":
            return ByRow(stored, *self.pool.images.sets())
        return ByRow(stored, np.arange(len(self.pool) + 1), np.arange(len(self.pool)))

    def _held(self, memory: int) -> None:
        self.memory = max(self.memory, memory)

    def _complete(
        self, store: Store, signal: Signal, items: Items, keys: Keys, distinct: Rows
    ) -> tuple[Rows, dict[bytes, str]]:
        """Measure what the store lacks.

        Returns:
            The positions measured, and by key why an item was not.
        """
        lacking = lacking_blocks(store, keys, distinct)
        if not lacking:
            return distinct[:0], {}
        wanted = np.concatenate(list(lacking.values()))
        ready = self.ready(signal)
        open_blocks = OpenBlocks(items, keys, ready, lacking, store, tuple(self.devices()))
        self.progress.begin(signal, len(distinct), len(distinct) - len(wanted))
        try:
            reasons = run_blocks(open_blocks, self.executor, self.progress, self._held)
        finally:
            self.progress.end()
        lost = {keys[p].tobytes(): why for p, why in reasons.items()}
        return np.setdiff1d(wanted, list(reasons)), lost


def _reasons(
    store: Store, keys: Keys, places: NDArray[np.int64], lost: dict[bytes, str]
) -> dict[int, str]:
    """Return, by position in the request, why an item has no value: stored reasons, and `lost`."""
    reasons = {int(p): lost[keys[p].tobytes()] for p in np.flatnonzero(places[:, 0] < 0)}
    order = np.argsort(places[:, 0], kind="stable")
    bounds = np.searchsorted(places[order, 0], np.arange(len(store.parts) + 1))
    for number, part in enumerate(store.parts):
        texts = part.reasons()
        here = order[bounds[number] : bounds[number + 1]] if any(texts) else ()
        for position in here:
            why = texts[places[position, 1]]
            if why is not None:
                reasons[int(position)] = why
    return reasons
