"""One run and its folder: what is written, what continues, what is refused, what is the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from helpers import (
    MIXED,
    REAL_IMAGES,
    needs_shared,
    put_images,
    sources_pool,
    talk,
    write_json,
    write_lines,
)
from visift.config import EngineConfig, PoolConfig, RunConfig
from visift.errors import InfeasibleBudget, InputError, StorageError, TooManyUnusable
from visift.files import claimed
from visift.finished import Run, reopen
from visift.pool.pool import Pool
from visift.run import execute, select

RESULTS = (
    "selection.parquet",
    "scores.parquet",
    "control.parquet",
    "quarantine.parquet",
    "README.md",
    "run.yaml",
    "export/llava/subset.json",
    "export/llava/control.json",
    "export/llava/random.json",
)
SIZES = {"coco": 30, "gqa": 15, "vg": 5}


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return sources_pool(tmp_path / "data", SIZES, text=10)


def results(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in RESULTS}


def column(folder: Path, table: str, name: str) -> list[Any]:
    return list(pq.read_table(folder / f"{table}.parquet")[name].to_pylist())


def take(pool: Path | str | Pool, output: Path, **more: Any) -> Run:
    return select(pool, output=output, **{"method": "stratified", "budget": "20%", **more})


def test_a_run_directory(pool: Path, tmp_path: Path) -> None:
    run = take(pool, tmp_path / "out")
    assert {p.name for p in run.folder.iterdir()} == {
        *(name.partition("/")[0] for name in RESULTS), "manifest.json", "report",
    }  # fmt: skip
    assert "<h1" in (run.folder / "report/index.html").read_text(encoding="utf-8")
    assert "train subset" in (run.folder / "export/llava/RUN.md").read_text(encoding="utf-8")
    assert (len(run.selection), len(run.control), len(run.random)) == (12, 12, 12)
    assert column(run.folder, "selection", "rank") == list(range(1, 13))
    assert len(column(run.folder, "scores", "uid")) == len(run.pool) == 60
    assert pq.read_schema(run.folder / "control.parquet").names == (
        ["uid", "content_hash", "file", "row", "source", "task", "rank"]
    )
    assert pq.read_schema(run.folder / "quarantine.parquet").names == (
        ["uid", "file", "row", "reason"]
    )
    manifest = json.loads((run.folder / "manifest.json").read_text("utf-8"))
    assert manifest["counts"] == {
        "records": 60, "kept": 0, "have": 0, "set aside": 0, "usable": 60, "selected": 12,
        "selected text-only": 2, "selected images": 10,
    }  # fmt: skip
    assert manifest["pool"][0]["bytes"] == pool.stat().st_size


def test_the_twin_has_the_same_shares(pool: Path, tmp_path: Path) -> None:
    run = take(pool, tmp_path / "out", method="random", budget="45")
    shares = [Counter(column(run.folder, t, "source")) for t in ("selection", "control")]
    assert shares[0] == shares[1]
    text = [int(run.pool.text_only[rows].sum()) for rows in (run.rows, run.control)]
    assert text[0] == text[1]


def test_the_same_run_twice_writes_the_same_bytes(pool: Path, tmp_path: Path) -> None:
    one, two = (take(pool, tmp_path / name).folder for name in ("one", "two"))
    assert results(one) == results(two)


def test_hash_seed_does_not_matter(pool: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "visift", "select", "--pool", str(pool), "--budget", "20%"]
    command += ["--method", "stratified", "--json", "-o"]
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([*command, str(tmp_path / seed)], env=env, check=True, capture_output=True)
    assert results(tmp_path / "1") == results(tmp_path / "2")


def test_same_output_and_configuration_continue(pool: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = results(take(pool, out).folder)
    (out / "manifest.json").unlink()
    (out / "selection.parquet").write_bytes(b"half of it")
    assert (
        results(take(pool, out, workers=3, executor="inline").folder)
        | {"run.yaml": before["run.yaml"]}
        == before
    )


@pytest.mark.parametrize(
    ("change", "name"),
    [({"seed": 1}, "seed"), ({"budget": "10%"}, "budget"), ({"method": "random"}, "method"),
     ({"settings": {"weights": "sqrt"}}, "settings"), ({"nested": True}, "nested")],
)  # fmt: skip
def test_another_configuration_is_refused_unless_told(
    pool: Path, tmp_path: Path, change: dict[str, Any], name: str
) -> None:
    out = tmp_path / "out"
    before = results(take(pool, out).folder)
    with pytest.raises(InputError, match=rf"holds another run \(different: {name}\)") as caught:
        take(pool, out, **change)
    assert "--overwrite" in str(caught.value.fix)
    assert results(out) == before
    other = take(pool, out, overwrite=True, **change)
    assert results(out) != before
    assert results(take(pool, tmp_path / "fresh", **change).folder) == results(other.folder)


@pytest.mark.parametrize("overwrite", [False, True])
def test_somebody_elses_folder_is_left_alone(pool: Path, tmp_path: Path, overwrite: bool) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years")
    for target in (out, out / "thesis.tex"):
        with pytest.raises(InputError, match=r"is not empty and holds no run|is a file"):
            take(pool, target, overwrite=overwrite)
    assert [p.name for p in out.iterdir()] == ["thesis.tex"]


def test_an_output_inside_the_pool_folder_is_refused(pool: Path) -> None:
    with pytest.raises(InputError, match="lies inside the pool folder"):
        take(pool.parent, pool.parent / "out")
    assert take(pool, pool.parent / "out").folder.is_dir()


def test_run_yaml_alone_reproduces_the_selection(pool: Path, tmp_path: Path) -> None:
    first = take(pool, tmp_path / "one", seed=3, settings={"weights": "sqrt"}, nested=True)
    config = RunConfig.from_yaml(first.folder / "run.yaml")
    again = execute(config, tmp_path / "two")
    assert results(first.folder) == results(again.folder)


def test_an_open_pool_is_written_down_as_it_was_opened(tmp_path: Path) -> None:
    put_images(tmp_path / "images", ["1.png", "2.png"])
    folder = tmp_path / "records"
    records = [talk(f"{n}", image=f"{n % 2 + 1}.png", kind="ab"[n % 2]) for n in range(10)]
    write_lines(folder / "a.jsonl", records)
    write_json(folder / "b.json", [talk("b", kind="b")])
    opened = Pool.open(folder, image_folder=tmp_path / "images", source_field="kind")
    first = take(opened, tmp_path / "one")
    named = yaml.safe_load((first.folder / "run.yaml").read_text())["pool"]
    assert named["image_folder"] == str(tmp_path / "images")
    again = execute(RunConfig.from_yaml(first.folder / "run.yaml"), tmp_path / "two")
    assert results(first.folder) == results(again.folder)
    assert reopen(first.folder).rows.tolist() == first.rows.tolist()


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_another_order_and_container_give_the_same_records(
    pool: Path, tmp_path: Path, method: str
) -> None:
    records = json.loads(pool.read_text())
    other = write_lines(pool.parent / "other.jsonl", records[::-1])
    chosen = []
    for number, path in enumerate((pool, other)):
        folder = take(path, tmp_path / str(number), method=method).folder
        tables = ("selection", "control")
        chosen.append({t: column(folder, t, "content_hash") for t in tables})
    assert chosen[0] == chosen[1]


def spoiled(pool: Path, count: int) -> Path:
    for n in range(count):
        (pool.parent / f"coco/{n}.png").unlink()
    return pool


def test_too_many_unusable_records_stop_the_run_before_it_starts(
    pool: Path, tmp_path: Path
) -> None:
    with pytest.raises(TooManyUnusable, match=r"2 of 60 .* 2 coco \(image missing\)") as caught:
        take(spoiled(pool, 2), tmp_path / "out")
    assert "--max-unusable 3.4%. Nothing was measured yet." in str(caught.value.fix)
    assert not (tmp_path / "out").exists()


def test_below_the_limit_it_goes_on_and_says_what_is_missing(pool: Path, tmp_path: Path) -> None:
    run = take(spoiled(pool, 2), tmp_path / "out", budget="100%", max_unusable="3.4%")
    assert pq.read_table(run.folder / "quarantine.parquet").to_pylist() == [
        {"uid": f"pool.json#{n}", "file": "pool.json", "row": n,
         "reason": f"image missing: coco/{n}.png"}
        for n in range(2)
    ]  # fmt: skip
    status = Counter(str(s).partition(":")[0] for s in column(run.folder, "scores", "status"))
    assert status == {"selected": 58, "set aside": 2}
    assert not {0, 1} & {*run.rows.tolist(), *run.control.tolist(), *run.random.tolist()}


def test_what_cannot_be_is_said_before_anything_is_read(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.json"
    for wrong in ({"export": ("lava",)}, {"budget": "1,5%"}, {"max_unusable": "many"},
                  {"method": "prisma"}, {"settings": {"weigths": 1}}, {"budget": None},
                  {"signals": (str(nowhere),)}):  # fmt: skip
        with pytest.raises(InputError):
            take(nowhere, tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()


def test_workers_and_budgets_are_checked_before_the_folder_is_claimed(
    pool: Path, tmp_path: Path
) -> None:
    spoiled(pool, 2)
    for wrong in ({"workers": 0}, {"workers": "many"}, {"executor": "magic"}):
        with pytest.raises(InputError):
            take(pool, tmp_path / "out", max_unusable="5%", **wrong)
    with pytest.raises(InfeasibleBudget, match="49-images is more than the 48 usable images"):
        take(pool, tmp_path / "out", max_unusable="5%", budget="49-images")
    assert not (tmp_path / "out").exists()


def test_a_run_that_did_not_end_is_not_opened(pool: Path, tmp_path: Path) -> None:
    run = take(pool, tmp_path / "out")
    (run.folder / "manifest.json").unlink()
    with pytest.raises(InputError, match="holds no finished run"):
        reopen(run.folder)
    with pytest.raises(InputError, match="there is no such folder"):
        reopen(tmp_path / "none")


def test_a_failed_overwrite_leaves_the_old_run_whole(pool: Path, tmp_path: Path) -> None:
    out = take(pool, tmp_path / "out").folder
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    put_images(pool.parent, ["coco/0.png", "0.png"])
    records = [talk("x", image="coco/0.png"), talk("y", image="0.png"), talk("z")]
    bare = write_json(pool.parent / "bare.json", records)
    with pytest.raises(InputError, match="have no source"):
        take(bare, out, overwrite=True, budget=1)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_what_an_error_advises_is_accepted_in_the_same_folder(pool: Path, tmp_path: Path) -> None:
    """A run that failed owns nothing: with the setting it asked for it goes on."""
    put_images(pool.parent, ["coco/0.png", "0.png"])
    records = [talk("x", image="coco/0.png"), talk("y", image="0.png"), talk("z")]
    bare = write_json(pool.parent / "bare.json", records)
    with pytest.raises(InputError, match="have no source"):
        take(bare, tmp_path / "out", budget=1)
    run = take(bare, tmp_path / "out", budget=1, settings={"unlabelled": "other"})
    assert len(run.selection) == 1


def test_run_yaml_works_from_any_folder(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pool.parent)
    out = take(Path(pool.name), tmp_path / "out").folder
    monkeypatch.chdir(tmp_path)
    assert len(reopen(out).rows) > 0


def test_reopening_gives_the_same_arms_even_without_the_images(pool: Path, tmp_path: Path) -> None:
    run = take(pool, tmp_path / "out")
    before = results(run.folder)
    shutil.rmtree(pool.parent / "coco")
    again = reopen(run.folder)
    again.export("llava", tmp_path / "again")
    for arm in ("subset", "control", "random"):
        written = (tmp_path / f"again/{arm}.json").read_bytes()
        assert written == before[f"export/llava/{arm}.json"]


def test_a_pool_that_moved_or_changed(pool: Path, tmp_path: Path) -> None:
    run = take(pool, tmp_path / "out")
    moved = pool.parent.rename(tmp_path / "moved")
    again = reopen(run.folder, files=(str(moved / "pool.json"),))
    assert again.rows.tolist() == run.rows.tolist()
    records = json.loads((moved / "pool.json").read_text())
    write_json(moved / "pool.json", records[::-1])
    with pytest.raises(Exception, match="the pool has changed"):
        reopen(run.folder, files=(str(moved / "pool.json"),))


def test_a_pool_folder_is_never_written_to(pool: Path, tmp_path: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in pool.parent.rglob("*")}
    for path in pool.parent.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    pool.parent.chmod(0o555)
    assert len(take(pool, tmp_path / "out").selection) == 12
    pool.parent.chmod(0o755)
    assert {p: p.stat().st_mtime_ns for p in pool.parent.rglob("*")} == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("may not mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("free", [0, 8 << 10, 32 << 10, 48 << 10])
def test_a_full_disk_is_one_sentence_and_the_run_continues(
    pool: Path, small_disk: Path, free: int
) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * ((1 << 20) - free))
    with pytest.raises(StorageError) as caught:
        take(pool, small_disk / "out", budget="100%")
    assert caught.value.exit_code == 1
    assert caught.value.what == "the disk is full."
    assert "\n" not in f"{caught.value.where}{caught.value.fix}"
    filler.unlink()
    assert len(take(pool, small_disk / "out", budget="100%").selection) == 60


@needs_shared
def test_the_mixed_pool(tmp_path: Path) -> None:
    run = take(MIXED, tmp_path / "out", image_folder=REAL_IMAGES, budget="15%")
    assert len(run.selection) == 3_565
    text = int(run.pool.text_only.sum())
    assert text == 1_452
    assert abs(int(run.pool.text_only[run.rows].sum()) - 0.15 * text) < 1
    assert not run.quarantine.reasons


def test_two_runs_on_one_output_are_told_apart(pool: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with claimed(out), pytest.raises(InputError, match=r"another run is writing here"):
        take(pool, out)
    assert list(out.iterdir()) == []
    assert len(take(pool, out).selection) == 12


def test_what_is_wrong_with_the_input_leaves_no_folder_behind(pool: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no source"):
        take(pool, tmp_path / "out", settings={"weights": "nowhere:1,*:1"})
    assert not (tmp_path / "out").exists()


def test_a_slice_is_no_run(pool: Path, tmp_path: Path) -> None:
    config = RunConfig(
        PoolConfig((str(pool),)), budget="20%", engine=EngineConfig(shard_range="1/2")
    )
    with pytest.raises(InputError, match="a slice is measured, and nothing is chosen from it"):
        execute(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()
