"""Records that stand in another pool: by image, or without images by what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers import png, put_images, talk, write_json
from visift.errors import InputError
from visift.pool.disjoint import Shared, must_be_disjoint, shared_rows
from visift.pool.pool import Pool
from visift.run import select

TARGETS = [
    talk("<image>\nWhat is it?", "A cat.", image="a.png"),
    talk("<image>\nHow many?", "5.", image="b.png"),
    talk("<image>\nWhich?", "That.", image=["b.png", "c.png"]),
    talk("2 and 2?", "4."),
    talk("3 and 3?", "6."),
    talk("<image>\nWhere?", "There.", image="missing.png"),
]


def pools(folder: Path, evaluation: list[dict[str, object]]) -> tuple[Pool, Pool]:
    """Examples, and what is evaluated on, with images of its own beside it."""
    for name in ("mine", "eval"):
        (folder / name).mkdir()
    put_images(folder / "mine", ["a.png", "b.png", "c.png"])
    (folder / "eval" / "a.png").write_bytes(png(200, (31, 17)))
    (folder / "eval" / "other.png").write_bytes((folder / "mine" / "c.png").read_bytes())
    mine = Pool.open(write_json(folder / "mine" / "targets.json", TARGETS))
    return mine, Pool.open(write_json(folder / "eval" / "eval.json", evaluation))


def found(folder: Path, *evaluation: dict[str, object]) -> list[Shared]:
    mine, others = pools(folder, list(evaluation))
    return shared_rows(mine, np.arange(len(mine)), others)


def test_one_image_under_another_name_and_another_question(tmp_path: Path) -> None:
    nothing = talk("<image>\nHow many?", "5.", image="a.png")
    same = talk("<image>\nSomething else?", "Yes.", image="other.png")
    assert found(tmp_path, nothing, same, same) == [Shared(2, 1, "c.png")]


def test_one_file_by_its_key(tmp_path: Path) -> None:
    mine, _ = pools(tmp_path, [talk("what?")])
    others = Pool.open(tmp_path / "mine" / "targets.json")
    both = shared_rows(mine, np.array([1, 2]), others)
    assert both == [Shared(1, 1, "b.png"), Shared(2, 1, "b.png")]


def test_words_count_only_where_there_is_no_image(tmp_path: Path) -> None:
    """The same question and answer about another image is another record."""
    same = talk("2 and\n2?", " 4.")
    assert found(tmp_path, talk("<image>\nHow many?", "5.", image="a.png"), same) == [
        Shared(3, 1, None)
    ]


def test_the_error_counts_and_names_the_first(tmp_path: Path) -> None:
    mine, others = pools(
        tmp_path, [talk("<image>\nWhy?", image="other.png"), talk("3 and 3?", "6.")]
    )
    must_be_disjoint(mine, np.array([0, 1, 3, 5]), others)
    with pytest.raises(InputError) as raised:
        must_be_disjoint(mine, np.arange(6), others)
    assert raised.value.what == (
        "2 records of 6 in --target stand in the evaluation: targets.json#2 shares the image c.png "
        "with eval.json#0."
    )
    with pytest.raises(InputError, match=r"targets\.json#4 shares its words with eval\.json#1"):
        must_be_disjoint(mine, np.array([3, 4]), others)


def test_a_run_refuses_targets_that_it_will_be_judged_by(tmp_path: Path) -> None:
    put_images(tmp_path, [f"{n}.png" for n in range(3)])
    records = [talk(f"<image>\n{n}?", image=f"{n}.png") for n in range(3)]
    pool, target, judges = (
        write_json(tmp_path / f"{name}.json", some)
        for name, some in {
            "pool": records[:1],
            "target": records[1:2],
            "judges": records[1:],
        }.items()
    )
    asked = {"method": "rds", "budget": 1, "target": target, "output": tmp_path / "out"}
    with pytest.raises(InputError, match=r"1 record of 1 in --target stand in the evaluation"):
        select(pool, evaluation=judges, **asked)  # type: ignore[arg-type]
    apart = write_json(tmp_path / "apart.json", records[2:])
    with pytest.raises(InputError, match="this method needs a model"):
        select(pool, evaluation=apart, **asked)  # type: ignore[arg-type]
