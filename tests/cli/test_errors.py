"""What a person reads when a command cannot do what was asked: `errors.txt`, word for word.

Every command line there is run in the folder that `build` makes, and must end with exit code 1,
nothing on stdout, and exactly the text below it on stderr.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import put_images, talk, write_json
from visift.cli import COMMANDS, run

TABLE = Path(__file__).with_name("errors.txt").read_text(encoding="utf-8")
SAID = {
    entry.partition("\n")[0]: entry.partition("\n")[2]
    for entry in re.findall(r"^\$ visift (.*?)(?=\n(?:\n|$)|\Z)", TABLE, re.DOTALL | re.MULTILINE)
}
NEEDS_MODELS = [line for line in SAID if "hub-name" in line or "model-without" in line]
SOURCES = {"coco": 24, "gqa": 12, "vg": 4}


# --- the folder the commands run in ---------------------------------------------------------------


def build(here: Path) -> None:
    """Write good and bad pools, signals, configurations and run directories into a folder."""
    records = _write_pools(here)
    _write_signals(here, len(records))
    _write_configurations(here)
    for name, files in {
        "a-folder": {"notes.txt": "hello"},
        "model-without-config": {"model.safetensors": ""},
        "model-without-weights": {"config.json": '{"model_type": "llava"}'},
    }.items():
        (here / name).mkdir()
        for file, text in files.items():
            (here / name / file).write_text(text)
    (here / "a-file").write_text("hello")
    (here / "ids.txt").write_text("coco/1.png\ngqa/2.png\nnowhere\n")
    (here / "empty.txt").write_text("")
    assert (
        run(shlex.split("select --pool pool.json --image-folder images --budget 25% -o run")) == 0
    )
    _damage_runs(here)


def _write_pools(here: Path) -> list[object]:
    names = [f"{source}/{n}.png" for source, size in SOURCES.items() for n in range(size)]
    put_images(here / "images", names)
    records: list[object] = [talk(f"<image>\nname {name}?", image=name, id=name) for name in names]
    records += [talk(f"text {n}?", id=f"text-{n}") for n in range(8)]
    lost = [talk("<image>\n?", image=f"ocr/{n}.jpg", id=n) for n in range(3)]
    lost.append(talk("<image>\n?", image="gqa/999.png", id="lost"))
    faulty = [{"id": 1, "conversations": "hello"}]
    robot = [{"id": 2, "conversations": [{"from": "robot", "value": "beep"}]}]
    pools = {
        "pool.json": records,
        "a-pool-folder/pool.json": records,
        "mine.json": [talk("<image>\nmine?", image="coco/1.png", id="m1"), talk("me?", id="m2")],
        "text.json": records[-8:],
        "none.json": [],
        "all-faulty.json": faulty * 3,
        "some-faulty.json": [*records[:30], *faulty, *robot],
        "images-lost.json": [*records, *lost],
    }
    for name, content in pools.items():
        write_json(here / name, content)
    texts = {
        "empty.json": "",
        "one-record.json": json.dumps(talk("a?", id=1), indent=1),
        "broken.json": '[{"id": 1, "conversations": []},\n {"id": 2, "conversations": [}]',
        "cut-off.json": json.dumps(records)[:700],
        "table.csv": "id,question\n1,what?\n",
    }
    for name, text in texts.items():
        (here / name).write_text(text)
    return records


def _write_signals(here: Path, rows: int) -> None:
    vectors = [[1.0, float(n)] for n in range(rows)]
    tables = {
        "signals": {"row": list(range(rows)), "visual_feature": vectors},
        "no-key": {"visual_feature": vectors},
        "unknown-rows": {"row": [0, 999], "visual_feature": vectors[:2]},
        "unknown-uids": {"uid": ["pool.json#0", "pol.json#1"], "visual_feature": vectors[:2]},
        "unknown-images": {"image": ["coco/1.png", "1.png"], "visual_feature": vectors[:2]},
        "twice": {"row": [7, 7], "visual_feature": vectors[:2]},
        "rows-as-text": {"row": ["0", "1"], "visual_feature": vectors[:2]},
        "ragged": {"row": [0, 1], "visual_feature": [[1.0], [1.0, 2.0]]},
        "single-numbers": {"row": [0, 1], "visual_feature": [1.0, 2.0]},
        "words": {"row": [0, 1], "visual_feature": [["a"], ["b"]]},
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), here / f"{name}.parquet")


def _write_configurations(here: Path) -> None:
    texts = {
        "unknown-name": "metod: random\n",
        "unknown-inside": "pool:\n  file: [pool.json]\n",
        "wrong-kind": "seed: many\n",
        "wrong-dtype": "model: {name: m, dtype: int4}\n",
        "a-list": "- method\n",
        "not-yaml": "method: random\npool: [unclosed\n",
    }
    for name, text in texts.items():
        (here / f"{name}.yaml").write_text(text)


def _damage_runs(here: Path) -> None:
    """Copy the finished run and take something from every copy."""
    lost = {
        "unfinished": "manifest.json",
        "run-without-yaml": "run.yaml",
        "run-without-scores": "scores.parquet",
        "run-without-quarantine": "quarantine.parquet",
    }
    for name in (*lost, "run-cut-off", "run-yaml-broken", "run-pool-moved", "run-manifest-cut-off"):
        shutil.copytree(here / "run", here / name)
    for name, file in lost.items():
        (here / name / file).unlink()
    whole = (here / "run/selection.parquet").read_bytes()
    (here / "run-cut-off/selection.parquet").write_bytes(whole[: len(whole) // 2])
    (here / "run-yaml-broken/run.yaml").write_text("pool: [unclosed\n")
    manifest = (here / "run/manifest.json").read_text()
    (here / "run-manifest-cut-off/manifest.json").write_text(manifest[:100])
    said = (here / "run/run.yaml").read_text()
    moved = said.replace(f"{here}/pool.json", f"{here}/moved.json")
    (here / "run-pool-moved/run.yaml").write_text(moved)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("errors").resolve()
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        build(folder)
    return folder


@pytest.fixture
def here(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Go to the folder; at most the note of an unfinished run may be there afterwards."""
    monkeypatch.chdir(built)
    monkeypatch.setenv("VISIFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VISIFT_DEBUG", raising=False)
    before = sorted(built.iterdir())
    yield built
    begun = built / "out"
    assert not (begun / "manifest.json").exists()
    shutil.rmtree(begun, ignore_errors=True)
    assert sorted(built.iterdir()) == before


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, whatever the machine has."""
    if find_spec("huggingface_hub"):
        import huggingface_hub.constants

        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def errors(line: str, capsys: pytest.CaptureFixture[str], code: int = 1) -> str:
    """Run a command line that fails; return what it says on stderr, and only there."""
    capsys.readouterr()
    assert run(shlex.split(line)) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err


# --- the table ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("line", SAID)
def test_what_is_said(line: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if line in NEEDS_MODELS and not find_spec("torch"):
        pytest.skip("needs visift[models]")
    assert errors(line, capsys).replace(str(here), "HERE") == f"{SAID[line]}\n"


@pytest.mark.usefixtures("offline")
def test_debug_shows_where_in_the_code(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in SAID:
        if "--log-file" in line or line in NEEDS_MODELS:
            continue
        said = errors(f"--debug {line}", capsys).replace(str(here), "HERE")
        assert said.startswith("Traceback (most recent call last):\n"), line
        assert said.endswith(f"{SAID[line]}\n"), line


def test_every_command_is_in_the_table() -> None:
    assert len(SAID) >= 50
    assert {line.split()[0] for line in SAID} >= set(COMMANDS)


@pytest.mark.parametrize("line", SAID)
def test_texts_say_what_and_what_to_do_on_few_lines(line: str) -> None:
    first, *others = SAID[line].splitlines()
    head = [text for text in (first, *others) if not text.startswith("note  ")]
    assert head[0].startswith("error  ")
    assert len(head) <= 2
    assert all(text.startswith("       ") for text in head[1:])
    assert "None" not in SAID[line]


# --- what is advised works ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refused", "advised"),
    [
        ("--pool images-lost.json --budget 10", "--max-unusable (7.7%)"),
        ("--pool some-faulty.json --budget 10", "--max-unusable (6.3%)"),
        ("--pool pool.json --budget 49", "Largest: (48) or 100%"),
        ("--pool pool.json --budget 41-images", "Largest: (40-images)"),
        ("--pool pool.json --budget 1-tokens", "Smallest: (8-tokens)"),
        ("--pool pool.json --budget 0.15", "percent sign: (15%)"),
        ("--pool pool.json --keep mine.json --budget '90x keep'", 'Largest: "(24x keep)"'),
        ("--pool pool.json --keep mine.json --budget 1", "Smallest: (2),"),
        ("--pool pool.json --method stratified --set max=2 --budget 20", "at most (8),"),
    ],
)
def test_a_pasted_fix_is_accepted(
    refused: str, advised: str, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"select --image-folder images --json -o {tmp_path / 'out'} {refused}"
    found = re.search(advised, errors(line, capsys))
    assert found
    flag = "--max-unusable" if "unusable" in advised else "--budget"
    assert run([*shlex.split(line), flag, found[1]]) == 0


def test_what_overwrite_replaces(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"select --pool pool.json --image-folder images --json -o {tmp_path / 'out'} --budget"
    assert run(shlex.split(f"{line} 5")) == 0
    assert errors(f"{line} 6", capsys).endswith("or replace it: --overwrite\n")
    assert run(shlex.split(f"{line} 6 --overwrite")) == 0


# --- the machine ----------------------------------------------------------------------------------


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 2 kB, as on a disk that is nearly full."""
    resource = pytest.importorskip("resource")  # not on Windows
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_cannot_grow(
    here: Path, tmp_path: Path, small_files: None, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    line = f"select --pool pool.json --image-folder images --budget 25% --json -o {out}"
    assert run(shlex.split(line)) == 1
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"error  {out}: cannot be written (File too large).\n")
    assert not (out / "manifest.json").exists()


def new_process(line: str, **options: object) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "visift", *shlex.split(line)]
    return subprocess.run(arguments, text=True, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("line", ["methods", "methods --json"])
def test_output_to_a_full_disk(line: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = new_process(line, stdout=full)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "error  standard output, or a temporary file: the disk is full.\n"
    )
    assert done.stderr.count("\n") == 2


def test_a_run_goes_on_when_nobody_reads_its_lines(here: Path, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    line = f"select --pool pool.json --image-folder images --budget 25% -o {tmp_path / 'out'}"
    done = new_process(line, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out" / "manifest.json").is_file()
