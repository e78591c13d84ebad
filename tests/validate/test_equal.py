"""Random arms that cost what a method costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers import open_records, talk
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.validate.arms import Arm
from visift.validate.equal import equal_arm, tokens_of

TINY = ModelRef("builtin:tiny")


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    """40 short records, and 10 that are ten times as long."""
    return open_records(
        tmp_path, [talk(f"{n:04}" + "x" * (36 if n < 40 else 396)) for n in range(50)]
    )


def test_as_many_tokens_are_as_many_short_records_as_it_takes(pool: Pool) -> None:
    arm = Arm("long", np.arange(40, 43), 0)
    made = equal_arm(pool, "tokens", arm, TINY, None, None)
    assert isinstance(made, Arm)
    tokens = tokens_of(pool, TINY)
    assert made.name == "random at equal tokens (long)"
    assert abs(tokens[made.rows].sum() - tokens[arm.rows].sum()) <= tokens.max() / 2
    assert len(made.rows) > 3


def test_as_much_compute_is_what_choosing_and_training_take(pool: Pool) -> None:
    arm = Arm("dear", np.arange(10), 0)
    tokens = tokens_of(pool, TINY)
    made = equal_arm(pool, "compute", arm, TINY, 300, 100)
    assert isinstance(made, Arm)
    assert abs(tokens[made.rows].sum() - 4 * tokens[arm.rows].sum()) <= tokens.max() / 2


def test_one_draw_is_a_prefix_of_a_larger_one(pool: Pool) -> None:
    few, more = (
        equal_arm(pool, "tokens", Arm("m", np.arange(count), 0), TINY, None, None)
        for count in (5, 20)
    )
    assert isinstance(few, Arm)
    assert isinstance(more, Arm)
    assert more.rows[: len(few.rows)].tolist() == few.rows.tolist()


def test_there_is_no_such_arm_where_the_pool_is_too_small_or_nobody_knows(pool: Pool) -> None:
    arm = Arm("dear", np.arange(10), 0)
    assert "all records together have" in str(equal_arm(pool, "compute", arm, TINY, 1e9, 100))
    assert "is not known" in str(equal_arm(pool, "compute", arm, TINY, None, 100))
