"""SIGKILL at any moment costs the blocks in hand: nothing committed is lost, no byte differs."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults.running import Command, Run, differing, pool_of, wait_until, workers_of

#: A block that fails three times is set aside; so many workers of one run may die for sure.
MOST_WORKERS_A_RUN = 2
BLOCKS_A_KILL = 6
MANY = pytest.param(100, marks=pytest.mark.slow)


@dataclass
class Killer:
    """Kills at moments drawn with a seed: after some more blocks, and some milliseconds more.

    Attributes:
        command: what is started again and again.
        left: how many kills are still to come.
        chance: draws victims and moments.
    """

    command: Command
    left: int
    chance: random.Random

    def one_run(self) -> None:
        """Start the command and kill: some of its workers, then all of it or its parent alone."""
        run = self.command.start()
        victims = ["worker"] * MOST_WORKERS_A_RUN
        victims.append(self.chance.choice(["everything", "parent"]))
        assert wait_until(lambda: bool(workers_of(run.pid)) or run.is_over)
        for victim in victims[: self.left]:
            self._wait(run)
            before = self.command.parts
            if not self._kill(run, victim):
                break
            self.left -= 1
            assert before <= self.command.parts
        run.kill()

    def _wait(self, run: Run) -> None:
        wanted = len(self.command.parts) + self.chance.randint(0, 2)
        wait_until(lambda: len(self.command.parts) >= wanted or run.is_over)
        time.sleep(self.chance.uniform(0, 0.1))

    def _kill(self, run: Run, victim: str) -> bool:
        """Kill somebody who is alive; return whether there was one."""
        if run.is_over:
            return False
        if victim == "everything":
            os.killpg(run.pid, signal.SIGKILL)
        elif victim == "parent":
            os.kill(run.pid, signal.SIGKILL)
        else:
            wait_until(lambda: bool(workers_of(run.pid)) or run.is_over)
            alive = workers_of(run.pid)
            if not alive:
                return False
            os.kill(self.chance.choice(alive), signal.SIGKILL)
        return True


@pytest.mark.parametrize("kills", [10, MANY])
def test_killed_at_random_moments_and_continued_leaves_the_bytes_of_an_undisturbed_run(
    kills: int, tmp_path: Path
) -> None:
    pool = pool_of(tmp_path / "pool", BLOCKS_A_KILL * kills)
    calm, shaken = (Command(pool, tmp_path / name, workers=2, seconds=0.04) for name in "ab")
    wanted = calm.finish()
    killer = Killer(shaken, kills, random.Random(kills))
    kept: set[str] = set()
    while killer.left:
        killer.one_run()
        assert kept <= shaken.parts
        kept = shaken.parts
    age(shaken.leftovers)
    assert differing(shaken.finish(), wanted) == []
    assert shaken.leftovers == []


def age(leftovers: list[Path]) -> None:
    """Have files look as if they were written hours ago: by nobody who is still at it."""
    for path in leftovers:
        os.utime(path, (time.time() - 7200,) * 2)


WRITTEN = ["scores.parquet", "export/llava/control.json", "report"]


def remove(place: Path) -> None:
    """Take away what a killed run left in a place."""
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def test_killed_while_the_run_directory_is_written(tmp_path: Path) -> None:
    pool = pool_of(tmp_path / "pool", 10)
    calm, shaken = (Command(pool, tmp_path / name) for name in "ab")
    wanted = calm.finish()
    manifest = tmp_path / "b" / "out" / "manifest.json"
    for name in WRITTEN:
        place = tmp_path / "b" / "out" / name
        # On a busy machine a run may be over before it is seen that it has come to this place.
        assert any(killed_at(shaken, place, manifest) for _ in range(20))
        assert not manifest.exists()
    assert differing(shaken.finish(), wanted) == []


def killed_at(command: Command, place: Path, manifest: Path) -> bool:
    """Kill a run when a place of its folder is there; return whether it had not ended by then."""
    remove(place)
    remove(manifest)
    run = command.start()
    assert wait_until(lambda: place.exists() or run.is_over)
    run.kill()
    return run.end()[0] == -signal.SIGKILL and not manifest.exists()


def test_killed_before_its_first_file_is_whole(tmp_path: Path) -> None:
    command = Command(pool_of(tmp_path / "pool", 2), tmp_path / "a")
    (tmp_path / "a" / "out").mkdir(parents=True)
    (tmp_path / "a" / "out" / f".{'0' * 32}.tmp").write_bytes(b"pool:")
    command.finish()
    assert command.leftovers == []
