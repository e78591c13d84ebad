"""Measured values on disk, addressed by item, committed block by block.

One folder a signal identity, one Arrow IPC file a part. A part is written beside, synced and
renamed: present means complete. Its name is a digest of the keys it holds, so two processes that
measure the same block write the same file. Nothing in a part depends on time or host; the identity
of the signal is in its schema's metadata.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from visift.files import disk_errors, write_atomically
from visift.signals.signal import Column, Values

KEY_BYTES = 16
_STALE_SECONDS = 3600.0
_LEFT = ".*.tmp"
#: Beside the folders of signals, which is no folder of ours alone: what `ray` proves things by.
_LEFT_BESIDE = f".{'[0-9a-f]' * 32}.tmp"
_IDENTITY = "visift.identity"

_log = logging.getLogger("visift")

Keys = NDArray[np.uint64]


def item_keys(texts: Iterable[str]) -> Keys:
    """Return (n, 2) uint64: the BLAKE2b-128 of each item key, as two halves."""
    digests = b"".join(blake2b(t.encode(), digest_size=KEY_BYTES).digest() for t in texts)
    return np.frombuffer(digests, dtype=">u8").reshape(-1, 2).astype(np.uint64)


def first_places(keys: Keys) -> NDArray[np.int64]:
    """Return, ascending, the positions at which a key occurs for the first time."""
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    same = (keys[order[1:]] == keys[order[:-1]]).all(axis=1)
    return np.sort(order[np.concatenate([[True], ~same])[: len(keys)]])


def signal_folder(cache: Path, identity: Mapping[str, Any]) -> Path:
    """Return the folder of a signal identity: its class name and a digest of all of it."""
    digest = blake2b(_canonical(identity), digest_size=8).hexdigest()
    return cache / f"{str(identity['signal']).rpartition('.')[2]}-{digest}"


def _canonical(identity: Mapping[str, Any]) -> bytes:
    return json.dumps(identity, sort_keys=True, ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Part:
    """One committed file, memory-mapped."""

    path: Path
    batch: pa.RecordBatch

    def values(self, column: Column) -> NDArray[Any]:
        """Return all its values of a column, (n, *shape), without copying where unscaled."""
        array = self.batch.column(column.name)
        flat = array.flatten() if column.shape else array
        sides = (-1 if side is None else side for side in column.shape)
        values: NDArray[Any] = flat.to_numpy(zero_copy_only=False).reshape(len(array), *sides)
        if not column.scaled:
            return values
        return _unscale(values, self.batch.column(f"{column.name}_scale").to_numpy())

    def reasons(self) -> list[str | None]:
        """Return why each item has no value, None where it has one."""
        column = self.batch.column("reason")
        if column.null_count == len(column):
            return [None] * len(column)
        reasons: list[str | None] = column.to_pylist()
        return reasons


def _unscale(values: NDArray[Any], scale: NDArray[np.float32]) -> NDArray[Any]:
    if bool((scale == 1).all()):
        return values
    return values.astype(np.float32) * scale.reshape(-1, *([1] * (values.ndim - 1)))


@dataclass(slots=True)
class Store:
    """The values measured for one signal identity.

    Several processes may write to one store at once; `refresh` sees what others committed.

    Attributes:
        folder: of the parts.
        columns: of the signal.
        identity: of the signal, as canonical JSON.
        parts: what is mapped so far, by name.
        damaged: names of files that cannot be read, each announced once.
    """

    folder: Path
    columns: tuple[Column, ...]
    identity: bytes
    parts: list[Part] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)
    _keys: Keys = field(default_factory=lambda: np.empty((0, 2), np.uint64))
    _places: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))

    @classmethod
    def open(cls, cache: Path, identity: Mapping[str, Any], columns: tuple[Column, ...]) -> Store:
        """Open (or begin) the store of a signal under a cache folder."""
        folder = signal_folder(cache, identity)
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            note = folder / "identity.json"
            if not note.exists():
                write_atomically(note, _canonical(identity))
        _sweep(folder, _LEFT)
        _sweep(cache, _LEFT_BESIDE)
        store = cls(folder, columns, _canonical(identity))
        store.refresh()
        return store

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to a worker as what committing needs."""
        return Store, (self.folder, self.columns, self.identity)

    def refresh(self) -> None:
        """Look at the folder again and map what is new.

        Parts are held in the order of their names, so that where two hold one item everybody
        reads the same one, whenever they looked.
        """
        known = {part.path.name for part in self.parts}
        fresh = [self._read(p) for p in self.folder.glob("*.arrow") if p.name not in known]
        read = [part for part in fresh if part is not None]
        if read:
            self.parts = sorted([*self.parts, *read], key=lambda part: part.path.name)
            self._index()

    def _read(self, path: Path) -> Part | None:
        try:
            return Part(path, pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0))
        except (pa.ArrowException, OSError) as error:
            if path.name not in self.damaged:
                why = " ".join(str(error).split())
                _log.warning("%s is damaged (%s); its items are measured again.", path, why)
            self.damaged.add(path.name)
            return None

    def _index(self) -> None:
        keys = [_part_keys(part) for part in self.parts]
        joined = np.concatenate(keys)
        sizes = [len(k) for k in keys]
        inside = np.concatenate([np.arange(size) for size in sizes])
        where = np.stack([np.repeat(np.arange(len(sizes)), sizes), inside], axis=1)
        order = np.argsort(joined[:, 0], kind="stable")
        self._keys, self._places = joined[order], where[order]

    def find(self, keys: Keys) -> NDArray[np.int64]:
        """Return (n, 2) int64 (part, row in part) of each key, (-1, -1) where not measured."""
        found = np.full((len(keys), 2), -1, np.int64)
        high = self._keys[:, 0]
        at = np.searchsorted(high, keys[:, 0])
        open_ = np.arange(len(keys))
        while len(open_):
            inside = at[open_] < len(high)
            open_ = open_[inside]
            same_high = high[at[open_]] == keys[open_, 0]
            open_ = open_[same_high]
            hit = self._keys[at[open_], 1] == keys[open_, 1]
            found[open_[hit]] = self._places[at[open_[hit]]]
            open_ = open_[~hit]
            at[open_] += 1
        return found

    def must_be_writable(self) -> None:
        """Raise `StorageError` where `commit` could not write whatever it is given."""
        with disk_errors(self.folder), TemporaryFile(dir=self.folder):
            pass

    def commit(self, keys: Keys, values: Values) -> Path:
        """Write one part; when this returns, it is on disk as a whole.

        Raises:
            StorageError: the disk is full or the folder cannot be written.
        """
        batch = _to_batch(keys, values, self.columns)
        batch = batch.replace_schema_metadata({_IDENTITY: self.identity})
        name = blake2b(keys.astype(">u8").tobytes(), digest_size=12).hexdigest()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
        path = self.folder / f"{name}.arrow"
        with disk_errors(self.folder):
            write_atomically(path, sink.getvalue())
        return path


def _to_batch(keys: Keys, values: Values, columns: tuple[Column, ...]) -> pa.RecordBatch:
    digests = keys.astype(">u8").tobytes()
    width = pa.binary(KEY_BYTES)
    arrays: dict[str, pa.Array] = {
        "key": pa.FixedSizeBinaryArray.from_buffers(width, len(keys), [None, pa.py_buffer(digests)])
    }
    for column in columns:
        data = np.asarray(values.columns[column.name])
        if column.scaled:
            data, scale = _scale(data, column.dtype)
            arrays[f"{column.name}_scale"] = pa.array(scale)
        arrays[column.name] = _to_arrow(data.astype(column.dtype))
    arrays["reason"] = pa.array(list(values.reasons), pa.string())
    return pa.RecordBatch.from_pydict(arrays)


def _to_arrow(data: NDArray[Any]) -> pa.Array:
    if data.ndim == 1:
        return pa.array(data)
    flat = pa.array(np.ascontiguousarray(data).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, int(np.prod(data.shape[1:])))


def _scale(data: NDArray[Any], dtype: str) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Divide items whose largest value exceeds the range of `dtype` by a power of two."""
    axes = tuple(range(1, data.ndim))
    peak = np.max(np.abs(data), axis=axes, initial=0.0)
    over = np.where(np.isfinite(peak), peak / float(np.finfo(dtype).max), 0.0)
    exponent = np.ceil(np.log2(np.maximum(over, 1.0)))
    scale = np.exp2(exponent).astype(np.float32)
    return data / scale.reshape(-1, *([1] * (data.ndim - 1))), scale


def _part_keys(part: Part) -> Keys:
    array = part.batch.column("key")
    raw = np.frombuffer(array.buffers()[1], dtype=">u8")
    start = array.offset * 2
    return raw[start : start + 2 * len(array)].reshape(-1, 2).astype(np.uint64)


def _sweep(folder: Path, names: str) -> None:
    """Remove temporary files that a killed writer left behind."""
    now = time.time()
    for path in folder.glob(names):
        with suppress(OSError):
            if now - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink()
