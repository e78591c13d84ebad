"""The index of a pool: one Arrow row a record, everything but the text.

Built in one pass over the files, in chunks, so that only a chunk is ever held as Python objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from visift.pool.labels import COCO, coco_label, path_prefix, with_prompt_labels
from visift.pool.readers import ParseFault, Reader
from visift.pool.record import HASH_BYTES, IMAGE_TAG, content_hash, conversation_hash

CHUNK_ROWS = 16_384

SCHEMA = pa.schema(
    [
        ("file", pa.int16()),
        ("row", pa.int64()),
        ("content_hash", pa.binary(HASH_BYTES)),
        ("images", pa.list_(pa.string())),
        ("source", pa.string()),
        ("source_by", pa.string()),
        ("task", pa.string()),
        ("conversation", pa.binary(HASH_BYTES)),
        ("turns", pa.int32()),
        ("tags", pa.int32()),
        ("text_bytes", pa.int32()),
        ("answer_chars", pa.int32()),
        ("fault", pa.string()),
    ]
)
#: What is read of a record: with the label it has if the pool turns out to be LLaVA-665K.
_READ = pa.schema([*SCHEMA, ("coco", pa.string())])

_NO_HASH = bytes(HASH_BYTES)


def build_index(readers: Sequence[Reader]) -> pa.Table:
    """Index every record of every file, in order.

    Returns:
        A table with the columns of `SCHEMA`: `file` numbers the readers, `row` is 0-based in its
        file, `source_by` says what its source is taken from (`source`, `task`, `path` or `prompt`),
        `conversation` is the `record.conversation_hash`, `turns` the number of messages, `tags` of
        literal `<image>` in all of them, `text_bytes` their length in UTF-8, `answer_chars` the
        characters of the assistant's, `fault` why a record cannot be used (then its hashes are all
        zero bytes and its numbers 0).
    """
    batches = [batch for number, reader in enumerate(readers) for batch in _batches(number, reader)]
    return with_prompt_labels(pa.Table.from_batches(batches, schema=_READ))


def _batches(number: int, reader: Reader) -> Iterator[pa.RecordBatch]:
    total = len(reader.offsets)
    for start in range(0, total, CHUNK_ROWS):
        rows = range(start, min(start + CHUNK_ROWS, total))
        columns = [list(column) for column in zip(*(_entry(reader, r) for r in rows), strict=True)]
        arrays = [pa.array([number] * len(rows), SCHEMA.field(0).type), pa.array(rows, pa.int64())]
        arrays += [
            pa.array(values, column.type)
            for values, column in zip(columns, list(_READ)[2:], strict=True)
        ]
        yield pa.record_batch(arrays, schema=_READ)


def _entry(reader: Reader, row: int) -> tuple[Any, ...]:
    """Return the columns of one record from `content_hash` on; labels fill in for each other."""
    try:
        said = reader.parse(row)
        digest = content_hash(said.turns, said.images)
    except (ParseFault, UnicodeEncodeError) as fault:
        return _NO_HASH, [], None, None, None, _NO_HASH, 0, 0, 0, 0, str(fault), None
    source, task, prefix = said.source, said.task, path_prefix(said.images)
    found = source or task or prefix
    whole = "\n".join([text for _, text in said.turns])
    by = None if found is None else "source" if source else "task" if task else "path"
    return (
        digest,
        said.images,
        found,
        by,
        task or source or prefix,
        conversation_hash(said.turns),
        len(said.turns),
        whole.count(IMAGE_TAG),
        (len(whole) if whole.isascii() else len(whole.encode())) - max(len(said.turns) - 1, 0),
        sum([len(text) for role, text in said.turns if role == "assistant"]),
        None,
        coco_label(whole) if by == "path" and prefix == COCO else None,
    )
