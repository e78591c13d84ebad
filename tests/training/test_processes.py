"""Training in processes of its own: none is left behind, and its end is explained."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("peft", reason="peft is not installed")

from training.making import (  # noqa: E402
    SHORT,
    examples_of,
    here,
    make,
    mixed_pool,
    model_files,
    tensors,
    wanted,
)
from visift.errors import TrainingError  # noqa: E402
from visift.pool.pool import Pool  # noqa: E402
from visift.training import process  # noqa: E402
from visift.training.finetune import Step, finetune  # noqa: E402
from visift.training.job import Job  # noqa: E402

needs_proc = pytest.mark.skipif(not Path("/proc").is_dir(), reason="no /proc on this system")

LONGER = dataclasses.replace(SHORT, epochs=4, lora_dropout=0.2)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return mixed_pool(tmp_path_factory.mktemp("pool"))


def holding(path: Path) -> list[int]:
    """Return the processes whose command line names a path."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            said = line.read_bytes()
        except OSError:
            continue
        if os.fsencode(path) in said and int(line.parent.name) != os.getpid():
            found.append(int(line.parent.name))
    return found


def wait_until(what: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.05)
    return what()


def in_a_child_killed_at(step: int, ask: Callable[[Callable[[Step], None]], object]) -> None:
    """Ask for a model in a process that is killed when it hears of a step."""

    def hear(heard: Step) -> None:
        if heard.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            ask(hear)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


@needs_proc
def test_killed_it_leaves_no_process_and_ends_the_same(pool: Pool, tmp_path: Path) -> None:
    undisturbed, outcome = make(tmp_path / "a", pool, LONGER)
    examples, heard = examples_of(pool), list[Step]()
    tuned = wanted(tmp_path / "b", examples, LONGER)
    work = tuned.path.with_name(f"{tuned.path.name}.training")
    in_a_child_killed_at(3, lambda hear: finetune(tuned, pool, examples, ("cpu",), hear))
    assert wait_until(lambda: holding(work) == [])
    assert not tuned.is_trained
    again = finetune(tuned, pool, examples, ("cpu",), heard.append)
    assert 3 <= heard[0].step <= 5
    assert [step.step for step in heard][-1] == 8
    assert again.losses == outcome.losses
    assert model_files(tuned.path) == model_files(undisturbed.path)


@needs_proc
def test_interrupted_it_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        """print('{"step": 1, "steps": 2, "loss": 0.5}', flush=True); import time; time.sleep(99)"""
    )
    monkeypatch.setattr(process, "command", running(f"{said} # {tmp_path}"))

    def interrupt(step: Step) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.run(tmp_path, ("cpu",), interrupt)
    assert holding(tmp_path) == []


def running(code: str) -> Callable[[Path, int], list[str]]:
    return lambda folder, processes: [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import sys; print('first'); print('disk on fire', file=sys.stderr); sys.exit(3)", "fire"),
        ("import os; os.kill(os.getpid(), 9)", "was killed, as systems do when memory is full"),
        ("""print('{"error": {"what": "a.", "where": "b", "fix": "c"}}'); exit(1)""", "b: a.\nc"),
    ],
)
def test_why_it_ended_is_said(
    code: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "command", running(code))
    with pytest.raises(TrainingError) as caught:
        process.run(tmp_path, ("cpu",), lambda _: None)
    assert what in str(caught.value)


def test_steps_are_heard_and_other_lines_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = """print('hello'); print('{"step": 1, "steps": 2, "loss": 0.5}')"""
    monkeypatch.setattr(process, "command", running(said))
    heard: list[Step] = []
    process.run(tmp_path, ("cpu",), heard.append)
    assert heard == [Step(1, 2, 0.5)]


@pytest.mark.parametrize(
    ("devices", "seen", "chosen"),
    [
        (("cuda:1",), None, "1"),
        (("cuda:0", "cuda:1"), None, "0,1"),
        (("cuda:1",), "4,6", "6"),
        (("cuda",), "GPU-a,GPU-b", "GPU-a"),
    ],
)
def test_it_sees_the_devices_it_was_given(
    devices: Sequence[str], seen: str | None, chosen: str
) -> None:
    base = {} if seen is None else {"CUDA_VISIBLE_DEVICES": seen}
    assert process.environment(devices, base)["CUDA_VISIBLE_DEVICES"] == chosen


def test_a_relative_pool_is_found_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed_pool(tmp_path / "pool")
    monkeypatch.chdir(tmp_path)
    pool = Pool.open("pool/pool.json", image_folder="pool")

    def elsewhere(folder: Path, *rest: Any) -> None:
        os.chdir(tmp_path / "pool")
        here(folder, *rest)

    _, outcome = make(tmp_path / "out", pool, run=elsewhere)
    assert (outcome.examples, outcome.left_out) == (4, {})


@pytest.mark.slow
def test_processes_that_read_ahead_change_nothing(pool: Pool, tmp_path: Path) -> None:
    plain, _ = make(tmp_path / "a", pool, LONGER)

    def reading_ahead(folder: Path, *rest: Any) -> None:
        dataclasses.replace(Job.read(folder), loaders=2).write(folder)
        process.run(folder, *rest)

    ahead, _ = make(tmp_path / "b", pool, LONGER, run=reading_ahead)
    assert model_files(plain.path) == model_files(ahead.path)


@pytest.mark.slow
def test_two_devices_give_the_weights_of_one(pool: Pool, tmp_path: Path) -> None:
    recipe = dataclasses.replace(SHORT, epochs=2, batch_size=4, by_modality=True)
    alone, one = make(tmp_path / "a", pool, recipe)
    examples = examples_of(pool)
    tuned = wanted(tmp_path / "b", examples, recipe)
    both = finetune(tuned, pool, examples, ("cpu", "cpu"), lambda _: None)
    assert both.losses == pytest.approx(one.losses, abs=1e-5)
    mine, theirs = tensors(alone.path), tensors(tuned.path)
    assert mine.keys() == theirs.keys()
    assert all(torch.allclose(mine[name], theirs[name], atol=1e-4) for name in mine)


@pytest.mark.slow
def test_killed_on_two_devices_it_leaves_no_process_and_goes_on(pool: Pool, tmp_path: Path) -> None:
    recipe = dataclasses.replace(SHORT, epochs=6, batch_size=4)
    examples = examples_of(pool)
    tuned = wanted(tmp_path / "b", examples, recipe)
    work = tuned.path.with_name(f"{tuned.path.name}.training")
    in_a_child_killed_at(2, lambda hear: finetune(tuned, pool, examples, ("cpu",) * 2, hear))
    assert wait_until(lambda: holding(work) == [])
    outcome = finetune(tuned, pool, examples, ("cpu", "cpu"), lambda _: None)
    assert len(outcome.losses) == 6
