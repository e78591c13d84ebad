"""mmSSR from a pool to a written subset: a teacher labels, scorer and styler learn, all is rated.

The teacher is a real server that knows the demo's ground truth. What is long runs under `slow`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from annotate.teacher import rated, teaching
from helpers import needs_shared
from test_real_pools import IMAGES, RESULTS, first_records
from test_tuned_methods import finish, kill_when
from visift.cli import run as command_line
from visift.demo.generator import write_demo_pool
from visift.planning.planner import plan

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("httpx2", reason="httpx2 is not installed")

KEYS = ("attribute_identification", "optical_character_recognition")


@dataclass(frozen=True)
class Chain:
    """One run, with its output, cache and labels in `folder`.

    Attributes:
        demo: folder of the pool.
        url: of the teacher.
        folder: to work in.
        settings: `name=value` of the method.
        budget: of the selection.
        workers: that measure.
    """

    demo: Path
    url: str
    folder: Path
    settings: tuple[str, ...]
    budget: str = "20%"
    workers: int = 1

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def select(self) -> list[str]:
        said = ["--pool", str(self.demo / "pool.json"), "--image-folder", str(self.images)]
        said += ["--method", "mmssr", "--model", "builtin:tiny", "--budget", self.budget]
        said += ["-o", str(self.out), "--cache", str(self.cache), "--workers", str(self.workers)]
        return _visift("select", *said, *(x for one in self.settings for x in ("--set", one)))

    @property
    def images(self) -> Path:
        return self.demo / "images"

    @property
    def annotate(self) -> list[str]:
        labels = self.out / "labels"
        said = [str(labels / "to_annotate.jsonl"), "--image-folder", str(self.images)]
        said += ["-o", str(labels / "labels.parquet"), "--endpoint", self.url, "--model", "teacher"]
        return _visift("annotate", "--for", "mmssr", *said, "--concurrency", "4")

    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "manifest.json").read_text())["facts"]
        return found


def _visift(*said: str) -> list[str]:
    return [sys.executable, "-m", "visift", *said]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_demo_pool(folder, records=200)
    return folder


@pytest.fixture(scope="module")
def teacher(demo: Path) -> Iterator[str]:
    with teaching(demo) as url:
        yield url


QUICK = (
    f"capabilities={','.join(KEYS)}",
    f"rated={','.join(KEYS)}",
    "labelled=40",
    "recipe=tiny,epochs:6,batch_size:16,micro_batch:16",
    "styler_recipe=tiny,epochs:1,batch_size:16,micro_batch:16",
)


def test_from_a_pool_to_a_trainers_file(
    demo: Path, teacher: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = Chain(demo, teacher, tmp_path, QUICK)
    assert command_line(chain.select[3:]) == 0
    said = capsys.readouterr().out
    assert "40 of 40 records want a teacher's labels first" in said
    assert "visift annotate --for mmssr" in said
    assert not (chain.out / "manifest.json").exists()
    assert command_line(chain.annotate[3:]) == 0
    asked = rated(demo)
    assert len(asked) == len(set(asked)) == 40
    planned = plan(
        demo / "pool.json",
        "mmssr",
        model="builtin:tiny",
        budget=chain.budget,
        image_folder=chain.images,
        settings=dict(one.split("=", 1) for one in QUICK),
        labels=chain.out / "labels" / "labels.parquet",
        cache=chain.cache,
    )
    assert command_line(chain.select[3:]) == 0
    manifest = json.loads((chain.out / "manifest.json").read_text())
    (counted,) = planned.methods
    keys = ("signal", "items", "measured", "training_steps")
    assert [[getattr(entry, key) for key in keys] for entry in counted.ledger] == [
        [entry[key] for key in keys] for entry in manifest["cost"]["ledger"]
    ]
    assert manifest["counts"]["selected"] == 40
    scores = pq.read_table(chain.out / "scores.parquet")
    assert {f"score.{key}" for key in KEYS} | {"styles"} <= set(scores.column_names)
    page = (chain.out / "report" / "index.html").read_text()
    assert "optical character recognition" in page
    assert not chain.facts()["not_mmssr"]
    assert command_line(chain.select[3:]) == 0
    assert rated(demo) == asked  # nobody is asked twice


# --- at length -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_while_labelling_training_and_scoring_gives_the_same_bytes(
    demo: Path, tmp_path: Path
) -> None:
    with teaching(demo, delay=0.2) as url:
        calm = Chain(demo, url, tmp_path / "calm", QUICK)
        shaken = replace(calm, folder=tmp_path / "shaken", workers=2)
        for command in (calm.select, calm.annotate, calm.select, shaken.select):
            finish(command)
        replies = shaken.out / "labels" / "labels.replies.jsonl"
        assert kill_when(
            shaken.annotate, lambda: replies.exists() and replies.read_text().count("\n") > 20
        )
        finish(shaken.annotate)
        assert kill_when(shaken.select, lambda: any(shaken.cache.glob("checkpoints/*.training/*")))
        for count in (1, 2):
            assert kill_when(shaken.select, lambda: len(trained(shaken)) >= count)  # noqa: B023
        finish(shaken.select)
    for name in ("labels/labels.parquet", *RESULTS):
        assert (calm.out / name).read_bytes() == (shaken.out / name).read_bytes(), name


def trained(chain: Chain) -> list[Path]:
    return list(chain.cache.glob("checkpoints/*/training.json"))


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A larger demo, rated by a scorer that learnt from 300 labelled records."""
    folder = tmp_path_factory.mktemp("learnt")
    write_demo_pool(folder / "demo", records=1000)
    settings = ("labelled=300", "recipe=tiny,epochs:3", "styler_recipe=tiny,epochs:16")
    with teaching(folder / "demo") as url:
        chain = Chain(folder / "demo", url, folder, settings, workers=2)
        for command in (chain.select, chain.annotate, chain.select):
            finish(command)
        yield chain


@pytest.mark.slow
def test_the_scorer_agrees_with_the_teacher_above_chance(learnt: Chain) -> None:
    """On labels that it did not learn from: exactly, against always the most frequent rating."""
    agreement = learnt.facts()["agreement"]
    assert agreement["held_out_rows"] == 30
    mixed = [one for one in agreement["ratings"].values() if one["chance_exact"] < 0.9]
    assert len(mixed) >= 4
    gain = sum(one["exact"] - one["chance_exact"] for one in mixed) / len(mixed)
    assert gain > 0.05
    styles = agreement["styles"]
    assert styles["f1"] >= styles["chance_f1"]


@pytest.mark.slow
def test_customised_selection_shifts_the_mix_and_measures_nothing(learnt: Chain) -> None:
    keys = ("optical_character_recognition", "attribute_identification")
    custom = replace(learnt, settings=(*learnt.settings, f"capabilities={','.join(keys)}"))
    labels = learnt.out / "labels" / "labels.parquet"
    finish([*custom.select, "-o", str(learnt.folder / "custom"), "--labels", str(labels)])
    manifest = json.loads((learnt.folder / "custom" / "manifest.json").read_text())
    assert not any(entry["measured"] for entry in manifest["cost"]["ledger"])
    means = {}
    for name in ("out", "custom"):
        scores = pq.read_table(learnt.folder / name / "scores.parquet")
        chosen = scores.filter(pc.equal(scores["status"], "selected"))
        means[name] = [pc.mean(chosen[f"score.{key}"]).as_py() for key in keys]
    assert all(mine > all_s for mine, all_s in zip(means["custom"], means["out"], strict=True))


@pytest.mark.slow
def test_a_capability_added_later_costs_its_own_column_only(
    demo: Path, teacher: str, tmp_path: Path
) -> None:
    """The teacher has rated it already, as it rates all in one reply; the scorer has not learnt."""
    first = Chain(demo, teacher, tmp_path, QUICK)
    for command in (first.select, first.annotate, first.select):
        finish(command)
    before = set(trained(first))
    key = "object_spatial_understanding"
    later = replace(first, settings=(*first.settings, f"added={key}"))
    finish([*later.select, "--overwrite"])
    assert len(set(trained(first)) - before) == 1
    manifest = json.loads((first.out / "manifest.json").read_text())
    measured = [entry for entry in manifest["cost"]["ledger"] if entry["measured"]]
    assert [entry["signal"] for entry in measured] == ["FineTuning", "CapabilityRatings"]
    assert f"score.{key}" in pq.read_schema(first.out / "scores.parquet").names


@needs_shared
@pytest.mark.slow
def test_a_real_pool_is_rated_and_selected(learnt: Chain, tmp_path: Path) -> None:
    """By the scorer that learnt on the demo, named as a released one is: 5,000 records."""
    scorer, styler = (str(one.parent) for one in sorted(trained(learnt), key=_examples)[::-1])
    pool = first_records("real", 5000, tmp_path / "pool")
    out = tmp_path / "out"
    said = ["--pool", str(pool), "--image-folder", str(IMAGES), "--method", "mmssr"]
    said += ["--model", "builtin:tiny", "--budget", "5%", "-o", str(out), "--workers", "2"]
    said += ["--set", f"scorer={scorer}", "--set", f"styler={styler}", "--cache", str(tmp_path)]
    finish(_visift("select", *said))
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["counts"]["selected"] == 250


def _examples(outcome: Path) -> int:
    return int(json.loads(outcome.read_text())["examples"])
