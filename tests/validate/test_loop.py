"""The closed loop as a whole, with the toy model: what is found, written and resumed."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("peft", reason="peft is not installed")

from helpers import open_records, put_images, talk
from validate.quiet import Quiet
from visift.config import EngineConfig, PoolConfig
from visift.demo import write_demo_pool
from visift.errors import InputError
from visift.models.ref import ModelRef
from visift.validate.evaluation import Evaluation
from visift.validate.loop import Validated, _begun, execute
from visift.validate.request import Request, Seeds

ARMS = ["full", "random", "stratified", "source-balanced", "longest", "rs2", "balanced"]


def run(request: Request, folder: Path, progress: Quiet | None = None) -> Validated:
    engine = EngineConfig(cache=str(folder / "cache"), workers="1")
    said: list[tuple[str, str]] = []
    return execute(
        request,
        folder / "out",
        engine,
        say=lambda label, text: said.append((label, text)),
        progress=progress or Quiet(),
    )


@pytest.fixture(scope="module")
def request_of(tmp_path_factory: pytest.TempPathFactory) -> Request:
    demo = write_demo_pool(tmp_path_factory.mktemp("demo"), records=200)
    return Request(
        pool=PoolConfig((str(demo.pool),), str(demo.images)),
        model=ModelRef("builtin:tiny", dtype="float32", device="cpu"),
        methods=("balanced",),
        budgets=("16", "24"),
        seeds=Seeds(2, 2),
        recipe="tiny,epochs:2,batch_size:16,micro_batch:16",
        held_out="10%",
        evaluation=Evaluation(turns=1, new_tokens=4),
        ablations=True,
    )


@pytest.fixture(scope="module")
def finished(
    request_of: Request, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Validated, Path, Quiet]:
    folder, progress = tmp_path_factory.mktemp("validated"), Quiet()
    return run(request_of, folder, progress), folder, progress


@pytest.mark.slow
def test_all_arms_are_trained_and_asked(finished: tuple[Validated, Path, Quiet]) -> None:
    done, _, progress = finished
    assert len(done.judged) == 2
    one = done.judged[0]
    assert one.gathered.names == (*ARMS, "balanced, mixture only")
    assert {len(arm.rows) for arm in one.gathered.arms if arm.name not in ("full", "rs2")} == {16}
    # The full arm is trained once for both budgets; some arms may be the same records.
    ((total, before),) = progress.trials
    assert before == 0
    assert total <= 2 * 2 * 7 + 2


@pytest.mark.slow
def test_no_question_is_trained_on(finished: tuple[Validated, Path, Quiet]) -> None:
    done, _, _ = finished
    asked = done.questions.rows
    for one in done.judged:
        for arm in one.gathered.arms:
            assert not np.isin(arm.rows, asked).any()


@pytest.mark.slow
def test_what_is_written(finished: tuple[Validated, Path, Quiet]) -> None:
    done, folder, _ = finished
    out = folder / "out"
    facts = json.loads((out / "verdict.json").read_text())
    assert [one["budget"] for one in facts["budgets"]] == ["16", "24"]
    assert facts["request"]["methods"] == ["balanced"]
    results = pq.read_table(out / "results.parquet")
    models = 2 * (1 + 5 + 2) + 1  # and the commonest answer
    assert results.num_rows == 2 * models * len(done.sheet)
    arms = pq.read_table(out / "arms.parquet").to_pylist()
    drawn = [one for one in arms if one["arm"] == "balanced" and one["budget"] == "16"]
    assert len({one["uid"] for one in drawn if one["selection_seed"] == 0}) == 16
    page = (out / "VERDICT.md").read_text()
    assert page.index(" find a difference of ") < page.index("## Budget 16")
    assert "no statement on the methods' papers" in page


@pytest.mark.slow
def test_the_same_command_trains_nothing_again(
    finished: tuple[Validated, Path, Quiet], request_of: Request
) -> None:
    done, folder, _ = finished
    again = Quiet()
    second = run(request_of, folder, again)
    ((total, before),) = again.trials
    assert total == before > 0
    for one, other in zip(done.judged, second.judged, strict=True):
        assert np.array_equal(one.results.scores, other.results.scores)
        assert one.verdicts == other.verdicts


@pytest.mark.slow
def test_another_request_is_not_written_over(
    finished: tuple[Validated, Path, Quiet], request_of: Request
) -> None:
    _, folder, _ = finished
    other = dataclasses.replace(request_of, held_out="20%")
    with pytest.raises(InputError, match=r"another validation \(different: held_out\)"):
        run(other, folder)


KILLED = """
import pickle, sys
from pathlib import Path
from visift.cli.output import Printer
from visift.cli.validation import LoopShown
from visift.config import EngineConfig
from visift.validate.loop import execute
folder = Path(sys.argv[1])
request = pickle.loads((folder / "request").read_bytes())
engine = EngineConfig(cache=str(folder / "cache"), workers="2")
printer = Printer(quiet=True)
execute(request, folder / "out", engine, say=printer.say, progress=LoopShown(printer))
"""


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_to_the_same_result(
    finished: tuple[Validated, Path, Quiet], request_of: Request, tmp_path: Path
) -> None:
    (tmp_path / "request").write_bytes(pickle.dumps(request_of))
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, start_new_session=True) as process:
        while not list(tmp_path.glob("cache/AnswerLoss-*/*.arrow")):
            assert process.poll() is None
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGKILL)
    assert not (tmp_path / "out" / "verdict.json").exists()
    again = Quiet()
    done = run(request_of, tmp_path, again)
    ((total, before),) = again.trials
    assert 0 < before < total
    for one, other in zip(finished[0].judged, done.judged, strict=True):
        assert np.array_equal(one.results.scores, other.results.scores)
        assert one.losses == other.losses


def test_a_pool_without_conversations_cannot_be_validated(
    request_of: Request, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    put_images(tmp_path / "images", ["1.png", "2.png"])
    request = dataclasses.replace(request_of, pool=PoolConfig((str(tmp_path / "images"),)))
    with pytest.raises(InputError, match="2 records of the pool have no conversation"):
        run(request, tmp_path)


def test_questions_that_all_stand_in_the_pool_are_refused(
    request_of: Request, tmp_path: Path
) -> None:
    open_records(tmp_path / "pool", [talk(f"{n}?") for n in range(8)])
    open_records(tmp_path / "asked", [talk("3?"), talk("4?")])
    request = dataclasses.replace(
        request_of,
        pool=PoolConfig((str(tmp_path / "pool" / "pool.json"),)),
        questions=(str(tmp_path / "asked" / "pool.json"),),
        budgets=("2",),
    )
    with pytest.raises(InputError, match="all questions stand in the pool"):
        run(request, tmp_path)
    met = pq.read_table(tmp_path / "out" / "contamination.parquet").to_pylist()
    assert [one["record"] for one in met] == ["pool.json#3", "pool.json#4"]


# --- the folder ----------------------------------------------------------------------------------

ASKED = Request(pool=PoolConfig(("/p.json",)), model=ModelRef("builtin:tiny"))


def begin(output: Path, request: Request, *, overwrite: bool = False) -> None:
    with _begun(output, request, overwrite):
        pass


def test_what_may_be_set_aside_does_not_make_another_validation(tmp_path: Path) -> None:
    begin(tmp_path, ASKED)
    begin(tmp_path, dataclasses.replace(ASKED, max_unusable="50%"))
    with pytest.raises(InputError, match=r"\(different: seed\)"):
        begin(tmp_path, dataclasses.replace(ASKED, seed=1))


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "\x00"])
def test_a_damaged_note_is_another_validation(tmp_path: Path, text: str) -> None:
    (tmp_path / "validation.yaml").write_text(text)
    with pytest.raises(InputError, match=r"another validation \(its validation.yaml cannot be"):
        begin(tmp_path, ASKED)
    begin(tmp_path, ASKED, overwrite=True)
    begin(tmp_path, ASKED)


def test_nothing_of_a_validation_that_is_replaced_stays(tmp_path: Path) -> None:
    begin(tmp_path, ASKED)
    names = ["seconds.json", "verdict.json", "VERDICT.md", "report/index.html", "lmms-eval/m/x"]
    for name in (*names, "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    begin(tmp_path, ASKED, overwrite=True)
    assert len(list(tmp_path.iterdir())) == 7  # it is the same one
    begin(tmp_path, dataclasses.replace(ASKED, seed=1), overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "validation.yaml"]
