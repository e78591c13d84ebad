"""The demo's tasks: which pictures each one draws and what it asks about them.

Questions here carry no `<image>`: where pictures stand is a matter of the record, not the task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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

Pictures = tuple[Picture, ...]
Turns = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Task:
    """One task; `share` is its number of records in a pool of 6,000."""

    name: str
    source: str
    share: int
    draw: Callable[[Rng], Pictures]
    ask: Callable[[Rng, Pictures], Turns]


def named(thing: Thing) -> str:
    """Say which thing is meant: "red circle"."""
    return f"{thing.colour} {thing.shape}"


def with_article(noun: str) -> str:
    """Put the indefinite article before a noun phrase."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def listed(parts: list[str]) -> str:
    """Join phrases as English does: "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def describe(things: tuple[Thing, ...]) -> str:
    """Describe every thing with its place, as one sentence."""
    sentence = listed([f"{with_article(named(one))} {PLACES[one.place]}" for one in things])
    return f"{sentence[0].upper()}{sentence[1:]}."


def _scenes(low: int, high: int = MAX_THINGS) -> Callable[[Rng], Pictures]:
    return lambda rng: (draw_scene(rng, int(rng.integers(low, high + 1))),)


def _draw_pair(rng: Rng) -> Pictures:
    first, second = (int(count) + 1 for count in rng.permutation(MAX_THINGS)[:2])
    return draw_scene(rng, first), draw_scene(rng, second)


def _draw_nothing(rng: Rng) -> Pictures:
    return ()


def _scene(pictures: Pictures) -> Scene:
    assert isinstance(pictures[0], Scene)
    return pictures[0]


def _any_thing(rng: Rng, pictures: Pictures) -> Thing:
    things = _scene(pictures).things
    return things[int(rng.integers(len(things)))]


def _ask_attribute(rng: Rng, pictures: Pictures) -> Turns:
    by_colour, thing = rng.integers(2) == 0, _any_thing(rng, pictures)
    if by_colour:
        return ((f"What colour is the shape {PLACES[thing.place]}?", thing.colour),)
    return ((f"Which shape is {PLACES[thing.place]}?", thing.shape),)


def _ask_count(rng: Rng, pictures: Pictures) -> Turns:
    question = pick(rng, ("How many shapes are there?", "Count the shapes."))
    return ((question, str(len(_scene(pictures).things))),)


def _ask_position(rng: Rng, pictures: Pictures) -> Turns:
    thing = _any_thing(rng, pictures)
    return ((f"Where is the {named(thing)}?", thing.place),)


def _ask_colour(rng: Rng, pictures: Pictures) -> Turns:
    question = pick(rng, ("What colour is the shape?", "Which colour does the shape have?"))
    return ((question, _scene(pictures).things[0].colour),)


def _ask_shape(rng: Rng, pictures: Pictures) -> Turns:
    question = pick(rng, ("What shape is this?", "Which shape do you see?"))
    return ((question, _scene(pictures).things[0].shape),)


def _ask_caption(rng: Rng, pictures: Pictures) -> Turns:
    question = pick(rng, ("Describe the picture.", "What do you see in this picture?"))
    return ((question, describe(_scene(pictures).things)),)


def _ask_digit(rng: Rng, pictures: Pictures) -> Turns:
    assert isinstance(pictures[0], Digit)
    question = pick(rng, ("Which digit is shown?", "Read the digit."))
    return ((question, str(pictures[0].digit)),)


def _ask_presence(rng: Rng, pictures: Pictures) -> Turns:
    there, thing = rng.integers(2) == 0, _any_thing(rng, pictures)
    seen = {named(one) for one in _scene(pictures).things}
    absent = [f"{c} {s}" for c in COLOURS for s in SHAPES if f"{c} {s}" not in seen]
    asked = named(thing) if there else pick(rng, absent)
    return ((f"Is there {with_article(asked)}?", "yes" if there else "no"),)


def _ask_texture(rng: Rng, pictures: Pictures) -> Turns:
    texture = pictures[0]
    assert isinstance(texture, Texture)
    if rng.integers(2):
        return (("What colour is this surface?", texture.colour),)
    return (("Is this surface soft or fine?", texture.grain),)


def _ask_comparison(rng: Rng, pictures: Pictures) -> Turns:
    word = pick(rng, ("more", "fewer"))
    first, second = (len(_scene((picture,)).things) for picture in pictures)
    answer = "first" if (first > second) == (word == "more") else "second"
    return ((f"Which picture has {word} shapes, the first or the second?", answer),)


def _ask_conversation(rng: Rng, pictures: Pictures) -> Turns:
    asks = (_ask_count, _ask_attribute, _ask_position, _ask_presence)
    order = rng.permutation(len(asks))[: int(rng.integers(2, 4))]
    return tuple(turn for index in order for turn in asks[int(index)](rng, pictures))


def _ask_arithmetic(rng: Rng, pictures: Pictures) -> Turns:
    left, right = sorted((int(number) for number in rng.integers(1, 50, 2)), reverse=True)
    if rng.integers(2):
        return ((f"What is {left} + {right}?", str(left + right)),)
    return ((f"What is {left} - {right}?", str(left - right)),)


def _ask_chat(rng: Rng, pictures: Pictures) -> Turns:
    if rng.integers(2):
        numbers = [int(number) for number in rng.permutation(100)[:4]]
        question = f"Sort these numbers: {', '.join(map(str, numbers))}."
        return ((question, f"{', '.join(map(str, sorted(numbers)))}."),)
    words = [pick(rng, tuple(COLOURS)) for _ in range(3)]
    return ((f"Say these words again: {' '.join(words)}.", f"{' '.join(words)}."),)


TASKS = (
    Task("attribute", "scenes", 1130, _scenes(2), _ask_attribute),
    Task("count", "scenes", 800, _scenes(1), _ask_count),
    Task("position", "scenes", 640, _scenes(2, 5), _ask_position),
    Task("colour", "scenes", 560, _scenes(1, 1), _ask_colour),
    Task("shape", "scenes", 480, _scenes(1, 1), _ask_shape),
    Task("caption", "scenes", 440, _scenes(1, 3), _ask_caption),
    Task("digit", "digits", 440, lambda rng: (draw_digit(rng),), _ask_digit),
    Task("presence", "scenes", 380, _scenes(2, 5), _ask_presence),
    Task("texture", "photos", 320, lambda rng: (draw_texture(rng),), _ask_texture),
    Task("comparison", "pairs", 240, _draw_pair, _ask_comparison),
    Task("conversation", "scenes", 220, _scenes(2), _ask_conversation),
    Task("arithmetic", "text", 240, _draw_nothing, _ask_arithmetic),
    Task("chat", "text", 110, _draw_nothing, _ask_chat),
)


def exchange(task: Task, rng: Rng) -> tuple[Pictures, Turns]:
    """Draw pictures and ask about them."""
    pictures = task.draw(rng)
    return pictures, task.ask(rng, pictures)


def wrong_answer(task: Task, question: str, answer: str, rng: Rng) -> str:
    """Draw a false answer that a question opening with the same word could have."""
    while True:
        other, wrong = exchange(task, rng)[1][-1]
        if wrong != answer and other.split()[0] == question.split()[0]:
            return wrong
