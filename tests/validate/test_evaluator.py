"""lmms-eval beside us: its command, its files, and what becomes of a failure."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from visift.errors import InputError, ModelError
from visift.validate.collect_answers import Model
from visift.validate.evaluator import LmmsEval, evaluated, read_evaluations

#: Stands where a Python with lmms-eval would: notes its arguments, writes what lmms-eval writes.
PROGRAM = """#!/bin/sh
echo "$@" >> {log}
while [ "$1" != --output_path ]; do shift; done
mkdir -p "$2/checkpoint"
for n in 0 1; do
  echo '{{"doc_id": '$n', "target": "yes", "filter": "none", "exact_match": '$n'.0}}'
done > "$2/checkpoint/20260101_000000_samples_mme.jsonl"
"""


def program(folder: Path, text: str) -> str:
    path = folder / "python"
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return str(path)


def test_the_command_names_model_checkpoint_tasks_and_folder() -> None:
    said = LmmsEval(("mme", "gqa"), "llava_hf", "/env/bin/python").command("ckpt", Path("out"))
    assert " ".join(said) == (
        "/env/bin/python -m lmms_eval --model llava_hf --model_args pretrained=ckpt "
        "--tasks mme,gqa --batch_size 1 --log_samples --output_path out"
    )


def test_what_was_evaluated_is_not_evaluated_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    evaluator = LmmsEval(("mme",), "llava_hf", program(tmp_path, PROGRAM.format(log=log)))
    for _ in range(2):
        evaluator.run("ckpt", tmp_path / "out")
    assert len(log.read_text().splitlines()) == 1
    assert evaluated(tmp_path / "out", ["mme"])
    assert not evaluated(tmp_path / "out", ["mme", "gqa"])


def test_what_was_stopped_in_the_middle_is_evaluated_again(tmp_path: Path) -> None:
    log, out = tmp_path / "log", tmp_path / "out" / "checkpoint"
    out.mkdir(parents=True)
    (out / "20250101_000000_samples_mme.jsonl").write_text("half a line")
    evaluator = LmmsEval(("mme",), "llava_hf", program(tmp_path, PROGRAM.format(log=log)))
    evaluator.run("ckpt", tmp_path / "out")
    assert len(log.read_text().splitlines()) == 1
    assert [path.name for path in out.iterdir()] == ["20260101_000000_samples_mme.jsonl"]


def test_other_tasks_or_another_kind_of_model_lie_elsewhere(tmp_path: Path) -> None:
    one = LmmsEval(("mme", "gqa"), "llava_hf")
    assert one.folder(tmp_path, "m") == LmmsEval(("gqa", "mme"), "llava_hf").folder(tmp_path, "m")
    others = (LmmsEval(("mme",), "llava_hf"), LmmsEval(("mme", "gqa"), "qwen2_5_vl"))
    assert len({made.folder(tmp_path, "m") for made in (one, *others)}) == 3


def test_samples_of_a_task_are_not_those_of_one_whose_name_begins_alike(tmp_path: Path) -> None:
    (tmp_path / "20260101_000000_samples_ocrbench_v2.jsonl").touch()
    assert evaluated(tmp_path, ["ocrbench_v2"])
    assert evaluated(tmp_path, ["ocrbench"])  # a group of tasks has samples of each
    assert not evaluated(tmp_path, ["ocrbench", "ocrbench_v2"])


def test_its_python_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert LmmsEval((), "m", "env/bin/python").located().python == str(tmp_path / "env/bin/python")
    assert LmmsEval((), "m", "python").located().python == "python"


def test_its_files_become_results(tmp_path: Path) -> None:
    evaluator = LmmsEval(
        ("mme",), "llava_hf", program(tmp_path, PROGRAM.format(log=tmp_path / "l"))
    )
    folders = []
    for arm in ("prism", "stratified"):
        evaluator.run("ckpt", tmp_path / arm)
        folders.append((Model(arm, 0, 3), tmp_path / arm))
    results = read_evaluations(folders)
    assert results.arm_names == ("prism", "stratified")
    assert results.training_seeds.tolist() == [3, 3]
    assert results.questions == ("mme/0", "mme/1")
    assert results.scores.tolist() == [[0.0, 1.0], [0.0, 1.0]]


def test_a_failure_says_its_last_words(tmp_path: Path) -> None:
    failing = LmmsEval(
        ("mme",), "llava_hf", program(tmp_path, "#!/bin/sh\necho no such task\nexit 3")
    )
    with pytest.raises(ModelError, match=r"failed \(exit code 3\): .* lmms_eval") as error:
        failing.run("ckpt", tmp_path / "out")
    assert error.value.fix == "Its last words:\nno such task"


def test_a_python_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such Python"):
        LmmsEval(("mme",), "llava_hf", str(tmp_path / "nothing")).run("ckpt", tmp_path / "out")
