"""What an inspection says: counts, and for everything wrong how often and where first."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from visift.errors import InputError, did_you_mean
from visift.pool.verify import Finding, Verified

#: What `--fail-on` may name, and what each of them finds.
FINDINGS = {
    "faults": "records that cannot be read",
    "missing": "image references that were not found",
    "duplicates": "records that repeat another one",
    "ids": "records that share their id with another one",
    "placeholders": "records with more or fewer <image> than images",
    "corrupt": "images that cannot be decoded",
    "extensions": "images that are not what their extension says",
}

#: The findings that only decoding every image brings to light.
DECODED = ("corrupt", "extensions")


@dataclass(frozen=True, slots=True)
class Spread:
    """How a number is distributed over the readable records."""

    median: int
    p95: int
    largest: int


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """One source.

    Attributes:
        records: of it.
        text_only: of these, records without an image.
        references: to images.
        images: distinct ones that were found.
        missing: references that were not found.
        set_aside: records that cannot be used.
        answer_chars: median characters of a record's answers.
    """

    records: int
    text_only: int
    references: int
    images: int
    missing: Finding
    set_aside: int
    answer_chars: int


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """The images of a pool.

    Attributes:
        references: to images, in all records.
        distinct: images that were found.
        missing: references that were not found.
        shared: images that more than one record shows.
        most_shared: records that show the most shared image, and its path.
        per_record: number of images -> readable records that have so many.
    """

    references: int
    distinct: int
    missing: Finding
    shared: int
    most_shared: Finding
    per_record: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class IdFacts:
    """The field `id`, which visift never relies on but trainers and viewers may.

    Attributes:
        records: that have one.
        kinds: JSON type (`text`, `number`, `other`) -> records; more than one kind trips readers
            that infer a type.
        shared: ids that several records have, compared as text; the first of them in the file.
        sharing: records that have one of these.
    """

    records: int
    kinds: Mapping[str, int]
    shared: Finding
    sharing: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """What `inspect_pool` found.

    Attributes:
        files: of the pool, as uids name them.
        records: in all.
        usable: records that a selection may choose from.
        set_aside: kind of reason -> the records that cannot be used.
        faults: records that cannot be read, whatever their images.
        text_only: records without an image.
        unannotated: images without a conversation.
        images: see `ImageFacts`.
        turns: messages of a record with a conversation, like the next two.
        text_bytes: UTF-8 bytes of all its messages.
        answer_chars: characters of its answers.
        ids: see `IdFacts`.
        duplicates: usable records with the images and the conversation (after NFC and collapsing
            white space) of an earlier one.
        identical: readable records that say the same as an earlier one to the letter.
        placeholders: records with images whose number of `<image>` is another.
        placeholders_in_text: text-only records that say `<image>`.
        sources: source -> its facts, the largest first.
        tasks: task -> records, the largest first.
        verified: what decoding every image showed, if that was asked for.
    """

    files: Sequence[str]
    records: int
    usable: int
    set_aside: Mapping[str, Finding]
    faults: Finding
    text_only: int
    unannotated: int
    images: ImageFacts
    turns: Spread
    text_bytes: Spread
    answer_chars: Spread
    ids: IdFacts
    duplicates: Finding
    identical: Finding
    placeholders: Finding
    placeholders_in_text: Finding
    sources: Mapping[str, SourceFacts]
    tasks: Mapping[str, int]
    verified: Verified | None = None

    def found(self, kind: str) -> int:
        """Return how often a kind of `FINDINGS` was found; 0 for one that was not looked for."""
        decoded = self.verified
        return {
            "faults": self.faults.count,
            "missing": self.images.missing.count,
            "duplicates": self.duplicates.count,
            "ids": self.ids.sharing,
            "placeholders": self.placeholders.count + self.placeholders_in_text.count,
            "corrupt": decoded.corrupt_images if decoded else 0,
            "extensions": decoded.misnamed_images if decoded else 0,
        }[kind]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return dataclasses.asdict(self)


def check_finding(kind: str) -> None:
    """Raise `InputError` for what is not in `FINDINGS`; offers the nearest name."""
    if kind not in FINDINGS:
        raise InputError(
            f'there is no finding "{kind}".{did_you_mean(kind, FINDINGS)}',
            fix=f"Findings: {', '.join(FINDINGS)}.",
        )
