"""Models that methods measure with are trained before they choose, side by side."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("peft", reason="peft is not installed")

from validate.quiet import Quiet
from visift.config import EngineConfig, PoolConfig
from visift.demo import write_demo_pool
from visift.engine.executor import Inline, ShardDone, ShardFailed
from visift.engine.lab import Examples, LocalLab
from visift.engine.processes import Processes
from visift.engine.trainings import Training
from visift.errors import InputError, TrainingError
from visift.models.memory import peak_memory
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.training.recipe import read_recipe
from visift.training.tuned import TunedRef
from visift.validate.ahead import models_of, train_ahead
from visift.validate.arms import Ground
from visift.validate.choosing import Clock
from visift.validate.gathering import gather
from visift.validate.loop import execute
from visift.validate.request import Request, Seeds

MODEL = ModelRef("builtin:tiny", dtype="float32", device="cpu")
RECIPE = "tiny,epochs:1,batch_size:4,micro_batch:4"


@pytest.fixture(scope="module")
def request_of(tmp_path_factory: pytest.TempPathFactory) -> Request:
    demo = write_demo_pool(tmp_path_factory.mktemp("demo"), records=200)
    return Request(
        pool=PoolConfig((str(demo.pool),), str(demo.images)),
        model=MODEL,
        methods=("balanced", "mllm_selector", "mmssr"),
        settings={"mllm_selector.n1": "4", "mllm_selector.recipe": RECIPE},
        budgets=("12", "16"),
        seeds=Seeds(2, 2),
        recipe=RECIPE,
    )


def lab_in(request_of: Request, cache: Path) -> LocalLab:
    return LocalLab(request_of.pool.open(), cache, lambda: ("cpu",))


def grounds(request_of: Request, pool: Pool) -> list[Ground]:
    return [Ground.of(pool, budget) for budget in request_of.budgets]


def weights(tuned: TunedRef) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(tuned.path.glob("*.safetensors"))}


def test_every_model_is_named_once_and_nobody_is_waited_for(
    request_of: Request, tmp_path: Path
) -> None:
    lab = lab_in(request_of, tmp_path)
    found = models_of(request_of, grounds(request_of, lab.pool), lab)
    # One a draw, whatever the budget; mmssr waits for labels and is left out, balanced needs none.
    assert len(found) == 2
    assert {len(one.items) for one in found} == {4}
    assert not (tmp_path / "checkpoints").exists()


def test_trained_side_by_side_they_are_what_a_lab_trains(
    request_of: Request, tmp_path: Path
) -> None:
    lab = lab_in(request_of, tmp_path / "ahead")
    there = grounds(request_of, lab.pool)
    trainings, done = models_of(request_of, there, lab), []
    train_ahead(trainings, lambda count: Processes(count), lambda: done.append(1))
    assert len(done) == 2
    assert models_of(request_of, there, lab) == []
    alone = lab_in(request_of, tmp_path / "alone")
    alone.ready(_loss_of(alone, models_of(request_of, there, alone)[0]))
    (one,) = [each.tuned for each in alone.trainings]
    twin = next(each.tuned for each in trainings if each.tuned.path.name == one.path.name)
    assert weights(twin)
    assert weights(twin) == weights(one)


def _loss_of(lab: LocalLab, training: Training) -> object:
    """Ask a lab for what another one was asked for; return a signal that needs the model."""
    from visift.signals.losses import AnswerLoss

    tuned = training.tuned
    asked = lab.finetune(tuned.base, tuned.recipe, Examples(training.items.ids))
    return AnswerLoss(asked.model)


def test_what_it_took_is_known_of_models_that_were_trained_before(
    request_of: Request, tmp_path: Path
) -> None:
    lab = lab_in(request_of, tmp_path / "cache")
    (ground, _) = grounds(request_of, lab.pool)
    trainings = models_of(request_of, [ground], lab)
    train_ahead(trainings, lambda count: Inline(), lambda: None)
    took = gather(
        request_of,
        ground,
        lambda: lab_in(request_of, tmp_path / "cache"),
        Clock.open(tmp_path / "seconds.json"),
        lambda label, text: None,
    ).choosing["mllm_selector"]
    from visift.training.finetune import outcome_of

    trained = outcome_of(trainings[0].tuned)
    assert trained is not None
    assert took.took.seconds is not None
    assert took.took.seconds > trained.seconds > 0
    if peak_memory() is not None:
        assert took.took.memory is not None
        assert trained.memory is not None
        assert took.took.memory >= trained.memory > 0
    assert took.cost.training_steps == trained.steps


def test_what_stands_on_another_is_trained_after_it(request_of: Request, tmp_path: Path) -> None:
    lab, recipe = lab_in(request_of, tmp_path), read_recipe(RECIPE, MODEL)
    rows = lab.pool.rows("candidate")
    base = lab.finetune(MODEL, recipe, Examples(rows[:4])).model
    lab.finetune(base, recipe, Examples(rows[4:8]))
    order: list[str] = []

    class Noting(Inline):
        def map(self, open_work, shards):  # type: ignore[no-untyped-def]
            for event in Inline.map(self, open_work, shards):
                assert isinstance(event, ShardDone), event
                order.append(open_work.trainings[event.shard].tuned.name)
                yield event

    train_ahead(lab.trainings[::-1], lambda count: Noting(), lambda: None)
    assert order == [one.tuned.name for one in lab.trainings]


def test_what_stands_on_a_model_that_was_lost_is_left_too(
    request_of: Request, tmp_path: Path
) -> None:
    lab, recipe = lab_in(request_of, tmp_path), read_recipe(RECIPE, MODEL)
    rows = lab.pool.rows("candidate")
    base = lab.finetune(MODEL, recipe, Examples(rows[:4])).model
    lab.finetune(base, recipe, Examples(rows[4:8]))

    class Dying(Inline):
        def map(self, open_work, shards):  # type: ignore[no-untyped-def]
            yield from (ShardFailed(shard, "the worker died") for shard in shards)

    done: list[int] = []
    train_ahead(lab.trainings, lambda count: Dying(), lambda: done.append(1))
    assert len(done) == 1
    assert not any(one.tuned.is_trained for one in lab.trainings)


def test_no_model_is_trained_for_a_method_that_is_refused(
    request_of: Request, tmp_path: Path
) -> None:
    lab = lab_in(request_of, tmp_path)
    asked = dataclasses.replace(request_of.pool, target=("examples.json",))
    with pytest.raises(InputError, match="does not look at --target"):
        models_of(dataclasses.replace(request_of, pool=asked), grounds(request_of, lab.pool), lab)


@pytest.mark.slow
def test_a_validation_trains_ahead_and_finds_what_it_finds_without(
    request_of: Request, tmp_path: Path
) -> None:
    request = dataclasses.replace(
        request_of, methods=("mllm_selector",), budgets=("12",), held_out="10%"
    )
    found = {}
    for workers, models in (("2", 2), ("1", 0)):
        progress, folder = Quiet(), tmp_path / workers
        engine = EngineConfig(cache=str(folder / "cache"), workers=workers)
        done = execute(
            request, folder / "out", engine, say=lambda label, text: None, progress=progress
        )
        assert progress.models == models
        costs = {cost.arm: cost for cost in done.judged[0].costs}
        took = costs["mllm_selector"].choosing_seconds
        assert took is not None
        assert took > 0
        found[workers] = (folder / "out" / "results.parquet").read_bytes()
    assert found["2"] == found["1"]


def test_a_model_that_cannot_be_trained_is_said(request_of: Request, tmp_path: Path) -> None:
    lab = lab_in(request_of, tmp_path)
    lab.finetune(MODEL, read_recipe(RECIPE, MODEL), Examples(np.array([], np.int64)))
    with pytest.raises(TrainingError, match="no examples"):
        train_ahead(lab.trainings, lambda count: Inline(), lambda: None)


def test_what_libraries_have_to_say_among_themselves_is_not_shown(
    request_of: Request, tmp_path: Path
) -> None:
    lab, recipe = lab_in(request_of, tmp_path), read_recipe(f"{RECIPE},tune:lora", MODEL)
    lab.finetune(MODEL, recipe, Examples(lab.pool.rows("candidate")[:4]))
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        train_ahead(lab.trainings, lambda count: Inline(), lambda: None)
    assert lab.trainings[0].tuned.is_trained
