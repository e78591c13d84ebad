"""Trials: trained once, asked once, whoever does it, and going on after a kill."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("peft", reason="peft is not installed")

from helpers import open_records, put_images, talk
from visift.engine.executor import Events, Inline, OpenWork, ShardFailed
from visift.engine.processes import Processes
from visift.errors import MeasuringError
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.training.recipe import TINY
from visift.validate.arms import Arm
from visift.validate.benchmarks import evaluate_all
from visift.validate.collect_answers import Model
from visift.validate.evaluation import Evaluation
from visift.validate.evaluator import LmmsEval
from visift.validate.running import Bench, Trial, read_answers, run_trials, unanswered
from visift.validate.splitting import Questions

RECIPE = dataclasses.replace(TINY, epochs=1, batch_size=2, micro_batch=2)


class Told:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.said: list[tuple[int, int]] = []
        self.done = 0

    def begin_trials(self, total: int, done: int) -> None:
        self.said.append((total, done))

    def trial_done(self) -> None:
        self.done += 1

    def end_trials(self) -> None:
        pass


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("pool")
    put_images(folder, [f"{n}.png" for n in range(6)])
    records = [talk(f"<image>\nwhich {n}?", f"number {n}", image=f"{n}.png") for n in range(6)]
    return open_records(folder, records)


def bench(pool: Pool, cache: Path) -> Bench:
    return Bench(
        pool=pool,
        questions=Questions.of(pool, np.array([4, 5])),
        model=ModelRef("builtin:tiny", dtype="float32", device="cpu"),
        evaluation=Evaluation(turns=1, new_tokens=4),
        cache=cache,
        asking_cache=cache,
        devices=("cpu",),
    )


def trial(rows: list[int], seed: int = 0, name: str = "a") -> Trial:
    return Trial(Arm(name, np.array(rows), 0), seed, dataclasses.replace(RECIPE, seed=seed))


@pytest.fixture(scope="module")
def finished(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, list[Trial]]:
    """Two arms that are trained and asked, a third that is the first by another name."""
    here = bench(pool, tmp_path_factory.mktemp("cache"))
    trials = [trial([0, 1]), trial([2, 3], seed=1), trial([1, 0], name="b")]
    told = Told()
    run_trials(here, trials, Inline(), told, keep=frozenset())
    assert told.said == [(2, 0)]
    assert told.done == 2
    return here, trials


def test_every_trial_has_its_answers(finished: tuple[Bench, list[Trial]]) -> None:
    here, trials = finished
    found = list(read_answers(here, trials))
    assert [one.trial for one in found] == trials
    for one in found:
        assert one.ok.all()
        assert one.answers.shape == (2, 1, 24)
        assert np.isfinite(one.losses).all()
        assert one.outcome is not None
        assert one.outcome.steps == 1
    first, other, same = found
    assert np.array_equal(first.losses, same.losses)
    assert not np.array_equal(first.losses, other.losses)


def test_weights_are_forgotten_and_nothing_is_trained_again(
    finished: tuple[Bench, list[Trial]],
) -> None:
    here, trials = finished
    assert not list(here.cache.glob("checkpoints/*/*.safetensors"))
    assert unanswered(here, trials) == (2, [])


def test_what_is_answered_is_not_asked_again(finished: tuple[Bench, list[Trial]]) -> None:
    here, trials = finished

    class Nobody:
        def map(self, open_work: OpenWork, shards: range) -> Events:
            raise AssertionError("nothing is left to do")
            yield

    told = Told()
    run_trials(here, trials, Nobody(), told)
    assert told.said == [(2, 2)]


def test_more_of_an_arm_that_was_trained_asks_for_the_rest_only(
    finished: tuple[Bench, list[Trial]],
) -> None:
    here, trials = finished
    count, left = unanswered(here, [*trials, trial([0, 1], seed=7)])
    assert count == 3
    assert [one.seed for one in left] == [7]


def test_workers_that_die_are_replaced_and_in_the_end_it_is_said(
    pool: Pool, tmp_path: Path
) -> None:
    tried: list[int] = []

    class Dying:
        def map(self, open_work: OpenWork, shards: range) -> Events:
            tried.extend(shards)
            yield from (ShardFailed(shard, "the worker died (signal SIGKILL)") for shard in shards)

    with pytest.raises(MeasuringError, match=r"the arm a \(training seed 0\) .* SIGKILL"):
        run_trials(bench(pool, tmp_path), [trial([0, 1])], Dying(), Told())
    assert tried == [0, 0, 0]


@pytest.mark.slow
def test_workers_give_what_one_process_gives(
    finished: tuple[Bench, list[Trial]], pool: Pool, tmp_path: Path
) -> None:
    here, trials = finished
    there = bench(pool, tmp_path)
    run_trials(there, trials, Processes(2), Told())
    assert len(list(there.cache.glob("checkpoints/*/*.safetensors"))) == 2
    for one, other in zip(read_answers(here, trials), read_answers(there, trials), strict=True):
        assert np.array_equal(one.answers, other.answers)
        assert np.array_equal(one.losses, other.losses)


def test_what_is_evaluated_on_benchmarks_is_not_trained_for_it_again(
    pool: Pool, tmp_path: Path
) -> None:
    here, one = bench(pool, tmp_path / "cache"), trial([0, 1])
    evaluator = LmmsEval(("mme",), "llava_hf")
    tuned = here.ask(one, here.labs()).tuned
    folder = evaluator.folder(tmp_path / "lmms-eval", tuned.path.name)
    folder.mkdir(parents=True)
    (folder / "done.json").write_text('{"tasks": ["mme"], "model": "llava_hf"}')
    found = evaluate_all(here, [one], evaluator, tmp_path, lambda label, text: None)
    assert found == [(Model("a", 0, 0), folder)]
    assert not tuned.is_trained
