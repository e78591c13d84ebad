"""Galleries: which records are shown, and how a notebook shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from report.pages import Page, random_run, records, scored_run
from visift.errors import InputError
from visift.finished import Run
from visift.report.gallery import gallery
from visift.report.outcome import Outcome
from visift.report.samples import Samples

SIZES = {"coco": 30, "gqa": 15, "vg": 5}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("gallery")
    return scored_run(folder, records(folder, SIZES, text=10))


@pytest.fixture(scope="module")
def samples(run: Run) -> Samples:
    return Samples.of(run, Outcome.of(run))


def groups(samples: Samples, rows: np.ndarray) -> list[str]:
    labels = samples.outcome.group
    return [labels.labels[labels.of_row[row]] for row in rows]


def test_just_inside_are_the_worst_that_are_in(samples: Samples) -> None:
    rows = samples.inside(4)
    assert groups(samples, rows) == ["coco", "gqa", "vg", "coco"]
    score, chosen = samples.outcome.score, samples.outcome.chosen
    coco = np.array([name == "coco" for name in groups(samples, np.arange(50))] + [False] * 10)
    assert score[rows[0]] == score[coco & chosen].max()
    assert samples.outcome.chosen[rows].all()


def test_just_outside_are_the_best_that_are_not(samples: Samples) -> None:
    rows = samples.outside(4)
    assert groups(samples, rows) == ["coco", "gqa", "vg", "coco"]
    score, passed = samples.outcome.score, samples.outcome.passed_over
    coco = np.array([name == "coco" for name in groups(samples, np.arange(50))] + [False] * 10)
    assert score[rows[0]] == score[coco & passed].min()


def test_an_image_is_shown_once_near_the_cut(tmp_path: Path) -> None:
    pool = [record for record in records(tmp_path, SIZES) for _ in range(3)]
    for n, record in enumerate(pool):
        record = dict(record)
        record["conversations"] = [
            {"from": "human", "value": f"{n}?"},
            *record["conversations"][1:],
        ]
        pool[n] = record
    run = scored_run(tmp_path, pool)
    samples = Samples.of(run, Outcome.of(run))
    shown = run.pool.images.of_rows(samples.outside(12))
    assert len(samples.outside(12)) == len(shown) == 12


def test_without_scores_the_last_ranked_stand_for_the_cut(tmp_path: Path) -> None:
    run = random_run(tmp_path, records(tmp_path, SIZES))
    samples = Samples.of(run, Outcome.of(run))
    assert samples.inside(3).tolist() == run.rows[::-1][:3].tolist()
    assert samples.outside(3).tolist() == []
    assert [shelf.title for shelf in gallery(run, "near-cut", 4).shelves] == ["Chosen last"]


def test_draws_are_the_same_every_time_and_a_smaller_one_is_a_part(samples: Samples) -> None:
    assert set(samples.dropped(3)) < set(samples.dropped(8))
    assert set(samples.kept(3)) < set(samples.kept(8))
    assert (np.diff(samples.outcome.rank[samples.kept(8)]) > 0).all()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("kept", "Gallery(8 chosen)"),
        ("near-cut", "Gallery(4 just inside the cut, 4 just outside the cut)"),
        ("dropped", "Gallery(8 not chosen)"),
    ],
)
def test_a_notebook_shows_a_gallery(run: Run, kind: str, said: str) -> None:
    found = gallery(run, kind, 8)
    assert repr(found) == said
    page = Page(found._repr_html_())
    assert len(page.all("article")) == 8
    # A notebook page is not ours: everything is styled under one class.
    rules = page.one("style").text.replace("body.visift", ".visift").replace("@media", "\n@media")
    assert all(".visift" in rule for rule in rules.split("}") if "{" in rule)


def test_nothing_to_show_is_said(tmp_path: Path) -> None:
    run = random_run(tmp_path, records(tmp_path, SIZES), budget="100%")
    assert repr(gallery(run, "dropped")) == "Gallery(nothing to show)"
    assert "There is no record to show." in gallery(run, "dropped").html


def test_unknown_kinds_offer_the_nearest(run: Run) -> None:
    with pytest.raises(InputError, match='no gallery "near"'):
        gallery(run, "near")
    with pytest.raises(InputError, match=r'Did you mean "dropped"\?'):
        gallery(run, "droped")
    with pytest.raises(InputError, match="1 to 200"):
        gallery(run, "kept", 0)
