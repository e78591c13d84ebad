"""`--dry-run`: everything that would be done is counted, and nothing is done."""

from __future__ import annotations

from pathlib import Path

from helpers import sources_pool
from validate.quiet import Quiet
from visift.config import EngineConfig, PoolConfig
from visift.models.ref import ModelRef
from visift.validate.foreseeing import foresee
from visift.validate.request import Request, Seeds


def foreseen(folder: Path, **changes: object) -> dict[str, tuple[int, int]]:
    """Return models and steps of everything, by what it is."""
    file = sources_pool(folder / "pool", {"a": 30, "b": 20}, text=10)
    request = Request(
        pool=PoolConfig((str(file),)),
        model=ModelRef("builtin:tiny"),
        seeds=Seeds(2, 3, crossed=True),
        recipe="tiny,epochs:1,batch_size:1,micro_batch:1",
        budgets=("12",),
        **changes,  # type: ignore[arg-type]
    )
    engine = EngineConfig(cache=str(folder / "cache"), workers="1")
    found = foresee(request, folder / "out", engine, lambda label, text: None, Quiet())
    assert not (folder / "out").exists()
    assert not (folder / "cache").exists()
    assert all(one.flops is not None for one in found)
    return {one.what: (one.models, one.steps) for one in found}


def test_arms_and_asking(tmp_path: Path) -> None:
    found = foreseen(tmp_path, methods=("balanced", "perplexity"), ablations=True)
    assert found["full"] == (3, 3 * 48)
    assert found["choosing by perplexity at 12"] == (2, 0)
    # Four controls, and two methods with three parts each; all trained six times.
    assert found["12 arms at 12, rs2 left out"] == (72, 72 * 12)
    assert found["asking every model about 12 records"] == (75, 0)
    assert len(found) == 5


def test_rounds_are_those_of_methods_with_a_model_and_of_their_control(tmp_path: Path) -> None:
    found = foreseen(tmp_path, methods=("balanced", "perplexity"), rounds=3)
    assert found["choosing by perplexity at 12, and in 3 rounds"] == (2, 0)
    assert found["round 1 of 3 at 12"] == (12, 12 * 4)
    assert found["round 2 of 3 at 12"] == (12, 12 * 8)
    assert found["round 3 of 3 at 12"] == (6, 6 * 12)
    assert found["asking every model about 12 records"] == (3 + 36 + 30, 0)


def test_arms_of_equal_cost(tmp_path: Path) -> None:
    found = foreseen(tmp_path, methods=("perplexity",), equal=("tokens", "compute"))
    assert found["random at equal tokens (perplexity), about"] == (6, 72)
    models, steps = found["random at equal compute (perplexity), about"]
    assert models == 6
    assert steps > 72
