"""`--signals`: numbers measured elsewhere, keyed by row, uid or image."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.simple import MeanColour, write_pool
from visift.engine.lab import Examples, LocalLab
from visift.engine.ledger import Entry
from visift.engine.measured import ByRow
from visift.errors import InputError
from visift.pool.pool import Pool
from visift.signals import imported as imported_module
from visift.signals.imported import NO_VALUE, Imported, SignalFile
from visift.signals.signal import Column, Unit
from visift.signals.texts import decoded

RECORDS = [
    ("a", ["x/1.png"]),
    ("b", ["x/2.png", "x/3.png"]),
    ("c", []),
    ("d", ["x/1.png"]),
    ("e", ["x/2.png"]),
]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return Pool.open(write_pool(tmp_path_factory.mktemp("pool"), RECORDS))


def write(folder: Path, columns: Mapping[str, Any], name: str = "signals.parquet") -> Path:
    pq.write_table(pa.table(dict(columns)), folder / name)
    return folder / name


def answer(pool: Pool, path: Path, unit: Unit = "record", column: str = "value") -> ByRow:
    file = SignalFile.open(path)
    vector = hasattr(pq.read_schema(path).field(column).type, "value_type")
    wanted = Column(column, "float32", (None,) if vector else ())
    found = Imported((file,)).answer(pool, [wanted], unit)
    assert found is not None
    return ByRow(found.values, found.starts, found.flat)


def by_row(pool: Pool, path: Path, unit: Unit = "record", column: str = "value") -> list[Any]:
    """Return the value of every row, None where it has none."""
    got = answer(pool, path, unit, column)
    ok = got.ok(np.arange(len(pool)))
    return [got.take(column, np.array([r]))[0].tolist() if ok[r] else None for r in range(len(ok))]


def complaint(pool: Pool, path: Path, unit: Unit = "record") -> str:
    with pytest.raises(InputError) as caught:
        answer(pool, path, unit)
    assert caught.value.where is not None
    assert str(path) in caught.value.where
    return caught.value.what


# --- keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [pa.int64(), pa.int32(), pa.uint8()])
def test_rows_count_from_zero_in_any_order(pool: Pool, tmp_path: Path, kind: Any) -> None:
    path = write(tmp_path, {"row": pa.array([4, 0, 2], kind), "value": [40, 0, 20]})
    assert by_row(pool, path) == [0, None, 20, None, 40]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
)
def test_uids_are_looked_up(pool: Pool, tmp_path: Path, kind: Any) -> None:
    uids = pa.array(["pool.json#3", "pool.json#0"], pa.string()).cast(kind)
    assert by_row(pool, write(tmp_path, {"uid": uids, "value": [3, 0]})) == [0, None, None, 3, None]


def test_a_row_of_several_images_takes_their_mean(pool: Pool, tmp_path: Path) -> None:
    images = [f"x/{n}.png" for n in (3, 1, 2)]
    path = write(tmp_path, {"image": images, "value": [3.0, 1.0, 2.0]})
    assert by_row(pool, path, "image") == by_row(pool, path) == [1, 2.5, None, 1, 2]


def test_an_image_key_serves_all_spellings_of_its_image(tmp_path: Path) -> None:
    records = [("a", ["1.png"]), ("b", ["./1.png"]), ("c", ["2.png"])]
    pool = Pool.open(write_pool(tmp_path, records))
    for spelling in ("1.png", "./1.png"):
        path = write(tmp_path, {"image": [spelling], "value": [7]})
        assert by_row(pool, path, "image") == [7, 7, None]


def test_an_image_key_that_means_two_images_is_refused(tmp_path: Path) -> None:
    pools = [write_pool(tmp_path / name, [("a", ["1.png"]), ("b", ["2.png"])]) for name in "xy"]
    (tmp_path / "y" / "1.png").write_bytes(b"another one")
    path = write(tmp_path, {"image": ["1.png", "2.png"], "value": [1, 2]})
    what = complaint(Pool.open(pools), path)
    assert what == "image '1.png' is another one in each joined pool."
    same = write(tmp_path, {"image": ["2.png"], "value": [2]})
    assert by_row(Pool.open(pools), same) == [None, 2, None, 2]


def test_an_image_that_is_in_records_but_not_on_disk_may_have_a_value(tmp_path: Path) -> None:
    where = write_pool(tmp_path, [("a", ["1.png"]), ("b", ["2.png"])])
    (tmp_path / "1.png").unlink()
    path = write(tmp_path, {"image": ["1.png", "2.png"], "value": [1, 2]})
    assert by_row(Pool.open(where), path, "image") == [None, 2]


def test_an_image_group_takes_the_value_of_its_first_row(pool: Pool, tmp_path: Path) -> None:
    path = write(tmp_path, {"row": [3, 0, 1, 4, 2], "value": [30, 0, 10, 40, 20]})
    assert by_row(pool, path, "image") == [0, 10, 20, 0, 40]
    assert by_row(pool, path, "record") == [0, 10, 20, 30, 40]


def test_a_group_whose_first_row_has_no_value_has_none(pool: Pool, tmp_path: Path) -> None:
    assert by_row(pool, write(tmp_path, {"row": [3], "value": [30]}), "image") == [None] * 5


@pytest.mark.parametrize(
    ("key", "keys", "named"),
    [
        ("row", [0, 5], "row 5"),
        ("row", [-1, 0], "row -1"),
        ("uid", ["pool.json#0", "pool.json#5"], "uid 'pool.json#5'"),
        ("uid", ["0", "1"], "uid '0'"),
        ("image", ["x/1.png", "1.png"], "image '1.png'"),
    ],
)
def test_a_key_that_is_not_in_the_pool_is_named(
    pool: Pool, tmp_path: Path, key: str, keys: list[Any], named: str
) -> None:
    path = write(tmp_path, {key: keys, "value": [1, 2]})
    assert complaint(pool, path) == f"{named} is not in the pool of 5 records."


@pytest.mark.parametrize(
    ("key", "keys", "what"),
    [
        ("row", [1, 0, 1], "row 1 occurs more than once."),
        ("uid", ["pool.json#0"] * 3, "uid 'pool.json#0' occurs more than once."),
        ("row", [1, None, 2], "column row has empty cells."),
        ("image", ["x/1.png", None, "x/2.png"], "column image has empty cells."),
        ("row", [1.0, 2.0, 3.0], "column row holds double, whole numbers were expected."),
        ("row", ["1", "2", "3"], "column row holds string, whole numbers were expected."),
        ("row", [True, False, None], "column row holds bool, whole numbers were expected."),
        ("uid", [1, 2, 3], "column uid holds int64, text was expected."),
    ],
)
def test_keys_that_cannot_be_used(
    pool: Pool, tmp_path: Path, key: str, keys: list[Any], what: str
) -> None:
    assert complaint(pool, write(tmp_path, {key: keys, "value": [1, 2, 3]})) == what


# --- values ----------------------------------------------------------------------------------

LISTS = [
    pa.list_(pa.float16()),
    pa.list_(pa.float16(), 2),
    pa.list_(pa.float32()),
    pa.large_list(pa.float64()),
    pa.list_(pa.float64(), 2),
    pa.list_(pa.int8(), 2),
]


@pytest.mark.parametrize("kind", LISTS, ids=str)
@pytest.mark.parametrize("batch", [1, 2, 100])
def test_lists_of_numbers_keep_their_type(
    pool: Pool, tmp_path: Path, kind: Any, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imported_module, "_BATCH_ROWS", batch)
    cells = [[np.dtype(kind.value_type.to_pandas_dtype()).type(n) for n in (i, -i)] for i in (1, 2)]
    path = write(tmp_path, {"row": [0, 1, 3], "value": pa.array([cells[0], None, cells[1]], kind)})
    assert by_row(pool, path) == [[1, -1], None, None, [2, -2], None]
    taken = answer(pool, path).take("value", np.array([0, 3]))
    assert taken.dtype == kind.value_type.to_pandas_dtype()
    assert taken.shape == (2, 2)


@pytest.mark.parametrize(
    "kind", [pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.uint64(), pa.int64()], ids=str
)
def test_numbers_keep_their_type(pool: Pool, tmp_path: Path, kind: Any) -> None:
    one = np.dtype(kind.to_pandas_dtype()).type(1)
    path = write(tmp_path, {"row": [0, 1], "value": pa.array([one, None], kind)})
    assert by_row(pool, path) == [1, None, None, None, None]
    assert answer(pool, path).take("value", np.array([0])).dtype == kind.to_pandas_dtype()


def test_large_whole_numbers_stay_exact(pool: Pool, tmp_path: Path) -> None:
    path = write(tmp_path, {"row": [0, 1], "value": pa.array([2**53 + 1, None], pa.int64())})
    assert by_row(pool, path)[0] == 2**53 + 1


def test_nan_infinity_and_nulls_are_no_value_and_say_so(pool: Pool, tmp_path: Path) -> None:
    cells = [[1.0, 2.0], [np.nan, 1.0], [np.inf, 1.0], [None, 1.0], None]
    path = write(tmp_path, {"row": range(5), "value": pa.array(cells, pa.list_(pa.float32()))})
    got = answer(pool, path)
    assert got.ok(np.arange(5)).tolist() == [True, False, False, False, False]
    assert got.reasons(np.arange(5)) == [None] + [NO_VALUE] * 4
    whole = write(tmp_path, {"row": [0, 1], "value": pa.array([[1, 2], [None, 2]])})
    assert by_row(pool, whole)[:2] == [[1, 2], None]


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_lists_of_several_lengths_are_refused(
    pool: Pool, tmp_path: Path, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imported_module, "_BATCH_ROWS", batch)
    path = write(tmp_path, {"row": [0, 1, 2], "value": [[1.0, 2.0], [1.0], [3.0, 4.0]]})
    assert complaint(pool, path) == "lists of 1 to 2 numbers."


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["a", "b"], "string"),
        ([True, False], "bool"),
        ([["a"], ["b"]], "string"),
        ([{"a": 1}, {"a": 2}], "struct<a: int64>"),
    ],
)
def test_other_things_than_numbers_are_refused(
    pool: Pool, tmp_path: Path, cells: list[Any], kind: str
) -> None:
    path = write(tmp_path, {"row": [0, 1], "value": cells})
    assert complaint(pool, path) == f"holds {kind}, numbers were expected."


def test_a_file_without_rows_gives_no_row_a_value(pool: Pool, tmp_path: Path) -> None:
    for key, kind in (("row", pa.int64()), ("image", pa.string())):
        empty = {key: pa.array([], kind), "value": pa.array([], pa.float32())}
        assert by_row(pool, write(tmp_path, empty), "image") == [None] * 5


def test_names_with_dots_are_columns(pool: Pool, tmp_path: Path) -> None:
    path = write(tmp_path, {"row": [0], "score": [1.0], "score.ocr": [2.0]})
    assert by_row(pool, path, column="score.ocr")[0] == 2.0
    assert by_row(pool, path, column="score")[0] == 1.0


# --- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"value": [1]}, "has 0 key columns, exactly one of row, uid, image was expected."),
        ({"row": [1], "uid": ["a"], "value": [1]}, "has 2 key columns, "),
    ],
)
def test_a_file_has_exactly_one_key_column(
    tmp_path: Path, columns: Mapping[str, Any], what: str
) -> None:
    with pytest.raises(InputError) as caught:
        SignalFile.open(write(tmp_path, columns))
    assert caught.value.what.startswith(what)
    assert "Its columns are: " in str(caught.value)


def test_what_is_no_parquet_file_is_one_sentence(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("row,value\n0,1\n" * 9)
    for path in (tmp_path / "text.parquet", tmp_path / "not there", tmp_path):
        with pytest.raises(InputError, match=r"not a readable parquet file \(.*\)\.\nCheck"):
            SignalFile.open(path)


def test_a_damaged_column_is_one_sentence(pool: Pool, tmp_path: Path) -> None:
    rows = np.arange(5)
    path = write(tmp_path, {"row": rows, "value": np.random.default_rng(0).normal(size=5)})
    data = bytearray(path.read_bytes())
    data[4 : len(data) // 3] = bytes(len(data) // 3 - 4)
    path.write_bytes(data)
    assert "not a readable parquet file" in complaint(pool, path)


def test_the_first_file_that_has_all_columns_gives_them(pool: Pool, tmp_path: Path) -> None:
    paths = [
        write(tmp_path, {"row": [0], "other": [1.0]}, "a.parquet"),
        write(tmp_path, {"row": [0], "value": [2.0]}, "b.parquet"),
        write(tmp_path, {"uid": ["pool.json#0"], "value": [3.0], "other": [4.0]}, "c.parquet"),
    ]
    files = Imported(tuple(SignalFile.open(path) for path in paths))
    for names, expected in ((["value"], 2.0), (["other"], 1.0), (["value", "other"], 3.0)):
        found = files.answer(pool, [Column(name, "float32") for name in names], "record")
        assert found is not None
        assert found.values.gather(names[0], found.flat[:1]).tolist() == [expected]
    assert (
        files.answer(pool, [Column("value", "float32"), Column("nothing", "float32")], "record")
        is None
    )


# --- in a lab, in a run ----------------------------------------------------------------------


def test_a_lab_measures_nothing_that_is_handed_in(pool: Pool, tmp_path: Path) -> None:
    cells = pa.array([[1.0, 2.0], [np.nan, 4.0], [5.0, 6.0]], pa.list_(pa.float32()))
    path = write(tmp_path, {"row": [0, 1, 4], "visual_feature": cells})

    def devices() -> tuple[str, ...]:
        raise AssertionError("asked for devices")

    files = Imported((SignalFile.open(path),))
    lab = LocalLab(pool, tmp_path / "cache", devices, imported=files)
    rows = np.array([0, 1, 3, 4])
    handle = lab.measure(MeanColour(), Examples(rows))
    assert handle.ok(rows).tolist() == [True, False, True, True]
    assert lab.failures() == {1: NO_VALUE}
    assert handle.take("visual_feature", np.array([3, 4])).tolist() == [[1, 2], [5, 6]]
    assert lab.ledger == [Entry("MeanColour", "image", 3, 0, 1)]
    assert lab.identities() == []
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("shape", "cells", "said"),
    [
        ((None,), [1.0, 2.0], "holds single numbers, lists of numbers were expected."),
        ((None,), [], "holds single numbers, lists of numbers were expected."),
        ((), [[1.0], [2.0]], "holds lists of numbers, single numbers were expected."),
        ((None,), [[[1.0]], [[2.0]]], "holds lists of lists, lists of numbers were expected."),
    ],
)
def test_lists_and_single_numbers_are_not_taken_for_each_other(
    pool: Pool, tmp_path: Path, shape: tuple[None, ...], cells: list[Any], said: str
) -> None:
    values = pa.array(cells, None if cells else pa.float64())
    path = write(tmp_path, {"row": pa.array(range(len(cells)), pa.int64()), "value": values})
    files = Imported((SignalFile.open(path),))
    with pytest.raises(InputError) as caught:
        files.answer(pool, [Column("value", "float32", shape)], "record")
    assert (caught.value.what, caught.value.where) == (said, f"{path}, column value")


def test_the_mean_over_a_row_counts_each_image_once(tmp_path: Path) -> None:
    records = [("a", ["1.png", "2.png", "1.png"]), ("b", ["2.png", "1.png"])]
    pool = Pool.open(write_pool(tmp_path, records))
    path = write(tmp_path, {"image": ["1.png", "2.png"], "value": [1.0, 2.0]})
    assert by_row(pool, path, "image") == [1.5, 1.5]


def select(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `visift select` and say on stderr which heavy modules it imported."""
    code = (
        "import atexit, sys\n"
        "from visift.cli import main\n"
        "heavy = {'torch', 'transformers', 'torchvision'}\n"
        "said = lambda: print('imported', sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
        "atexit.register(said)\n"
        "main()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, "select", *arguments],
        cwd=folder,
        env={**os.environ, "VISIFT_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_prism_runs_from_a_file_without_a_model_and_without_torch(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool", [(str(i), [f"s{i % 3}/{i}.png"]) for i in range(30)])
    draw = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float16)
    features = pa.FixedSizeListArray.from_arrays(pa.array(draw.ravel()), 4)
    write(tmp_path, {"row": np.arange(30), "visual_feature": features}, "f.parquet")
    write(tmp_path, {"row": np.arange(29), "visual_feature": features[:29]}, "fewer.parquet")
    common = ("--pool", "pool/pool.json", "--method", "prism", "--budget", "20%")
    run = select(tmp_path, *common, "--signals", "f.parquet", "-o", "out")
    assert run.returncode == 0, run.stderr
    assert run.stderr.endswith("imported []\n")
    assert len(pq.read_table(tmp_path / "out" / "selection.parquet")) == 6

    fewer = select(tmp_path, *common, "--signals", "fewer.parquet", "-o", "second")
    assert fewer.returncode == 1
    assert "1 of 30 records cannot be used" in fewer.stderr
    assert NO_VALUE in fewer.stderr

    without = select(tmp_path, *common, "-o", "third")
    assert without.returncode == 1
    assert "hand in visual_feature with --signals FILE" in without.stderr
    assert without.stderr.endswith("imported []\n")


# --- marks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("marks", [[True, False, None, True, False], [1, 0, 0, 2, 0]])
def test_a_column_of_true_and_false_names_rows(pool: Pool, tmp_path: Path, marks: Any) -> None:
    path = write(tmp_path, {"row": range(5), "is_seed": marks})
    found = Imported((SignalFile.open(path),)).marked(pool, "is_seed")
    assert found is not None
    assert found.tolist() == [0, 3]
    assert Imported((SignalFile.open(path),)).marked(pool, "is_reference") is None


def test_marks_by_uid_need_not_name_every_row(pool: Pool, tmp_path: Path) -> None:
    uids = pool.uids(np.array([4, 1]))
    path = write(tmp_path, {"uid": uids, "is_seed": [True, False]})
    found = Imported((SignalFile.open(path),)).marked(pool, "is_seed")
    assert found is not None
    assert found.tolist() == [4]


def test_marks_are_of_records(pool: Pool, tmp_path: Path) -> None:
    path = write(tmp_path, {"image": ["x/1.png"], "is_seed": [True]})
    with pytest.raises(InputError, match="keyed by image"):
        Imported((SignalFile.open(path),)).marked(pool, "is_seed")


def test_extra_columns_may_be_left_out(pool: Pool, tmp_path: Path) -> None:
    path = write(tmp_path, {"row": range(5), "value": [1.0] * 5})
    wanted = [Column("value", "float32"), Column("count", "int32", extra=True)]
    found = Imported((SignalFile.open(path),)).answer(pool, wanted, "record")
    assert found is not None
    assert list(found.values.columns) == ["value"]


def test_where_nothing_is_a_value_rows_without_a_number_are_fine(
    pool: Pool, tmp_path: Path
) -> None:
    path = write(
        tmp_path, {"row": range(4), "score.a": [1, None, 3, 0], "score.b": [0.5, 1, np.nan, 2]}
    )
    wanted = [Column(f"score.{key}", "float32", missing=True) for key in "ab"]
    found = Imported((SignalFile.open(path),)).answer(pool, wanted, "record")
    assert found is not None
    got = ByRow(found.values, found.starts, found.flat)
    assert got.ok(np.arange(5)).tolist() == [True] * 4 + [False]
    for key, values in {"a": [1, np.nan, 3, 0], "b": [0.5, 1, np.nan, 2]}.items():
        np.testing.assert_equal(got.take(f"score.{key}", np.arange(4)), np.array(values))


@pytest.mark.parametrize("kind", [pa.list_(pa.string()), pa.large_list(pa.string()), pa.string()])
def test_texts_and_lists_of_them_are_kept_as_bytes(pool: Pool, tmp_path: Path, kind: Any) -> None:
    said: list[Any] = [["yes/no", "größer"], [], None]
    if kind == pa.string():
        said = [None if one is None else ", ".join(one) for one in said]
    path = write(tmp_path, {"row": range(3), "styles": pa.array(said, kind)})
    found = Imported((SignalFile.open(path),)).answer(
        pool, [Column("styles", "uint8", (24,), text=True)], "record"
    )
    assert found is not None
    got = ByRow(found.values, found.starts, found.flat)
    assert got.ok(np.arange(5)).tolist() == [True, True, False, False, False]
    assert decoded(got.take("styles", np.arange(2))) == ["yes/no, größer", ""]


def test_texts_that_do_not_fit_are_refused(pool: Pool, tmp_path: Path) -> None:
    wanted = [Column("styles", "uint8", (4,), text=True)]
    for said, complaint in (
        ("12345", "a text of 5 bytes, at most 4"),
        (7, "holds int64, texts or"),
    ):
        path = write(tmp_path, {"row": [0], "styles": [said]})
        with pytest.raises(InputError, match=complaint):
            Imported((SignalFile.open(path),)).answer(pool, wanted, "record")
