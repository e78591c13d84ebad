"""Measuring in batches: every item gets its own value or its own reason, whatever the batches."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visift.errors import ImageError, ImageUnavailable, InputError, ModelError, StorageError
from visift.signals.batching import AHEAD, NOT_FINITE, ItemsAtFault, measure_in_batches
from visift.signals.signal import Column, ImageItem, Values

WIDTH = 3
COLUMNS = (
    Column("number", "int64"),
    Column("root", "float32"),
    Column("powers", "float16", (None,), scaled=True),
    Column("table", "float32", (2, None)),
)


def load(item: int | str) -> int:
    if isinstance(item, str):
        raise ImageError(item)
    return item


def compute(numbers: list[int]) -> dict[str, Any]:
    n = np.array(numbers)
    powers = n[:, None] ** np.arange(1, WIDTH + 1)
    return {
        "number": n,
        "root": np.sqrt(n),
        "powers": powers,
        "table": np.stack([powers, -powers], axis=1),
    }


def measure(items: list[Any], batch_size: int = 4, compute: Any = compute) -> Values:
    return measure_in_batches(items, load, compute, COLUMNS, WIDTH, batch_size)


def test_every_item_gets_its_own_value_in_order() -> None:
    values = measure(list(range(11)))
    assert values.columns["number"].tolist() == list(range(11))
    assert values.columns["powers"][4].tolist() == [4, 16, 64]
    assert values.columns["table"].shape == (11, 2, WIDTH)
    assert list(values.reasons) == [None] * 11


def test_columns_have_their_dtype_and_scaled_ones_are_still_float32() -> None:
    dtypes = {name: str(array.dtype) for name, array in measure([1]).columns.items()}
    assert dtypes == {"number": "int64", "root": "float32", "powers": "float32", "table": "float32"}


def test_no_items_give_empty_columns() -> None:
    values = measure([])
    assert {name: array.shape for name, array in values.columns.items()} == {
        "number": (0,),
        "root": (0,),
        "powers": (0, WIDTH),
        "table": (0, 2, WIDTH),
    }
    assert list(values.reasons) == []


def test_batches_are_formed_in_order_and_items_that_do_not_load_are_left_out() -> None:
    batches: list[list[int]] = []

    def watch(numbers: list[int]) -> dict[str, Any]:
        batches.append(numbers)
        return compute(numbers)

    values = measure([0, "missing", 2, "cut off", "missing", "missing", 6], 3, watch)
    assert batches == [[0, 2], [6]]
    assert list(values.reasons) == [
        None, "missing", None, "cut off", "missing", "missing", None,
    ]  # fmt: skip
    assert values.columns["number"].tolist() == [0, 0, 2, 0, 0, 0, 6]


def test_when_a_batch_fails_only_the_items_at_fault_have_no_value() -> None:
    sizes: list[int] = []

    def fragile(numbers: list[int]) -> dict[str, Any]:
        sizes.append(len(numbers))
        if 5 in numbers:
            raise ValueError("five is odd")
        return compute(numbers)

    values = measure(list(range(8)), 4, fragile)
    assert sizes == [4, 4, 1, 1, 1, 1]
    assert values.columns["number"].tolist() == [0, 1, 2, 3, 4, 0, 6, 7]
    assert values.reasons[5] == "not measurable: ValueError: five is odd"
    assert values.passing == {5}
    assert [i for i, reason in enumerate(values.reasons) if reason] == [5]


def test_a_refusal_of_our_own_is_the_reason_as_it_stands() -> None:
    def refuse(numbers: list[int]) -> dict[str, Any]:
        raise InputError("longer than the model can read.")

    values = measure([1, 2], 2, refuse)
    assert list(values.reasons) == ["longer than the model can read."] * 2
    assert values.passing == frozenset()


def test_what_the_content_does_not_decide_may_pass() -> None:
    def fetch(item: object) -> int:
        if isinstance(item, Exception):
            raise item
        return load(item)  # type: ignore[arg-type]

    faults = [OSError(5, "Input/output error"), ImageUnavailable("cannot be read"), "truncated"]
    values = measure_in_batches([0, *faults, 4], fetch, compute, COLUMNS, WIDTH, 2)
    said = "not measurable: OSError: [Errno 5] Input/output error"
    assert list(values.reasons) == [None, said, "cannot be read", "truncated", None]
    assert values.passing == {1, 2}
    settled = values.at([0, 3, 4])
    assert settled.columns["number"].tolist() == [0, 0, 4]
    assert (list(settled.reasons), settled.passing) == ([None, "truncated", None], frozenset())


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("missing", "image missing: a/1.png"),
        ("truncated (302 bytes, 840 needed)", "image truncated: a/1.png (302 bytes, 840 needed)"),
        ("corrupt (PNG: bad (odd))", "image corrupt: a/1.png (PNG: bad (odd))"),
        ("too large: 9 bytes, limit 3", "image too large: a/1.png (9 bytes, limit 3)"),
    ],
)
@pytest.mark.parametrize("kind", [ImageError, ImageUnavailable])
def test_a_reason_names_its_image_after_a_short_kind(
    said: str, reason: str, kind: type[ImageError]
) -> None:
    def refuse() -> Any:
        raise kind(said)

    item = ImageItem("a/1.png", refuse)
    values = measure_in_batches([item], lambda i: i.load(), compute, COLUMNS, WIDTH, 2)
    assert list(values.reasons) == [reason]
    assert values.passing == ({0} if kind is ImageUnavailable else frozenset())


def test_what_fails_while_an_image_is_computed_names_it() -> None:
    def fail(images: list[Any]) -> dict[str, Any]:
        raise RuntimeError("CUDA error:\nno memory")

    items: list[Any] = [ImageItem(f"{n}.png", lambda: None) for n in range(2)]  # type: ignore
    values = measure_in_batches(items, lambda i: i.load(), fail, COLUMNS, WIDTH, 2)
    assert values.reasons[1] == "not measurable: 1.png (RuntimeError: CUDA error: no memory)"
    assert values.passing == {0, 1}


@pytest.mark.parametrize("error", [ModelError("no such layer"), StorageError("disk full")])
def test_what_would_fail_for_every_item_ends_the_measuring(error: Exception) -> None:
    def fail(numbers: list[int]) -> dict[str, Any]:
        raise error

    with pytest.raises(type(error)):
        measure([1, 2, 3], 2, fail)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", ["root", "powers", "table"])
def test_a_value_that_is_not_finite_is_none(column: str, bad: float) -> None:
    def spoil(numbers: list[int]) -> dict[str, Any]:
        arrays = {name: array.astype(float) for name, array in compute(numbers).items()}
        arrays[column][1:2].flat[0] = bad
        return arrays

    values = measure([7, 8, 9], 3, spoil)
    assert list(values.reasons) == [None, NOT_FINITE, None]
    assert all(not array[1].any() for array in values.columns.values())
    assert values.columns["number"].tolist() == [7, 0, 9]


def test_a_value_beyond_the_range_of_its_column_is_none() -> None:
    def large(numbers: list[int]) -> dict[str, Any]:
        return {"half": np.array([1.0, 1e6])}

    values = measure_in_batches([0, 1], load, large, [Column("half", "float16")], 0, 2)
    assert list(values.reasons) == [None, NOT_FINITE]


def test_items_load_in_another_thread_and_only_a_few_batches_ahead() -> None:
    loaded: list[int] = []
    threads: set[int] = set()
    lead: list[int] = []

    def watched_load(item: int) -> int:
        loaded.append(item)
        threads.add(threading.get_ident())
        return item

    def watched_compute(numbers: list[int]) -> dict[str, Any]:
        lead.append(len(loaded) - numbers[-1] - 1)
        return compute(numbers)

    measure_in_batches(list(range(100)), watched_load, watched_compute, COLUMNS, WIDTH, 5)
    assert loaded == list(range(100))
    assert threading.get_ident() not in threads
    assert max(lead) <= 5 * AHEAD


@settings(max_examples=60, deadline=None)
@given(
    items=st.lists(st.one_of(st.integers(0, 30), st.sampled_from(["missing", "damaged"]))),
    batch_size=st.integers(1, 9),
    broken=st.sets(st.integers(0, 30), max_size=5),
)
def test_the_batch_size_changes_nothing(
    items: list[Any], batch_size: int, broken: set[int]
) -> None:
    def fragile(numbers: list[int]) -> dict[str, Any]:
        if broken.intersection(numbers):
            raise RuntimeError("broken")
        return compute(numbers)

    values = measure(items, batch_size, fragile)
    alone = [measure([item], 1, fragile) for item in items]
    assert list(values.reasons) == [one.reasons[0] for one in alone]
    for name, array in values.columns.items():
        for row, one in zip(array, alone, strict=True):
            np.testing.assert_array_equal(row, one.columns[name][0])


def test_batches_may_be_given_and_values_stand_in_the_order_of_the_items() -> None:
    seen: list[list[int]] = []

    def watched(numbers: list[int]) -> dict[str, Any]:
        seen.append(numbers)
        return compute(numbers)

    items = [10, 11, 12, 13, 14]
    values = measure_in_batches(items, load, watched, COLUMNS, WIDTH, 1, [[4, 0], [2], [3, 1]])
    assert seen == [[14, 10], [12], [13, 11]]
    assert values.columns["number"].tolist() == items


def test_items_at_fault_leave_their_batch_which_is_computed_without_them() -> None:
    seen: list[list[int]] = []

    def choosy(numbers: list[int]) -> dict[str, Any]:
        seen.append(numbers)
        odd = {place: ImageError("odd") for place, n in enumerate(numbers) if n % 2}
        if odd:
            raise ItemsAtFault(odd)
        return compute(numbers)

    values = measure_in_batches([2, 3, 4, 5, 7, 9], load, choosy, COLUMNS, WIDTH, 4)
    assert list(values.reasons) == [None, "odd", None, "odd", "odd", "odd"]
    assert values.columns["number"].tolist() == [2, 0, 4, 0, 0, 0]
    assert seen == [[2, 3, 4, 5], [2, 4], [7, 9]]
    assert not values.passing
