"""Questions whose image stands in the pool: by key, by bytes, nearly; or whose very words do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from helpers import open_records, talk
from visift.engine.lab import LocalLab
from visift.pool.pool import Pool
from visift.validate.decontamination import (
    NEAR,
    SAME_BYTES,
    SAME_KEY,
    SAME_WORDS,
    Contamination,
    find_contamination,
)
from visift.validate.splitting import Questions


def picture(folder: Path, name: str, seed: int, touched: int = 0) -> None:
    """Write an image with a shape of its own; `touched` pixels of it changed."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (8, 9, 3)).astype(np.uint8)
    pixels = np.asarray(Image.fromarray(small).resize((72, 64), Image.Resampling.NEAREST)).copy()
    pixels[0, :touched] = 255 - pixels[0, :touched]
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / name)


def found(
    asking: Pool, pool: Pool, rows: list[int], asked: list[int], cache: Path
) -> Contamination:
    labs = [LocalLab(one, cache, lambda: ("cpu",)) for one in (asking, pool)]
    questions = Questions.of(asking, np.array(asked))
    return find_contamination(labs[0], questions, labs[1], np.array(rows))


def test_copies_and_near_copies_in_one_pool_are_found(tmp_path: Path) -> None:
    for name, seed, touched in (("a.png", 1, 0), ("b.png", 2, 0), ("c.png", 3, 0)):
        picture(tmp_path, name, seed, touched)
    picture(tmp_path, "copy.png", 1)
    picture(tmp_path, "near.png", 2, touched=4)
    names = ["a.png", "b.png", "c.png", "copy.png", "near.png"]
    pool = open_records(tmp_path, [talk(f"<image>{n}?", image=n) for n in names])
    met = found(pool, pool, [0, 1, 2], [3, 4], tmp_path / "cache")
    said = [(one.question, one.record, one.kind) for one in met.meetings]
    assert said == [(3, 0, SAME_BYTES), (4, 1, NEAR)]
    assert met.rows.tolist() == [3, 4]
    assert met.summary() == "2 (1 same bytes, 1 nearly the same)"
    table = met.table(pool, pool).to_pylist()
    assert table[0]["question"] == "pool.json#3"
    assert table[0]["record_image"] == "a.png"


def test_the_same_file_in_two_pools_is_found_by_its_key(tmp_path: Path) -> None:
    picture(tmp_path, "a.png", 1)
    pool = open_records(tmp_path, [talk("<image>one?", image="a.png")])
    asking = open_records(tmp_path / "ask", [talk("<image>two?", image="a.png")])
    picture(tmp_path / "ask", "a.png", 1)
    asking = Pool.open(tmp_path / "ask" / "pool.json")
    met = found(asking, pool, [0], [0], tmp_path / "cache")
    assert [one.kind for one in met.meetings] == [SAME_KEY]


def test_other_images_are_not_met(tmp_path: Path) -> None:
    for seed, name in enumerate(("a.png", "b.png")):
        picture(tmp_path, name, seed)
    pool = open_records(tmp_path, [talk("<image>?", image=n) for n in ("a.png", "b.png")])
    assert not found(pool, pool, [0], [1], tmp_path / "cache").meetings


def test_the_second_image_of_a_question_counts_too(tmp_path: Path) -> None:
    for seed, name in enumerate(("a.png", "b.png")):
        picture(tmp_path, name, seed)
    picture(tmp_path, "copy.png", 0)
    records = [
        talk("<image>?", image="a.png"),
        talk("<image><image>?", image=["b.png", "copy.png"]),
    ]
    pool = open_records(tmp_path, records)
    assert found(pool, pool, [0], [1], tmp_path / "cache").rows.tolist() == [1]


def test_text_only_questions_are_met_by_their_conversation(tmp_path: Path) -> None:
    picture(tmp_path, "a.png", 1)
    records = [talk("one?"), talk("two?"), talk("one?"), talk("<image>one?", image="a.png")]
    pool = open_records(tmp_path, records)
    met = found(pool, pool, [0, 1, 3], [2], tmp_path / "cache")
    assert [(one.question, one.record, one.kind) for one in met.meetings] == [(2, 0, SAME_WORDS)]
