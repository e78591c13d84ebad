"""Captions for alignment: what a picture shows, in varied words, and some plain text.

Nothing here asks a question. Position comes first in some sentences and last in others, and
scenes are described in part as well as in full, so that the model must look at one place at a
time.
"""

from __future__ import annotations

from collections.abc import Callable

from visift.demo.scenes import (
    COLOURS,
    MAX_THINGS,
    PLACES,
    SHAPES,
    Digit,
    Picture,
    Rng,
    Scene,
    Texture,
    Thing,
    draw_digit,
    draw_scene,
    draw_texture,
    pick,
)
from visift.demo.tasks import describe, listed, named, with_article

REQUESTS = ("Describe the picture.", "Write a caption.", "Tell me about this picture.")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# Three things are enough to bind colour, shape and place, and keep sequences short.
MOST_NAMED = 3


def draw_pair(rng: Rng, progress: float) -> tuple[Picture, str]:
    """Draw a picture and its caption; `progress` from 0 to 1 makes scenes fuller."""
    lot = rng.random()
    if lot < 0.18:
        digit = draw_digit(rng)
        return digit, _digit_caption(rng, digit)
    if lot < 0.24:
        texture = draw_texture(rng)
        return texture, _texture_caption(rng, texture)
    most = 1 if progress < 0.15 else 3 if progress < 0.5 else MAX_THINGS
    scene = draw_scene(rng, int(rng.integers(1, most + 1)))
    return scene, scene_caption(rng, scene)


def scene_caption(rng: Rng, scene: Scene) -> str:
    """Describe a scene in one of several wordings."""
    wording = _WORDINGS[int(rng.integers(len(_WORDINGS)))]
    return wording(rng, scene)


def draw_text(rng: Rng) -> str:
    """Draw a line of plain text: sums, orders of numbers, what shapes are like."""
    first, second = (int(number) for number in rng.integers(0, 50, 2))
    low, high = min(first, second), max(first, second)
    lines = (
        f"{first} + {second} = {first + second}.",
        f"{high} - {low} = {high - low}.",
        f"The numbers in order: {', '.join(str(low + step) for step in range(4))}.",
        f"Yes, {high} is at least {low}.",
        f"No, {low} is not more than {high}.",
        f"{NUMBERS[first % 10]} is written {first % 10}.",
        f"The first colour is {pick(rng, tuple(COLOURS))}, the second is not.",
        f"{with_article(pick(rng, SHAPES)).capitalize()} is a shape.",
        f"Words again: {' '.join(pick(rng, tuple(COLOURS)) for _ in range(3))}.",
    )
    return pick(rng, lines)


def _digit_caption(rng: Rng, digit: Digit) -> str:
    wordings = (
        f"The digit {digit.digit}.",
        f"A large {digit.colour} {digit.digit}.",
        f"The digit shown is {digit.digit}, in {digit.colour}.",
        f"A {digit.digit} on a plain ground.",
    )
    return pick(rng, wordings)


def _texture_caption(rng: Rng, texture: Texture) -> str:
    wordings = (
        f"A {texture.grain} {texture.colour} surface.",
        f"A surface in {texture.colour}, {texture.grain} in grain.",
    )
    return pick(rng, wordings)


def _in_order(rng: Rng, scene: Scene) -> str:
    if len(scene.things) > MOST_NAMED:
        return _places_first(rng, scene)
    return describe(scene.things)


def _places_first(rng: Rng, scene: Scene) -> str:
    parts = [f"{_placed(one)} is {with_article(named(one))}" for one in _some(rng, scene)]
    return f"{'; '.join(parts).capitalize()}."


def _places_last(rng: Rng, scene: Scene) -> str:
    parts = [f"the {named(one)} is {PLACES[one.place]}" for one in _some(rng, scene)]
    return f"{'; '.join(parts).capitalize()}."


def _parts_by_place(rng: Rng, scene: Scene) -> str:
    parts = []
    for one in _some(rng, scene):
        told = f"is {one.colour}" if rng.integers(2) else f"is {with_article(one.shape)}"
        parts.append(f"the shape {PLACES[one.place]} {told}")
    return f"{'; '.join(parts).capitalize()}."


def _counted(rng: Rng, scene: Scene) -> str:
    count, plural = len(scene.things), "" if len(scene.things) == 1 else "s"
    number = str(count) if rng.integers(2) else NUMBERS[count]
    told = listed([named(one) for one in _some(rng, scene)])
    return pick(
        rng,
        (
            f"There {'are' if plural else 'is'} {number} shape{plural}.",
            f"{number.capitalize()} shape{plural} on a plain ground.",
            f"{number.capitalize()} shape{plural}, with {told}.",
        ),
    )


def _colours(rng: Rng, scene: Scene) -> str:
    colours = listed(list(dict.fromkeys(one.colour for one in scene.things)))
    return f"Shapes in {colours}." if len(scene.things) > 1 else f"The shape is {colours}."


def _shapes(rng: Rng, scene: Scene) -> str:
    shapes = listed([with_article(one.shape) for one in scene.things])
    return f"This is {shapes}."


def _some(rng: Rng, scene: Scene) -> list[Thing]:
    order = rng.permutation(len(scene.things))[:MOST_NAMED]
    return [scene.things[int(index)] for index in order]


def _placed(thing: Thing) -> str:
    return PLACES[thing.place]


_WORDINGS: tuple[Callable[[Rng, Scene], str], ...] = (
    _in_order,
    _in_order,
    _places_first,
    _places_first,
    _places_last,
    _parts_by_place,
    _counted,
    _counted,
    _colours,
    _shapes,
)
