"""`less` and `grand` over several checkpoints of a warm-up, against their forms as printed.

LESS: the influence of z on z' is the sum over checkpoints of the mean learning rate since the one
before, times the cosine of the gradient of z' and the step of Adam on z.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("peft", reason="peft is not installed")

from helpers import talk, write_json  # noqa: E402
from methods.gradients_in import pool_of, signals, with_targets  # noqa: E402
from models.test_record_gradients import by_autograd  # noqa: E402
from training.making import RECORDS, here, mixed_pool, tensors  # noqa: E402
from visift.budget import Budget  # noqa: E402
from visift.engine.lab import LocalLab  # noqa: E402
from visift.errors import InputError, ModelError, TrainingError  # noqa: E402
from visift.methods.method import build  # noqa: E402
from visift.methods.targets import Inputs, influence  # noqa: E402
from visift.models.batch import Collator, Conversation  # noqa: E402
from visift.models.ref import ModelRef  # noqa: E402
from visift.models.vlm import VLM  # noqa: E402
from visift.pool.pool import Pool  # noqa: E402
from visift.signals.gradients import LoraGradient  # noqa: E402
from visift.signals.imported import Imported, SignalFile  # noqa: E402
from visift.training.finetune import Example, Outcome, finetune  # noqa: E402

Float = NDArray[np.float64]
RECIPE = "tiny-lora,epochs:1,batch_size:2,micro_batch:1,lora_rank:2,warmup:0"
TINY = ModelRef("builtin:tiny", dtype="float32")


@dataclass(frozen=True)
class Tuned:
    """A pool, what `less` asked for, and the model that was tuned for it, at its checkpoints."""

    pool: Pool
    less: Inputs
    lab: LocalLab
    outcome: Outcome
    folder: Path

    vlms: Mapping[int, VLM]

    def gradients(self, number: int, rows: Any) -> Float:
        """(n, D) at a checkpoint, by a loop and autograd."""
        vlm = self.vlms[number]
        collate = Collator.of(vlm)
        found = []
        for row in rows:
            record = self.pool.record(int(row))
            images = tuple(self.pool.load_image(ref) for ref in record.images)
            found.append(by_autograd(vlm, collate([Conversation(record.turns, images)])))
        return np.stack(found)

    def state(self, number: int, kind: str) -> Float:
        """(D,) a moment of Adam, in the order of the gradients."""
        named = tensors(self.folder / f"checkpoint-{number}")
        names = [
            name.replace(".default", "")
            for name, _ in self.vlms[number].model.named_parameters()
            if "lora_" in name and "self_attn" in name
        ]
        parts = [named[f"{name}.{kind}"].flatten() for name in names]
        return np.asarray(torch.cat(parts).double())


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    folder = tmp_path_factory.mktemp("less")
    mixed_pool(folder)  # for its images
    said = [talk("and 3 and 3?", "it is 6.", task="t"), talk("which?", "the other.", task="t")]
    target = write_json(folder / "targets.json", said)
    pool = Pool.open(write_json(folder / "rows.json", RECORDS), target=[target])
    lab = LocalLab(pool, folder / "cache", lambda: ["cpu"])
    given: Mapping[str, Any] = {"checkpoints": 2, "recipe": RECIPE, "warmup_ratio": 1}
    asked = build("less", {**given, "adam": True, "proj_dim": 0}, model=TINY).measure(
        pool, lab, None
    )
    outcome = train(lab)
    model = lab.trainings[0].tuned.folder()
    vlms = {
        number: VLM.load(ModelRef(str(model / f"checkpoint-{number}")), "cpu", merge=False)
        for number in (1, 2)
    }
    return Tuned(pool, asked, lab, outcome, model, vlms)


def train(lab: LocalLab) -> Outcome:
    """Train what was asked for in this process, which spares the imports of another one."""
    (training,) = lab.trainings
    keys = [f"{high:016x}{low:016x}" for high, low in training.keys.tolist()]
    pairs = zip(training.items.ids.tolist(), keys, strict=True)
    examples = [Example(row, key) for row, key in pairs]
    return finetune(training.tuned, lab.pool, examples, ("cpu",), lambda _: None, saves=1, run=here)


def unit(rows: Float) -> Float:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_less_as_printed(tuned: Tuned) -> None:
    rates = [moment.mean_rate for moment in tuned.outcome.checkpoints]
    assert len(rates) == 2
    wanted = np.zeros(len(tuned.less.rows))
    for number, rate in enumerate(rates, start=1):
        g, towards = (tuned.gradients(number, r) for r in (tuned.less.rows, tuned.less.targets))
        m = 0.9 * tuned.state(number, "exp_avg") + 0.1 * g
        v = 0.999 * tuned.state(number, "exp_avg_sq") + 0.001 * g**2
        step = m / (np.sqrt(v) + 1e-8)
        wanted += rate * (unit(step) @ unit(towards).T).mean(axis=1)
    found = influence(tuned.pool, tuned.less, "mean", 17)
    np.testing.assert_allclose(found.of[:, 0] * sum(rates), wanted, atol=3e-4 * sum(rates))
    assert np.ptp(wanted / sum(rates)) > 3e-2


def test_grand_is_the_mean_over_checkpoints(tuned: Tuned) -> None:
    given = {"checkpoints": 2, "recipe": RECIPE, "warmup_ratio": 1}
    grand = build("grand", given, model=TINY)
    inputs = grand.measure(tuned.pool, tuned.lab, None)
    assert tuned.lab.trainings[1].tuned == tuned.lab.trainings[0].tuned
    choice = grand.choose(tuned.pool, inputs, Budget.parse("100%"))
    norms = [np.linalg.norm(tuned.gradients(number, inputs.rows), axis=1) for number in (1, 2)]
    assert not np.allclose(*norms, rtol=1e-3)
    np.testing.assert_allclose(choice.score[inputs.rows], np.mean(norms, axis=0), rtol=1e-4)


def test_rates_that_nobody_knows_any_more_are_an_error(tuned: Tuned) -> None:
    note = tuned.folder / "training.json"
    kept = note.read_bytes()
    note.unlink()
    try:
        with pytest.raises(TrainingError, match="learning rates are not known any more"):
            tuned.less.reference.rates()
    finally:
        note.write_bytes(kept)


def test_a_checkpoint_that_was_not_kept(tuned: Tuned) -> None:
    signal = LoraGradient(tuned.lab.trainings[0].tuned, checkpoint=3)
    with pytest.raises(ModelError, match="kept no checkpoint 3"):
        signal.open("cpu")


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("grand", {"checkpoints": 9}, r"9 checkpoints of a warm-up of 4 steps\."),
        ("grand", {"checkpoints": 2, "warmup_ratio": 0}, r"2 checkpoints .* of 0 steps"),
        ("less", {"adam": True}, "adam wants the state of the optimiser"),
    ],
)
def test_what_cannot_be_had(
    method: str, given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    pool = with_targets(tmp_path, "aa", "x")
    lab = LocalLab(pool, tmp_path, lambda: ["cpu"])
    with pytest.raises(InputError, match=message):
        build(method, given, model=TINY).measure(pool, lab, None)


def test_one_column_handed_in_is_not_several(tmp_path: Path) -> None:
    files = (SignalFile.open(signals(tmp_path, grad_norm=np.ones(8))),)
    pool = pool_of(tmp_path / "pool", "a" * 8)
    lab = LocalLab(pool, tmp_path, lambda: ["cpu"], imported=Imported(files))
    given = {"checkpoints": 2, "warmup_ratio": 1, "recipe": RECIPE}
    with pytest.raises(InputError, match="grad_norm is handed in once, and 2 checkpoints"):
        build("grand", given, model=TINY).measure(pool, lab, None)
