"""What a validation works with: what can be read, what may be asked, what stands for the pool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers import put_images, talk, write_json
from validate.quiet import Quiet
from visift.config import EngineConfig, PoolConfig, RunConfig
from visift.errors import InputError, TooManyUnusable
from visift.models.ref import ModelRef
from visift.validate.request import Request
from visift.validate.setting import Setting

PICTURES = 40


def records(task: str, first: int, count: int) -> list[dict[str, Any]]:
    numbers = range(first, first + count)
    return [talk(f"<image>{task} {n}?", image=f"{n}.png", task=task) for n in numbers]


def setting(folder: Path, **changes: Any) -> Setting:
    """Return the setting of 30 records of `many` and 10 of `few`, one image each."""
    put_images(folder, [f"{n}.png" for n in range(PICTURES)])
    for name in changes.pop("damaged", ()):
        (folder / name).write_bytes(b"no image")
    file = write_json(folder / "pool.json", records("many", 0, 30) + records("few", 30, 10))
    target = changes.pop("target", ())
    request = Request(
        pool=PoolConfig((str(file),), target=target), model=ModelRef("builtin:tiny"), **changes
    ).checked()
    engine = EngineConfig(cache=str(folder / "cache"), workers="1")
    run = RunConfig(pool=request.pool, model=request.model, engine=engine).checked()
    return Setting.of(request, run, request.pool.open(), folder, Quiet())


def test_images_that_cannot_be_decoded_are_out_before_anything_is_drawn(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    here = setting(tmp_path, damaged=("3.png", "33.png"), max_unusable="10%", held_out="10%")
    before = set(here.pool.rows("candidate").tolist())
    found = here.readable(lambda label, text: said.append((label, text)))
    lost = {3, 33} - set(here.questions.rows.tolist())
    assert set(found.pool.rows("candidate").tolist()) == before - lost
    assert [label for label, _ in said] == ["Set aside"]
    assert found.notices[0].startswith(f"set aside before anything was chosen: {len(lost)} record")


def test_too_many_of_them_stop_it(tmp_path: Path) -> None:
    damaged = tuple(f"{n}.png" for n in range(20))
    with pytest.raises(TooManyUnusable, match="of 40 records cannot be used"):
        setting(tmp_path, damaged=damaged).readable(lambda label, text: None)


def test_where_all_can_be_read_nothing_changes(tmp_path: Path) -> None:
    here = setting(tmp_path)
    assert here.readable(lambda label, text: None) is here


def test_the_mix_of_tasks_is_that_of_the_pool(tmp_path: Path) -> None:
    here = setting(tmp_path, most=2)
    assert sorted(here.questions.tasks) == ["few", "few", "many", "many"]
    assert here.shares == {"many": 30, "few": 10}


def test_records_that_are_named_stand_for_themselves(tmp_path: Path) -> None:
    put_images(tmp_path / "other", ["a.png"])
    asked = write_json(tmp_path / "other" / "q.json", [talk("<image>what?", image="a.png")])
    here = setting(tmp_path, questions=(str(asked),), keep_contaminated=True)
    assert here.shares is None


def test_targets_must_not_be_asked_about(tmp_path: Path) -> None:
    asked = str(write_json(tmp_path / "q.json", records("x", 0, 3)))
    target = str(write_json(tmp_path / "t.json", records("y", 2, 3)))
    with pytest.raises(InputError, match="1 record of 3 in --target stand in the evaluation"):
        setting(tmp_path, questions=(asked,), target=(target,), keep_contaminated=True)


def test_questions_that_meet_a_target_are_not_asked(tmp_path: Path) -> None:
    put_images(tmp_path, [f"{n}.png" for n in range(PICTURES)])
    # The same bytes by another name: no group of images shows it.
    (tmp_path / "copy.png").write_bytes((tmp_path / "5.png").read_bytes())
    target = write_json(tmp_path / "t.json", [talk("<image>", image="copy.png")])
    for seed in range(20):
        here = setting(tmp_path, target=(str(target),), seed=seed, held_out="50%")
        if 5 in here.questions.rows:
            break
    left, met = here.asked(lambda label, text: None)
    assert 5 in met.rows
    assert 5 not in left.rows


def test_tasks_that_nothing_is_asked_about_are_named(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    here = setting(tmp_path, held_out="9%")  # less than one of ten
    here.asked(lambda label, text: said.append((label, text)))
    (note,) = (text for label, text in said if label == "Note")
    assert note.startswith("nothing is asked about 1 task (")
    assert note.endswith(": few")
