"""Choosing in rounds: choose some, tune on them, measure anew with the tuned model, choose more.

Every round tunes the base anew on all that was chosen so far; the model of the first training seed
measures for the next one [ours]. `stratified` at the same sizes is what the curve is held against.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from visift.engine.lab import Examples, LocalLab
from visift.methods.method import Method
from visift.models.ref import ModelRef
from visift.training.recipe import Recipe
from visift.training.tuned import TunedRef
from visift.validate.arms import CONTROL, Arm, Ground, chosen_by, control_arm

CHOSEN_BEFORE = "chosen in an earlier round"
_ROUND = re.compile(r"(?P<arm>.+), round (?P<round>\d+) of (?P<rounds>\d+)")


def round_name(arm: str, number: int, rounds: int) -> str:
    """Return the name of an arm after a round."""
    return f"{arm}, round {number} of {rounds}"


def control_of(arm: str) -> str:
    """Return the arm that another one is held against: `stratified`, of the same size."""
    found = _ROUND.fullmatch(arm)
    if found is None or found["round"] == found["rounds"]:
        return CONTROL
    return round_name(CONTROL, int(found["round"]), int(found["rounds"]))


def is_round(arm: str) -> bool:
    """Return whether an arm was chosen in rounds, or stands beside one."""
    return _ROUND.fullmatch(arm) is not None


def sizes(total: int, rounds: int) -> list[int]:
    """Return how many records there are after every round: equal steps, rounded down."""
    return [total * number // rounds for number in range(1, rounds + 1)]


def round_arms(
    ground: Ground,
    method: Method,
    lab: LocalLab,
    base: ModelRef,
    recipe: Recipe,
    rounds: int,
    seed: int,
) -> Iterator[Arm | str]:
    """Yield what a method has chosen after every round; or why it cannot choose in rounds.

    Models are trained and values are measured on the way.

    Args:
        ground: of the budget.
        method: with the seed of the draw; its model is what measures in the first round.
        lab: that answers it.
        base: what is tuned.
        recipe: how, with the seed of the model that measures.
        rounds: how many.
        seed: of the draw.

    Raises:
        VisiftError: the method cannot choose from this pool.
    """
    if getattr(method, "model", None) is None:
        yield f"{method.name} in rounds is left out: it measures with no model"
        return
    chosen = np.empty(0, np.int64)
    for number, size in enumerate(sizes(ground.size, rounds), start=1):
        rest = ground.pool.without(dict.fromkeys(chosen.tolist(), CHOSEN_BEFORE))
        step = Ground.of(rest, str(size - len(chosen) + len(rest.rows("kept")) * (number > 1)))
        choice = chosen_by(step, method, lab)
        arm = step.arm(round_name(method.name, number, rounds), choice.rows, seed)
        chosen = np.unique(np.concatenate([chosen, arm.rows]))
        yield replace(arm, rows=chosen)
        if number < rounds:
            method = _measuring_with(method, _tuned(lab, base, recipe, chosen))


def control_rounds(ground: Ground, lab: LocalLab, rounds: int, seed: int) -> Iterator[Arm]:
    """Yield `stratified` at the sizes of all rounds but the last, which is the arm itself."""
    for number, size in enumerate(sizes(ground.size, rounds)[:-1], start=1):
        step = Ground.of(ground.pool, str(size))
        arm = control_arm(step, CONTROL, lab, seed)
        yield replace(arm, name=round_name(CONTROL, number, rounds))


def _tuned(lab: LocalLab, base: ModelRef, recipe: Recipe, rows: np.ndarray) -> TunedRef:
    """Return the base tuned on some rows; trained now, because what follows may tune it further."""
    tuned = lab.finetune(base, recipe, Examples(rows)).model
    assert isinstance(tuned, TunedRef)
    training = lab.trainings[-1]
    if training.is_needed:
        from visift.models.devices import available

        training.run(available(base.device), lab.progress)
    return tuned


def _measuring_with(method: Any, model: ModelRef) -> Method:
    made: Method = replace(method, model=model)
    return made
