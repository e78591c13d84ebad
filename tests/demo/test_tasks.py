"""Answers are true of the pictures they are about."""

import numpy as np
import pytest

from visift.demo.scenes import PLACES
from visift.demo.tasks import TASKS, describe, exchange, wrong_answer

BY_NAME = {task.name: task for task in TASKS}


def exchanges(name, number=60):
    rng = np.random.default_rng(1)
    return [exchange(BY_NAME[name], rng) for _ in range(number)]


def test_attributes_are_those_of_the_thing_at_the_place_asked_about():
    for (scene,), ((question, answer),) in exchanges("attribute"):
        (thing,) = [one for one in scene.things if f" {PLACES[one.place]}?" in question]
        assert answer == (thing.colour if "colour" in question else thing.shape)


def test_counts_places_colours_and_shapes_are_read_off_the_scene():
    for (scene,), ((_, answer),) in exchanges("count"):
        assert answer == str(len(scene.things))
    for (scene,), ((question, answer),) in exchanges("position"):
        (thing,) = [one for one in scene.things if f"{one.colour} {one.shape}?" in question]
        assert answer == thing.place
    for name in ("colour", "shape"):
        for (scene,), ((_, answer),) in exchanges(name):
            assert [getattr(thing, name) for thing in scene.things] == [answer]


def test_presence_is_balanced_and_true():
    found = exchanges("presence", 200)
    for (scene,), ((question, answer),) in found:
        there = any(f" {one.colour} {one.shape}?" in question for one in scene.things)
        assert answer == ("yes" if there else "no")
    assert 0.35 < np.mean([turns[0][1] == "yes" for _, turns in found]) < 0.65


def test_comparisons_name_the_right_picture():
    for pictures, ((question, answer),) in exchanges("comparison"):
        first, second = (len(scene.things) for scene in pictures)
        more = "first" if first > second else "second"
        assert first != second
        assert (answer == more) == ("more" in question)


def test_captions_name_everything_in_reading_order():
    for (scene,), ((_, answer),) in exchanges("caption"):
        places = [answer.lower().index(f"{one.colour} {one.shape}") for one in scene.things]
        assert places == sorted(places)
        assert answer == describe(scene.things)


def test_conversations_have_several_turns():
    assert {len(turns) for _, turns in exchanges("conversation")} == {2, 3}


@pytest.mark.parametrize("name", [task.name for task in TASKS if task.source != "text"])
def test_a_wrong_answer_is_one_the_task_could_have_given(name):
    rng = np.random.default_rng(2)
    possible = {turns[-1][1] for _, turns in exchanges(name, 500)}
    for _, turns in exchanges(name, 20):
        question, answer = turns[-1]
        wrong = wrong_answer(BY_NAME[name], question, answer, rng)
        assert wrong != answer
        assert name == "caption" or wrong in possible
