"""The verdict: what must hold for one, and how often it is wrong where the truth is known."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from validate.simulated import Study, results_of
from visift.validate.results import Results
from visift.validate.statistics import Comparison, Estimate
from visift.validate.verdict import Verdict, caveats, judge, points, task_line, verdicts


def compared(
    micro: float, macro: float, *, error: float = 0.005, seeds: int = 5, **rest: object
) -> Comparison:
    facts: dict[str, object] = {
        "method": "prism",
        "control": "stratified",
        "micro": Estimate(micro, error, 8),
        "macro": Estimate(macro, error, 8),
        "tasks": {"count": Estimate(micro, error, 8), "colour": Estimate(macro, error, 8)},
        "shares": {"count": 0.5, "colour": 0.5},
        "errors": {"questions": error},
        "task_error": 0.01,
        "left_out": {"count": macro, "colour": micro},
        "matched": True,
        "training_seeds": seeds,
        "selection_seeds": (3, 5),
        "questions": 2010,
        "groups": 935,
        "effective_groups": 600.0,
    }
    return Comparison(**{**facts, **rest})  # type: ignore[arg-type]


def judged(comparison: Comparison, methods: int = 1) -> Verdict:
    p = min(1.0, comparison.micro.p * methods)
    return judge(comparison, p, 0.05 / methods, methods)


def test_better_and_worse() -> None:
    assert judged(compared(0.021, 0.015)).sentence == (
        "prism is better than stratified: +2.1 points (+0.9 to +3.3), +1.5 as a mean of 2 tasks, "
        "with 5 training seeds."
    )
    assert judged(compared(-0.021, -0.015)).sentence == (
        "prism is worse than stratified: −2.1 points (−3.3 to −0.9), −1.5 as a mean of 2 tasks, "
        "with 5 training seeds."
    )


def test_within_chance() -> None:
    found = judged(compared(0.009, 0.004))
    assert found.word == "no evidence"
    assert found.sentence == (
        "No evidence that prism is better or worse than stratified: +0.9 points (−0.3 to +2.1), "
        "+0.4 as a mean of 2 tasks; that is within chance (less than 1.6 points may be missed)."
    )


def test_fewer_than_five_training_seeds() -> None:
    found = judged(compared(0.021, 0.015, seeds=3))
    assert found.word == "no evidence"
    assert found.reasons == ("3 training seeds; a verdict needs 5",)


@pytest.mark.parametrize(("draws", "often"), [(1, "once"), (2, "twice")])
def test_a_control_that_was_drawn_too_seldom(draws: int, often: str) -> None:
    found = judged(compared(0.021, 0.015, selection_seeds=(3, draws)))
    assert found.word == "no evidence"
    assert found.reasons == (f"stratified was drawn {often}; a verdict needs 3",)
    assert judged(compared(0.021, 0.015, selection_seeds=(1, 3))).word == "better"


def test_questions_on_too_few_images() -> None:
    found = judged(compared(0.021, 0.015, effective_groups=1.84))
    assert found.word == "no evidence"
    assert found.reasons == ("questions on few images (1.8 of equal weight); a verdict needs 3",)


def test_how_much_hangs_on_single_tasks() -> None:
    tasks = {"count": Estimate(0.03, 0.01, 8), "colour": Estimate(-0.012, 0.01, 8)}
    found = compared(0.02, 0.01, tasks=tasks, left_out={"count": -0.012, "colour": 0.03})
    assert task_line(found) == (
        "Worst task: colour (−1.2 points); without one task in turn: −1.2 to +3.0 points."
    )
    assert judged(found).facts()["without_one_task_range"] == [-0.012, 0.03]
    alone = compared(0.02, 0.02, left_out={})
    assert task_line(alone) is None
    assert judged(alone).facts()["without_one_task_range"] is None


def test_micro_and_macro_that_contradict_each_other() -> None:
    found = judged(compared(0.021, -0.001))
    assert found.word == "no evidence"
    assert found.reasons == ("all questions together and the mean of tasks point different ways",)


def test_many_methods_need_more() -> None:
    assert judged(compared(0.013, 0.013)).word == "better"
    found = judged(compared(0.013, 0.013), methods=20)
    assert found.word == "no evidence"
    assert "that is within chance among 20 methods at one budget" in found.sentence
    found = judged(compared(0.021, 0.021), methods=2)
    assert found.sentence.endswith("with 5 training seeds, among 2 methods at one budget.")


def three_arms() -> Results:
    """Return results where a0 gains a lot, a1 some, and a2 is the control."""
    return Study(of_training=0.02, of_arm=0.05, paired=True).run(3, gains=(0.5, 0.13, 0.0))


def test_methods_are_judged_together() -> None:
    results = three_arms()
    alone = verdicts(results, ["a1"], "a2")[0]
    first, second = verdicts(results, ["a0", "a1"], "a2")
    assert (first.word, first.methods, first.alpha) == ("better", 2, 0.025)
    assert second.alpha == 0.05  # the last of Holm's steps
    assert second.p == alone.comparison.micro.p
    assert first.p == pytest.approx(2 * first.comparison.micro.p)
    low, high = first.interval
    assert low < first.comparison.micro.interval()[0] < first.comparison.micro.interval()[1] < high


def test_one_within_chance_holds_back_the_less_clear() -> None:
    found = judge(compared(0.013, 0.013), 0.06, 0.05, 2)
    assert found.reasons == ("a method with a clearer difference is within chance already",)


def test_the_facts_are_plain_values() -> None:
    one_image = results_of(
        [(arm, 0, seed) for arm in "ab" for seed in range(2)], np.eye(4), [0, 0, 0, 1], [0, 0, 1, 2]
    )
    for found in (*verdicts(three_arms(), ["a0", "a1"], "a2"), *verdicts(one_image, ["a"], "b")):
        facts = found.facts()
        assert json.loads(json.dumps(facts, allow_nan=False)) == facts
        assert facts["sentence"] == found.sentence
    assert facts["tasks"]["t1"]["interval"] == [None, None]


def test_caveats_say_what_an_interval_leaves_out() -> None:
    assert caveats(compared(0, 0)) == []
    told = caveats(compared(0, 0, selection_seeds=(1, 5), matched=False, groups=2010))
    assert [sentence.split()[0] for sentence in told] == ["prism", "prism", "Every"]
    assert told[0].startswith("prism was selected once:")


def test_points() -> None:
    assert [points(d) for d in (0.0214, -0.004, 0.0, -0.0001)] == ["+2.1", "−0.4", "0.0", "0.0"]
    assert points(float("-inf")) == "−∞"


def words(study: Study, gain: float, replicates: int) -> Counter[str]:
    return Counter(
        verdicts(study.run(seed, (gain, 0.0)), ["a0"], "a1", resamples=300)[0].word
        for seed in range(replicates)
    )


def test_calibrated_on_simulated_studies() -> None:
    study = Study(paired=True, of_selection=0.03)
    random = words(study, 0.0, 100)
    assert random["better"] + random["worse"] <= 9
    assert words(study, 0.25, 20)["better"] >= 16
    assert words(study, -0.25, 20)["worse"] >= 16


@pytest.mark.slow
@pytest.mark.parametrize(
    "study",
    [
        Study(questions=2000, groups=935, paired=True, of_selection=0.05),
        Study(questions=2000, groups=935, selections=3, of_selection=0.02),
        Study(questions=2000, groups=200, of_arm=0.3, of_image=1.0, paired=True),
        Study(questions=2000, groups=935, of_training=0.2, luck=0.2, paired=True),
        Study(questions=2000, groups=100, on_one_image=0.2, of_arm=0.3, paired=True),
    ],
    ids=["paired", "crossed", "few images", "noisy training", "one image on many questions"],
)
def test_random_against_random_is_no_evidence(study: Study) -> None:
    found = words(study, 0.0, 400)
    assert found["better"] + found["worse"] <= 36
