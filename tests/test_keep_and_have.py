"""`--keep` and `--have` through a whole run: arms, tables, exports, and the words about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import put_images, sources_pool, talk, write_json
from visift.config import PoolConfig, RunConfig
from visift.errors import InfeasibleBudget, InputError, PoolError
from visift.finished import Run, reopen
from visift.pool.pool import Pool
from visift.run import execute, select


def pools(folder: Path) -> dict[str, str]:
    """A pool of two sources, four records kept (one of the pool), five had (three of the pool)."""
    sources_pool(folder, {"a": 12, "b": 8}, text=4)
    records = json.loads((folder / "pool.json").read_text())
    own = [talk(f"own {n}", image=f"a/{n}.png") for n in range(3)]
    write_json(folder / "mine.json", [records[0], *own])
    gone = talk("elsewhere", image="not/here.png")
    write_json(folder / "old.json", [*records[1:3], records[13], gone, talk("other")])
    return {"keep": str(folder / "mine.json"), "have": str(folder / "old.json")}


def run(folder: Path, lines: list[tuple[str, str]] | None = None, **given: Any) -> Run:
    roles = pools(folder)
    named = PoolConfig((str(folder / "pool.json"),), keep=(roles["keep"],), have=(roles["have"],))
    config = RunConfig(pool=named, **{"budget": "50%", "method": "stratified", **given})
    said = [] if lines is None else lines
    return execute(config, folder / "out", say=lambda label, text: said.append((label, text)))


@pytest.mark.parametrize("method", ["", "random", "stratified", "longest"])
def test_kept_rows_stand_first_in_every_arm_and_had_ones_in_none(
    tmp_path: Path, method: str
) -> None:
    done = run(tmp_path, method=method)
    kept, have = set(done.pool.rows("kept").tolist()), set(done.pool.left_out)
    assert len(kept) == 4
    assert len(done.rows) == 12, "half of 20 candidates (24 less 3 had and 1 kept) and 4 kept"
    for arm in (done.rows, done.control, done.random):
        assert set(arm[:4].tolist()) == kept
        assert len(set(arm.tolist())) == len(arm) == len(done.rows)
        assert not have & set(arm.tolist())
    for name in ("subset", "control", "random"):
        exported = json.loads((tmp_path / f"out/export/llava/{name}.json").read_text())
        questions = [record["conversations"][0]["value"] for record in exported]
        assert {f"own {n}" for n in range(3)} <= set(questions)


def test_every_row_has_a_status(tmp_path: Path) -> None:
    done = run(tmp_path)
    scores = pq.read_table(tmp_path / "out/scores.parquet").to_pylist()
    status = {row["uid"]: row["status"] for row in scores}
    assert len(status) == 24 + 4 + 5
    assert status["pool.json#0"] == "duplicate: of a kept record"
    assert status["pool.json#1"] == status["pool.json#13"] == "have: the same record"
    assert {status[f"have:old.json#{n}"] for n in range(5)} == {"have"}
    assert {status[f"keep:mine.json#{n}"] for n in range(4)} == {"selected"}
    assert len(done.quarantine.reasons) == 0, "images of had records need not be here"
    assert sum(pool for pool, _ in done.mix().values()) == 28


def test_it_is_said(tmp_path: Path) -> None:
    lines: list[tuple[str, str]] = []
    run(tmp_path, lines)
    said = dict(lines)
    assert said["Pool"].startswith("pool.json · 24 records · 4 text-only")
    assert said["Keep"] == "mine.json · 4 records, always in · 1 of the pool are the same"
    assert (
        said["Have"] == "old.json · 5 records, never chosen · 3 of the pool are the same"
        " · 1 whose images are not here"
    )
    assert said["Note"] == (
        "stratified leaves out what --have names, and does not look at it further"
    )
    assert said["Images"] == "24 references · 20 images · all found"


def test_a_finished_run_opens_with_its_roles(tmp_path: Path) -> None:
    done = run(tmp_path)
    again = reopen(tmp_path / "out")
    for arm in ("rows", "control", "random"):
        assert getattr(again, arm).tolist() == getattr(done, arm).tolist()
    assert again.selection.table.equals(done.selection.table)


def test_keep_and_have_decide_the_outcome(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(InputError, match=r"holds another run \(different: pool\)"):
        select(tmp_path / "pool.json", method="stratified", budget="50%", output=tmp_path / "out")


def test_multiples_of_kept_rows(tmp_path: Path) -> None:
    assert len(run(tmp_path, budget="3x keep").rows) == 16
    with pytest.raises(InfeasibleBudget, match="6x keep is more than the 24 usable records"):
        run(tmp_path / "more", budget="6x keep")
    with pytest.raises(InputError, match="counts kept records, and there are none"):
        select(tmp_path / "pool.json", budget="5x keep", output=tmp_path / "x")


def test_a_kept_record_that_cannot_be_used_is_set_aside(tmp_path: Path) -> None:
    put_images(tmp_path, ["a.png"])
    write_json(tmp_path / "pool.json", [talk(f"q{n}") for n in range(9)])
    write_json(tmp_path / "mine.json", [talk("fine"), talk("gone", image="gone.png")])
    done = select(
        tmp_path / "pool.json",
        keep=tmp_path / "mine.json",
        budget=3,
        max_unusable="20%",
        output=tmp_path / "out",
    )
    assert len(done.rows) == 3
    assert list(done.quarantine.reasons.values()) == ["image missing: gone.png"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "pool.json", [talk()])
    with pytest.raises(PoolError) as caught:
        select(tmp_path / "pool.json", have=tmp_path / "none.json", budget=1, output=tmp_path / "o")
    assert caught.value.where == str(tmp_path / "none.json")


def test_token_budgets_say_what_they_count(tmp_path: Path) -> None:
    lines: list[tuple[str, str]] = []
    done = run(tmp_path, lines, budget="60-tokens")
    assert dict(lines)["Budget"] == (
        "60-tokens: tokens of the text at 4 bytes each (estimate), images not counted; "
        "60-tokens+576/image counts them as 576 each"
    )
    tokens = -(-done.pool.index["text_bytes"].to_numpy() // 4)
    assert tokens[done.rows].sum() <= 60
    with pytest.raises(InfeasibleBudget, match=r"60k-tokens is more than the \d+ usable"):
        run(tmp_path / "more", budget="60k-tokens")


def test_token_budgets_are_exact_where_a_model_is_named(tmp_path: Path) -> None:
    from visift.models.ref import BUILTIN_TINY, ModelRef

    lines: list[tuple[str, str]] = []
    done = run(tmp_path, lines, budget="100-tokens", method="longest", model=ModelRef(BUILTIN_TINY))
    assert dict(lines)["Budget"].startswith("100-tokens: tokens of the text by the model's tokenis")
    assert {entry.signal for entry in done.ledger} == {"TextTokens", "AnswerTokens"}
    assert done.selection.facts["score"] == "answer tokens"


def test_a_kept_record_that_cannot_be_used_rules_out_nothing(tmp_path: Path) -> None:
    put_images(tmp_path / "pool", ["a.png"])
    record = talk("<image>?", image="a.png")
    write_json(tmp_path / "pool/pool.json", [record, *(talk(f"q{n}") for n in range(4))])
    write_json(tmp_path / "mine/mine.json", [record, talk("fine")])  # its folder has no images
    done = select(
        tmp_path / "pool/pool.json",
        keep=tmp_path / "mine/mine.json",
        budget="100%",
        max_unusable="20%",
        output=tmp_path / "out",
    )
    assert done.pool.uids(done.rows)[0] == "keep:mine.json#1"
    assert "pool.json#0" in done.pool.uids(done.rows)
    assert len(done.rows) == 6


def said_of(folder: Path, keep: list[Any], have: list[Any]) -> tuple[Run, dict[str, str]]:
    """Choose three of five records; return the run and what was said."""
    write_json(folder / "pool.json", [talk(f"q{n}") for n in range(5)])
    named = {}
    for role, records in (("keep", keep), ("have", have)):
        named[role] = (str(write_json(folder / f"{role}.json", records)),)
    lines: list[tuple[str, str]] = []
    config = RunConfig(pool=PoolConfig((str(folder / "pool.json"),), **named), budget="3")
    done = execute(config, folder / "out", say=lambda label, text: lines.append((label, text)))
    return done, dict(lines)


def test_had_records_that_cannot_be_read_are_said_and_have_a_status(tmp_path: Path) -> None:
    done, said = said_of(tmp_path, [talk("own")], [talk("q1"), {"no": "record"}])
    assert said["Have"] == (
        "have.json · 2 records, never chosen · 1 of the pool are the same"
        " · 1 cannot be read and rule out nothing"
    )
    status = done.selection.scores["status"].to_pylist()
    assert status[-2:] == ["have", "have"]
    assert status.count("selected") + status.count("not selected") == 5
    assert len(done.quarantine.reasons) == 0
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert [manifest["counts"][name] for name in ("records", "kept", "have", "usable")] == [
        *(8, 1, 2, 5)
    ]
    assert [file["role"] for file in manifest["pool"]] == ["candidate", "kept", "have"]


def test_what_is_kept_and_had_stays_and_is_said(tmp_path: Path) -> None:
    done, said = said_of(tmp_path, [talk("own")], [talk("own")])
    assert said["Keep"] == "keep.json · 1 record, always in · 1 of them named with --have, too"
    assert done.pool.uids(done.rows)[0] == "keep:keep.json#0"


def test_an_open_pool_has_its_roles_already(tmp_path: Path) -> None:
    write_json(tmp_path / "pool.json", [talk("q")])
    pool = Pool.open(tmp_path / "pool.json")
    with pytest.raises(InputError, match="is open already, so keep, image_folder cannot"):
        select(pool, keep="mine.json", image_folder=tmp_path, budget=1, output=tmp_path / "out")


def with_tokens(folder: Path, tokens: list[int | None], budget: str) -> tuple[Run, list[str]]:
    """Choose by `longest` around one kept record, the pool's tokens handed in by row."""
    write_json(folder / "pool.json", [talk(f"q{n}", "x" * n) for n in range(len(tokens))])
    write_json(folder / "mine.json", [talk("q", "x" * 39)])
    table = pa.table({"row": range(len(tokens)), "text_tokens": tokens})
    pq.write_table(table, folder / "tokens.parquet")
    lines: list[tuple[str, str]] = []
    config = RunConfig(
        pool=PoolConfig((str(folder / "pool.json"),), keep=(str(folder / "mine.json"),)),
        method="longest",
        budget=budget,
        signals=(str(folder / "tokens.parquet"),),
    )
    done = execute(config, folder / "out", say=lambda label, text: lines.append((label, text)))
    return done, [text for label, text in lines if label in ("Budget", "Note")]


def test_tokens_by_row_are_those_of_the_pool_and_others_are_estimated(tmp_path: Path) -> None:
    done, said = with_tokens(tmp_path, [1, 1, 1, 1, None, 9], "23-tokens")
    assert done.pool.uids(done.rows) == [  # 10 (40 bytes) + 9 + 2 (6 bytes) + 1 + 1
        *("keep:mine.json#0", "pool.json#5", "pool.json#4", "pool.json#3", "pool.json#2")
    ]
    assert len(done.control) == len(done.random) == len(done.rows)
    assert len(done.quarantine.reasons) == 0, "the budget asked for tokens, not the method"
    assert said[0].startswith("23-tokens: tokens of the text as in --signals, images not counted")
    assert "2 records without a number of tokens, estimated at 4 bytes each" in said


def test_tokens_still_to_be_counted_refuse_nothing(tmp_path: Path) -> None:
    write_json(tmp_path / "pool.json", [talk(f"q{n}") for n in range(4)])
    write_json(tmp_path / "mine.json", [talk("x" * 400)])
    table = pa.table({"row": range(5), "text_tokens": [5] * 5})
    pq.write_table(table, tmp_path / "tokens.parquet")
    asked = {"keep": tmp_path / "mine.json", "budget": "20-tokens", "method": "random"}
    signals = tmp_path / "tokens.parquet"
    done = select(tmp_path / "pool.json", signals=signals, output=tmp_path / "out", **asked)
    assert len(done.rows) == 4
    with pytest.raises(InfeasibleBudget, match="fewer than the 102 of --keep"):
        select(tmp_path / "pool.json", output=tmp_path / "estimated", **asked)


def test_a_model_that_counts_the_budget_is_used(tmp_path: Path) -> None:
    from visift.models.ref import BUILTIN_TINY, ModelRef

    for budget, noted in (("50-tokens", False), ("5", True)):
        lines: list[tuple[str, str]] = []
        run(tmp_path / budget, lines, budget=budget, method="random", model=ModelRef(BUILTIN_TINY))
        assert (("Note", "random measures nothing: --model is not used") in lines) is noted
