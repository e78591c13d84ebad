"""Two runs at once: on one cache they share the work, on one output the second is told."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from faults.running import Command, differing, one_sentence, pool_of, wait_until

SECONDS = 0.03


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pool_of(tmp_path_factory.mktemp("pool"), 30)


@pytest.fixture(scope="module")
def alone(pool: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return Command(pool, tmp_path_factory.mktemp("alone"), seconds=SECONDS).finish()


def test_on_one_cache_both_end_with_the_bytes_of_a_run_alone(
    pool: Path, alone: dict[str, bytes], tmp_path: Path
) -> None:
    first = Command(pool, tmp_path / "both", output="first", seconds=SECONDS)
    second = replace(first, output="second")
    runs = [first.start(), second.start()]
    ends = [run.end() for run in runs]
    assert [code for code, _ in ends] == [0, 0], ends
    assert differing(first.results(), alone) == []
    assert differing(second.results(), alone) == []


def test_on_one_output_the_second_is_told_and_the_first_is_not_disturbed(
    pool: Path, alone: dict[str, bytes], tmp_path: Path
) -> None:
    command = Command(pool, tmp_path / "both", seconds=SECONDS)
    first = command.start()
    assert wait_until(lambda: len(command.parts) > 2)
    os.kill(first.pid, signal.SIGSTOP)  # so that it is not over before the second one has begun
    code, said = command.run()
    os.kill(first.pid, signal.SIGCONT)
    assert code == 1
    told = "out: another run is writing here. Wait until it ends, or choose another --output."
    assert one_sentence(said) == told
    assert first.end()[0] == 0
    assert differing(command.results(), alone) == []
