"""Evaluations made elsewhere: whose they are, what they say, and what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import visift
from helpers import sources_pool, write_lines
from visift.errors import InputError
from visift.validate.collect import collect
from visift.validate.results import Results
from visift.validate.verdict import verdicts

Collect = Callable[..., Results]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    pool = visift.Pool.open(sources_pool(folder, {"coco": 6}), image_folder=folder)
    visift.select(pool, method="balanced", budget=2, output=folder / "out")
    return folder / "out"


@pytest.fixture
def collected(run_dir: Path, tmp_path: Path) -> Collect:
    """Collect from the temporary folder; names are relative to it."""

    def of(*named: str) -> Results:
        arms = [name.rpartition("=") for name in named]
        return collect(run_dir, [f"{arm}{eq}{tmp_path / path}" for arm, eq, path in arms])

    return of


def scores(results: Results) -> dict[str, list[float]]:
    """Return the scores of every model by its name, in the order of questions."""
    names = zip(results.arms, results.selection_seeds, results.training_seeds, strict=True)
    rows = zip(names, results.scores.tolist(), strict=True)
    return {f"{arm} {s} {t}": row for (arm, s, t), row in rows}


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


# --- tables ------------------------------------------------------------------------------------


def test_a_table_that_says_everything(tmp_path: Path, collected: Collect) -> None:
    write(
        tmp_path / "all.csv",
        "arm,seed,task,image,question,score",
        "subset,1,count,a.png,q1,1",
        "subset,1,count,a.png,q2,0.5",
        "random,1,count,a.png,q1,true",
        "random,1,count,a.png,q2,",
    )
    results = collected("all.csv")
    assert scores(results) == {"subset 0 1": [1, 0.5], "random 0 1": [1, 0]}
    assert results.tasks == ("count", "count")
    assert results.groups == ("a.png", "a.png")
    assert results.questions == ("count/q1", "count/q2")
    assert results.notes == (
        '"subset" is the selection of balanced at 2.',
        "Replies that are missing score 0: random 1.",
    )


def test_a_table_an_arm_with_replies_and_right_answers(tmp_path: Path, collected: Collect) -> None:
    head = "question_id;prediction;answer"
    write(tmp_path / "out" / "subset_seed3.csv", head, "1;A cat.;cat", "2;dog;dog")
    write(tmp_path / "out" / "control-selection2-s3.csv", head, "2;;dog", "1;the cat;cat")
    results = collected("out")
    assert scores(results) == {"control 2 3": [0, 1], "subset 0 3": [1, 1]}
    assert "Scored by exact match: evaluation." in results.notes
    assert any("intervals may be too narrow" in note for note in results.notes)


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "tsv"])
def test_other_kinds_of_tables(tmp_path: Path, collected: Collect, kind: str) -> None:
    rows = [{"uid": 1, "task": "ocr", "prediction": "48.00", "label": "48.08"}]
    for arm in ("subset", "random"):
        path = tmp_path / f"{arm}.{kind}"
        if kind == "jsonl":
            write_lines(path, rows)
        elif kind == "tsv":
            write(path, "\t".join(rows[0]), "\t".join(map(str, rows[0].values())))
        else:
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.Table.from_pylist(rows), path)
    results = collected(f"subset.{kind}", f"random.{kind}")
    assert scores(results) == {
        "subset 0 0": [pytest.approx(0.8)],
        "random 0 0": [pytest.approx(0.8)],
    }
    assert "Scored by ANLS: ocr." in results.notes


def test_any_of_several_right_answers_will_do(tmp_path: Path, collected: Collect) -> None:
    rows = [{"arm": "subset", "id": "1", "response": "sofa", "answer": ["couch", "sofa"]}]
    write_lines(tmp_path / "all.jsonl", rows)
    assert scores(collected("all.jsonl")) == {"subset 0 0": [1]}


# --- lmms-eval ---------------------------------------------------------------------------------


def sample(number: int, target: str, **metrics: Any) -> dict[str, Any]:
    """Return a line as lmms-eval 0.7.3 writes it."""
    return {
        "doc_id": number,
        "target": target,
        "resps": " Yes, a cat",
        "filtered_resps": "Yes, a cat",
        "token_counts": [{"output_tokens": 2}],
        "doc_hash": f"{number:064}",
        "input": "Is there a cat?",
        **metrics,
    }


def pope(*right: float) -> list[dict[str, Any]]:
    """Return lines of a task whose metrics hold more than a number."""
    return [
        sample(
            number,
            "yes",
            pope_accuracy={"question_id": number, "score": score, "prediction": "yes"},
            pope_yes_ratio={"question_id": number, "score": 1.0},
        )
        for number, score in enumerate(right)
    ]


def put_samples(
    folder: Path, task: str, lines: Sequence[Any], date: str = "20260806_101500"
) -> None:
    write_lines(folder / f"{date}_samples_{task}.jsonl", lines)
    results = {"results": {task: {"alias": task, "exact_match,none": 0.5}}}
    (folder / f"{date}_results.json").write_text(json.dumps(results))


def test_lmms_eval_writes_a_folder_a_model(tmp_path: Path, collected: Collect) -> None:
    for arm, right in (("subset", (1.0, 1.0)), ("random", (0.0, 1.0))):
        folder = tmp_path / "evals" / f"checkpoints__visift-{arm}-seed1"
        put_samples(folder, "pope", pope(*right))
        lines = [
            sample(0, "red", bleu=3.7, exact_match=right[0], input_media=["gqa/1.jpg"]),
            sample(1, "two", bleu=0.0, exact_match=0.0, input_media=["gqa/1.jpg"]),
        ]
        put_samples(folder, "gqa", lines)
    results = collected("evals")
    assert results.questions == ("gqa/0", "gqa/1", "pope/0", "pope/1")
    assert scores(results) == {"random 0 1": [0, 0, 0, 1], "subset 0 1": [1, 0, 1, 1]}
    assert results.groups == ("gqa/1.jpg", "gqa/1.jpg", "pope/0", "pope/1")
    assert results.notes[1:] == (
        "Nothing says which questions of pope are about one image: each counts as independent, "
        "and intervals may be too narrow.",
    )
    assert verdicts(results, ["subset"], "random")[0].word == "no evidence"


def test_the_newest_evaluation_counts(tmp_path: Path, collected: Collect) -> None:
    folder = tmp_path / "subset"
    put_samples(folder, "pope", pope(0.0), date="20260806_101500")
    put_samples(folder, "pope", pope(1.0), date="20260807_090000")
    results = collected("subset")
    assert scores(results) == {"subset 0 0": [1]}
    newest = folder / "20260807_090000_samples_pope.jsonl"
    assert f"{newest} counts, the newest of 2 of its kind." in results.notes


def test_a_score_that_is_made_of_reply_and_answer(tmp_path: Path, collected: Collect) -> None:
    lines = [
        sample(0, "B", seed_all={"pred": "B", "answer": "B", "question_id": 7}),
        sample(1, "C", mmmu_acc={"parsed_pred": ["B"], "answer": "C", "id": "x"}),
    ]
    write_lines(tmp_path / "subset" / "samples_seedbench_2026-08-06T10-15-00.123456.jsonl", lines)
    results = collected("subset")
    assert scores(results) == {"subset 0 0": [1, 0]}
    assert results.tasks == ("seedbench", "seedbench")


def test_the_first_filter_counts(tmp_path: Path, collected: Collect) -> None:
    lines = [sample(0, "B", filter=name, exact_match=s) for name, s in (("strict", 0), ("lax", 1))]
    put_samples(tmp_path / "subset", "mmmu", lines)
    assert scores(collected("subset")) == {"subset 0 0": [0]}


# --- LLaMA-Factory -----------------------------------------------------------------------------


def test_llama_factory_writes_predictions_by_line(tmp_path: Path, collected: Collect) -> None:
    for arm, replies in (("subset", ("\ncat", "two")), ("control", ("dog", "two"))):
        lines = [
            {"prompt": "what?", "predict": reply, "label": label}
            for reply, label in zip(replies, ("\ncat", "two"), strict=True)
        ]
        write_lines(tmp_path / arm / "seed4" / "vqa_val" / "generated_predictions.jsonl", lines)
        write_lines(tmp_path / arm / "seed4" / "generated_predictions.jsonl", lines[:1])
    results = collected("subset", "control")
    assert scores(results) == {"subset 0 4": [1, 1, 1], "control 0 4": [0, 0, 1]}
    assert results.questions == ("evaluation/1", "vqa_val/1", "vqa_val/2")


# --- which arm ---------------------------------------------------------------------------------


def test_arm_and_seed_can_be_said(tmp_path: Path, collected: Collect) -> None:
    for seed in (1, 2):
        write(tmp_path / f"run{seed}.csv", "question,score", f"q,{seed / 2}")
    assert scores(collected("mine:1=run1.csv", "mine:2=run2.csv")) == {
        "mine 0 1": [0.5],
        "mine 0 2": [1],
    }


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("subset/seed12", "subset 0 12"),
        ("random/visift-control-s3", "control 0 3"),
        ("random_selection-seed-2/training-seed-7", "random 2 7"),
        ("FULL_sel4", "full 4 0"),
        ("subset/llava-v1.5-7b", "subset 0 0"),
    ],
)
def test_folders_say_who_answered(
    tmp_path: Path, collected: Collect, name: str, model: str
) -> None:
    put_samples(tmp_path / "all" / name, "random_shapes", pope(1.0))
    assert scores(collected("all")) == {model: [1]}


# --- what is wrong -----------------------------------------------------------------------------


def table(*rows: str) -> list[str]:
    return ["arm,seed,question,score", *rows]


@pytest.mark.parametrize(
    ("lines", "where", "what"),
    [
        (table("subset,1,q,7"), "line 2", '"7" is no score.'),
        (table("subset,1,q,nan"), "line 2", '"nan" is no score.'),
        (table("subset,one,q,1"), "line 2", '"one" is no seed; a whole number was expected.'),
        (table("subset,1,q,1", "subset,1,q"), "line 3", "not 4 cells."),
        (table("subset,1,,1"), "line 2", "the question is empty."),
        (table(",1,q,1"), "line 2", "the arm is empty."),
        (
            table("subset,1,q,1", "subset,1,q,0"),
            "line 3",
            "subset, training seed 1, answers question q of evaluation again; first in {file}, "
            "line 2.",
        ),
        (
            ["arm,question,prediction,answer", "subset,q,a,a", "random,q,a,b"],
            "line 3",
            "question q of evaluation has another right answer than in {file}, line 2.",
        ),
        (
            ["seed,name", "1,q"],
            "",
            "has no column question and no column arm and no column score (or prediction and "
            "answer) (there are: seed, name).",
        ),
    ],
)
def test_a_table_with_a_fault(
    tmp_path: Path, collected: Collect, lines: list[str], where: str, what: str
) -> None:
    file = write(tmp_path / "all.csv", *lines)
    with pytest.raises(InputError) as told:
        collected("all.csv")
    assert told.value.where == (f"{file}, {where}" if where else str(file))
    assert told.value.what == what.format(file=file)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "is no JSON object."),
        ('{"target": "a"}', 'is no sample of lmms-eval: it has no "doc_id".'),
        (
            json.dumps(sample(0, "A", gpt_eval_score={"index": 3, "prediction": "A"})),
            "no score of this question can be read (metrics: gpt_eval_score).",
        ),
        (
            json.dumps(sample(0, "A", gpt_eval=8.5)),
            '"gpt_eval" is 8.5; scores are from 0 to 1.',
        ),
    ],
)
def test_samples_with_a_fault(tmp_path: Path, collected: Collect, line: str, what: str) -> None:
    file = write(tmp_path / "subset" / "20260806_101500_samples_mme.jsonl", line)
    with pytest.raises(InputError) as told:
        collected("subset")
    assert (told.value.where, told.value.what) == (f"{file}, line 1", what)


def test_predictions_with_a_fault(tmp_path: Path, collected: Collect) -> None:
    file = write(tmp_path / "subset" / "generated_predictions.jsonl", '{"predict": "a"}')
    with pytest.raises(InputError) as told:
        collected("subset")
    assert told.value.where == f"{file}, line 1"
    assert told.value.what == 'has no text in "predict" and "label".'


def test_arms_that_were_scored_by_different_metrics(tmp_path: Path, collected: Collect) -> None:
    lines = [sample(0, "red", f1=0.5, exact_match=0)]
    put_samples(tmp_path / "subset", "gqa", lines)  # its results name exact_match
    name = "20260806_101500_samples_gqa.jsonl"
    subset, random = (tmp_path / arm / name for arm in ("subset", "random"))
    write_lines(random, lines)
    with pytest.raises(InputError) as told:
        collected("subset", "random")
    said = f"question 0 of gqa is scored by exact_match, and by f1 in {random}, line 1."
    assert (told.value.what, told.value.where) == (said, f"{subset}, line 1")
    put_samples(tmp_path / "random", "gqa", lines)
    assert scores(collected("subset", "random")) == {"subset 0 0": [0], "random 0 0": [0]}


def test_an_arm_that_nobody_names(tmp_path: Path, collected: Collect) -> None:
    put_samples(tmp_path / "llava", "pope", pope(1.0))
    with pytest.raises(InputError, match="which arm is this") as told:
        collected("llava")
    assert told.value.fix is not None
    assert "--results subset=PATH" in told.value.fix


def test_arms_that_were_asked_different_questions(tmp_path: Path, collected: Collect) -> None:
    put_samples(tmp_path / "subset", "pope", pope(1.0, 0.0))
    put_samples(tmp_path / "random", "pope", pope(1.0))
    with pytest.raises(InputError, match=r'arm "random" lacks 1 of 2 questions .*"pope/1"'):
        collected("subset", "random")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("nowhere", "there is no such file or folder"),
        ("empty", "holds no evaluation"),
        ("notes.txt", "is no evaluation that is known here"),
        ("blank.csv", "there is no answer in these files"),
        ("wrong.parquet", "cannot be read"),
    ],
)
def test_nothing_to_collect(tmp_path: Path, collected: Collect, name: str, what: str) -> None:
    (tmp_path / "empty").mkdir()
    for file in ("notes.txt", "blank.csv", "wrong.parquet"):
        (tmp_path / file).write_text("")
    with pytest.raises(InputError, match=what):
        collected(f"subset={name}")


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no finished run"):
        collect(tmp_path, ["x.csv"])
