"""What a picture says it shows is what its pixels show."""

import numpy as np
import pytest

from visift.demo.plan import jittered
from visift.demo.scenes import (
    COLOURS,
    GRAINS,
    PATTERNS,
    PLACES,
    SHAPES,
    draw_digit,
    draw_pattern,
    draw_scene,
    draw_texture,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def nearest_colours(pixels):
    palette = np.array(list(COLOURS.values()))
    distance = np.abs(pixels[:, :, None, :].astype(int) - palette).sum(axis=-1)
    names = np.array(list(COLOURS))[distance.argmin(axis=-1)]
    return np.where(distance.min(axis=-1) <= 15, names, "")


@pytest.mark.parametrize("count", range(1, 7))
def test_every_thing_has_its_colour_in_its_cell_and_nothing_else_is_painted(count):
    scene = draw_scene(rng(count), count)
    painted = nearest_colours(scene.pixels())
    for thing in scene.things:
        row, column = divmod(list(PLACES).index(thing.place), 3)
        cell = painted[row * 21 : row * 21 + 22, column * 21 : column * 21 + 22]
        assert thing.colour in cell
    assert set(np.unique(painted)) - {""} == {thing.colour for thing in scene.things}


def test_things_of_a_scene_differ_and_stand_in_different_cells():
    for seed in range(50):
        things = draw_scene(rng(seed), 6).things
        assert len({(thing.shape, thing.colour) for thing in things}) == 6
        assert len({thing.place for thing in things}) == 6


def test_all_words_are_drawn_sooner_or_later():
    stream = rng()
    things = [thing for _ in range(100) for thing in draw_scene(stream, 3).things]
    assert {thing.shape for thing in things} == set(SHAPES)
    assert {thing.colour for thing in things} == set(COLOURS)
    assert {thing.place for thing in things} == set(PLACES)
    assert {draw_digit(stream).digit for _ in range(100)} == set(range(10))
    assert {draw_texture(stream).grain for _ in range(30)} == set(GRAINS)


def test_bright_scenes_are_bright_and_hide_nothing_white():
    for seed in range(20):
        scene = draw_scene(rng(seed), 3, bright=True)
        assert np.median(scene.pixels()) > 180
        assert "white" not in {thing.colour for thing in scene.things}


@pytest.mark.parametrize("kind", PATTERNS)
def test_patterns_are_black_and_white(kind):
    pixels = draw_pattern(rng(), kind).pixels()
    assert set(np.unique(pixels // 16)) == {0, 15}
    assert 0.2 < (pixels > 127).mean() < 0.8


def test_a_picture_draws_itself_the_same_way_every_time():
    for draw in (draw_digit, draw_texture, lambda stream: draw_scene(stream, 2)):
        one, other = draw(rng(4)), draw(rng(4))
        assert one == other
        assert np.array_equal(one.pixels(), other.pixels())
        assert one.pixels().shape == (64, 64, 3)
        assert one.pixels().dtype == np.uint8


def test_jitter_changes_the_pixels_and_hardly_the_picture():
    pixels = draw_scene(rng(), 3).pixels()
    near = jittered(pixels, rng())
    difference = np.abs(near.astype(int) - pixels)
    assert difference.any()
    assert np.median(difference) < 8
