"""From images without conversations to a trainer's file: lists out, annotations in, one command."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from helpers import put_images, talk, write_json
from visift import plan, select
from visift.cli import run
from visift.config import configured
from visift.errors import AnnotationNeeded, InputError
from visift.finished import reopen
from visift.run import execute


def photos(folder: Path, tasks: str = "ab", count: int = 20) -> Path:
    put_images(folder / "photos", [f"{task}/{n:02d}.png" for task in tasks for n in range(count)])
    return folder / "photos"


def answer(todo: Path, only: int | None = None) -> None:
    """Write a conversation for what a list wants, in the reverse order."""
    wanted = [json.loads(line) for line in todo.read_text().splitlines()][:only]
    written = [
        {"id": one["uid"], **talk("<image>\nWhat?", f"It is {one['image']}.", image=one["image"])}
        for one in reversed(wanted)
    ]
    lines = "".join(json.dumps(one) + "\n" for one in written)
    (todo.parent / "annotated.jsonl").write_text(lines)


def subset(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((out / "export/llava/subset.json").read_text())
    return found


def test_a_selection_of_images_is_a_list_and_then_a_file(tmp_path: Path) -> None:
    pool, out = photos(tmp_path), tmp_path / "out"
    first = select(pool, method="stratified", budget=6, output=out, nested=True)
    todo = [json.loads(line) for line in (out / "to_annotate.jsonl").read_text().splitlines()]
    assert [one["rank"] for one in todo] == [1, 2, 3, 4, 5, 6]
    assert [one["task"] for one in todo].count("a") == 3
    assert len(first.wanted()) == 6
    assert not (out / "export").exists()
    with pytest.raises(InputError, match="6 chosen records without a conversation"):
        first.export("llava", tmp_path / "elsewhere")

    answer(out / "to_annotate.jsonl", only=4)
    assert len(select(pool, method="stratified", budget=6, output=out, nested=True).wanted()) == 2
    # The list stays whole, so that what is written for it stays in one file.
    again = (out / "to_annotate.jsonl").read_text().splitlines()
    assert [json.loads(line)["image"] for line in again] == [one["image"] for one in todo]
    answer(out / "to_annotate.jsonl")
    done = select(pool, method="stratified", budget=6, output=out, nested=True)
    assert not len(done.wanted())
    assert not (out / "to_annotate.jsonl").exists()
    assert [one["image"] for one in subset(out)] == [one["image"] for one in todo]
    assert subset(out)[0]["conversations"][1]["value"] == f"It is {todo[0]['image']}."
    assert sorted(path.name for path in (out / "export/llava").iterdir()) == [
        "RUN.md",
        "subset.json",
    ]
    written = reopen(out).export("llama-factory", tmp_path / "factory")
    assert list(written.glob("subset.json*"))


def test_the_sheet_counts_inside_tasks_and_holds_no_formulas(tmp_path: Path) -> None:
    put_images(tmp_path / "photos", ["=cmd/1.png", "=cmd/2.png", "b/1.png"])
    select(tmp_path / "photos", method="random", budget=3, output=tmp_path / "out")
    text = (tmp_path / "out/to_annotate.csv").read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert sorted(row["rank in task"] for row in rows if row["task"] == "'=cmd") == ["1", "2"]


def test_records_with_and_without_conversations_are_one_export(tmp_path: Path) -> None:
    pool = photos(tmp_path, "a", 3)
    put_images(tmp_path, ["said/1.png"])
    labelled = write_json(
        tmp_path / "said.json", [talk("<image>\nq?", "yes", image="../said/1.png")]
    )
    del labelled
    mixed = tmp_path / "photos" / "list.csv"
    mixed.write_text("image,task\na/00.png,x\na/01.png,x\n")
    out = tmp_path / "out"
    select(mixed, method="random", budget=2, output=out)
    answer(out / "to_annotate.jsonl")
    select(mixed, method="random", budget=2, output=out)
    assert len(subset(out)) == 2
    assert pool.is_dir()


def test_a_method_that_learns_from_some_waits_for_these_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool, out = photos(tmp_path), tmp_path / "out"
    arguments = ["select", "--pool", str(pool), "--method", "presel", "--model", "builtin:tiny"]
    arguments += ["--budget", "12", "-o", str(out), "--cache", str(tmp_path / "cache")]
    assert run(arguments) == 0
    said = capsys.readouterr().out
    assert "Waiting   4 records of the reference want instructions first." in said
    assert f"visift annotate {out / 'reference/to_annotate.jsonl'}" in said
    with pytest.raises(AnnotationNeeded, match="4 records of the reference"):
        select(
            pool, method="presel", model="builtin:tiny", budget=12, output=out,
            cache=tmp_path / "cache",
        )  # fmt: skip
    assert run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["wanted"] == 4


def test_presel_from_images_to_a_trainers_file(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("peft", reason="peft is not installed")
    pool, out = photos(tmp_path), tmp_path / "out"
    asked: dict[str, Any] = {
        "method": "presel", "model": "builtin:tiny", "budget": 12, "output": out, "workers": 1,
        "executor": "inline", "cache": tmp_path / "cache",
        "settings": {"recipe": "tiny-lora,epochs:1,batch_size:4,micro_batch:4"},
    }  # fmt: skip
    with pytest.raises(AnnotationNeeded):
        select(pool, **asked)
    answer(out / "reference/to_annotate.jsonl")
    half = select(pool, **asked)
    assert [entry.signal for entry in half.ledger] == [
        "FineTuning",
        "AnswerLoss",
        "ImageEmbedding",
    ]
    # The reference is in the selection, and annotated already.
    assert (len(half.rows), len(half.wanted())) == (12, 8)
    answer(out / "to_annotate.jsonl")
    done = select(pool, **asked)
    assert [entry.measured for entry in done.ledger] == [0, 0]
    assert len(subset(out)) == 12
    assert half.rows.tolist() == done.rows.tolist()


def test_several_image_folders_need_one_root(tmp_path: Path) -> None:
    one, two = photos(tmp_path / "one"), photos(tmp_path / "two")
    out = tmp_path / "out"
    select([one, two], method="random", budget=3, output=out)
    answer(out / "to_annotate.jsonl")
    with pytest.raises(InputError, match="several image folders"):
        select([one, two], method="random", budget=3, output=out)


def test_a_plan_says_that_instructions_are_wanted(tmp_path: Path) -> None:
    (planned,) = plan(
        photos(tmp_path), "presel", model="builtin:tiny", budget=12, cache=tmp_path / "cache"
    ).methods
    assert planned.note == "wants instructions for 4 records first"
    assert planned.counts[-1].entry.items == 40


def test_lines_that_are_no_annotation_are_named(tmp_path: Path) -> None:
    pool, out = photos(tmp_path), tmp_path / "out"
    select(pool, method="random", budget=2, output=out)
    todo = [json.loads(line) for line in (out / "to_annotate.jsonl").read_text().splitlines()]
    first = {"id": "1", **talk("<image>\nq?", "yes.", image=f"./{todo[0]['image']}")}
    lines = [
        first,
        {**first, "id": "2", **talk("<image>\nq?", "no.", image=todo[0]["image"])},
        {"id": "3", **talk("<image>\nq?", "yes.", image="nowhere/1.png")},
        {"id": "4", **talk("<image>\nq?", " ", image=todo[1]["image"])},
    ]
    (out / "annotated.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    said: list[tuple[str, str]] = []
    config = configured(pool, method="random", budget=2)
    done = execute(config, out, say=lambda label, text: said.append((label, text)))
    (line,) = [text for label, text in said if label == "Annotated"]
    assert line == (
        "1 image of the pool · 2 cannot be used (first: annotated.jsonl#2, image missing: "
        "nowhere/1.png) · 1 repeat images of an earlier line (first: annotated.jsonl#1)"
    )
    assert len(done.wanted()) == 1


def test_an_empty_file_of_annotations_holds_nothing(tmp_path: Path) -> None:
    pool, out = photos(tmp_path), tmp_path / "out"
    select(pool, method="random", budget=2, output=out)
    (out / "annotated.jsonl").write_text("\n")
    assert len(select(pool, method="random", budget=2, output=out).wanted()) == 2


def test_what_is_annotated_already_is_not_chosen_again(tmp_path: Path) -> None:
    pool, out = photos(tmp_path, count=6), tmp_path / "out"
    select(pool, method="random", budget=5, output=out)
    answer(out / "to_annotate.jsonl")
    done = json.loads((out / "annotated.jsonl").read_text().splitlines()[0])["image"]
    second = select(
        pool, method="random", budget="100%", output=tmp_path / "two",
        have=out / "annotated.jsonl",
    )  # fmt: skip
    shown = [pool_image for row in second.rows for pool_image in second.pool.record(row).images]
    assert len(second.rows) == 7
    assert done not in {one.path for one in shown}


def test_methods_that_need_answers_say_so_before_anything_is_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="to tune a model on have no conversation"):
        select(
            photos(tmp_path), method="mllm_selector", model="builtin:tiny", budget=12,
            output=tmp_path / "out", cache=tmp_path / "cache",
        )  # fmt: skip


def test_labels_are_for_methods_that_learn_from_them(tmp_path: Path) -> None:
    pool = photos(tmp_path)
    with pytest.raises(InputError, match=r"random does not learn from --labels\."):
        select(pool, method="random", budget=2, output=tmp_path / "out", labels="labels.parquet")
