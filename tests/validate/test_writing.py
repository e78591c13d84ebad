"""What a validation leaves behind, of models that were never trained."""

from __future__ import annotations

import json
from pathlib import Path

from validate.verdicts import validated
from visift.validate.writing import page, write_validation

EQUAL = "random at equal tokens (balanced)"


def test_a_method_is_held_against_the_random_arm_that_costs_as_much(tmp_path: Path) -> None:
    done = validated(tmp_path, {"balanced": 0.3, EQUAL: 0.3}, equal=("tokens",))
    (one,) = done.judged
    (found,) = one.equals
    assert (found.method, found.control) == ("balanced", EQUAL)
    assert abs(found.micro.value) < 0.1 < one.verdicts[0].comparison.micro.value
    assert EQUAL not in {other.method for other in one.beside}
    assert "\n- balanced against random at equal tokens: " in page(done)


def test_the_worst_task_and_what_hangs_on_one_task_stand_below_the_verdict(tmp_path: Path) -> None:
    done = validated(tmp_path, {"balanced": 0.3})
    lines = page(done).splitlines()
    (at,) = (n for n, line in enumerate(lines) if line.startswith("- balanced is better than"))
    worst = done.judged[0].verdicts[0].comparison.worst
    assert lines[at + 1].startswith(f"  Worst task: {worst} (")


def test_what_it_cost_is_told_also_where_no_task_counts(tmp_path: Path) -> None:
    done = validated(tmp_path, {}, full=-1.0, tasks=("count",))
    write_validation(done)
    (budget,) = json.loads((tmp_path / "verdict.json").read_text())["budgets"]
    assert budget["verdicts"] == []
    costs = {line["arm"]: line for line in budget["cost"]}
    assert costs["balanced"]["training_seconds"] > 0
    assert costs["balanced"]["overall_cost"] is None
    assert costs["balanced"]["records"] == 12


def test_the_ledger_says_what_choosing_and_one_training_take(tmp_path: Path) -> None:
    done = validated(tmp_path, {"balanced": 0.3})
    text = page(done)
    ledger = text[text.index("### Cost") :].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in ledger[2:]]
    head, balanced = rows[0], next(row for row in rows if row[0] == "balanced")
    told = dict(zip(head[:7], balanced[:7], strict=True))
    assert told["choosing"] == "0 s"
    assert told["forward passes"] == told["backward passes"] == "0"
    assert told["labels"] == "nothing"
    cost = next(one for one in done.judged[0].costs if one.arm == "balanced")
    assert cost.training.backwards == 12  # one pass
    write_validation(done)
    (budget,) = json.loads((tmp_path / "verdict.json").read_text())["budgets"]
    line = next(one for one in budget["cost"] if one["arm"] == "balanced")
    assert line["training_back_propagated"] == 12
