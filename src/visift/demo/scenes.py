"""Small pictures drawn with integer arithmetic, so that every machine draws the same pixels.

A picture is a frozen dataclass that says what is seen and can draw itself: `Scene` (coloured
shapes on a 3x3 grid), `Digit` (one large digit), `Texture` (a photograph-like surface), `Pattern`
(checkerboards and the like) and `Flat` (nothing at all). All are 64x64 RGB.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

SIZE = 64

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 180, 60),
    "blue": (50, 80, 230),
    "yellow": (240, 220, 50),
    "purple": (160, 60, 190),
    "orange": (245, 140, 30),
    "cyan": (60, 210, 220),
    "white": (245, 245, 245),
}
SHAPES = ("circle", "square", "triangle", "diamond", "cross", "ring")
PLACES: dict[str, str] = {
    "top left": "at the top left",
    "top": "at the top",
    "top right": "at the top right",
    "left": "on the left",
    "centre": "in the centre",
    "right": "on the right",
    "bottom left": "at the bottom left",
    "bottom": "at the bottom",
    "bottom right": "at the bottom right",
}
PATTERNS = ("checkerboard", "stripes", "rings", "dots")
GRAINS = ("soft", "fine")
MAX_THINGS = 6

_PLACE_NAMES = tuple(PLACES)
_CELL_CENTRES = (11, 32, 52)
# Rows of a 5x7 dot-matrix font, one bit a dot: no font file, no rasteriser.
_GLYPHS = (
    (14, 17, 19, 21, 25, 17, 14),
    (4, 12, 4, 4, 4, 4, 14),
    (14, 17, 1, 2, 4, 8, 31),
    (31, 2, 4, 2, 1, 17, 14),
    (2, 6, 10, 18, 31, 2, 2),
    (31, 16, 30, 1, 1, 17, 14),
    (6, 8, 16, 30, 17, 17, 14),
    (31, 1, 2, 4, 8, 8, 8),
    (14, 17, 17, 14, 17, 17, 14),
    (14, 17, 17, 15, 1, 2, 12),
)

Pixels = NDArray[np.uint8]
Grid = NDArray[np.int64]
Mask = NDArray[np.bool_]
Rng = np.random.Generator
Rgb = tuple[int, int, int]


class Picture(Protocol):
    """Anything that can draw itself as (64, 64, 3) pixels, the same ones every time."""

    def pixels(self) -> Pixels:
        """Draw the picture."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One coloured shape in one cell of the grid; `dx`, `dy` and `radius` in pixels."""

    shape: str
    colour: str
    place: str
    dx: int
    dy: int
    radius: int


@dataclass(frozen=True, slots=True)
class Scene:
    """Coloured shapes, in reading order, on a plain ground."""

    things: tuple[Thing, ...]
    ground: Rgb
    noise: int

    def pixels(self) -> Pixels:
        """Draw ground, shapes and a faint grain."""
        canvas = _canvas(self.ground)
        for thing in self.things:
            row, column = divmod(_PLACE_NAMES.index(thing.place), 3)
            top = _CELL_CENTRES[row] + thing.dy - thing.radius
            left = _CELL_CENTRES[column] + thing.dx - thing.radius
            mask = _shape_mask(thing.shape, thing.radius)
            _paint(canvas, mask, top, left, COLOURS[thing.colour])
        return _grained(canvas, self.noise)


@dataclass(frozen=True, slots=True)
class Digit:
    """One large digit; `top` and `left` place its box, `scale` is the side of one dot."""

    digit: int
    colour: str
    top: int
    left: int
    scale: int
    ground: Rgb
    noise: int

    def pixels(self) -> Pixels:
        """Draw ground, digit and a faint grain."""
        canvas = _canvas(self.ground)
        mask = _glyph_mask(self.digit, self.scale)
        _paint(canvas, mask, self.top, self.left, COLOURS[self.colour])
        return _grained(canvas, self.noise)


@dataclass(frozen=True, slots=True)
class Texture:
    """A cloudy surface of one colour: `soft` has wide clouds, `fine` small ones."""

    colour: str
    grain: str
    ground: Rgb
    noise: int

    def pixels(self) -> Pixels:
        """Blend the ground towards the colour by a smooth random field."""
        nodes = 5 if self.grain == "soft" else 17
        weights = np.random.default_rng(self.noise).integers(40, 256, (nodes, nodes))
        field = _interpolated(weights)[:, :, None]
        ground, colour = np.array([self.ground, COLOURS[self.colour]], np.int64)
        blended: Grid = (ground * (255 - field) + colour * field) // 255
        return _grained(blended, self.noise + 1)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular black-and-white pattern; `period` in pixels, `shift` moves it."""

    kind: str
    period: int
    shift: int
    noise: int

    def pixels(self) -> Pixels:
        """Draw the pattern with a faint grain."""
        y, x = np.mgrid[0:SIZE, 0:SIZE] + self.shift
        light = _PATTERN_RULES[self.kind](y, x, self.period)
        return _grained(np.where(light[:, :, None], 250, 5) + np.zeros(3, int), self.noise)


@dataclass(frozen=True, slots=True)
class Flat:
    """A picture without content: one plain colour, or pure noise with `static`."""

    ground: Rgb
    static: bool
    noise: int

    def pixels(self) -> Pixels:
        """Fill the canvas."""
        if self.static:
            grains = np.random.default_rng(self.noise).integers(0, 256, (SIZE, SIZE, 3))
            return grains.astype(np.uint8)
        return _canvas(self.ground).astype(np.uint8)


def draw_ground(rng: Rng, *, bright: bool = False) -> Rgb:
    """Draw a muted ground colour, dark unless `bright`."""
    base = int(rng.integers(205, 235) if bright else rng.integers(25, 60))
    red, green, blue = (base + int(tint) for tint in rng.integers(-12, 13, 3))
    return red, green, blue


def draw_scene(rng: Rng, count: int, *, bright: bool = False) -> Scene:
    """Draw a scene of `count` things in different cells; no white things on bright grounds."""
    kinds = [(s, c) for s in SHAPES for c in COLOURS if not (bright and c == "white")]
    # No two things alike, so that "the red circle" always names one of them.
    chosen = [kinds[int(index)] for index in rng.permutation(len(kinds))[:count]]
    cells = sorted(int(cell) for cell in rng.permutation(len(_PLACE_NAMES))[:count])
    things = tuple(
        _draw_thing(rng, shape, colour, _PLACE_NAMES[cell])
        for (shape, colour), cell in zip(chosen, cells, strict=True)
    )
    return Scene(things, draw_ground(rng, bright=bright), draw_seed(rng))


def draw_digit(rng: Rng, *, bright: bool = False) -> Digit:
    """Draw one large digit somewhere near the middle."""
    colours = [name for name in COLOURS if not (bright and name == "white")]
    scale = int(rng.integers(6, 8))
    top = int(rng.integers(4, SIZE - 7 * scale - 3))
    left = int(rng.integers(4, SIZE - 5 * scale - 3))
    digit, ground = int(rng.integers(10)), draw_ground(rng, bright=bright)
    return Digit(digit, pick(rng, colours), top, left, scale, ground, draw_seed(rng))


def draw_texture(rng: Rng) -> Texture:
    """Draw a cloudy surface."""
    colour, grain = pick(rng, tuple(COLOURS)), pick(rng, GRAINS)
    return Texture(colour, grain, draw_ground(rng), draw_seed(rng))


def draw_pattern(rng: Rng, kind: str) -> Pattern:
    """Draw a regular pattern of one kind, of varying period."""
    return Pattern(kind, int(rng.integers(6, 11)), int(rng.integers(4)), draw_seed(rng))


def pick(rng: Rng, options: tuple[str, ...] | list[str]) -> str:
    """Draw one of several words."""
    return options[int(rng.integers(len(options)))]


def draw_seed(rng: Rng) -> int:
    """Draw a seed for a generator of its own."""
    return int(rng.integers(2**31))


def _draw_thing(rng: Rng, shape: str, colour: str, place: str) -> Thing:
    dx, dy = (int(step) for step in rng.integers(-2, 3, 2))
    return Thing(shape, colour, place, dx, dy, int(rng.integers(7, 10)))


def _canvas(ground: Rgb) -> Grid:
    return np.full((SIZE, SIZE, 3), ground, np.int64)


def _paint(canvas: Grid, mask: Mask, top: int, left: int, c: Rgb) -> None:
    height, width = mask.shape
    canvas[top : top + height, left : left + width][mask] = c


def _grained(canvas: Grid, seed: int) -> Pixels:
    # One value for the three channels: half the entropy, so PNG files half the size.
    grain = np.random.default_rng(seed).integers(-5, 6, (SIZE, SIZE, 1))
    grained: Pixels = np.clip(canvas + grain, 0, 255).astype(np.uint8)
    return grained


@cache
def _shape_mask(shape: str, radius: int) -> Mask:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    square_distance, arm = x * x + y * y, radius // 3
    masks: dict[str, Mask] = {
        "circle": square_distance <= radius * radius,
        "square": np.maximum(abs(x), abs(y)) <= radius - 1,
        "triangle": 2 * abs(x) <= y + radius,
        "diamond": abs(x) + abs(y) <= radius,
        "cross": (abs(x) <= arm) | (abs(y) <= arm),
        "ring": (square_distance <= radius * radius) & (3 * square_distance > radius * radius),
    }
    return masks[shape]


@cache
def _glyph_mask(digit: int, scale: int) -> Mask:
    dots = [[bool(row >> (4 - column) & 1) for column in range(5)] for row in _GLYPHS[digit]]
    return np.kron(np.array(dots), np.ones((scale, scale), bool)).astype(bool)


def _interpolated(nodes: Grid) -> Grid:
    """Spread a (k, k) grid of integers over the canvas by bilinear weights in 1/64."""
    step = SIZE // (len(nodes) - 1)
    at, weight = np.divmod(np.arange(SIZE), step)
    rows = nodes[at] * (step - weight)[:, None] + nodes[at + 1] * weight[:, None]
    columns = rows[:, at] * (step - weight) + rows[:, at + 1] * weight
    field: Grid = columns // (step * step)
    return field


def _ring_distance(y: Grid, x: Grid, period: int) -> Mask:
    distance = np.sqrt(((y - SIZE // 2) ** 2 + (x - SIZE // 2) ** 2).astype(np.float64))
    light: Mask = distance.astype(np.int64) // (period // 2) % 2 == 0
    return light


_PATTERN_RULES: dict[str, Callable[[Grid, Grid, int], Mask]] = {
    "checkerboard": lambda y, x, period: (y // period + x // period) % 2 == 0,
    "stripes": lambda y, x, period: (y + x) // (period // 2) % 2 == 0,
    "rings": _ring_distance,
    "dots": lambda y, x, period: (
        (y % period - period // 2) ** 2 + (x % period - period // 2) ** 2 > (period // 3) ** 2
    ),
}
