"""Killed at any moment and asked for again, a training ends with the same weights."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("peft", reason="peft is not installed")

import visift.training.saving  # noqa: E402
import visift.training.trainer  # noqa: E402
from training.making import (  # noqa: E402
    SHORT,
    SHORT_FULL,
    examples_of,
    here,
    make,
    mixed_pool,
    model_files,
    wanted,
)
from visift.errors import TrainingError  # noqa: E402
from visift.pool.pool import Pool  # noqa: E402
from visift.training.finetune import Step, finetune  # noqa: E402

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

FACTORS = dataclasses.replace(SHORT, epochs=3, lora_dropout=0.3, checkpoints=2)
WHOLE = dataclasses.replace(SHORT_FULL, epochs=3)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return mixed_pool(tmp_path_factory.mktemp("pool"))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed(how: Callable[[], None], at_step: int) -> Callable[..., None]:
    """Return what does a job in a child of this process that is killed.

    Args:
        how: arranges the death, called in the child when it has done a step.
        at_step: which one.
    """

    def run(folder: Path, devices: Sequence[str], hear: object, handles: Sequence[int]) -> None:
        child = os.fork()
        if child == 0:
            here(folder, devices, lambda step: how() if step.step == at_step else None, ())
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status)
        raise TrainingError("killed")

    return run


def while_saving() -> None:
    """Die when the files of the next checkpoint are there, before it is marked as whole."""
    visift.training.trainer.sync_tree = lambda _: die()  # type: ignore[attr-defined]


def between_the_files() -> None:
    """Die when the weights of the next checkpoint are there, and the optimiser is not."""
    torch.save = lambda *_, **__: die()


@pytest.mark.parametrize("recipe", [FACTORS, WHOLE], ids=["factors with dropout", "all weights"])
def test_killed_again_and_again_it_ends_with_the_same_bytes(
    recipe: object, pool: Pool, tmp_path: Path
) -> None:
    undisturbed, outcome = make(tmp_path / "a", pool, recipe)
    examples = examples_of(pool)
    tuned = wanted(tmp_path / "b", examples, recipe)
    heard: list[Step] = []
    for how, step in ((die, 1), (while_saving, 2), (between_the_files, 3), (die, 6)):
        with pytest.raises(TrainingError):
            finetune(tuned, pool, examples, ("cpu",), heard.append, run=killed(how, step))
        assert not tuned.is_trained
    again = finetune(tuned, pool, examples, ("cpu",), heard.append, run=here)
    assert [step.step for step in heard] == [6]
    assert model_files(tuned.path) == model_files(undisturbed.path)
    assert again.losses == outcome.losses
    assert again.checkpoints == outcome.checkpoints
