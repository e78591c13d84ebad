"""What is held out: whole image groups, a share of every task, by a keyed draw."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import open_records, put_images, talk, write_json
from visift.errors import InputError
from visift.pool.pool import Pool
from visift.validate.splitting import NO_TASK, Questions, hold_out, image_groups, tasks_of

HALF = Fraction(1, 2)


def pool_of(folder: Path, records: list[dict[str, Any]]) -> Pool:
    names: set[str] = set()
    for record in records:
        shown = record.get("image", [])
        names |= {shown} if isinstance(shown, str) else set(shown)
    put_images(folder, sorted(names))
    return open_records(folder, records)


def asked(task: str, *images: str, question: str = "what?") -> dict[str, Any]:
    """Return a record of a task that shows some images."""
    shown: dict[str, Any] = {"image": images[0] if len(images) == 1 else list(images)}
    return talk("<image>" * len(images) + question, task=task, **(shown if images else {}))


def test_records_that_share_an_image_through_others_are_one_group(tmp_path: Path) -> None:
    pool = pool_of(
        tmp_path,
        [
            asked("a", "1.png"),
            asked("a", "1.png", "2.png"),
            asked("a", "2.png", question="and?"),
            asked("a", "3.png"),
        ],
    )
    groups = image_groups(pool)
    assert len(set(groups[:3].tolist())) == 1
    assert groups[3] != groups[0]


def test_text_only_records_with_the_same_conversation_are_one_group(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, [talk("one"), talk("two"), talk("one"), asked("a", "1.png")])
    groups = image_groups(pool).tolist()
    assert groups[0] == groups[2]
    assert len(set(groups)) == 3


def test_a_share_of_every_task_is_held_out(tmp_path: Path) -> None:
    records = [asked(task, f"{task}{n}.png") for task in ("a", "b") for n in range(10)]
    held = hold_out(pool_of(tmp_path, records), Fraction(1, 5), 400, 0)
    assert sorted(held.tasks) == ["a", "a", "b", "b"]
    assert held.rows.tolist() == sorted(held.rows.tolist())


def test_no_more_than_the_most_are_held_out_of_a_task(tmp_path: Path) -> None:
    records = [asked("a", f"{n}.png") for n in range(20)]
    assert len(hold_out(pool_of(tmp_path, records), HALF, 3, 0)) == 3


def test_no_image_lies_on_both_sides(tmp_path: Path) -> None:
    records = [asked("a", f"{n % 6}.png", question=f"{n}?") for n in range(24)]
    pool = pool_of(tmp_path, records)
    held = hold_out(pool, Fraction(1, 4), 400, 0)
    rest = np.setdiff1d(pool.rows(), held.rows)
    assert not np.isin(pool.images.of_rows(rest), pool.images.of_rows(held.rows)).any()


def test_another_seed_holds_others_out_and_one_seed_the_same(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, [asked("a", f"{n}.png", question=f"{n}?") for n in range(20)])
    drawn = [hold_out(pool, Fraction(1, 5), 400, seed).rows.tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_draw_does_not_depend_on_the_order_of_the_pool(tmp_path: Path) -> None:
    records = [asked("a", f"{n}.png", question=f"{n}?") for n in range(20)]
    one = pool_of(tmp_path / "one", records)
    other = pool_of(tmp_path / "other", records[::-1])
    held = [
        {pool.content_hashes()[row] for row in hold_out(pool, Fraction(1, 5), 400, 0).rows}
        for pool in (one, other)
    ]
    assert held[0] == held[1]


def test_a_task_of_one_record_is_not_held_out(tmp_path: Path) -> None:
    records = [asked("a", f"{n}.png") for n in range(4)] + [asked("lone", "z.png")]
    assert set(hold_out(pool_of(tmp_path, records), HALF, 400, 0).tasks) == {"a"}


def test_an_image_that_most_of_a_task_shows_is_not_held_out(tmp_path: Path) -> None:
    records = [asked("a", "logo.png", question=f"{n}?") for n in range(50)]
    records += [asked("b", "logo.png", question=f"b {n}?") for n in range(5)]
    records += [asked("a", f"{n}.png") for n in range(50)]
    records += [asked("b", f"b{n}.png") for n in range(5)]
    pool = pool_of(tmp_path, records)
    for seed in range(4):
        held = hold_out(pool, Fraction(1, 5), 400, seed)
        assert (held.tasks.count("a"), held.tasks.count("b")) == (20, 2)


def test_a_task_is_never_held_out_as_a_whole(tmp_path: Path) -> None:
    records = [asked("b", "one.png", question=f"{n}?") for n in range(5)]
    records += [asked("a", f"{n}.png") for n in range(10)]
    held = hold_out(pool_of(tmp_path, records), HALF, 400, 0)
    assert set(held.tasks) == {"a"}


def test_large_groups_are_drawn_no_sooner_than_small_ones(tmp_path: Path) -> None:
    records = [asked("a", f"{n % 10}.png", question=f"{n}?") for n in range(40)]
    records += [asked("a", f"small {n}.png") for n in range(10)]
    pool = pool_of(tmp_path, records)
    groups = image_groups(pool)
    size = np.bincount(groups)

    def held(share: Fraction, seeds: int) -> list[list[int]]:
        drawn = (hold_out(pool, share, 400, seed).rows for seed in range(seeds))
        return [size[groups[rows]].tolist() for rows in drawn]

    # One record is wanted, and four would be more than twice as many and one.
    assert held(Fraction(1, 50), 10) == [[1]] * 10
    # Two are wanted: with half of the groups large, the first two are both small in 9 of 38 draws.
    small = sum(sizes == [1, 1] for sizes in held(Fraction(1, 20), 100))
    assert 14 <= small <= 34


def test_what_shows_an_image_of_a_target_is_no_question(tmp_path: Path) -> None:
    put_images(tmp_path, [f"{n}.png" for n in range(6)])
    records = [asked("a", f"{n}.png", question=f"{n}?") for n in range(6)]
    pool = Pool.open(
        write_json(tmp_path / "pool.json", records),
        target=write_json(tmp_path / "t.json", [asked("a", f"{n}.png") for n in range(4)]),
    )
    held = hold_out(pool, HALF, 400, 0)
    assert set(held.rows.tolist()) <= {4, 5}


def test_a_pool_that_is_too_small_is_an_error(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, [asked("a", "1.png")])
    with pytest.raises(InputError, match="too small to hold 50% of it out"):
        hold_out(pool, HALF, 400, 0)


def test_the_source_stands_in_for_a_task(tmp_path: Path) -> None:
    pool = open_records(tmp_path, [talk("a", task="t"), talk("b", source="s"), talk("c")])
    # A pool where one record has a source labels it; the last one has neither.
    assert tasks_of(pool, np.arange(3)) == ["t", "s", NO_TASK]


def test_questions_lose_rows_with_their_tasks_and_groups(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, [asked(t, f"{t}.png") for t in "abc"])
    left = Questions.of(pool, np.arange(3)).without(np.array([1]))
    assert left.rows.tolist() == [0, 2]
    assert left.tasks == ["a", "c"]
    assert len(left.groups) == len(left) == 2
