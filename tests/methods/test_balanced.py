"""`balanced`: duplicates out, mixture kept, one record an image first; nested; around kept rows."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import open_records, put_images, sources_pool, talk, write_json
from methods.choosing import chosen
from visift.engine.lab import LocalLab
from visift.errors import InfeasibleBudget, InputError
from visift.methods.balanced import mixture, ordinal, times_shown
from visift.methods.method import build
from visift.numerics.allocate import allocate
from visift.pool.pool import Pool

NONE = np.empty(0, np.int64)


@cache
def pool_of_images() -> Pool:
    """Sources of 40, 20 and 4 rows over 10, 8 and 4 images, 8 text-only rows, 3 duplicates."""
    folder = Path(mkdtemp())
    names = [f"{s}/{n % m}.png" for s, size, m in (("a", 40, 10), ("b", 20, 8), ("c", 4, 4))
             for n in range(size)]  # fmt: skip
    put_images(folder, sorted(set(names)))
    records = [talk(f"<image>{n}", image=name) for n, name in enumerate(names)]
    repeated = [talk("<image>0 ", image="a/0.png"), talk(" <image>41", image="b/1.png")]
    text = [talk(f"text {n}", source="a" if n % 2 else None) for n in range(8)]
    return open_records(folder, [*records, *repeated, *text, talk("text  3", source="a")])


def labels(pool: Pool, rows: np.ndarray) -> Counter[str]:
    sources = pool.index["source"].to_pylist()
    return Counter("text-only" if pool.text_only[r] else sources[r] for r in rows.tolist())


def test_duplicates_are_out_and_not_counted_in_n() -> None:
    everything = chosen(pool_of_images(), "balanced", "100%")
    assert everything.facts["usable"] == len(everything.rows) == 72
    assert everything.facts["duplicates"] == 3
    said = [status for status in everything.status if status]
    assert len(said) == 3
    assert all(s.startswith("duplicate: of pool.json#") for s in said)


@settings(max_examples=40)
@given(st.integers(1, 71), st.integers(0, 3))
def test_nested_exact_and_in_the_mixture_of_allocate(n: int, seed: int) -> None:
    pool = pool_of_images()
    smaller, larger = (chosen(pool, "balanced", k, seed).rows for k in (n, n + 1))
    assert len(smaller) == n
    assert larger[:n].tolist() == smaller.tolist()
    counts = labels(pool, smaller)
    sizes = [40, 20, 4, 8]
    expected = allocate(n, mixture(np.array(sizes), 0.001), sizes)
    assert [counts[name] for name in ("a", "b", "c", "text-only")] == expected.tolist()


@settings(max_examples=20)
@given(st.integers(1, 72), st.integers(0, 3))
def test_no_image_is_shown_twice_before_every_image_of_its_source_once(n: int, seed: int) -> None:
    pool = pool_of_images()
    rows = chosen(pool, "balanced", n, seed).rows
    rows = rows[~pool.text_only[rows]]
    shown = Counter(pool.images.of_row(int(row))[0] for row in rows)
    for source, images in (("a", 10), ("b", 8), ("c", 4)):
        mine = [
            count for image, count in shown.items() if pool.images.refs[image].path[0] == source
        ]
        most = max(mine, default=0)
        assert most <= 1 or (len(mine) == images and min(mine) >= most - 1)


def test_reasons_can_be_checked() -> None:
    pool = pool_of_images()
    choice = chosen(pool, "balanced", "100%")
    words = Counter(reason.partition(";")[0] for reason in choice.reasons)
    assert words["first record of its image"] == 22
    assert words["second record of its image"] == 18
    assert words["text-only"] == 8
    assert words["4th record of its image"] == 10
    assert f"a keeps its {40 / 72:.1%}" in choice.reasons[0]


def test_a_small_source_weighs_a_thousandth_of_all_rows() -> None:
    assert mixture(np.array([9990, 9, 1]), 0.001) == [9990, 10, 10]
    assert mixture(np.array([5, 5]), 0) == [5, 5]
    assert mixture(np.array([2000, 1]), 0.001) == [2000, Fraction(2001, 1000)]


def test_the_order_of_the_pool_does_not_matter(tmp_path: Path) -> None:
    pool = pool_of_images()
    raws = [pool.raw(row) for row in range(len(pool))]
    other = pool.files[0].reader.path.with_name("shuffled.json")
    order = np.random.default_rng(0).permutation(len(raws))
    other.write_bytes(b"[" + b",".join(raws[i] for i in order) + b"]")
    shuffled = Pool.open(other)
    first, second = (
        [(p.content_hashes()[r], reason) for r, reason in zip(c.rows, c.reasons, strict=True)]
        for p, c in ((p, chosen(p, "balanced", 31)) for p in (pool, shuffled))
    )
    assert first == second


def test_rows_of_the_same_images_in_another_source_do_not_count(tmp_path: Path) -> None:
    put_images(tmp_path, ["x.png"])
    pool = open_records(
        tmp_path, [talk(f"<image>{n}", image="x.png", source="ab"[n % 2]) for n in range(6)]
    )
    times = times_shown(pool, pool.rows(), NONE, pool.tie_keys(0))
    assert sorted(times[::2]) == sorted(times[1::2]) == [0, 1, 2]


def with_roles(folder: Path, keep: list[int], have: list[int]) -> Pool:
    """Two images, four records each; some of them kept, some there already."""
    put_images(folder, ["p/x.png", "p/y.png"])
    records = [talk(f"<image>{n}", image=f"p/{'xy'[n % 2]}.png") for n in range(8)]
    write_json(folder / "pool.json", records)
    for name, rows in (("keep", keep), ("have", have)):
        write_json(folder / f"{name}.json", [records[row] for row in rows] or [talk("nothing")])
    return Pool.open(
        folder / "pool.json",
        keep=[folder / "keep.json"] if keep else [],
        have=[folder / "have.json"] if have else [],
    )


def test_coverage_starts_from_what_is_kept_or_there(tmp_path: Path) -> None:
    pool = with_roles(tmp_path, keep=[0], have=[2])
    choice = chosen(pool, "balanced", 4)
    assert pool.uids(choice.rows)[0] == "keep:keep.json#0"
    assert choice.reasons[0] == "kept: named with --keep"
    shown = [pool.images.refs[pool.images.of_row(int(r))[0]].path for r in choice.rows[1:]]
    assert shown[:2] == ["p/y.png", "p/y.png"]  # x is shown by the kept and by the have one
    assert choice.facts["usable"] == 7  # eight, less the have one; the kept one stands for itself


def test_kept_rows_fill_the_seats_of_their_source(tmp_path: Path) -> None:
    sources_pool(tmp_path, {"a": 10, "b": 10})
    records = [talk(f"own {n}", image=f"a/{n}.png") for n in range(4)]
    write_json(tmp_path / "mine.json", records)
    pool = Pool.open(tmp_path / "pool.json", keep=[tmp_path / "mine.json"])
    counts = labels(pool, chosen(pool, "balanced", 10).rows)
    assert counts == allocate_named(10, {"a": 14, "b": 10})
    with pytest.raises(InfeasibleBudget, match="3 records, fewer than the 4 of --keep"):
        chosen(pool, "balanced", 3)
    assert len(chosen(pool, "balanced", "2x keep").rows) == 12


def allocate_named(n: int, sizes: dict[str, int]) -> dict[str, int]:
    counts = allocate(n, list(sizes.values()), list(sizes.values()))
    return dict(zip(sizes, counts.tolist(), strict=True))


def test_budgets_in_images_and_tokens() -> None:
    pool = pool_of_images()
    rows = chosen(pool, "balanced", "7-images").rows
    assert len(pool.images.of_rows(rows)) == 7
    spent = chosen(pool, "balanced", "100-tokens").rows
    tokens = -(-pool.index["text_bytes"].to_numpy() // 4)
    assert tokens[spent].sum() <= 100
    longer = chosen(pool, "balanced", len(spent) + 1).rows
    assert longer[:-1].tolist() == spent.tolist()
    assert tokens[longer].sum() > 100
    with_images = chosen(pool, "balanced", "100-tokens+16/image").rows
    assert with_images.tolist() == spent[: len(with_images)].tolist()
    assert len(with_images) < len(spent)


def test_rows_without_a_source_among_others_are_named(tmp_path: Path) -> None:
    put_images(tmp_path, ["a/x.png", "y.png"])
    pool = open_records(tmp_path, [talk(image="a/x.png"), talk(image="y.png")])
    with pytest.raises(InputError, match=r"1 records have no source.*pool\.json#1"):
        chosen(pool, "balanced", 1)
    assert len(chosen(pool, "balanced", 2, unlabelled="other").rows) == 2


def test_no_torch_is_imported(tmp_path: Path) -> None:
    sources_pool(tmp_path, {"a": 5}, text=2)
    program = (
        "import sys, visift\n"
        "visift.select(sys.argv[1] + '/pool.json', budget=3, output=sys.argv[1] + '/out')\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == 0
    )


def test_only_text_has_labels(tmp_path: Path) -> None:
    put_images(tmp_path, ["x.png"])
    records = [talk(f"<image>{n}", image="x.png") for n in range(3)]
    pool = open_records(tmp_path, [*records, talk("text", source="s")])
    choice = chosen(pool, "balanced", "100%")
    assert {choice.group[row] for row in range(4)} == {"all", "text-only"}


def test_what_is_wrong_with_labels_of_kept_rows_is_said_before_measuring(tmp_path: Path) -> None:
    sources_pool(tmp_path, {"a": 3})
    put_images(tmp_path, ["own.png"])
    write_json(tmp_path / "mine.json", [talk("own", image="own.png")])
    pool = Pool.open(tmp_path / "pool.json", keep=tmp_path / "mine.json")
    for name, parameters in (("balanced", {}), ("longest", {"per_source": True})):
        method = build(name, parameters)
        with pytest.raises(InputError, match=r"1 records have no source.*keep:mine\.json#0"):
            method.measure(pool, LocalLab(pool, tmp_path, list), None)


def test_the_reason_of_a_small_source_says_what_it_counts_as(tmp_path: Path) -> None:
    sources_pool(tmp_path, {"big": 30, "small": 1})
    pool = Pool.open(tmp_path / "pool.json")
    choice = chosen(pool, "balanced", "100%", floor=0.1)
    said = {reason.partition("; ")[2] for reason in choice.reasons}
    assert said == {"big keeps its 96.8%", "small counts as 10% of all records, being small"}


def test_a_source_called_text_only_shows_images(tmp_path: Path) -> None:
    put_images(tmp_path, ["x.png"])
    pool = open_records(tmp_path, [talk("<image>", image="x.png", source="text-only"), talk("t")])
    reasons = [reason.partition(";")[0] for reason in chosen(pool, "balanced", 2).reasons]
    assert sorted(reasons) == ["first record of its image", "text-only"]


@pytest.mark.parametrize(
    ("number", "word"),
    [(1, "first"), (3, "third"), (4, "4th"), (11, "11th"), (13, "13th"), (21, "21st"),
     (22, "22nd"), (103, "103rd"), (111, "111th"), (120, "120th")],
)  # fmt: skip
def test_places_in_words(number: int, word: str) -> None:
    assert ordinal(number) == word
