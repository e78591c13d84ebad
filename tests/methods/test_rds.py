"""`rds`: targets take turns; hidden states are handed in, so that no model runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import open_records, talk, write_json
from methods.choosing import chosen
from methods.gradients_in import signals, with_targets
from methods.handed_in import at_degrees
from visift.errors import InputError
from visift.methods.turns import Nearest, take_turns
from visift.pool.pool import Pool
from visift.selection import Choice

RDS = "rds"


def select(pool: Pool, folder: Path, h: Any, budget: Any, **given_: Any) -> Choice:
    return chosen(pool, RDS, budget, signals=signals(folder, hidden_mean=h), **given_)


def nearest(x: np.ndarray, targets: np.ndarray, block: int = 1000) -> Nearest:
    return Nearest(
        lambda: (x[i : i + block] for i in range(0, len(x), block)),
        targets / np.linalg.norm(targets, axis=1, keepdims=True),
        np.arange(len(x), dtype=np.uint64),
        6,
    )


def printed(cosine: np.ndarray, count: int) -> list[int]:
    """The rule as it is said: each target in turn, the row of the highest cosine not yet taken."""
    left, taken = list(range(len(cosine))), list[int]()
    while len(taken) < count:
        column = cosine[:, len(taken) % cosine.shape[1]]
        best = max(left, key=lambda row: (column[row], -row))
        left.remove(best)
        taken.append(best)
    return taken


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_turns_are_as_said_however_many_are_held(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    n, m = data.draw(st.integers(1, 300)), data.draw(st.integers(1, 4))
    x, targets = np.round(rng.normal(size=(n, 2)), 1) + 1e-9, rng.normal(size=(m, 2))
    count = data.draw(st.integers(1, n))
    found = nearest(x, targets, data.draw(st.integers(1, n)))
    cosine = np.concatenate([cosines for _, cosines in found.cosines()])
    turns = take_turns(found, count)
    assert turns.items.tolist() == printed(cosine, count)
    assert turns.cosine.tolist() == cosine[turns.items, turns.by].tolist()


def test_targets_that_want_the_same_rows_look_further_down() -> None:
    x = at_degrees(*np.linspace(0, 80, 200))
    turns = take_turns(nearest(x, at_degrees(0, 0, 0)), 200)
    assert turns.items.tolist() == list(range(200))


def test_targets_take_turns_in_key_order(tmp_path: Path) -> None:
    pool = with_targets(tmp_path, "aaaa", "xy")
    choice = select(pool, tmp_path, at_degrees(5, 10, 80, 85, 0, 90), 4)
    first_is_x = pool.tie_keys(0)[4] < pool.tie_keys(0)[5]
    assert choice.rows.tolist() == ([0, 3, 1, 2] if first_is_x else [3, 0, 2, 1])
    assert choice.score[:4] == pytest.approx(np.cos(np.radians([5, 10, 10, 5])), abs=1e-5)
    uid = pool.uids(np.array([4 if first_is_x else 5]))[0]
    assert choice.reasons[0].startswith(f"nearest to {uid} when its turn came (cosine 0.996")


def test_smaller_budgets_are_prefixes(tmp_path: Path) -> None:
    pool = with_targets(tmp_path, "a" * 40, "xyz")
    h = np.random.default_rng(0).normal(size=(43, 5))
    many = select(pool, tmp_path, h, 30).rows.tolist()
    for budget in (1, 7, 29):
        assert select(pool, tmp_path, h, budget).rows.tolist() == many[:budget]
    assert sorted(select(pool, tmp_path, h, "100%").rows.tolist()) == list(range(40))


def test_what_is_kept_or_there_uses_up_turns(tmp_path: Path) -> None:
    records = {"keep": [talk("kept 0")], "have": [talk("had 0")], "target": [talk("target 0")]}
    files = {name: write_json(tmp_path / f"{name}.json", said) for name, said in records.items()}
    pool = open_records(
        tmp_path,
        [talk(f"q{n}") for n in range(4)],
        keep=[files["keep"]],
        have=[files["have"]],
        target=[files["target"]],
    )
    kept, target = int(pool.rows("kept")[0]), int(pool.rows("target")[0])
    had = int(pool.rows("have")[0])
    h = np.empty((len(pool), 2))
    h[[0, 1, 2, 3]] = at_degrees(5, 50, 60, 70)
    h[[kept, had, target]] = at_degrees(1, 2, 0)
    choice = select(pool, tmp_path, h, 2)
    assert choice.rows.tolist() == [kept, 0]


def test_rows_and_targets_without_a_value(tmp_path: Path) -> None:
    pool = with_targets(tmp_path, "aaa", "xy")
    h = at_degrees(0, 10, 20, 0, 90)
    h[[0, 4]] = np.nan
    choice = select(pool, tmp_path, h, "100%")
    assert choice.rows.tolist() == [1, 2]
    assert choice.facts["notices"] == ["1 target not used: no value."]
    h[3] = np.nan
    with pytest.raises(InputError, match="no target has a value"):
        select(pool, tmp_path, h, 1)
