"""What the methods that choose images by their embeddings have in common."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import open_records, put_images, sources_only, sources_pool, talk, write_json
from methods.choosing import chosen
from methods.handed_in import at_degrees, embeddings, pool_of
from visift.config import EngineConfig, PoolConfig, RunConfig
from visift.errors import InfeasibleBudget, InputError
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.run import execute, select
from visift.selection import Choice

METHODS = ("typiclust", "kcenter", "herding", "prototypes", "semdedup")
#: Parameters under which a method ranks all images together, in clusters that these pools have.
SMALL: dict[str, dict[str, Any]] = {
    "typiclust": {"clusters": 3, "k": 2},
    "prototypes": {"clusters": 3},
    "semdedup": {"clusters": 2},
}
every_method = pytest.mark.parametrize("method", METHODS)


def choose(pool: Pool, method: str, budget: Any, signals: Path, **given: Any) -> Choice:
    return chosen(pool, method, budget, signals=signals, **{**SMALL.get(method, {}), **given})


def cloud(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 4))


@every_method
def test_every_budget_is_met_exactly_and_a_prefix_of_the_next(method: str, tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "a" * 17 + "b" * 9, "a..")
    file = embeddings(tmp_path, cloud(26))
    ranking = choose(pool, method, "100%", file).rows.tolist()
    assert sorted(ranking) == list(range(29))
    for budget in range(1, 29):
        found = choose(pool, method, budget, file)
        assert found.rows.tolist() == ranking[:budget]
        assert len(found.reasons) == budget
        assert found.facts["nested"]
        assert found.facts["encoder"] == "--signals"


@every_method
@pytest.mark.parametrize("per_source", [False, True])
def test_text_only_rows_keep_their_share_and_sources_theirs_where_asked(
    method: str, per_source: bool, tmp_path: Path
) -> None:
    pool = pool_of(tmp_path, "a" * 12 + "b" * 6, "." * 6)
    file = embeddings(tmp_path, cloud(18))
    given = {} if method == "semdedup" else {"per_source": per_source}
    found = choose(pool, method, 8, file, **given)
    groups = Counter(found.group[row] for row in found.rows)
    assert groups["text-only"] == 2
    if given.get("per_source"):
        assert groups == {"a": 4, "b": 2, "text-only": 2}
    assert not any(row >= 18 for row in choose(pool, method, 18, file, text_only="drop").rows)
    kept = choose(pool, method, 8, file, text_only="keep")
    assert set(kept.rows[:6].tolist()) == set(range(18, 24))


@every_method
def test_the_order_of_the_pool_does_not_matter(method: str, tmp_path: Path) -> None:
    names = [f"{n}.png" for n in range(20)]
    put_images(tmp_path, names)
    records = [talk(f"question {n}", image=name) for n, name in enumerate(names)]
    vectors, shuffle = cloud(20), np.random.default_rng(1).permutation(20)
    found = []
    for name, order in (("first", np.arange(20)), ("second", shuffle)):
        folder = tmp_path / name
        pool = open_records(folder, [records[n] for n in order], image_folder=tmp_path)
        choice = choose(pool, method, 7, embeddings(folder, vectors[order]))
        found.append([int(order[row]) for row in choice.rows])
    assert found[0] == found[1]


@every_method
def test_rows_follow_their_image_or_stand_alone(method: str, tmp_path: Path) -> None:
    put_images(tmp_path, ["a.png", "b.png", "c.png"])
    records = [talk(f"question {n}", image=f"{name}.png") for n, name in enumerate("aabbcc")]
    pool = open_records(tmp_path, records)
    file = embeddings(tmp_path, np.repeat(at_degrees(0, 50, 170), 2, axis=0))
    by_image = choose(pool, method, 4, file)
    images = [row // 2 for row in by_image.rows.tolist()]
    assert images[0] == images[1] != images[2] == images[3]
    assert len(choose(pool, method, 3, file).rows) == 2, "an image that does not fit ends it"
    by_row = choose(pool, method, 3, file, unit="row")
    assert len(by_row.rows) == 3


@every_method
def test_a_row_with_several_images_has_their_mean(method: str, tmp_path: Path) -> None:
    put_images(tmp_path, ["a.png", "b.png", "c.png"])
    records = [
        talk("<image>\none", image="c.png"),
        talk("<image><image>\ntwo", image=["a.png", "b.png"]),
    ]
    pool = open_records(tmp_path, records)
    vectors = at_degrees(0, 90, 45).tolist()
    names = ["a.png", "b.png", "c.png"]
    table = pa.table({"image": names, "image_embedding": vectors})
    pq.write_table(table, tmp_path / "by_image.parquet")
    found = chosen(pool, "semdedup", "100%", signals=tmp_path / "by_image.parquet")
    assert sorted(found.score.tolist()) == pytest.approx([-1, 1]), "its mean is that of the other"
    assert len(choose(pool, method, 1, tmp_path / "by_image.parquet").rows) == 1


@every_method
def test_images_without_an_embedding_are_never_chosen(method: str, tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaaaa")
    file = embeddings(tmp_path, [[1, 0], None, [0, 1], [1, math.nan], [1, 1]])
    assert set(choose(pool, method, "100%", file).rows.tolist()) == {0, 2, 4}
    nothing = embeddings(tmp_path, [[math.nan, 0]] * 5)
    with pytest.raises(InputError, match="no image has an embedding"):
        choose(pool, method, 1, nothing)


@every_method
def test_pools_and_budgets_that_cannot_be(method: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"no usable record has an image, and {method} compares"):
        chosen(sources_only(tmp_path / "text", {"a": 3}), method, 1)
    pool = pool_of(tmp_path, "aa")
    file = embeddings(tmp_path, at_degrees(0, 9))
    with pytest.raises(InfeasibleBudget, match="more than the 2 usable records"):
        choose(pool, method, 3, file)
    with pytest.raises(InputError, match="is the tower of the bundled toy model"):
        chosen(pool, method, 1, encoder="builtin:tiny")


@every_method
@pytest.mark.parametrize("vectors", [[[1, 0]] * 6, [[0, 0]] * 6, [[0, 0], [1, 0], [1, 0]] * 2])
def test_equal_vectors_and_zeros_do_no_harm(
    method: str, vectors: list[list[float]], tmp_path: Path
) -> None:
    pool = pool_of(tmp_path, "aaabbb")
    file = embeddings(tmp_path, vectors)
    for budget in (2, 6):
        assert len(set(choose(pool, method, budget, file).rows.tolist())) == budget
    one = pool_of(tmp_path / "one", "a")
    assert choose(one, method, 1, embeddings(tmp_path, [[3, 4]])).rows.tolist() == [0]


@every_method
def test_vectors_of_any_length_count_by_their_direction(method: str, tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "a" * 15)
    vectors = cloud(15)
    long = vectors * np.random.default_rng(1).uniform(0.1, 90, size=(15, 1))
    one = choose(pool, method, 6, embeddings(tmp_path, vectors)).rows.tolist()
    assert choose(pool, method, 6, embeddings(tmp_path, long)).rows.tolist() == one


@every_method
@pytest.mark.parametrize("budget", ["4-images", "20-tokens"])
def test_budgets_in_images_and_tokens(method: str, budget: str, tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "a" * 12)
    found = choose(pool, method, budget, embeddings(tmp_path, cloud(12)))
    ranking = choose(pool, method, "100%", embeddings(tmp_path, cloud(12))).rows.tolist()
    assert 0 < len(found.rows) < 12
    assert found.rows.tolist() == ranking[: len(found.rows)]


@every_method
def test_kept_rows_rank_first_and_had_ones_never(method: str, tmp_path: Path) -> None:
    names = [f"{n}.png" for n in range(12)]
    put_images(tmp_path, names)
    records = [talk(f"question {n}", image=name) for n, name in enumerate(names)]
    pool = Pool.open(
        write_json(tmp_path / "pool.json", records[:8]),
        image_folder=tmp_path,
        keep=write_json(tmp_path / "keep.json", records[8:10]),
        have=write_json(tmp_path / "have.json", records[10:]),
    )
    found = choose(pool, method, 6, embeddings(tmp_path, cloud(12)))
    assert set(found.rows[:2].tolist()) == {8, 9}
    assert not {10, 11} & set(found.rows.tolist())
    assert found.reasons[:2] == ["kept: named with --keep"] * 2
    partly = choose(pool, method, 6, embeddings(tmp_path, cloud(8)))
    assert len(partly.rows) == 6, "vectors of kept and had records may lack"


@pytest.mark.parametrize("method", ["typiclust", "kcenter"])
def test_a_run_on_vectors_from_elsewhere_needs_no_torch(method: str, tmp_path: Path) -> None:
    file = sources_pool(tmp_path, {"a": 12, "b": 8}, text=4)
    signals = embeddings(tmp_path, cloud(20))
    code = (
        "import sys; from visift.run import select; "
        f"run = select({str(file)!r}, method={method!r}, budget='50%', "
        f"signals={str(signals)!r}, output={str(tmp_path / 'out')!r}); "
        "print(len(run.rows), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "12 False\n", done.stderr


def test_a_run_with_the_bundled_model(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    lines: list[tuple[str, str]] = []
    config = RunConfig(
        pool=PoolConfig((str(sources_pool(tmp_path / "pool", {"a": 6, "b": 4}, text=2)),)),
        method="kcenter",
        budget="50%",
        model=ModelRef("builtin:tiny"),
        engine=EngineConfig(cache=str(tmp_path / "cache"), executor="inline"),
    )
    run = execute(config, tmp_path / "out", say=lambda *line: lines.append(line))
    assert len(run.rows) == 6
    assert dict(lines)["Plan"].startswith("image_embedding of 10 images")
    assert run.selection.facts["encoder"] == "builtin:tiny"
    assert run.config.warning == "toy model: the ranking means nothing outside a demo"


def test_a_real_encoder_from_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from models.tiny_encoders import save_encoder

    file = sources_pool(tmp_path / "pool", {"a": 6})
    folder = save_encoder("dinov2", tmp_path / "encoder")
    run = select(
        file,
        method="kcenter",
        budget=3,
        settings={"encoder": str(folder)},
        cache=tmp_path / "cache",
        executor="inline",
        output=tmp_path / "out",
    )
    assert len(run.rows) == 3
    assert run.selection.facts["encoder"] == str(folder)
