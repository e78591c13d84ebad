"""`visift cache`: what lies where, and that clearing removes what visift wrote and nothing else."""

from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visift.cli import run
from visift.engine.housekeeping import clear, find_stores
from visift.engine.store import Store, item_keys
from visift.errors import InputError
from visift.signals.signal import Column, Values

COLUMNS = (Column("loss", "float32"),)


def measured(folder: Path, items: int, **identity: Any) -> Path:
    """Write a real store of so many items; return its folder."""
    known = {"signal": "visift.signals.losses.Loss", "version": 1, "columns": [], **identity}
    store = Store.open(folder, known, COLUMNS)
    reasons = [None] * items
    for start in range(0, items, 2):
        some = slice(start, min(start + 2, items))
        n = some.stop - some.start
        values = Values({"loss": np.zeros(n, np.float32)}, reasons[some])
        store.commit(item_keys(str(i) for i in range(some.start, some.stop)), values)
    return store.folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    measured(folder / "images-0123456789ab", 5, layer=2, model={"digest": "abcdef0123456789"})
    measured(folder / "images-0123456789ab", 3)
    measured(folder / "other-ba9876543210", 1)
    return folder


def everything(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_stores_are_found_in_the_folders_of_pools_and_right_below(cache: Path) -> None:
    found = find_stores(cache)
    assert [(use.pool, use.signal, use.items) for use in found] == [
        ("images-0123456789ab", "Loss", 5),
        ("images-0123456789ab", "Loss", 3),
        ("other-ba9876543210", "Loss", 1),
    ]
    assert (found[0].parameters, found[0].model) == ({"layer": 2}, "abcdef0123456789")
    assert sum(use.n_bytes for use in found) == sum(everything(cache).values())
    assert len(find_stores(cache / "images-0123456789ab")) == 2


def test_no_cache_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert find_stores(tmp_path / "none") == []
    assert run(["cache", "--cache", str(tmp_path / "none"), "--clear", "--yes"]) == 0
    assert capsys.readouterr().out == (
        f"Cache     {tmp_path / 'none'} · 0 bytes · nothing measured\n"
    )
    assert not (tmp_path / "none").exists()


def test_a_file_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is no folder"):
        find_stores(tmp_path / "file")


def test_clearing_leaves_an_empty_cache(cache: Path) -> None:
    size = sum(everything(cache).values())
    assert clear(find_stores(cache), cache) == size
    assert cache.is_dir()
    assert list(cache.iterdir()) == []


def test_a_cache_of_one_pool_stays_itself(cache: Path) -> None:
    pool = cache / "other-ba9876543210"
    clear(find_stores(pool), pool)
    assert pool.is_dir()
    assert list(pool.iterdir()) == []


def test_what_visift_did_not_write_stays(cache: Path, tmp_path: Path) -> None:
    store = measured(cache, 1, mine=True)
    ours = everything(cache)
    (store / "notes.txt").write_text("mine")
    (store / "model.arrow").write_text("mine")
    (cache / "photos").mkdir()
    (cache / "photos" / "identity.json").write_text('{"signal": "Loss"}')
    (cache / "photos" / f"{'0' * 24}.arrow").write_text("mine")
    (cache / "renamed-0123456789abcdef").mkdir()
    (cache / "renamed-0123456789abcdef" / "identity.json").write_bytes(
        (store / "identity.json").read_bytes()
    )
    (tmp_path / "elsewhere").mkdir()
    linked = measured(tmp_path / "elsewhere", 1)
    (cache / "link").symlink_to(tmp_path / "elsewhere")
    (cache / linked.name).symlink_to(linked)
    mine = {name: size for name, size in everything(cache).items() if name not in ours}
    clear(find_stores(cache), cache)
    assert everything(cache) == mine
    assert len(mine) == 5
    assert (linked / "identity.json").exists()


@pytest.mark.parametrize("note", ["", "[]", "null", '{"signal": 3}', "{", "[" * 100_000])
def test_a_note_that_is_no_identity(cache: Path, note: str) -> None:
    folder = cache / "Loss-0123456789abcdef"
    folder.mkdir()
    (folder / "identity.json").write_text(note)
    assert folder not in [use.folder for use in find_stores(cache)]


def test_damaged_parts_and_leftovers_are_removed_too(cache: Path) -> None:
    store = measured(cache, 1, damaged=True)
    (store / f"{'a' * 24}.arrow").write_bytes(b"not arrow")
    (store / f".{'b' * 32}.tmp").write_bytes(b"half")
    (use,) = [use for use in find_stores(cache) if use.folder == store]
    assert use.items == 1
    clear([use], cache)
    assert not store.exists()


def test_what_is_printed(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VISIFT_CACHE", str(cache))
    for path in cache.rglob("*.arrow"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    assert run(["cache"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith(f"Cache     {cache} · ")
    lines = [line.split() for line in out[2:]]
    assert lines[0] == ["images", "of", "signal", "model", "items", "size", "written"]
    assert lines[1][:5] == ["images-0123456789ab", "Loss", "layer=2", "abcdef01", "5"]
    assert lines[3][:3] == ["other-ba9876543210", "Loss", "–"]
    assert {line[-1] for line in lines[1:]} == {"2001-09-09"}


def test_without_a_terminal_nothing_is_removed_unless_said(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(cache)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert run(["cache", "--cache", str(cache), "--clear"]) == 1
    assert capsys.readouterr().err == (
        "error  Nothing was removed: there is no terminal to ask at.\n       Say so with --yes.\n"
    )
    assert everything(cache) == before
    assert run(["cache", "--cache", str(cache), "--clear", "--yes"]) == 0
    assert "Removed   " in capsys.readouterr().out
    assert everything(cache) == {}


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("Yes\n", 0), ("\n", 1), ("", 1)])
def test_a_person_is_asked(
    cache: Path,
    answer: str,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert run(["cache", "--cache", str(cache), "--clear"]) == code
    shown = capsys.readouterr()
    assert shown.err.startswith("Remove 3 of these, ")
    assert ("Nothing was removed." in shown.err) == (code == 1)
    assert bool(everything(cache)) == (code == 1)


def test_only_what_is_old(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (old,) = find_stores(cache / "other-ba9876543210")
    then = time.time() - 3 * 86_400
    for path in old.folder.glob("*.arrow"):
        os.utime(path, (then, then))
    arguments = ["cache", "--cache", str(cache), "--clear", "--yes", "--json"]
    assert run([*arguments, "--older-than", "4d"]) == 0
    assert json.loads(capsys.readouterr().out)["stores"] == []
    assert run([*arguments, "--older-than", "2d"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [store["pool"] for store in said["stores"]] == ["other-ba9876543210"]
    assert said["removed_bytes"] == old.n_bytes
    assert len(find_stores(cache)) == 2


@pytest.mark.parametrize("text", ["30", "d", "-1d", "1y", ""])
def test_a_time_that_is_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", "--older-than", text]) == 1
    assert f'error  --older-than "{text}" is no time.' in capsys.readouterr().err


def test_files_of_others_in_a_store_are_named(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (store,) = find_stores(cache / "other-ba9876543210")
    (store.folder / "notes.txt").write_text("mine")
    run(["cache", "--cache", str(cache), "--clear", "--yes"])
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == f"Note      {store.folder} holds files that visift did not write"


def test_checkpoints_are_listed_and_cleared_but_for_how_they_ended(tmp_path: Path) -> None:
    folder = tmp_path / "pool" / "checkpoints" / ("0123456789ab" * 2)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"w" * 100)
    (folder / "training.json").write_text('{"examples": 7, "steps": 3, "left_out": {}}')
    (use,) = find_stores(tmp_path)
    assert (use.signal, use.items, use.n_bytes) == ("FineTuning", 7, 100)
    assert clear([use], tmp_path) == 100
    assert [path.name for path in folder.iterdir()] == ["training.json"]
    assert find_stores(tmp_path) == []
