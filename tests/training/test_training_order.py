"""The order of examples: known before the first step, and from their content alone."""

from __future__ import annotations

import dataclasses
from hashlib import blake2b
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visift.training.order import passes_of, steps_of
from visift.training.recipe import LLAVA, Recipe

SMALL = dataclasses.replace(LLAVA, batch_size=6, micro_batch=2)


def keys(count: int) -> list[str]:
    return [blake2b(b"%d" % n, digest_size=16).hexdigest() for n in range(count)]


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 3), st.booleans())
def test_every_pass_shows_each_example_once(shown: list[bool], epochs: int, apart: bool) -> None:
    recipe = dataclasses.replace(SMALL, epochs=epochs, by_modality=apart)
    steps = steps_of(keys(len(shown)), shown, recipe)
    assert len(steps) == recipe.steps(len(shown))
    a_pass = len(steps) // epochs
    for number in range(epochs):
        seen = [one for step in steps[number * a_pass : (number + 1) * a_pass] for one in step]
        assert sorted(seen) == list(range(len(shown)))


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_whole_steps_hold_examples_with_images_or_without(shown: list[bool]) -> None:
    steps = steps_of(keys(len(shown)), shown, SMALL)
    mixed = [n for n, step in enumerate(steps) if len({shown[one] for one in step}) == 2]
    assert all(sum(shown[one] for one in steps[n]) < 6 for n in mixed)
    left = sum(shown) % 6 + (len(shown) - sum(shown)) % 6
    assert all(n >= len(steps) - -(-left // 6) for n in mixed)


def test_steps_with_and_without_images_take_turns_at_random() -> None:
    shown = [n % 2 == 0 for n in range(240)]
    first = [shown[step[0]] for step in steps_of(keys(240), shown, SMALL)]
    assert first not in (sorted(first), sorted(first, reverse=True))


def test_passes_differ_and_so_do_seeds() -> None:
    plain = dataclasses.replace(SMALL, by_modality=False, epochs=2)
    steps = steps_of(keys(30), [True] * 30, plain)
    other = steps_of(keys(30), [True] * 30, dataclasses.replace(plain, seed=1))
    assert len({str(some) for some in (steps[:5], steps[5:], other[:5], other[5:])}) == 4


@given(st.integers(0, 1000))
def test_the_order_of_a_pool_does_not_matter(seed: int) -> None:
    names, shown = keys(40), [n % 3 == 0 for n in range(40)]
    order = Random(seed).sample(range(40), 40)
    steps = steps_of(names, shown, SMALL)
    moved = steps_of([names[n] for n in order], [shown[n] for n in order], SMALL)
    assert [[order[one] for one in step] for step in moved] == steps


def test_a_step_has_as_many_passes_as_the_recipe_says() -> None:
    passes = list(passes_of([[4, 1, 3, 0, 5, 2], [1, 0, 2]], SMALL))
    assert passes == [(0, [4, 1]), (0, [3, 0]), (0, [5, 2]), (1, [1, 0]), (1, [2]), (1, [])]


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.03, 0.5])
def test_rates_are_those_of_transformers_schedules(schedule: str, warmup: float) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    optimization = pytest.importorskip("transformers.optimization")
    recipe: Recipe = dataclasses.replace(LLAVA, schedule=schedule, warmup=warmup)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    name = "constant_with_warmup" if schedule == "constant" else schedule
    scheduler = optimization.get_scheduler(name, optimizer, int(-(-warmup * 41 // 1)), 41)
    for step in range(41):
        assert recipe.rate_share(step, 41) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(("steps", "shares"), [(1, [1]), (2, [0, 1]), (3, [0, 1, 0.5])])
def test_the_last_step_of_a_short_training_is_no_warm_up(steps: int, shares: list[float]) -> None:
    assert [LLAVA.rate_share(step, steps) for step in range(steps)] == pytest.approx(shares)
