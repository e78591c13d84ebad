"""Planning: what is counted is what a run does, and what it saves is said with its assumptions."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from helpers import open_records, put_images, sources_pool, talk, write_json
from visift.cli import run as command_line
from visift.engine.store import Store
from visift.errors import InfeasibleBudget, InputError, ModelError
from visift.methods.method import METHODS, method_class
from visift.models.facts import read_facts
from visift.models.ref import ModelRef
from visift.planning.accelerators import Accelerator
from visift.planning.clock import probe_signal
from visift.planning.outcome import MethodPlan
from visift.planning.planner import plan
from visift.planning.saving import runs_to_pay
from visift.run import select

TINY = "builtin:tiny"
SCHEMA = Path(__file__).parents[1] / "docs" / "schemas" / "plan.schema.json"


def of_sources(folder: Path) -> Path:
    """A pool of one-image records in three sources, and text."""
    return sources_pool(folder, {"coco": 6, "gqa": 4, "vg": 3}, text=5)


def mixed(folder: Path) -> Path:
    """A pool with text-only, multi-image and shared images, and a record that occurs twice."""
    names = [f"{source}/{n}.png" for source in ("a", "b") for n in range(5)]
    put_images(folder, names)
    records = [talk(f"<image>\n{n}?", image=name) for n, name in enumerate(names)]
    records += [talk(f"<image>\n{n} again?", image=name) for n, name in enumerate(names[:4])]
    records += [talk("<image><image>\nboth?", image=pair) for pair in (names[:2], names[4:6])]
    records += [talk(f"text {n}?", "a longer answer. " * n) for n in range(4)] + records[:1]
    return write_json(folder / "pool.json", records)


POOLS = {"of sources": of_sources, "mixed": mixed}


def one(pool: Any, method: str, **more: Any) -> MethodPlan:
    (found,) = plan(pool, method, **more).methods
    return found


# --- the plan is what happens ----------------------------------------------------------------

#: What lets these methods rank records of which a toy model makes nothing.
ALL_STAY: dict[str, dict[str, Any]] = {
    "ifd": {"drop_above": None}, "visnec": {"drop_negative": False},
}  # fmt: skip


#: Methods that tune a model first, which takes a while.
TUNING = ("mllm_selector", "presel", "tive", "grand", "less", "icons")


def method_and_pool(method: str, kind: str) -> Any:
    marks = [pytest.mark.slow] if method in TUNING and kind != "of sources" else []
    return pytest.param(method, kind, marks=marks)


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        method_and_pool(method, kind)
        for method in METHODS
        for kind in POOLS
        if method != "mmssr"  # whose ledger tests/test_mmssr_chain.py looks at
    ],
)
def test_counts_equal_the_ledger_of_the_real_run(method: str, kind: str, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    asked: dict[str, Any] = {"model": TINY, "budget": "50%", "cache": tmp_path / "cache"}
    asked["settings"] = ALL_STAY.get(method, {})
    if getattr(method_class(method), "reads_target", False):
        asked["target"] = write_json(tmp_path / "target.json", [talk("wanted?", "so.")])
    pool = POOLS[kind](tmp_path / "pool")
    for name in ("fresh", "warm"):
        planned = one(pool, method, **asked)
        run = select(
            pool, method=method, output=tmp_path / name, workers=1, executor="inline", **asked
        )
        assert list(planned.ledger) == run.ledger
        left = [entry.measured for entry in planned.ledger]
        assert all(left) if name == "fresh" else not any(left)


def test_kept_and_had_records_count_as_a_run_counts_them(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    put_images(tmp_path, [f"{n}.png" for n in range(9)])
    records = [talk(f"<image>\n{n}?", image=f"{n}.png") for n in range(9)]
    asked: dict[str, Any] = {
        "model": TINY, "budget": "4", "cache": tmp_path / "cache", "image_folder": tmp_path,
        "keep": write_json(tmp_path / "keep.json", records[6:8]),
        "have": write_json(tmp_path / "have.json", [records[0], records[8]]),
    }  # fmt: skip
    pool = write_json(tmp_path / "pool.json", records[:7])
    planned = plan(pool, "prism", **asked)
    run = select(pool, method="prism", output=tmp_path / "out", workers=1, **asked)
    assert list(planned.methods[0].ledger) == run.ledger
    assert planned.saving is not None
    assert (planned.saving.usable, planned.saving.selected) == (7, 4)


def test_tokens_that_a_budget_counts_are_planned(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    asked: dict[str, Any] = {"model": TINY, "budget": "60-tokens", "cache": tmp_path / "cache"}
    pool = mixed(tmp_path / "pool")
    planned = one(pool, "random", **asked)
    assert [entry.signal for entry in planned.ledger] == ["TextTokens"]
    run = select(pool, method="random", output=tmp_path / "out", workers=1, **asked)
    assert list(planned.ledger) == run.ledger


def test_forwards_and_bytes_are_those_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from visift.models.vlm import VLM

    seen = {"forwards": 0, "blocks": 0, "tokens": 0}
    forward = VLM.hidden_states

    def counting(self: VLM, inputs: Any, layer: int) -> Any:
        seen["forwards"] += len(inputs["input_ids"])
        seen["blocks"] += layer * len(inputs["input_ids"])
        seen["tokens"] += int(self.image_positions(inputs).sum())
        return forward(self, inputs, layer)

    monkeypatch.setattr(VLM, "hidden_states", counting)
    stored = []
    commit = Store.commit

    def weighing(self: Store, keys: Any, values: Any) -> Path:
        path = commit(self, keys, values)
        batch = pa.ipc.open_file(path).get_batch(0)
        names = ("visual_feature", "visual_feature_scale")
        stored.append(sum(batch.column(name).nbytes for name in names))
        return path

    monkeypatch.setattr(Store, "commit", weighing)
    pool, cache = mixed(tmp_path / "pool"), tmp_path / "cache"
    cost = one(pool, "prism", model=TINY, budget="50%", cache=cache).cost
    select(
        pool, method="prism", model=TINY, budget="50%", cache=cache, executor="inline",
        workers=1, output=tmp_path / "out",
    )  # fmt: skip
    assert seen == {
        "forwards": cost.forwards_partial, "blocks": cost.blocks, "tokens": cost.tokens,
    }  # fmt: skip
    assert cost.forwards_partial == 10
    assert sum(stored) == cost.bytes_stored


def test_counting_imports_no_torch(tmp_path: Path) -> None:
    pool = of_sources(tmp_path / "pool")
    code = (
        "import sys; from visift.planning.planner import plan; "
        f"plan({str(pool)!r}, model='builtin:tiny', budget='50%', flops='h100'); "
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    env = {"VISIFT_CACHE": str(tmp_path / "cache"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
    assert not (tmp_path / "cache").exists()


# --- one method, or all ----------------------------------------------------------------------


def test_all_says_what_a_method_lacks_and_one_method_fails(tmp_path: Path) -> None:
    pool = of_sources(tmp_path / "pool")
    rows = {found.method: found for found in plan(pool).methods}
    assert list(rows) == list(METHODS)
    assert rows["random"].asks_for == 'the method "random" needs a budget'
    assert not rows["random"].counted
    assert rows["prism"].asks_for == "13 partial forwards (2 blocks) (needs --model)"
    with pytest.raises(InputError, match="needs a budget"):
        plan(pool, "random")
    with pytest.raises(InputError, match="this method needs a model"):
        plan(pool, "prism")


def test_a_pool_a_method_cannot_use_is_said_in_its_row(tmp_path: Path) -> None:
    pool = open_records(tmp_path, [talk("a"), talk("b")])
    rows = {found.method: found for found in plan(pool, budget="50%").methods}
    assert rows["prism"].note == "no usable record has an image, and prism compares images"
    assert rows["random"].asks_for == "nothing"
    with pytest.raises(InputError, match="prism compares images"):
        plan(pool, "prism", model=TINY)


def test_what_is_wrong_with_the_question_is_an_error(tmp_path: Path) -> None:
    pool = of_sources(tmp_path / "pool")
    with pytest.raises(InfeasibleBudget, match="more than the 18 usable records"):
        plan(pool, budget=19)
    with pytest.raises(InputError, match=r'no method "prizm"\. Did you mean "prism"'):
        plan(pool, "prizm")
    with pytest.raises(InputError, match="--set sets parameters of one method"):
        plan(pool, settings={"tau": 0.2})
    with pytest.raises(ModelError, match="no such folder"):
        plan(pool, model="./nowhere", budget="50%")
    with pytest.raises(InputError, match="no model was named"):
        plan(pool, budget="50%", probe=True)


# --- times -----------------------------------------------------------------------------------


def test_an_accelerator_is_a_name_or_a_number() -> None:
    assert Accelerator.parse("H100") == Accelerator("H100", 989.0)
    assert Accelerator.parse("RTX-4090") == Accelerator.parse("4090") == Accelerator("4090", 165.0)
    assert Accelerator.parse("500TFLOPS").tflops == Accelerator.parse("500").tflops == 500
    with pytest.raises(InputError, match=r'no accelerator "h10" is known. Did you mean "h100"\?'):
        Accelerator.parse("h10")
    for nonsense in ("0", "-3", "", "fast"):
        with pytest.raises(InputError, match="is known"):
            Accelerator.parse(nonsense)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"flops": "h100", "probe": 5}, "both give times"),
        ({"flops": "h100", "utilisation": 1.2}, "a share of the peak"),
        ({"probe": -1}, "a probe of -1 seconds"),
    ],
)
def test_times_that_make_no_sense(asked: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=text):
        plan(of_sources(tmp_path), "random", budget="50%", **asked)


def test_times_by_operations_can_be_worked_out_by_hand(tmp_path: Path) -> None:
    found = plan(
        of_sources(tmp_path / "pool"), "prism", model=TINY, budget="50%",
        cache=tmp_path / "cache", flops=100, utilisation=0.5,
    )  # fmt: skip
    facts = read_facts(ModelRef(TINY))
    assert facts.vision is not None
    assert facts.projector is not None
    assert facts.language is not None
    image = 2 * (16 * facts.vision + 16 * facts.projector + 16 * facts.language // 2)
    (prism,) = found.methods
    assert prism.cost.flops == 13 * image
    assert prism.device_seconds == prism.wall_seconds == pytest.approx(13 * image / 50e12)
    saving = found.saving
    assert saving is not None
    text = found.pool.index["text_bytes"].to_pylist()
    assert saving.tokens == sum(-(-size // 4) for size in text) + 13 * 16
    assert (saving.usable, saving.selected, saving.tokens_selected) == (18, 9, saving.tokens // 2)
    assert saving.flops == facts.training_flops(saving.tokens - saving.tokens_selected)
    assert saving.device_seconds == pytest.approx(saving.flops / 50e12)
    assert prism.runs == math.ceil(13 * image / saving.flops)


def test_paying_off() -> None:
    assert runs_to_pay(0.0, None) == runs_to_pay(0.0, 0.0) == runs_to_pay(2.0, 8.0) == 1
    assert runs_to_pay(9.0, 4.0) == 3
    assert runs_to_pay(9.0, 0.0) == math.inf
    assert runs_to_pay(None, 4.0) is None
    assert runs_to_pay(9.0, None) is None


def test_a_probe_measures_a_sample_and_keeps_nothing(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    found = plan(
        of_sources(tmp_path / "pool"), "prism", model=TINY, budget="50%",
        cache=tmp_path / "cache", workers=1, probe=5,
    )  # fmt: skip
    (prism,) = found.methods
    (sample,) = found.clock.probes  # type: ignore[union-attr]
    assert sample.load.items == 13
    assert prism.wall_seconds == pytest.approx(sample.opening + sample.seconds)
    assert found.saving is not None
    assert found.saving.device_seconds is not None
    assert not (tmp_path / "cache").exists()


def test_a_probe_stops_in_time(tmp_path: Path) -> None:
    from engine.simple import MeanColour, noted, plain_pool
    from visift.engine.counting import CountingLab
    from visift.engine.lab import Examples

    log = tmp_path / "log"
    log.mkdir()
    pool = plain_pool(tmp_path / "pool", 100)
    lab = CountingLab(pool, tmp_path / "cache")
    lab.measure(MeanColour(log=str(log), seconds=0.05), Examples(pool.rows()))
    found = probe_signal(lab.counts()[0], "cpu", 1, 0.01)
    assert found.load.items == 16
    assert found.rate == found.load.items / found.seconds
    assert len(noted(log)) <= 32
    assert set(noted(log)) != {f"{n}.png" for n in range(len(noted(log)))}


# --- the command -----------------------------------------------------------------------------


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert command_line(["plan", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool = str(of_sources(tmp_path / "pool"))
    cache = ["--cache", str(tmp_path / "cache")]
    asked = ["--pool", pool, "--all", "--budget", "50%", "--model", TINY, "--flops", "a100"]
    said = lines(capsys, *asked, *cache)
    head = next(n for n, line in enumerate(said) if line.startswith("method"))
    assert said[head].split() == ["method", "asks", "for", "GPU-h", "disk", "pays", "off", "after"]
    rows = {line.split()[0]: line.split() for line in said[head + 1 : head + 1 + len(METHODS)]}
    assert rows["random"][1:] == ["nothing", "0", "–", "1", "run"]
    assert " ".join(rows["prism"]) == (
        "prism 13 partial forwards (2 of 4 blocks) < 0.01 3.4 kB 1 run"
    )
    assert said[-2].startswith(
        "Training  50.0% of the records instead of all saves < 0.01 GPU-h a run at the same speed"
    )
    assert said[-1].startswith("Times     estimates from a count of operations on one A100, at 40%")


def test_without_times_the_counts_stand_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = lines(capsys, "--pool", str(of_sources(tmp_path)))
    assert said[-2] == "Training  without --budget nobody knows what a subset saves"
    assert said[-1] == (
        "Times     none asked for: --probe measures a sample here, --flops h100 estimates"
    )


@pytest.mark.parametrize("more", [[], ["--budget", "50%"], ["--budget", "9", "--flops", "312"]])
@pytest.mark.parametrize("model", [[], ["--model", TINY]])
def test_json_keeps_to_its_schema(
    more: list[str], model: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    pool = str(mixed(tmp_path / "pool"))
    said = lines(capsys, "--pool", pool, "--cache", str(tmp_path / "c"), "--json", *more, *model)
    found = json.loads("\n".join(said))
    schema = json.loads(SCHEMA.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(found, schema, cls=jsonschema.Draft202012Validator)
    assert [row["method"] for row in found["methods"]] == list(METHODS)
    assert found["pool"]["records"] == 21


def test_contradicting_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool = str(of_sources(tmp_path))
    asked = [["--all", "--method", "random"], ["--utilisation", "30%"], ["--flops", "b52"]]
    for flags in asked:
        assert command_line(["plan", "--pool", pool, "--budget", "50%", *flags]) == 1
    said = capsys.readouterr().err
    assert "--method and --all contradict each other." in said
    assert "--utilisation goes with --flops." in said
    assert 'No accelerator "b52" is known.' in said
