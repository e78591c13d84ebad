"""What a validation can be asked, and what is refused before anything is looked at."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from visift.config import PoolConfig
from visift.errors import InputError
from visift.methods.balanced import Balanced
from visift.models.ref import ModelRef
from visift.validate.evaluator import LmmsEval
from visift.validate.request import Request, Seeds

TINY = Request(pool=PoolConfig(("pool.json",)), model=ModelRef("builtin:tiny"))


def asked(**changes: object) -> Request:
    return dataclasses.replace(TINY, **changes)  # type: ignore[arg-type]


def test_seeds_go_in_step_or_are_crossed() -> None:
    assert Seeds.read(None, None, None) == Seeds(5, 5, crossed=False)
    assert [Seeds.read(3, None, None).of(draw) for draw in range(3)] == [[0], [1], [2]]
    crossed = Seeds.read(None, 2, 3)
    assert (crossed.selection, crossed.crossed) == (2, True)
    assert crossed.of(1) == [0, 1, 2]
    assert Seeds.read(None, None, 4) == Seeds(1, 4, crossed=True)


@pytest.mark.parametrize(
    ("said", "why"), [((3, 1, None), "contradicts"), ((0, None, None), "1 or")]
)
def test_seeds_that_make_no_sense(said: tuple[int, int, int], why: str) -> None:
    with pytest.raises(InputError, match=why):
        Seeds.read(*said)


def test_a_method_gets_its_own_parameters_and_the_seed_of_its_draw() -> None:
    request = asked(methods=("balanced", "prism"), settings={"balanced.floor": "0.2"}, seed=4)
    made = request.method("balanced", 2)
    assert isinstance(made, Balanced)
    assert (made.seed, request.settings_of("prism")) == (6, {})
    assert request.settings_of("balanced") == {"floor": "0.2"}


def test_hyphens_are_underscores() -> None:
    assert asked(methods=("mllm-selector",)).checked().methods == ("mllm_selector",)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"methods": ("prism", "prism")}, "named twice"),
        ({"methods": ("random",)}, "always run"),
        ({"methods": ("prismm",)}, 'no method "prismm"'),
        ({"methods": ("prism",), "settings": {"taau": "1"}}, 'Unknown parameter "taau"'),
        ({"methods": ("prism", "tive"), "settings": {"tau": "1"}}, "of which method"),
        ({"methods": ("prism",), "settings": {"tive.tau": "1"}}, "not among --methods"),
        ({"model": None}, "none was named"),
        ({"budgets": ("lots",)}, "not a budget"),
        ({"held_out": "100%"}, "cannot be held out"),
        ({"recipe": "best"}, 'no recipe "best"'),
        ({"recipe": "tiny,epochs:2,seed:3"}, "a seed of its own"),
    ],
)
def test_what_is_refused(changes: dict[str, object], why: str) -> None:
    with pytest.raises(InputError, match=why):
        asked(**changes).checked()


def test_another_model_may_be_tuned_than_the_one_that_measures() -> None:
    request = asked(model=None, tuned=ModelRef("builtin:tiny"))
    assert request.checked().base == ModelRef("builtin:tiny")
    assert request.training(3).seed == 3


def test_a_request_is_written_as_yaml() -> None:
    said = yaml.safe_load(asked(methods=("prism",)).checked().to_yaml())
    assert said["methods"] == ["prism"]
    assert said["seeds"] == {"selection": 5, "training": 5, "crossed": False}


def test_paths_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    request = asked(
        tuned=ModelRef("model"),
        questions=("asked.json",),
        question_images="images",
        evaluator=LmmsEval(("mme",), "llava_hf", "env/bin/python"),
        recipe="llava,tune:full,rate:2e-5",
    ).checked()
    assert request.tuned is not None
    assert request.evaluator is not None
    paths = (request.tuned.name, request.question_images, request.evaluator.python)
    assert paths == tuple(str(tmp_path / name) for name in ("model", "images", "env/bin/python"))
    assert request.checked() == request
