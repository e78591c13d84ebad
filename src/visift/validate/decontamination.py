"""Which questions show an image that stands in the pool as well, before anything is trained.

An image is the same by its key or its bytes, or nearly so by its perceptual hash, which finds other
encodings and sizes, and not crops or mirror images (see `signals.hashes`). A question without an
image is the same where a record of the pool holds its very conversation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from visift.engine.lab import Examples, Handle, LocalLab
from visift.engine.measured import ByRow
from visift.errors import ImageError
from visift.pool.near_duplicates import near_duplicates
from visift.pool.pool import Pool
from visift.signals.hashes import ImageHash
from visift.validate.splitting import Questions

Rows = NDArray[np.int64]
Hashes = NDArray[np.uint64]

#: Bits of 64 in which hashes of one image may differ [ours].
NEAR_BITS = 4

SAME_KEY, SAME_BYTES, NEAR = "same file", "same bytes", "nearly the same"
SAME_WORDS = "same conversation"


@dataclass(frozen=True, slots=True)
class Meeting:
    """A question and the record of the pool that it meets.

    Attributes:
        question: row of the question, in its pool.
        image: its image, empty for one without.
        record: row of a record of the pool.
        record_image: the image that it meets.
        kind: how they are the same.
        bits: in which their hashes differ.
    """

    question: int
    image: str
    record: int
    record_image: str
    kind: str
    bits: int = 0


@dataclass(frozen=True, slots=True)
class Contamination:
    """All questions that stand in the pool, one meeting each."""

    meetings: tuple[Meeting, ...] = ()

    @property
    def rows(self) -> Rows:
        """Rows of these questions."""
        return np.array([one.question for one in self.meetings], np.int64)

    def summary(self) -> str:
        """Return the counts in a few words: `30 (25 same bytes, 5 nearly the same)`."""
        kinds = Counter(one.kind for one in self.meetings)
        told = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
        return f"{len(self.meetings):,} ({told})"

    def table(self, questions: Pool, pool: Pool) -> pa.Table:
        """Return question, image, record, record_image, kind and bits, one row a question."""
        asked, there = self.rows, np.array([one.record for one in self.meetings], np.int64)
        return pa.table(
            {
                "question": pa.array(questions.uids(asked), pa.string()),
                "image": pa.array([one.image for one in self.meetings], pa.string()),
                "record": pa.array(pool.uids(there), pa.string()),
                "record_image": pa.array([one.record_image for one in self.meetings], pa.string()),
                "kind": pa.array([one.kind for one in self.meetings], pa.string()),
                "bits": pa.array([one.bits for one in self.meetings], pa.int64()),
            }
        )


@dataclass(frozen=True, slots=True)
class _Shown:
    """The distinct images of some rows that can be read, with their hashes."""

    pool: Pool = field(repr=False)
    rows: Rows
    images: Rows
    hashes: Hashes

    @classmethod
    def by(cls, lab: LocalLab, rows: Rows) -> _Shown:
        pool = lab.pool
        shown = rows[np.diff(pool.images.offsets)[rows] > 0]
        handle = lab.measure(ImageHash(), Examples(shown))
        assert isinstance(handle, Handle)
        values = handle.resolve()
        assert isinstance(values, ByRow), "a lab without numbers from elsewhere"
        images = pool.images.of_rows(shown)
        images = images[images >= 0]
        images = images[values.values.fine[images]]
        return cls(pool, shown, images, values.values.gather("image_hash", images))

    def row_of(self) -> dict[int, int]:
        """Return, by image, the first of the rows that show it."""
        found: dict[int, int] = {}
        for row in self.rows.tolist():
            for image in self.pool.images.of_row(row).tolist():
                found.setdefault(image, row)
        return found


def find_contamination(
    asking: LocalLab, questions: Questions, training: LocalLab, rows: Rows, bits: int = NEAR_BITS
) -> Contamination:
    """Look for the questions that stand among the rows which models may be trained on.

    Args:
        asking: lab of the questions' pool.
        questions: the questions.
        training: lab of the pool that is chosen from.
        rows: of it.
        bits: in which hashes of one image may differ; more find more, and forms of one layout too.
    """
    asked, there = _Shown.by(asking, questions.rows), _Shown.by(training, rows)
    met: dict[int, tuple[int, int]] = {}
    for most in (bits, 0):  # what is the same comes before what nearly is
        met |= {image: (other, apart) for image, other, apart in _near(asked, there, most)}
    by_key = {there.pool.images.keys[image]: image for image in there.images.tolist()}
    for image in asked.images.tolist():
        if asked.pool.images.keys[image] in by_key:
            met[image] = (by_key[asked.pool.images.keys[image]], -1)
    row_of = there.row_of()
    meetings = [
        _meeting(asked.pool, row, image, there.pool, row_of[other], other, difference)
        for row in asked.rows.tolist()
        for image, other, difference in _first(asked.pool.images.of_row(row).tolist(), met)
    ]
    meetings += _same_words(questions, training.pool, rows)
    return Contamination(tuple(sorted(meetings, key=lambda one: one.question)))


def _first(
    images: Sequence[int], met: dict[int, tuple[int, int]]
) -> Iterator[tuple[int, int, int]]:
    """Yield the first image that is met, and what it meets, if there is one."""
    for image in images:
        if image in met:
            yield (image, *met[image])
            return


def _near(asked: _Shown, there: _Shown, bits: int) -> Iterator[tuple[int, int, int]]:
    """Yield (image asked about, image of the pool, bits that differ)."""
    count = len(there.hashes)
    hashes = np.concatenate([there.hashes, asked.hashes]).astype(np.uint64)
    keys = np.arange(len(hashes), dtype=np.uint64)
    items, stay = near_duplicates(hashes, keys, bits, np.arange(count))
    # What is near another question only is nobody's training.
    for item, of in zip(items[stay < count].tolist(), stay[stay < count].tolist(), strict=True):
        difference = int(np.bitwise_count(hashes[item] ^ hashes[of]))
        yield int(asked.images[item - count]), int(there.images[of]), difference


def _meeting(
    asking: Pool, question: int, image: int, pool: Pool, record: int, other: int, bits: int
) -> Meeting:
    one, two = asking.images.refs[image], pool.images.refs[other]
    kind = NEAR
    if bits < 0:
        kind = SAME_KEY
    elif bits == 0 and _bytes_of(asking, image) == _bytes_of(pool, other) is not None:
        kind = SAME_BYTES
    return Meeting(question, one.path, record, two.path, kind, max(bits, 0))


def _bytes_of(pool: Pool, image: int) -> bytes | None:
    try:
        return pool.image_bytes(pool.images.refs[image])
    except ImageError:
        return None


def _same_words(questions: Questions, pool: Pool, rows: Rows) -> list[Meeting]:
    """Return the text-only questions whose conversation a text-only record holds."""
    bare = rows[pool.text_only[rows]]
    said = pool.index["conversation"].take(bare).to_pylist()
    record_of = dict(zip(reversed(said), reversed(bare.tolist()), strict=True))
    asked = questions.rows[questions.pool.text_only[questions.rows]]
    words = questions.pool.index["conversation"].take(asked).to_pylist()
    return [
        Meeting(row, "", record_of[word], "", SAME_WORDS)
        for row, word in zip(asked.tolist(), words, strict=True)
        if word in record_of
    ]
