"""The store: present means complete, the same block is the same file, keys find their values."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visift.engine.store import Store, first_places, item_keys, signal_folder
from visift.errors import StorageError
from visift.signals.signal import Column, Unit, Values, identity

IDENTITY = {"signal": "package.module.Thing", "version": 1}
FEATURE = Column("feature", "float32", (None,))
SCALAR = Column("loss", "float64")


def keys_of(*names: object) -> Any:
    return item_keys([str(name) for name in names])


def values(count: int, seed: int = 0) -> Values:
    draw = np.random.default_rng(seed)
    columns = {"feature": draw.normal(size=(count, 3)).astype(np.float32)}
    return Values({**columns, "loss": draw.normal(size=count)}, [None] * count)


def open_store(cache: Path, *columns: Column) -> Store:
    return Store.open(cache, IDENTITY, columns or (FEATURE, SCALAR))


def read(store: Store, keys: Any, column: Column) -> list[Any]:
    """Return the value of each key, None where there is none."""
    arrays = [part.values(column) for part in store.parts]
    return [None if p < 0 else arrays[p][at].tolist() for p, at in store.find(keys)]


# --- commit and find -------------------------------------------------------------------------


def test_what_is_committed_is_present_here_and_to_whoever_opens_the_store(tmp_path: Path) -> None:
    store, keys, said = open_store(tmp_path), keys_of("a", "b"), values(2)
    assert store.find(keys).tolist() == [[-1, -1]] * 2
    store.commit(keys, said)
    store.refresh()
    for opened in (store, open_store(tmp_path)):
        assert read(opened, keys, FEATURE) == said.columns["feature"].tolist()
        assert read(opened, keys, SCALAR) == said.columns["loss"].tolist()
        assert read(opened, keys_of("c"), SCALAR) == [None]


def test_the_same_block_is_the_same_file_with_the_same_bytes(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    first = store.commit(keys_of("a", "b"), values(2))
    content = first.read_bytes()
    assert store.commit(keys_of("a", "b"), values(2)) == first
    assert first.read_bytes() == content
    assert store.commit(keys_of("b", "a"), values(2)) != first


def test_reasons_are_stored_beside_the_values(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.commit(keys_of("a", "b"), replace(values(2), reasons=[None, "image is truncated: ü"]))
    store.refresh()
    assert store.parts[0].reasons() == [None, "image is truncated: ü"]
    store.commit(keys_of("c"), values(1))
    store.refresh()
    assert [None] in [part.reasons() for part in store.parts]


@pytest.mark.parametrize(
    ("column", "data"),
    [
        (Column("x", "float16", (2,)), np.array([[1, -2.5], [0, 65504]], np.float16)),
        (Column("x", "float64", (2, 3)), np.arange(12.0).reshape(2, 2, 3)),
        (Column("x", "float32", (2, None)), np.arange(12, dtype=np.float32).reshape(2, 2, 3)),
        (Column("x", "int32"), np.array([-(2**31), 5], np.int32)),
        (Column("x", "int64"), np.array([2**62 + 1, 5])),
        (Column("x", "uint8", (1,)), np.array([[255], [0]], np.uint8)),
        (Column("x", "bool"), np.array([True, False])),
        (Column("x", "bool", (2,)), np.array([[True, False], [False, False]])),
    ],
    ids=str,
)
def test_every_type_and_shape_comes_back_as_it_went(
    tmp_path: Path, column: Column, data: np.ndarray
) -> None:
    store = open_store(tmp_path, column)
    store.commit(keys_of(1, 2), Values({"x": data}, [None, None]))
    store.refresh()
    back = store.parts[0].values(column)
    assert back.dtype == data.dtype
    np.testing.assert_array_equal(back, data)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_nan_payloads_come_back_bit_by_bit(tmp_path: Path, dtype: str) -> None:
    bits = {"float16": "u2", "float32": "u4", "float64": "u8"}[dtype]
    data = np.array([np.nan, np.inf, -0.0], dtype)
    data.view(bits)[0] += 5
    column = Column("x", dtype)
    store = open_store(tmp_path, column)
    store.commit(keys_of(1, 2, 3), Values({"x": data}, [None] * 3))
    store.refresh()
    assert store.parts[0].values(column).tobytes() == data.tobytes()


@pytest.mark.parametrize("shape", [(), (2,)])
def test_scaled_floats_exceed_the_range_of_their_type(tmp_path: Path, shape: Any) -> None:
    column = Column("x", "float16", shape, scaled=True)
    data = np.array([1.5, 65504.0, 65520.0, 3e5, -1e30, np.inf, np.nan], np.float32)
    wide = np.stack([data, data / 2], axis=1) if shape else data
    store = open_store(tmp_path, column)
    store.commit(keys_of(*range(7)), Values({"x": wide}, [None] * 7))
    store.refresh()
    back = store.parts[0].values(column)
    np.testing.assert_allclose(back, wide, rtol=2**-11)
    np.testing.assert_array_equal(back[:2], wide[:2])  # in range: exact, as float16 holds them


def test_values_in_range_are_read_without_a_copy(tmp_path: Path) -> None:
    column = Column("x", "float16", (None,), scaled=True)
    store = open_store(tmp_path, column)
    store.commit(keys_of(1, 2), Values({"x": np.ones((2, 4), np.float32)}, [None, None]))
    store.refresh()
    back = store.parts[0].values(column)
    assert back.dtype == np.float16
    assert not back.flags.owndata
    assert not back.flags.writeable


HALVES = st.integers(0, 3) | st.sampled_from([2**64 - 1, 2**63])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.tuples(HALVES, HALVES), max_size=6, min_size=1), max_size=6),
    st.lists(st.tuples(HALVES, HALVES), max_size=10),
)
def test_finding_agrees_with_a_dict(
    tmp_path_factory: pytest.TempPathFactory,
    blocks: list[list[tuple[int, int]]],
    asked: list[tuple[int, int]],
) -> None:
    store = open_store(tmp_path_factory.mktemp("store"), SCALAR)
    known: dict[tuple[int, int], float] = {}
    for block in blocks:
        fresh = [key for key in dict.fromkeys(block) if key not in known]
        if fresh:
            said = np.arange(len(known), len(known) + len(fresh), dtype=np.float64)
            known.update(zip(fresh, said.tolist(), strict=True))
            store.commit(np.array(fresh, np.uint64), Values({"loss": said}, [None] * len(fresh)))
            store.refresh()
    keys = np.array(asked, np.uint64).reshape(-1, 2)
    assert read(store, keys, SCALAR) == [known.get(key) for key in asked]


@given(st.lists(st.tuples(HALVES, HALVES)))
def test_first_places_agree_with_a_loop(pairs: list[tuple[int, int]]) -> None:
    expected = [i for i, pair in enumerate(pairs) if pair not in pairs[:i]]
    assert first_places(np.array(pairs, np.uint64).reshape(-1, 2)).tolist() == expected


def test_where_two_parts_hold_an_item_all_read_the_same_one(tmp_path: Path) -> None:
    watching = open_store(tmp_path)
    for number in range(6):
        watching.commit(keys_of("shared", number), values(2, seed=number))
        watching.refresh()
    fresh = open_store(tmp_path)
    assert read(watching, keys_of("shared"), FEATURE) == read(fresh, keys_of("shared"), FEATURE)


def test_two_stores_see_what_the_other_commits(tmp_path: Path) -> None:
    one, other = open_store(tmp_path), open_store(tmp_path)
    one.commit(keys_of("a"), values(1))
    other.commit(keys_of("b"), values(1, seed=1))
    other.commit(keys_of("a"), values(1))
    for store in (one, other):
        store.refresh()
        assert (store.find(keys_of("a", "b")) >= 0).all()


# --- damage ----------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 1, 8, 100, 0.5, -8, -1])
def test_a_torn_part_is_absent_and_can_be_written_again(
    tmp_path: Path, keep: float, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(tmp_path)
    path = store.commit(keys_of(*range(40)), values(40))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else int(keep)])
    again = open_store(tmp_path)
    again.refresh()
    (said,) = caplog.messages  # once
    assert re.fullmatch(rf"{re.escape(str(path))} is damaged \(.*\); its items .* again\.", said)
    assert (again.find(keys_of(*range(40))) < 0).all()
    again.commit(keys_of(*range(40)), values(40))
    again.refresh()
    assert path.read_bytes() == whole
    assert (again.find(keys_of(*range(40))) >= 0).all()


def test_a_part_of_something_else_is_absent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(tmp_path)
    (store.folder / "0.arrow").write_bytes(b"not arrow at all" * 100)
    store.commit(keys_of("a"), values(1))
    store.refresh()
    assert "0.arrow is damaged" in caplog.text
    assert (store.find(keys_of("a")) >= 0).all()


def test_old_leftovers_are_swept_and_fresh_ones_kept(tmp_path: Path) -> None:
    folder = open_store(tmp_path).folder
    old, fresh = folder / ".aa.tmp", folder / ".bb.tmp"
    for path in (old, fresh):
        path.write_bytes(b"half a part")
    hours_ago = time.time() - 7200
    os.utime(old, (hours_ago, hours_ago))
    store = open_store(tmp_path)
    assert not old.exists()
    assert fresh.exists()
    assert store.parts == []


# --- identity --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weights:
    """A model by name, known by its digest."""

    name: str
    digest: str

    def identity(self) -> dict[str, str]:
        return {"digest": self.digest}


@dataclass(frozen=True)
class Thing:
    version: ClassVar[int] = 1
    unit: ClassVar[Unit] = "image"
    columns: ClassVar[tuple[Column, ...]] = (FEATURE,)

    model: Weights = Weights("a", "1")
    layer: float = 1
    names: tuple[str, ...] = ("ü", "b")

    def open(self, device: str) -> Any:
        raise NotImplementedError


class Later(Thing):
    version: ClassVar[int] = 2


class Wider(Thing):
    columns: ClassVar[tuple[Column, ...]] = (FEATURE, SCALAR)


class Halved(Thing):
    columns: ClassVar[tuple[Column, ...]] = (replace(FEATURE, dtype="float16"),)


def test_any_field_version_or_column_has_a_folder_of_its_own(tmp_path: Path) -> None:
    things = [Thing(), Thing(Weights("a", "2")), Thing(layer=2), Thing(layer=True)]
    things += [Thing(layer=1.5), Thing(names=("üb",)), Thing(names=("b", "ü"))]
    things += [Later(), Wider(), Halved()]
    folders = {signal_folder(tmp_path, identity(thing)) for thing in things}
    assert len(folders) == len(things)
    assert signal_folder(tmp_path, identity(Thing())).name.startswith("Thing-")


def test_a_part_says_what_it_was_measured_with(tmp_path: Path) -> None:
    store = Store.open(tmp_path, identity(Thing()), Thing.columns)
    here = Values({"feature": np.ones((1, 3), np.float32)}, [None])
    sent: Store = pickle.loads(pickle.dumps(store))
    content = {opened.commit(keys_of("a"), here).read_bytes() for opened in (store, sent)}
    assert len(content) == 1
    metadata = pa.ipc.open_file(next(iter(content))).schema.metadata
    assert json.loads(metadata[b"visift.identity"]) == json.loads(json.dumps(identity(Thing())))


def test_names_of_models_do_not_count(tmp_path: Path) -> None:
    here, there = Thing(Weights("here", "1")), Thing(Weights("there", "1"))
    assert signal_folder(tmp_path, identity(here)) == signal_folder(tmp_path, identity(there))


# --- other processes -------------------------------------------------------------------------

COMMIT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_store import keys_of, open_store, values
store = open_store(Path(sys.argv[1]))
for seed in range(30):
    store.commit(keys_of(*range(seed, seed + 50)), values(50, seed=seed))
"""


def commit_elsewhere(cache: Path, hash_seed: str) -> subprocess.Popen[bytes]:
    """Start a process that commits thirty blocks."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMIT, str(cache), str(Path(__file__).parent)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "TZ": f"UTC-{hash_seed}"},
        cwd=cache,
    )


def files(cache: Path) -> dict[str, bytes]:
    return {p.relative_to(cache).as_posix(): p.read_bytes() for p in cache.rglob("*.arrow")}


def test_bytes_depend_on_nothing_but_the_values_even_when_two_commit_at_once(
    tmp_path: Path,
) -> None:
    caches = [tmp_path / "shared", tmp_path / "alone"]
    for cache in caches:
        cache.mkdir()
    running = [commit_elsewhere(caches[0], "1"), commit_elsewhere(caches[0], "2")]
    running.append(commit_elsewhere(caches[1], "3"))
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert len(files(caches[0])) == 30
    assert files(caches[0]) == files(caches[1])
    assert not list(tmp_path.rglob("*.tmp"))


def test_nothing_of_time_or_host_is_inside_a_part(tmp_path: Path) -> None:
    content = open_store(tmp_path).commit(keys_of("a"), values(1)).read_bytes()
    year = time.strftime("%Y").encode()
    for word in (os.uname().nodename.encode(), str(tmp_path).encode(), year):
        assert word not in content


# --- full disk -------------------------------------------------------------------------------


def test_a_full_disk_is_one_sentence_and_leaves_no_half_part(small_disk: Path) -> None:
    store = open_store(small_disk, SCALAR)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(200_000))
    many = Values({"loss": np.zeros(5000)}, [None] * 5000)
    with pytest.raises(StorageError) as caught:
        store.commit(keys_of(*range(5000)), many)
    assert caught.value.what == "the disk is full."
    assert caught.value.where == str(store.folder)
    assert "run the same command again: what is measured is kept." in str(caught.value)
    assert sorted(p.name for p in store.folder.iterdir()) == ["identity.json"]
    ballast.unlink()
    store.commit(keys_of(*range(5000)), many)
    store.refresh()
    assert (store.find(keys_of(*range(5000))) >= 0).all()


def test_a_cache_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be written"):
        open_store(tmp_path / "cache")
