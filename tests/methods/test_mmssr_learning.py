"""What mmSSR learns from: which labels, by which recipe, and what it says of it. No model runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import put_images
from methods.handed_in import pool_of
from methods.test_mmssr import NONE, OCR, STEM, S, T, ratings
from visift.budget import Budget
from visift.engine.counting import CountingLab
from visift.engine.lab import LocalLab
from visift.engine.trainings import Tuned
from visift.errors import InputError
from visift.methods.method import build
from visift.methods.mmssr import MMSSR, Inputs
from visift.methods.mmssr_labels import scorer_recipe, styler_recipe, within_context
from visift.methods.mmssr_raters import Learner, Teacher
from visift.models.ref import ModelRef
from visift.pool.labelled import Labels, TeacherLabels
from visift.pool.pool import Pool
from visift.signals.imported import Imported, SignalFile
from visift.training.recipe import MMSSR as PUBLISHED
from visift.training.recipe import TINY
from visift.training.tuned import TunedRef

TOY = ModelRef("builtin:tiny")
SETTINGS = {"capabilities": OCR, "rated": OCR}


def teaching(rows: range, *keys: str, style: str = S) -> TeacherLabels:
    """Return labels of some rows, as somebody hands them in."""
    scores = {key: {row: float(row % 6) for row in rows} for key in keys}
    styles = dict.fromkeys(rows, (style,))
    return TeacherLabels(scores, styles, named=frozenset(rows), handed_in=True)


def asked(pool: Pool, folder: Path, teacher: TeacherLabels, **given: Any) -> tuple[Inputs, Any]:
    """Return what a method asks for, and the lab that counted it."""
    method = build("mmssr", {**SETTINGS, **given}, model=TOY)
    lab = CountingLab(pool, folder, teacher=teacher)
    return method.measure(pool, lab, Budget.parse(2)), lab


def inputs_of(pool: Pool, folder: Path, **scores: Any) -> tuple[MMSSR, Inputs]:
    """Return ratings handed in, as a method asked for them."""
    method = build("mmssr", {"capabilities": OCR, "added": "medical"})
    file = SignalFile.open(ratings(folder, scores, [[S], [T]] * (len(pool) // 2)))
    lab = LocalLab(pool, folder, lambda: ["cpu"], imported=Imported((file,)))
    inputs = method.measure(pool, lab, None)
    assert isinstance(method, MMSSR)
    return method, inputs


# --- what is handed in ---------------------------------------------------------------------------


def test_ratings_may_be_spread_over_files(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaaa")
    method = build("mmssr", {"capabilities": f"{OCR},{STEM}", "tie": "expectation"})
    files = []
    for key, scores in ((OCR, [5, 5, 1, 1]), (STEM, [1, 1, 4, 4])):
        (tmp_path / key).mkdir()
        p = {key: np.eye(6)[scores]}
        files.append(ratings(tmp_path / key, {key: scores}, [[S]] * 4, **p))
    (tmp_path / "beside").mkdir()
    files.append(
        ratings(tmp_path / "beside", {"medical": [1] * 4}, [[S]] * 4, **{OCR: np.eye(6)[:4]})
    )
    imported = Imported(tuple(SignalFile.open(file) for file in files))
    lab = LocalLab(pool, tmp_path, lambda: ["cpu"], imported=imported)
    choice = method.choose(pool, method.measure(pool, lab, None), Budget.parse(2))
    assert [reason.partition(",")[0] for reason in choice.reasons] == [
        "optical character recognition 5 of 5",
        "stem knowledge 4 of 5",
    ]


# --- which labels --------------------------------------------------------------------------------


def test_bare_images_cannot_be_rated(tmp_path: Path) -> None:
    put_images(tmp_path / "photos", ["0.png", "1.png"])
    pool = Pool.open(tmp_path / "photos")
    for scorer in ("train", "zero-shot"):
        with pytest.raises(InputError, match="no record that can be chosen has a conversation"):
            asked(pool, tmp_path, TeacherLabels(), scorer=scorer)


def test_labels_on_rows_that_cannot_be_chosen_are_refused_or_said(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaaa", "aa")
    with pytest.raises(InputError, match="none of 2 labelled records can be chosen"):
        asked(pool, tmp_path, teaching(range(4, 6), OCR))
    inputs, _ = asked(pool, tmp_path, teaching(range(2, 6), OCR))
    (teacher,) = inputs.raters.teachers
    assert (teacher.rows.tolist(), len(teacher.labels.rows)) == ([2, 3], 4)


def test_a_model_that_nobody_labelled_anything_for_is_refused(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaaa", "aa")
    labels = replace(teaching(range(4), OCR), scores={OCR: {5: 3.0}})
    with pytest.raises(InputError, match="nothing that the scorer could learn from"):
        asked(pool, tmp_path, labels)


def test_styles_that_are_no_candidates_are_not_taught(tmp_path: Path) -> None:
    pool, labels = pool_of(tmp_path, "aaaa"), teaching(range(4), OCR, style="haiku")
    with pytest.raises(InputError, match='no candidate: "haiku"') as caught:
        asked(pool, tmp_path, labels)
    assert "style_vocab" in str(caught.value.fix)
    for vocabulary in ("open", "haiku, yes/no"):
        assert asked(pool, tmp_path, labels, style_vocab=vocabulary)


def test_an_added_capability_holds_out_what_others_do(tmp_path: Path) -> None:
    pool, labels = pool_of(tmp_path, "a" * 20), teaching(range(20), OCR, "medical")
    inputs, _ = asked(pool, tmp_path, labels, added="medical", held_out=0.3)
    base, added = inputs.raters.teachers
    assert added.held.tolist() == base.held.tolist()
    assert len(base.held) == 6
    fewer = replace(labels, scores={**labels.scores, "medical": dict.fromkeys(range(8), 2.0)})
    _, added = asked(pool, tmp_path, fewer, added="medical", held_out=0.3)[0].raters.teachers
    assert added.held.tolist() == [row for row in base.held.tolist() if row < 8]


def test_a_scorer_that_was_named_learns_what_is_added(tmp_path: Path) -> None:
    pool, labels = pool_of(tmp_path, "a" * 10), teaching(range(10), OCR, "medical")
    given = {"scorer": "builtin:tiny", "styler": "builtin:tiny", "added": "medical"}
    inputs, lab = asked(pool, tmp_path, labels, **given)
    assert [one.name for one in inputs.raters.learners] == ["scorer of medical"]
    assert len(lab.trainings) == 1
    inputs, lab = asked(pool, tmp_path, labels, scorer="zero-shot", added="medical")
    assert (inputs.raters.untaught, lab.trainings) == (("medical",), [])


# --- by which recipe -----------------------------------------------------------------------------


def test_models_that_see_fewer_examples_see_them_more_often(tmp_path: Path) -> None:
    real = ModelRef("some/model")
    assert (
        styler_recipe("auto", "auto", real, 0).epochs == 4 * scorer_recipe("auto", real, 0).epochs
    )
    assert styler_recipe("auto", "auto", TOY, 0).epochs == 8 * TINY.epochs
    assert styler_recipe("epochs:3", "auto", real, 0) == scorer_recipe("epochs:3", real, 0)
    pool, labels = pool_of(tmp_path, "a" * 10), teaching(range(10), OCR, "medical")
    inputs, _ = asked(pool, tmp_path, labels, added="medical")
    assert [one.name for one in inputs.raters.learners] == ["scorer", "scorer of medical", "styler"]
    epochs = [one.tuned.model.recipe.epochs for one in inputs.raters.learners]  # type: ignore
    assert epochs == [TINY.epochs, 8 * TINY.epochs, 8 * TINY.epochs]


def test_the_published_length_is_cut_to_what_a_model_can_read(tmp_path: Path) -> None:
    config = {"model_type": "llava", "text_config": {"max_position_embeddings": 4096}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = ModelRef(str(tmp_path))
    assert within_context(PUBLISHED, model) == replace(PUBLISHED, max_tokens=4096)
    assert within_context(PUBLISHED, None) == PUBLISHED
    chosen = replace(PUBLISHED, max_tokens=9000)
    assert within_context(chosen, model) == chosen
    (tmp_path / "config.json").write_text("{}")
    assert within_context(PUBLISHED, model) == PUBLISHED


# --- what is said of it --------------------------------------------------------------------------


def test_only_what_a_scorer_rated_is_held_against_labels(tmp_path: Path) -> None:
    """Picks are handed in, one is added, and the teacher labelled more than that."""
    pool = pool_of(tmp_path, "aaaa")
    method, inputs = inputs_of(pool, tmp_path, **{OCR: [5, 4, 3, 2], "medical": [1, 2, 3, 4]})
    keys, rows = (OCR, STEM, "medical"), np.arange(4)
    labels = Labels(rows, {key: np.array([1.0, 2, 3, 5]) for key in keys})
    handed_in, added = inputs.raters.ratings
    raters = replace(
        inputs.raters,
        ratings=(handed_in, replace(added, handed_in=False)),
        teachers=(Teacher(labels, rows, rows),),
    )
    facts = method.choose(pool, replace(inputs, raters=raters), Budget.parse(2)).facts
    assert list(facts["agreement"]["ratings"]) == ["medical"]
    assert facts["agreement"]["ratings"]["medical"]["exact"] == 3 / 4


def learner(name: str, count: int, *left_out: int) -> Learner:
    tuned = TunedRef.of(TOY, replace(PUBLISHED, epochs=4), "", count, Path("never used"))
    return Learner(name, "recipe", Tuned(tuned, lambda: dict.fromkeys(left_out, "why")))


def test_labels_are_counted_once_and_doubts_are_said(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaaaaa", "a")
    scores = {OCR: [5, 4, 3, 2, 1, 1, NONE], "medical": [1, 2, 3, 4, 1, 1, NONE]}
    (tmp_path / "six").mkdir()
    six = pool_of(tmp_path / "six", "aaaaaa")
    method, inputs = inputs_of(six, tmp_path, **{key: v[:6] for key, v in scores.items()})
    rows = np.arange(6)
    base = Teacher(Labels(np.arange(7), styles=((S,),) * 7), rows, rows[4:])
    added = Teacher(Labels(rows[2:], {"medical": np.full(4, np.nan)}), rows[2:], rows[4:])
    learners = (learner("styler", 90, 0, 1), learner("scorer of medical", 2000, 1))
    raters = replace(inputs.raters, teachers=(base, added), learners=learners)
    facts = method.choose(pool, replace(inputs, raters=raters), Budget.parse(2)).facts
    assert facts["labelled"] == {
        "labelled": 7,
        "learnt_from": 4,
        "held_out": 2,
        "cannot_be_chosen": 1,
        "could_not_be_tuned_on": 2,
    }
    assert facts["agreement"]["held_out_rows"] == 2
    (table,) = (one for one in facts["tables"] if one["title"] == "Labels")
    assert table["rows"][0] == ["labelled", "7"]
    said = facts["notices"]
    assert any(one.startswith("Not learnt from: 1 labelled record that") for one in said)
    assert any(
        one.startswith("The styler was tuned for 4 steps only (90 examples)") for one in said
    )
    assert not any(one.startswith("The scorer of medical was tuned") for one in said)
    assert any(one.startswith("No label was left to check the scorer of medical:") for one in said)


def test_a_styler_no_better_than_chance_is_said(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaaa")
    method, inputs = inputs_of(pool, tmp_path, **{OCR: [5, 4, 3, 2], "medical": [1] * 4})
    rows = np.arange(4)
    for styles, weak in (([T, S, S, S], True), ([S, T, S, T], False)):
        teacher = Teacher(Labels(rows, styles=tuple((one,) for one in styles)), rows, rows)
        raters = replace(inputs.raters, teachers=(teacher,))
        said = method.choose(pool, replace(inputs, raters=raters), Budget.parse(2)).facts["notices"]
        assert any(one.startswith("The styler names") for one in said) is weak


def test_what_a_zero_shot_scorer_was_never_taught_is_listed(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaaa")
    method, inputs = inputs_of(pool, tmp_path, **{OCR: [5, 4, 3, 2], "medical": [1] * 4})
    raters = replace(inputs.raters, untrained=("scorer",), untaught=("medical",))
    said = method.choose(pool, replace(inputs, raters=raters), Budget.parse(2)).facts["notices"]
    assert said[1].startswith("Never taught: medical.")
