"""`mmssr`: from ratings and styles handed in to a selection: no model runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import open_records, put_images, talk
from methods.choosing import chosen
from methods.handed_in import pool_of
from reference import mmssr as printed
from visift.annotate.capabilities import CAPABILITIES
from visift.budget import Budget
from visift.engine.counting import CountingLab
from visift.engine.lab import LocalLab
from visift.errors import AnnotationNeeded, InfeasibleBudget, InputError
from visift.methods.cutting import row_tokens
from visift.methods.method import build, settings
from visift.methods.mmssr import MMSSR, Inputs
from visift.methods.mmssr_names import capability_keys
from visift.methods.mmssr_order import Field, within_budget
from visift.methods.mmssr_raters import Teacher
from visift.methods.mmssr_sampling import Sample
from visift.pool.labelled import Labels
from visift.pool.pool import Pool
from visift.selection import Choice, Selection
from visift.signals.imported import Imported, SignalFile

pytest.importorskip("pandas", reason="pandas is not installed")

OCR, STEM = "optical_character_recognition", "stem_knowledge"
BOTH = f"{OCR},{STEM}"
NONE = math.nan
U6 = {OCR: [5, 5, 4, 0, 1, NONE], STEM: [5, 1, 0, 4, 3, 5]}
S, T = "comparison", "yes/no"
STYLES = [S, S, T, S, T, T]
PLAIN = {"capabilities": BOTH, "tie": "uid", "bins": "style"}


def ratings(
    folder: Path, scores: dict[str, Sequence[float]], styles: Sequence[Any], **more: Any
) -> Path:
    """Write ratings of the first rows of a pool, and their styles."""
    columns: dict[str, Any] = {"row": list(range(len(styles))), "styles": styles}
    for key, score in scores.items():
        columns[f"score.{key}"] = pa.array(np.array(score, np.float32), from_pandas=True)
    for key, p in more.items():
        columns[f"p.{key}"] = pa.array(np.asarray(p, np.float16).tolist(), pa.list_(pa.float16()))
    file = folder / "ratings.parquet"
    pq.write_table(pa.table(columns), file)
    return file


def u6(folder: Path, budget: Any, **given: Any) -> Choice:
    pool = pool_of(folder, "......")
    signals = ratings(folder, U6, STYLES)
    return chosen(pool, "mmssr", budget, signals=signals, **PLAIN, **given)


# --- the specification's cases -------------------------------------------------------------------


def test_u6_capabilities_pick_in_turn(tmp_path: Path) -> None:
    four = u6(tmp_path, 4)
    assert four.rows.tolist() == [0, 2, 3, 5]
    assert sorted(u6(tmp_path, 5).rows.tolist()) == [0, 1, 2, 3, 5]
    assert four.reasons[0] == "optical character recognition 5 of 5, style comparison"
    assert four.facts["nested"] is False


def test_u7_the_error_names_the_largest_budget(tmp_path: Path) -> None:
    assert u6(tmp_path, 3, thr=3).rows.tolist() == [2, 5, 0]
    with pytest.raises(InfeasibleBudget, match="only 5 can be chosen") as caught:
        u6(tmp_path, 6, thr=3)
    assert caught.value.fix is not None
    assert caught.value.fix.startswith("Largest: 5.")
    choice = u6(tmp_path, 5, thr=3)
    assert choice.status[4] == "no rating above 3"


def test_u8_no_rating_in_one_capability_leaves_the_other(tmp_path: Path) -> None:
    choice = u6(tmp_path, 4)
    assert choice.reasons[choice.rows.tolist().index(5)].startswith("stem knowledge 5 of 5")
    assert choice.facts["without_rating"] == {OCR: 1, STEM: 0}


def test_u10_bins_are_styles_and_sources(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "ab.")
    said = [["yes/no", "yes/no"], None, ["comparison"]]
    signals = ratings(tmp_path, {OCR: [5, 4, 3]}, said)
    choice = chosen(pool, "mmssr", 3, signals=signals, capabilities=OCR)
    assert choice.group == ["yes/no+a", "other+b", "comparison+unknown"]
    assert choice.facts["without_style"] == 1
    assert choice.columns["styles"] == ["yes/no", None, "comparison"]


def test_u11_the_order_of_a_pool_decides_nothing(tmp_path: Path) -> None:
    chance = np.random.default_rng(3)
    names = put_names(tmp_path, 40)
    score, style = chance.integers(0, 6, 40), chance.choice(["yes/no", "comparison"], 40)
    picked = []
    for number, order in enumerate((np.arange(40), chance.permutation(40))):
        folder = tmp_path / str(number)
        folder.mkdir()
        records = [talk(f"<image>\nq{i}", image=names[i], source="ab"[i % 2]) for i in order]
        pool = open_records(folder, records, image_folder=tmp_path)
        signals = ratings(folder, {OCR: score[order]}, [[style[i]] for i in order])
        choice = chosen(pool, "mmssr", 10, signals=signals, capabilities=OCR)
        picked.append([int(order[row]) for row in choice.rows])
    assert picked[0] == picked[1]
    assert chosen(pool, "mmssr", 10, seed=1, signals=signals, capabilities=OCR).rows.tolist() != (
        choice.rows.tolist()
    )


def put_names(folder: Path, count: int) -> list[str]:
    names = [f"{n}.png" for n in range(count)]
    put_images(folder, names)
    return names


# --- what settles ties ---------------------------------------------------------------------------


def digits(*means: float) -> np.ndarray:
    """Return probabilities of 0 to 5 with these means, between 4 and 5."""
    p = np.zeros((len(means), 6))
    p[:, 4], p[:, 5] = 5 - np.array(means), np.array(means) - 4
    return p


def test_expectations_settle_equal_ratings(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaaa")
    p = digits(4.5, 4.25, 4.75, 4.5)
    signals = ratings(tmp_path, {OCR: [5, 4, 4, 4]}, [["yes/no"]] * 4, **{OCR: p})
    given = {"signals": signals, "capabilities": OCR}
    assert chosen(pool, "mmssr", 3, **given).rows.tolist() == [0, 2, 3]
    assert chosen(pool, "mmssr", 2, **given, score="expectation").rows[0] == 2
    by_place = chosen(pool, "mmssr", 3, **given, tie="uid")
    assert by_place.rows.tolist() == [0, 1, 2]
    assert by_place.tied.tolist() == [False, True, True]
    assert by_place.facts["tied_share"] == pytest.approx(2 / 3)
    assert any("67% of the picks" in said for said in by_place.facts["notices"])


def test_losses_settle_them_where_asked(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaa")
    signals = ratings(tmp_path, {OCR: [4, 4, 4]}, [["yes/no"]] * 3)
    table = pq.read_table(signals).append_column("nll", pa.array([1.0, 3.0, 2.0]))
    pq.write_table(table, signals)
    choice = chosen(pool, "mmssr", 2, signals=signals, capabilities=OCR, tie="loss")
    assert choice.rows.tolist() == [1, 2]


# --- ratings and styles that are not as they should be -------------------------------------------


def test_ratings_beyond_the_scale_are_none(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaaa")
    signals = ratings(tmp_path, {OCR: [7, -1, 3, 5]}, [["yes/no"]] * 4)
    choice = chosen(pool, "mmssr", 2, signals=signals, capabilities=OCR)
    assert sorted(choice.rows.tolist()) == [2, 3]
    assert choice.facts["ratings_beyond_5"] == 2
    assert np.isnan(choice.columns[f"score.{OCR}"][:2]).all()
    signals = ratings(tmp_path, {OCR: [4.6, NONE, 3, NONE]}, [["yes/no"]] * 4)
    choice = chosen(pool, "mmssr", 1, signals=signals, capabilities=OCR)
    assert choice.reasons == ["optical character recognition 3 of 5, style yes/no + a"]
    assert (choice.facts["ratings_beyond_5"], choice.facts["without_rating"]) == (1, {OCR: 3})


def test_styles_nobody_offered_are_other_or_their_own(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaa")
    signals = ratings(tmp_path, {OCR: [5, 5, 5]}, [["haiku"], ["Yes/No"], ["yes/no"]])
    choice = chosen(pool, "mmssr", 3, signals=signals, capabilities=OCR)
    assert sorted(map(str, choice.group)) == ["other+a", "yes/no+a", "yes/no+a"]
    assert choice.facts["unknown_styles"] == 1
    free = chosen(pool, "mmssr", 3, signals=signals, capabilities=OCR, style_vocab="open")
    assert sorted(map(str, free.group)) == ["Yes/No+a", "haiku+a", "yes/no+a"]
    own = chosen(pool, "mmssr", 3, signals=signals, capabilities=OCR, style_vocab="haiku, yes/no")
    assert "haiku+a" in own.group


def test_a_capability_that_has_nothing_is_dropped_and_said(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaa")
    signals = ratings(tmp_path, {OCR: [0, 0, 0], STEM: [1, 2, 3]}, [["yes/no"]] * 3)
    choice = chosen(pool, "mmssr", 2, signals=signals, capabilities=BOTH)
    assert choice.rows.tolist() == [2, 1]
    assert choice.facts["ran_out"] == [OCR]
    assert any("optical character recognition" in said for said in choice.facts["notices"])


# --- rows beside the rule ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text_only", "visual", "text"),
    [("proportional", 4, 2), ("keep", 2, 4), ("drop", 6, 0)],
)
def test_text_only_rows(text_only: str, visual: int, text: int, tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaaaaaaa", "....")
    signals = ratings(tmp_path, {OCR: [1, 2, 3, 4, 5, 1, 2, 3]}, [["yes/no"]] * 8)
    given = {"signals": signals, "capabilities": OCR, "text_only": text_only}
    choice = chosen(pool, "mmssr", 6, **given)
    assert int((choice.rows < 8).sum()) == visual
    assert int((choice.rows >= 8).sum()) == text
    assert choice.facts["usable"] == (8 if text_only == "drop" else 12)
    if text_only == "keep":
        assert (choice.rows[:4] >= 8).all()
    if text_only == "drop":
        assert choice.status[9] == "text-only: dropped"
    assert choice.facts["left_out"] == ({"text-only": 4} if text_only == "drop" else {})


def test_text_only_rows_are_rated_where_asked(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aa", "aa")
    signals = ratings(tmp_path, {OCR: [1, 2, 4, 3]}, [["yes/no"]] * 4)
    choice = chosen(pool, "mmssr", 2, signals=signals, capabilities=OCR, text_only="score")
    assert choice.rows.tolist() == [2, 3]


def test_kept_rows_come_first_and_count(tmp_path: Path) -> None:
    names = put_names(tmp_path, 4)
    records = [talk(f"<image>\nq{i}", image=names[i]) for i in range(4)]
    keep = tmp_path / "keep.json"
    open_records(tmp_path, records[:1])
    (tmp_path / "pool.json").rename(keep)
    pool = open_records(tmp_path, records[1:], keep=[keep])
    rows = [int(row) for row in pool.rows("candidate")]
    signals = ratings(tmp_path, {OCR: [1, 2, 3]}, [["yes/no"]] * 3)
    table = pq.read_table(signals).set_column(0, "row", pa.array(rows))
    pq.write_table(table, signals)
    choice = chosen(pool, "mmssr", 2, signals=signals, capabilities=OCR)
    assert choice.reasons[0] == "kept: named with --keep"
    assert len(choice.rows) == 2
    assert choice.reasons[1].startswith("optical character recognition 3 of 5")


@pytest.mark.parametrize("budget", ["5-images", "60-tokens"])
def test_budgets_that_count_something_else(budget: str, tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaaaabbbbb")
    signals = ratings(tmp_path, {OCR: [5, 4, 3, 2, 1] * 2}, [["yes/no"]] * 10)
    choice = chosen(pool, "mmssr", budget, signals=signals, capabilities=OCR)
    assert 0 < len(choice.rows) < 10
    assert budget != "5-images" or len(choice.rows) == 5
    with pytest.raises(InfeasibleBudget, match="rated above thr in no capability"):
        chosen(pool, "mmssr", "9-images", signals=signals, capabilities=OCR, thr=3)


@pytest.mark.parametrize("budget", ["60-tokens", "2-records"])
def test_a_budget_for_less_than_is_always_in_is_refused(budget: str, tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaaaaaaa", "....")
    tokens = int(row_tokens(pool, Budget.parse("1-tokens"))[8:].sum())
    signals = ratings(tmp_path, {OCR: [1, 2, 3, 4, 5, 1, 2, 3]}, [["yes/no"]] * 8)
    given = {"signals": signals, "capabilities": OCR, "text_only": "keep"}
    wanted = budget if budget == "2-records" else f"{tokens - 1}-tokens"
    with pytest.raises(InfeasibleBudget, match="always in"):
        chosen(pool, "mmssr", wanted.removesuffix("-records"), **given)
    if budget == "60-tokens":
        exactly = chosen(pool, "mmssr", f"{tokens}-tokens", **given)
        assert sorted(exactly.rows.tolist()) == [8, 9, 10, 11]


def test_the_size_of_a_budget_in_tokens_is_found_beside_much_that_is_always_in(
    tmp_path: Path,
) -> None:
    records = [talk("long " * 4000, "yes")] * 5 + [talk(f"q{i}", "short " * 20) for i in range(400)]
    pool = open_records(tmp_path, records)
    asked = list[int]()

    def take(n: int) -> Sample:
        asked.append(n)
        none = np.zeros(n, np.int64)
        return Sample(np.arange(n), none, none, none.astype(bool), ())

    field = Field(np.arange(5), np.arange(5, 405), np.arange(0), (0, 0), 400, take)
    costs = row_tokens(pool, Budget.parse("1-tokens"))
    limit = int(costs[:5].sum() + costs[5:].sum() // 3)
    order = within_budget(pool, field, Budget.parse(f"{limit}-tokens"))
    assert 0 <= limit - costs[order.rows].sum() <= costs[5:].max()
    assert len(asked) <= 4


def test_without_a_budget_a_tenth_is_chosen(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "a" * 20)
    signals = ratings(tmp_path, {OCR: [5] * 20}, [["yes/no"]] * 20)
    assert len(chosen(pool, "mmssr", None, signals=signals, capabilities=OCR).rows) == 2


# --- compat=official -----------------------------------------------------------------------------


def test_official_equals_ours_where_nothing_ties(tmp_path: Path) -> None:
    chance = np.random.default_rng(5)
    pool = pool_of(tmp_path, "a" * 20 + "b" * 14 + "c" * 6)
    scores = {OCR: chance.permutation(40) + 1.0, STEM: chance.permutation(40) + 1.0}
    styles = [["yes/no"] if i % 3 else ["comparison", "yes/no"] for i in range(40)]
    signals = ratings(tmp_path, scores, styles)
    official = chosen(pool, "mmssr", 12, signals=signals, capabilities=BOTH, compat="official")
    labels = [[f"{s}+{'abc'[0 if i < 20 else 1 if i < 34 else 2]}" for s in one]
              for i, one in enumerate(styles)]  # fmt: skip
    plain = printed.select([list(scores[OCR]), list(scores[STEM])], labels, 12)
    assert official.rows.tolist() == [row for row, _, _ in plain]


def test_official_rounds_in_floating_point_and_stops_at_an_empty_capability(
    tmp_path: Path,
) -> None:
    pool = pool_of(tmp_path, "a" * 100)
    signals = ratings(tmp_path, {OCR: [5] * 100, STEM: [0] * 100}, [["yes/no"]] * 100)
    given = {"signals": signals, "compat": "official"}
    assert len(chosen(pool, "mmssr", "29%", capabilities=OCR, **given).rows) == 28
    assert len(chosen(pool, "mmssr", "29%", capabilities=OCR, signals=signals).rows) == 29
    with pytest.raises(InfeasibleBudget, match="stem_knowledge"):
        chosen(pool, "mmssr", "29%", capabilities=BOTH, **given)


def test_official_says_what_it_does_not_use(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aaa")
    signals = ratings(tmp_path, {OCR: [1, 2, 3]}, [["yes/no"]] * 3)
    given = {"signals": signals, "capabilities": OCR, "compat": "official"}
    for more, said in (({}, False), ({"tie": "loss"}, True), ({"score": "expectation"}, True)):
        notices = chosen(pool, "mmssr", 2, **given, **more).facts["notices"]
        assert any("compat=official" in one for one in notices) is said


def test_official_sets_what_it_says_and_explicit_values_win() -> None:
    official = {"compat": "official", "style_vocab": "nine"}
    values = {s.name: (s.value, s.origin) for s in settings(build("mmssr", official), official)}
    assert values["exact_budget"] == (False, "compat official")
    assert values["style_vocab"] == ("nine", "you")


# --- who rates -----------------------------------------------------------------------------------


def test_capabilities_are_named_as_people_write_them(tmp_path: Path) -> None:
    assert build("mmssr", {"capabilities": "Stem knowledge, fine-grained recognition"})
    choice = u6(tmp_path, 2, added="")
    assert len(choice.rows) == 2
    with pytest.raises(InputError, match='Did you mean "stem_knowledge"'):
        chosen(pool_of(tmp_path, "aa"), "mmssr", 1, capabilities="stem_knowlege")
    assert capability_keys(" All ") == CAPABILITIES
    for word in ("ocr, all", "Auto", "none"):
        with pytest.raises(InputError, match="is no capability"):
            capability_keys(word)


def test_what_is_missing_is_said_before_anybody_is_asked_for_labels(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "aa")
    with pytest.raises(InputError, match="none was named"):
        chosen(pool, "mmssr", 1)
    with pytest.raises(InputError, match="no styler was named"):
        chosen(pool, "mmssr", 1, scorer="some/model")


def test_labels_are_asked_for_in_key_order(tmp_path: Path) -> None:
    from visift.models.ref import ModelRef

    pool = pool_of(tmp_path, "a" * 12, "aa")
    method = build("mmssr", {"labelled": "50%"}, model=ModelRef("builtin:tiny"))
    lab = LocalLab(pool, tmp_path, lambda: ["cpu"])
    with pytest.raises(AnnotationNeeded) as caught:
        method.measure(pool, lab, Budget.parse(2))
    keys = pool.tie_keys(0, b"labels")
    assert list(caught.value.rows) == np.argsort(keys[:12]).tolist()[:6]
    assert caught.value.purpose == "labels"
    counting = CountingLab(pool, tmp_path)
    method.measure(pool, counting, Budget.parse(2))
    assert counting.unlabelled == 6
    # 14 ratings of each of the six records, and their styles: none is held out of so few.
    assert [len(one.items) for one in counting.trainings] == [84, 6]


def inputs_of(pool: Pool, folder: Path, **given: Any) -> tuple[MMSSR, Inputs]:
    """Return ratings of U6 handed in, as a method asked for them."""
    method = build("mmssr", {**PLAIN, **given})
    file = SignalFile.open(ratings(folder, U6, STYLES))
    lab = LocalLab(pool, folder, lambda: ["cpu"], imported=Imported((file,)))
    inputs = method.measure(pool, lab, None)
    assert isinstance(method, MMSSR)
    return method, inputs


def test_agreement_with_labels_that_were_held_out(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "......")
    method, inputs = inputs_of(pool, tmp_path)
    scores = {OCR: np.array([5.0, 4, 4, 1, 1, 3])}
    styles = tuple((one,) for one in ["yes/no", "comparison", *STYLES[2:]])
    teacher = Teacher(Labels(np.arange(6), scores, styles), np.arange(6), np.arange(6))
    (said,) = inputs.raters.ratings
    learnt = replace(inputs.raters, ratings=(replace(said, handed_in=False),), teachers=(teacher,))
    inputs = replace(inputs, raters=learnt)
    facts = method.choose(pool, inputs, Budget.parse(3)).facts
    found = facts["agreement"]["ratings"][OCR]
    assert (found["exact"], found["near"]) == (3 / 6, 5 / 6)
    assert (found["usual"], found["chance_exact"]) == (1, 2 / 6)
    assert facts["agreement"]["styles"]["first"] == pytest.approx(5 / 6)
    titles = [table["title"] for table in facts["tables"]]
    assert titles[0] == "Scorer against labels that it did not learn from"


def test_a_model_that_was_not_trained_to_rate_is_called_that_everywhere(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "......")
    method, inputs = inputs_of(pool, tmp_path)
    inputs = replace(inputs, raters=replace(inputs.raters, untrained=("scorer",)))
    choice = method.choose(pool, inputs, Budget.parse(3))
    assert all(reason.endswith("(not mmSSR: zero-shot)") for reason in choice.reasons)
    with_text = pool_of(tmp_path, "......", ".")
    beside = method.choose(with_text, replace(inputs, text=np.array([6])), Budget.parse(7)).reasons
    assert sum("text-only" in reason and "not mmSSR" in reason for reason in beside) == 1
    assert choice.facts["notices"][0].startswith("Not mmSSR: scorer")
    assert "not mmSSR" in choice.facts["score"]
    assert choice.facts["not_mmssr"]


def test_two_capabilities_shift_the_mix(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "o" * 20 + "s" * 20 + "x" * 20)
    high = np.where(np.repeat([0, 1, 2], 20) == np.array([[0], [1], [2]]), 5, 1)
    scores = dict(zip((OCR, STEM, "humanities"), high, strict=True))
    signals = ratings(tmp_path, scores, [["yes/no"]] * 60)
    mean = {}
    for named in (f"{BOTH},humanities", OCR):
        choice = chosen(pool, "mmssr", 15, signals=signals, capabilities=named, bins="style")
        mean[named] = float(np.asarray(scores[OCR])[choice.rows].mean())
    assert mean[OCR] == 5
    assert mean[f"{BOTH},humanities"] < 3


def test_the_mix_shows_large_styles_and_sources_and_sums_up_the_others(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, "".join(letter * 2 for letter in "abcdefghi") + "aa")
    styles = [[f"style {n % 17}"] for n in range(20)]
    signals = ratings(tmp_path, {OCR: [3] * 20}, styles)
    given = {"capabilities": OCR, "style_vocab": "open", "signals": signals}
    tables = chosen(pool, "mmssr", 5, **given).facts["tables"]
    (mix,) = (one for one in tables if one["title"].startswith("Style ×"))
    lines = {line[0]: line[1:] for line in mix["rows"]}
    assert len(lines) == 16
    assert list(lines)[:3] == ["style 0", "style 1", "style 2"]
    assert lines["other styles"][0].startswith("2 → ")
    assert mix["columns"][2:] == [*"abcdefg", "other sources"]
    for column in range(len(mix["columns"]) - 1):
        pairs = [line[column].split(" → ") for line in lines.values()]
        there, taken = (sum(int(pair[side]) for pair in pairs) for side in (0, 1))
        assert column or (there, taken) == (20, 5)
        assert column != 1 or there == 4


def test_tables_and_columns_are_what_the_report_reads(tmp_path: Path) -> None:
    choice = u6(tmp_path, 4)
    selection = Selection.of(pool_of(tmp_path, "......"), choice, {})
    assert selection.scores[f"score.{OCR}"].to_pylist()[:3] == [5, 5, 4]
    assert selection.scores["styles"].to_pylist() == STYLES
    for table in choice.facts["tables"]:
        assert {len(line) for line in table["rows"]} == {len(table["columns"])}
