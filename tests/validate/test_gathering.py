"""All arms of a budget: every draw of each, what choosing costs, and who is left out."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import sources_pool
from visift.config import PoolConfig
from visift.demo.generator import write_demo_pool
from visift.demo.ratings import write_demo_labels
from visift.engine.executor import Inline
from visift.engine.lab import LocalLab
from visift.models.ref import ModelRef
from visift.pool.bill import NO_BILL, Bill
from visift.pool.labelled import TeacherLabels
from visift.pool.pool import Pool
from visift.validate.arms import CONTROLS, Ground
from visift.validate.choosing import Clock, Staff, Took, device_seconds, needed
from visift.validate.gathering import (
    Gathered,
    gather,
)
from visift.validate.request import Request, Seeds


def gathered(
    folder: Path, said: list[tuple[str, str]] | None = None, **changes: object
) -> Gathered:
    file = sources_pool(folder / "pool", {"a": 12, "b": 6}, text=2)
    pool = Pool.open(file)
    fields = {"recipe": "tiny,epochs:2,batch_size:1,micro_batch:1", "methods": ("balanced",)}
    request = Request(
        pool=PoolConfig((str(file),)),
        seeds=Seeds(2, 2),
        **{"model": ModelRef("builtin:tiny"), **fields, **changes},  # type: ignore[arg-type]
    ).checked()
    lines = [] if said is None else said
    return gather(
        request,
        Ground.of(pool, "5"),
        lambda: LocalLab(pool, folder / "cache", lambda: ("cpu",)),
        Clock.open(folder / "seconds.json"),
        lambda label, text: lines.append((label, text)),
    )


def test_every_arm_is_drawn_with_every_selection_seed(tmp_path: Path) -> None:
    found = gathered(tmp_path)
    assert found.names == ("full", *CONTROLS, "rs2", "balanced")
    for name in found.names:
        draws = 1 if name == "full" else 2
        assert [arm.seed for arm in found.named(name)] == list(range(draws))


def test_a_method_that_waits_for_somebody_is_left_out(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    found = gathered(tmp_path, said, methods=("balanced", "mmssr"))
    assert found.names[-1] == "balanced"
    (notice,) = found.notices
    assert notice.startswith("mmssr is left out: ")
    assert ("Note", notice) in said


def test_ablations_and_equal_tokens_are_arms_of_every_draw(tmp_path: Path) -> None:
    found = gathered(tmp_path, ablations=True, equal=("tokens",))
    assert len(found.named("balanced, mixture only")) == 2
    assert len(found.named("random at equal tokens (balanced)")) == 2
    assert "balanced, inverted is left out: balanced ranks by no score of single records" in (
        found.notices
    )


def test_choosing_without_measuring_costs_nothing(tmp_path: Path) -> None:
    chosen = gathered(tmp_path).choosing["balanced"]
    assert chosen.cost.flops == 0
    assert chosen.took.seconds is not None
    assert chosen.took.memory is None


def test_what_labels_cost_is_told_of_a_method_that_learns_from_them(tmp_path: Path) -> None:
    made = write_demo_pool(tmp_path, records=200)
    labels = pq.read_table(write_demo_labels(tmp_path, 20))
    for name in ("tokens_in", "tokens_out"):
        at = labels.column_names.index(name)
        labels = labels.set_column(at, name, pa.array([7] * labels.num_rows, pa.int64()))
    pq.write_table(labels, tmp_path / "labels.parquet")
    pool = Pool.open(made.pool, image_folder=made.images)
    lab = LocalLab(pool, tmp_path / "cache", lambda: ("cpu",))
    lab.teacher = TeacherLabels.open(pool, [tmp_path / "labels.parquet"], handed_in=True)
    request = Request(
        pool=PoolConfig((str(tmp_path / "pool.json"),)),
        model=ModelRef("builtin:tiny"),
        methods=("mmssr", "balanced"),
    )
    ground, nowhere = Ground.of(pool, "10"), tmp_path / "nowhere"
    for name, bill in (("mmssr", Bill(20 * 14, None)), ("balanced", NO_BILL)):
        assert needed(request.method(name, 0), ground, lab, nowhere).bill == bill


@pytest.mark.parametrize("text", ["", "no JSON", "[1]", '{"prism": 3.5}'])
def test_times_are_remembered_from_when_nothing_was_stored(tmp_path: Path, text: str) -> None:
    path = tmp_path / "seconds.json"
    path.write_text(text)
    clock = Clock.open(path)
    five = Took(5.0, 1000)
    assert clock.remembered("prism", Took(9.0), fresh=False) == Took()
    assert clock.remembered("prism", five, fresh=True) == five
    assert Clock.open(path).remembered("prism", Took(0.1), fresh=False) == five


class Two(Inline):
    workers = 2


def test_times_are_those_of_one_device(tmp_path: Path) -> None:
    staff = Staff(lambda blocks: Two() if blocks > 1 else Inline())
    lab = LocalLab(Pool.open(sources_pool(tmp_path / "p", {"a": 2})), tmp_path, lambda: ("cpu",))
    staff(1)
    assert device_seconds(3.0, staff.most, lab) == 3.0
    staff(2)
    staff(1)
    assert device_seconds(3.0, staff.most, lab) == 6.0
    lab.training_seconds = 2.0
    assert device_seconds(3.0, staff.most, lab) == 2.0


def test_times_of_another_pool_or_other_settings_are_not_taken_for_these(tmp_path: Path) -> None:
    def known(folder: Path) -> set[str]:
        return set(Clock.open(folder / "seconds.json").known)

    gathered(tmp_path)
    one = known(tmp_path)
    gathered(tmp_path)
    assert known(tmp_path) == one
    assert len(one) == 2
    gathered(tmp_path, settings={"balanced.floor": "0.2"})
    other = known(tmp_path)
    assert len(other) == 4
    gathered(tmp_path, model=ModelRef("builtin:tiny", dtype="float32"))
    assert len(known(tmp_path)) == 6
