"""What a demo pool will hold, decided before anything is drawn: clean records and planted ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from visift.demo.scenes import (
    Flat,
    Picture,
    Pixels,
    Rng,
    Scene,
    draw_digit,
    draw_ground,
    draw_pattern,
    draw_scene,
    draw_seed,
    pick,
)
from visift.demo.tasks import TASKS, Pictures, Task, Turns, wrong_answer

FULL_SIZE = sum(task.share for task in TASKS)

# Cluster, the task it hides in, images in a full pool, and what a caption would say of it.
RARE_CLUSTERS = (
    ("checkerboard", "caption", 30, "A black and white checkerboard."),
    ("stripes", "caption", 24, "Black and white stripes."),
    ("rings", "caption", 16, "Black and white rings around one centre."),
    ("bright scenes", "attribute", 40, ""),
    ("bright digits", "digit", 20, ""),
    ("dots", "caption", 12, "Black dots on white."),
)
# Tasks that may ask about a scene another record shows already.
SHARING_TASKS = frozenset({"attribute", "count", "position", "presence", "conversation"})
SHARED_SHARE = 0.3
# Shares of a task's records; text-only tasks hold no planted records but repeated ones.
UNINFORMATIVE_SHARE = 0.03
NEAR_SHARE = 0.05
REPEATED_SHARE = 0.01
WRONG_SHARE = 0.03
IMAGE_LAST_SHARE = 0.1
NOTHING_SAID = ("It is a picture.", "There is something.", "unclear")


@dataclass(frozen=True, slots=True)
class Jittered:
    """A near-duplicate of a picture."""

    of: Picture
    noise: int

    def pixels(self) -> Pixels:
        """Draw the picture, shifted by one pixel and with other grain."""
        return jittered(self.of.pixels(), np.random.default_rng(self.noise))


@dataclass(frozen=True, slots=True)
class Copied:
    """The same picture in a file of its own."""

    of: Picture
    number: int

    def pixels(self) -> Pixels:
        """Draw the picture."""
        return self.of.pixels()


@dataclass(frozen=True, slots=True)
class Draft:
    """One record to be written; `origin` is the position of the draft it repeats.

    `layout` says where the pictures stand in the first question.
    """

    task: Task
    pictures: Pictures
    turns: Turns
    layout: str
    kind: str | None = None
    detail: str = ""
    origin: int | None = None


def plan_pool(seed: int, records: int) -> list[Draft]:
    """Plan every record of a pool, task by task.

    Args:
        seed: Seeds every choice.
        records: Number of records, at most 6,000; every count below scales with it.
    """
    rng, planner = np.random.default_rng(seed), _Planner()
    for task, quota in zip(TASKS, task_sizes(records), strict=True):
        planner.add_task(task, quota, records / FULL_SIZE, rng)
    return planner.drafts


def task_sizes(records: int) -> list[int]:
    """Share records among the tasks by largest remainder."""
    exact = [task.share * records / FULL_SIZE for task in TASKS]
    sizes = [int(share) for share in exact]
    by_remainder = sorted(range(len(TASKS)), key=lambda index: sizes[index] - exact[index])
    for index in by_remainder[: records - sum(sizes)]:
        sizes[index] += 1
    return sizes


def jittered(pixels: Pixels, rng: Rng) -> Pixels:
    """Shift a picture by one pixel and touch its grain: a near-duplicate of it."""
    axis, step = int(rng.integers(2)), 1 if rng.integers(2) else -1
    shifted = np.roll(pixels.astype(np.int64), step, axis=axis)
    touched = shifted + rng.integers(-2, 3, pixels.shape)
    near: Pixels = np.clip(touched, 0, 255).astype(np.uint8)
    return near


class _Planner:
    """Collects drafts, and remembers what was asked so that no duplicate is an accident."""

    def __init__(self) -> None:
        self.drafts: list[Draft] = []
        self._asked: set[tuple[Pictures, Turns]] = set()
        self._scenes: list[Picture] = []

    def add_task(self, task: Task, quota: int, scale: float, rng: Rng) -> None:
        seen, strange = task.source != "text", _rare_drafts(task, scale, rng)
        if task.source not in ("pairs", "text"):
            number = round(quota * UNINFORMATIVE_SHARE)
            strange += [_uninformative(task, rng) for _ in range(number)]
        self.drafts += strange
        same = round(quota * REPEATED_SHARE)
        near, copied = (round(quota * NEAR_SHARE), same) if seen else (0, 0)
        wrong = round(quota * WRONG_SHARE) if seen else 0
        clean = quota - len(strange) - near - same - copied
        first = len(self.drafts)
        self.drafts += [self._clean(task, rng) for _ in range(clean)]
        # No clean record is planted upon twice: what repeats a record repeats a right one.
        free = iter(first + int(index) for index in rng.permutation(clean))
        self.drafts += [self._near_duplicate(next(free), rng) for _ in range(near)]
        self.drafts += [self._copied(next(free)) for _ in range(copied)]
        self.drafts += [self._repeated(next(free)) for _ in range(same)]
        for index in islice(free, wrong):
            self.drafts[index] = _with_wrong_answer(self.drafts[index], rng)

    def _clean(self, task: Task, rng: Rng) -> Draft:
        while True:
            pictures = self._pictures(task, rng)
            turns = task.ask(rng, pictures)
            if (pictures, turns) not in self._asked:
                self._asked.add((pictures, turns))
                return Draft(task, pictures, turns, _layout(len(pictures), rng))

    def _pictures(self, task: Task, rng: Rng) -> Pictures:
        shares = task.name in SHARING_TASKS
        if shares and self._scenes and rng.random() < SHARED_SHARE:
            return (self._scenes[int(rng.integers(len(self._scenes)))],)
        pictures = task.draw(rng)
        if shares and isinstance(pictures[0], Scene) and len(pictures[0].things) > 1:
            self._scenes.append(pictures[0])
        return pictures

    def _near_duplicate(self, origin: int, rng: Rng) -> Draft:
        draft = self.drafts[origin]
        pictures = tuple(Jittered(picture, draw_seed(rng)) for picture in draft.pictures)
        return replace(draft, pictures=pictures, kind="near-duplicate", origin=origin)

    def _copied(self, origin: int) -> Draft:
        draft = self.drafts[origin]
        pictures = tuple(Copied(picture, origin) for picture in draft.pictures)
        return replace(draft, pictures=pictures, kind="copied-file", origin=origin)

    def _repeated(self, origin: int) -> Draft:
        return replace(self.drafts[origin], kind="exact-duplicate", origin=origin)


def _with_wrong_answer(draft: Draft, rng: Rng) -> Draft:
    question, right = draft.turns[-1]
    wrong = wrong_answer(draft.task, question, right, rng)
    turns = (*draft.turns[:-1], (question, wrong))
    return replace(draft, turns=turns, kind="wrong-answer", detail=right)


def _uninformative(task: Task, rng: Rng) -> Draft:
    static = bool(rng.integers(2))
    picture = Flat(draw_ground(rng), static, draw_seed(rng))
    question = task.ask(rng, task.draw(rng))[0][0]
    turns, detail = ((question, pick(rng, NOTHING_SAID)),), "static" if static else "plain"
    return Draft(task, (picture,), turns, _layout(1, rng), "uninformative", detail)


def _rare_drafts(task: Task, scale: float, rng: Rng) -> list[Draft]:
    drafts = []
    for cluster, home, count, caption in RARE_CLUSTERS:
        if home == task.name:
            # Three images are the least that still make a cluster.
            number = max(3, round(count * scale))
            drafts += [_rare_draft(task, cluster, caption, rng) for _ in range(number)]
    return drafts


def _rare_draft(task: Task, cluster: str, caption: str, rng: Rng) -> Draft:
    picture = _rare_picture(cluster, rng)
    turns = (("Describe the picture.", caption),) if caption else task.ask(rng, (picture,))
    return Draft(task, (picture,), turns, _layout(1, rng), "rare-cluster", cluster)


def _rare_picture(cluster: str, rng: Rng) -> Picture:
    if cluster == "bright scenes":
        return draw_scene(rng, int(rng.integers(2, 7)), bright=True)
    if cluster == "bright digits":
        return draw_digit(rng, bright=True)
    return draw_pattern(rng, cluster)


def _layout(pictures: int, rng: Rng) -> str:
    if pictures == 2 and rng.integers(2):
        return "The first: <image>\nThe second: <image>\n{question}"
    if pictures == 1 and rng.random() < IMAGE_LAST_SHARE:
        return "{question}\n<image>"
    return "<image>\n" * pictures + "{question}"
