"""The page of a verdict: at one budget, at two, in rounds, and where nothing counts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from report.pages import HOSTILE, Page, read_page
from validate.verdicts import validated
from visift.errors import StorageError
from visift.report.curves import HEIGHT, WIDTH, Panel, Point
from visift.report.differences import Difference, Forest, points, span
from visift.report.verdict import write_verdict
from visift.validate.writing import facts, write_validation

SECTIONS = ["verdict", "counts", "arms", "tasks", "cost", "notes", "how"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two budgets, `balanced` clearly better, in three rounds."""
    folder = tmp_path_factory.mktemp("validated")
    made = validated(folder, {"balanced": 0.3}, budgets=("12", "24"), rounds=3)
    # As a file holds it, so that the page needs nothing else.
    loaded: dict[str, Any] = json.loads(json.dumps(facts(made), allow_nan=False))
    return loaded


def page(found: dict[str, Any], folder: Path) -> Page:
    return read_page(write_verdict(found, folder / "report"))


def at_one_budget(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "budgets": [{**found["budgets"][0], "rounds": []}]}


def test_power_comes_first_and_the_verdict_next(found: dict[str, Any], tmp_path: Path) -> None:
    made = page(found, tmp_path)
    assert (
        made.one("h1").text
        == "2 better, 0 worse, 0 without evidence: 2 comparisons with stratified"
    )
    text = made.one("body").text
    sentence = found["budgets"][0]["verdicts"][0]["sentence"]
    assert sentence.startswith("balanced is better than stratified")
    places = [text.index(part) for part in (found["power"], found["warning"], sentence)]
    assert places == sorted(places)
    assert "▲ better balanced is better than stratified" in made.section("verdict")


def test_one_budget_has_no_curves(found: dict[str, Any], tmp_path: Path) -> None:
    made = page(at_one_budget(found), tmp_path)
    assert [section.attributes["id"] for section in made.all("section")] == SECTIONS
    assert made.one("h1").text == "balanced is better than stratified"
    assert not made.all("h3")
    assert not made.all("figure")


def test_two_budgets_are_a_curve_an_arm(found: dict[str, Any], tmp_path: Path) -> None:
    made = page(found, tmp_path)
    sections = [section.attributes["id"] for section in made.all("section")]
    assert sections == [*SECTIONS[:3], "budgets", "tasks", "rounds", *SECTIONS[4:]]
    titles = [caption.text for caption in made.all("figcaption")]
    arms = ["balanced", "random", "source-balanced", "longest"]
    assert titles == [*arms, "balanced at 12, 3 rounds", "balanced at 24, 3 rounds"]
    named = [svg.attributes["aria-label"] for svg in made.all("svg", class_="curve")]
    score = {arm["arm"]: 100 * arm["micro"] for arm in found["budgets"][1]["arms"]}
    assert f"{score['balanced']:.1f} with 24 records; stratified: " in named[0]
    assert "stratified: " in named[-1]
    assert " with 8 records, " in named[-1]


def test_what_counts_is_said_once(found: dict[str, Any], tmp_path: Path) -> None:
    counts = page(found, tmp_path).section("counts")
    assert counts.count("2 of 2 tasks count") == 1
    assert "colour yes " in counts


def test_every_difference_has_its_interval(found: dict[str, Any], tmp_path: Path) -> None:
    made = page(at_one_budget(found), tmp_path)
    verdict = found["budgets"][0]["verdicts"][0]
    low, high = verdict["micro"]["adjusted_interval"]
    text = f"{points(verdict['micro']['difference'])} ({span((low, high))})"
    # In the figure's line and in that of the table of arms.
    assert made.section("arms").count(text) == 2
    # The last of three rounds holds as many records as the control; the others do not.
    assert "balanced, round 3 of 3" in made.section("arms")
    assert len(made.all("svg", class_="pair")) == 5
    assert points(verdict["macro"]["difference"]) in made.section("tasks")


def test_cost_says_when_choosing_pays_off(found: dict[str, Any], tmp_path: Path) -> None:
    cost = page(found, tmp_path).section("cost")
    line = next(one for one in found["budgets"][0]["cost"] if one["arm"] == "balanced")
    assert line["pays_off_after_runs"] == 1
    assert f"{line['overall_cost']:.2f} {line['overall_cost_of_ten']:.2f} after 1 run" in cost


def test_how_it_was_made(found: dict[str, Any], tmp_path: Path) -> None:
    how = page(found, tmp_path).section("how")
    assert "5 selection seeds in step with 5 training seeds, from 0" in how
    assert "…/pool/pool.json" in how
    assert how.endswith("As run with builtin:tiny: no statement on the methods’ papers.")


def test_no_task_counts(tmp_path: Path) -> None:
    made = page(facts(validated(tmp_path, {}, full=-1.0, tasks=("count",))), tmp_path)
    assert made.one("h1").text == "No verdict: no task counts, or no method was judged"
    assert "None: no task counts." in made.section("verdict")
    assert "0 of 1 task count" in made.section("counts")
    assert not made.all("svg")


def test_a_task_of_one_image_has_no_error(tmp_path: Path) -> None:
    done = validated(tmp_path, {}, tasks=tuple(f"task {number}" for number in range(60)))
    plain = json.loads(json.dumps(facts(done), allow_nan=False))
    assert {task["error"] for task in plain["budgets"][0]["tasks"]} == {None}
    assert "task 7 no 100.0 100.0 not known" in page(plain, tmp_path).section("counts")


def test_nothing_in_a_pool_is_markup_or_loaded(found: dict[str, Any], tmp_path: Path) -> None:
    text = json.dumps(found)
    for name in ("random", "colour", "something is left out", "balanced"):
        hostile = json.dumps(f"{HOSTILE} {name}")[1:-1]
        text = text.replace(f'"{name}"', f'"{hostile}"')
    made = page(json.loads(text), tmp_path)
    assert HOSTILE.split(" ")[0] in made.one("body").text
    assert not made.all("script")
    assert not made.all("img")
    assert {a.attributes["href"][0] for a in made.all("a")} == {"#"}
    assert "\x1b" not in made.html
    assert "\u202e" not in made.html
    policy = next(m for m in made.all("meta") if "http-equiv" in m.attributes)
    assert policy.attributes["content"].startswith("default-src 'none'; img-src data:; style-src")


def test_it_is_written_beside_the_facts(tmp_path: Path) -> None:
    done = validated(tmp_path, {})
    write_validation(done)
    made = read_page(tmp_path / "report" / "index.html")
    assert json.loads((tmp_path / "verdict.json").read_text())["power"] in made.html
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_verdict(facts(done), tmp_path / "file" / "report")


def test_figures_keep_to_their_frame() -> None:
    wide = Difference("random", "stratified", 0.01, (-3.0, 3.0))
    near = Difference("prism", "stratified", -0.02, (-0.05, 0.012), "no evidence")
    forest = Forest.of([near, wide])
    assert forest is not None
    assert forest.reach == pytest.approx(5)
    mark, cut = forest.marks
    assert (mark.at, mark.low, mark.cut_low) == (pytest.approx(30.8), pytest.approx(2), False)
    assert (cut.low, cut.high, cut.cut_low, cut.cut_high) == (2, 98, True, True)
    line = [Point(10, 0.2, (-0.5, 0.9)), Point(20, 0.2, None)]
    panel = Panel.of("prism", [("prism", "arm", line), ("stratified", "control", line)])
    places = [y for drawn in panel.lines for _, y in drawn.dots]
    ends = [end for _, *ends in panel.lines[0].bars for end in ends]
    assert all(0 <= y <= HEIGHT for y in [*places, *ends])
    assert all(0 <= x <= WIDTH for drawn in panel.lines for x, _ in drawn.dots)
    # Two lines that end at one place are named one below the other.
    assert abs(panel.lines[0].name_y - panel.lines[1].name_y) >= 13


def test_a_figure_marks_where_a_curve_meets_its_control(tmp_path: Path) -> None:
    behind = validated(tmp_path / "a", {"balanced": -0.3}, budgets=("12", "24"))
    ahead = validated(tmp_path / "b", {"balanced": 0.3}, budgets=("12", "24"))
    said = facts(replace(behind, judged=(ahead.judged[0], behind.judged[1])))
    made = page(said, tmp_path)
    assert len(said["curves"][0]["meets"]) == 1
    meetings = sum(len(one["meets"]) for one in said["curves"])
    assert len(made.all("path", class_="meets")) == meetings
    assert said["curves"][0]["sentence"] in made.section("budgets")
    assert "there the curve meets its control" in made.section("budgets")


def test_what_labels_cost_has_a_column_where_there_is_something(
    found: dict[str, Any], tmp_path: Path
) -> None:
    assert "Labels" not in page(found, tmp_path).section("cost")
    budget = found["budgets"][0]
    costs = [
        {**one, "api_tokens": 338_000, "api_dollars": 1.2} if one["arm"] == "balanced" else one
        for one in budget["cost"]
    ]
    cost = page({**found, "budgets": [{**budget, "cost": costs}]}, tmp_path).section("cost")
    assert "Labels" in cost
    assert "$1.20 (338k tokens)" in cost
    assert cost.count("nothing") == sum(one["api_tokens"] == 0 for one in costs)
