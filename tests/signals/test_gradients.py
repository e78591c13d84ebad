"""Gradients of records: norms, projected directions, and what has none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("peft", reason="peft is not installed")

from helpers import open_records, png  # noqa: E402
from helpers import talk as raw_talk  # noqa: E402
from models.test_record_gradients import by_autograd  # noqa: E402
from models.tuned_families import save_adapter  # noqa: E402
from signals.test_losses import ITEMS, broken, conversation, item  # noqa: E402
from training.making import SHORT, make, mixed_pool  # noqa: E402
from visift.engine.lab import Examples, LocalLab  # noqa: E402
from visift.errors import InputError, ModelError  # noqa: E402
from visift.models.batch import Collator  # noqa: E402
from visift.models.ref import BUILTIN_TINY, ModelRef  # noqa: E402
from visift.models.vlm import VLM  # noqa: E402
from visift.signals.cost import Load  # noqa: E402
from visift.signals.gradients import LoraGradient  # noqa: E402
from visift.signals.losses import NO_ANSWER, AnswerLoss  # noqa: E402
from visift.signals.signal import ImageItem, RecordItem, Values, identity  # noqa: E402

COLUMNS = ["grad_norm", "grad_projection", "answer_tokens"]


@pytest.fixture(scope="module")
def ref(tiny_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return save_adapter(tiny_model("llava"), tmp_path_factory.mktemp("adapters") / "llava")


def measure(signal: LoraGradient, items: list[RecordItem]) -> Values:
    return signal.open("cpu")(items)


def unit(rows: Any) -> np.ndarray:
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def exact(ref: ModelRef) -> np.ndarray:
    """(n, D): whole gradients of the items, by a loop over them."""
    vlm = VLM.load(ref, "cpu", merge=False)
    collate = Collator.of(vlm)
    return np.stack([by_autograd(vlm, collate([conversation(one)])) for one in ITEMS])


@pytest.fixture(scope="module")
def signal(ref: ModelRef) -> LoraGradient:
    return LoraGradient(ref)


@pytest.fixture(scope="module")
def found(signal: LoraGradient) -> Values:
    return measure(signal, ITEMS)


# --- values --------------------------------------------------------------------------------------


def test_norms_are_those_of_single_records(found: Values, exact: np.ndarray) -> None:
    assert list(found.reasons) == [None] * len(ITEMS)
    np.testing.assert_allclose(found.columns["grad_norm"], np.linalg.norm(exact, axis=1), rtol=1e-5)


def test_whole_gradients_are_those_of_single_records(ref: ModelRef, exact: np.ndarray) -> None:
    stored = measure(LoraGradient(ref, proj_dim=0), ITEMS).columns["grad_projection"]
    assert stored.dtype == np.float16
    assert stored.shape == exact.shape
    scaled = unit(exact) * exact.shape[1] ** 0.5
    np.testing.assert_allclose(stored, scaled, rtol=2**-10, atol=1e-4)
    cosines = stored.astype(np.float64) @ stored.T.astype(np.float64) / exact.shape[1]
    np.testing.assert_allclose(cosines, unit(exact) @ unit(exact).T, atol=1e-3)


@pytest.mark.parametrize("projection", ["sparse", "rademacher"])
def test_projected_directions_keep_cosines(
    ref: ModelRef, exact: np.ndarray, projection: Any
) -> None:
    """Five times the standard deviation that is stated for k = 8,192."""
    found = measure(LoraGradient(ref, projection=projection), ITEMS).columns
    stored = found["grad_projection"]
    assert (stored.dtype, stored.shape) == (np.dtype(np.float16), (len(ITEMS), 8192))
    np.testing.assert_allclose(
        unit(stored) @ unit(stored).T, unit(exact) @ unit(exact).T, atol=0.055
    )
    lengths = np.linalg.norm(stored.astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, 8192**0.5, rtol=0.055)


def test_answer_tokens_are_those_of_the_loss(found: Values, ref: ModelRef) -> None:
    loss = AnswerLoss(ref).open("cpu")(ITEMS)
    assert np.array_equal(found.columns["answer_tokens"], loss.columns["answer_tokens"])


def test_norms_alone(ref: ModelRef, found: Values) -> None:
    alone = measure(LoraGradient(ref, projection="none"), ITEMS).columns
    assert set(alone) == {"grad_norm", "answer_tokens"}
    assert np.array_equal(alone["grad_norm"], found.columns["grad_norm"])


def test_a_sum_is_the_mean_times_the_tokens(ref: ModelRef, found: Values) -> None:
    total = measure(LoraGradient(ref, reduction="sum"), ITEMS).columns
    mean = found.columns
    np.testing.assert_allclose(
        total["grad_norm"], mean["grad_norm"] * mean["answer_tokens"], rtol=1e-5
    )
    np.testing.assert_allclose(
        unit(total["grad_projection"]), unit(mean["grad_projection"]), atol=1e-3
    )


# --- batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_tokens", [1, 150, 100_000])
def test_batches_change_nothing_but_last_bits(
    ref: ModelRef, found: Values, batch_tokens: int
) -> None:
    other = measure(LoraGradient(ref, batch_tokens=batch_tokens), ITEMS).columns
    np.testing.assert_allclose(other["grad_norm"], found.columns["grad_norm"], rtol=1e-5)
    cosines = (unit(other["grad_projection"]) * unit(found.columns["grad_projection"])).sum(axis=1)
    np.testing.assert_allclose(cosines, 1, atol=1e-6)


def test_measuring_twice_gives_the_same_bits(signal: LoraGradient, found: Values) -> None:
    again = measure(signal, ITEMS)
    assert all(again.columns[n].tobytes() == found.columns[n].tobytes() for n in COLUMNS)


# --- what has no value ---------------------------------------------------------------------------


def test_records_without_a_value_have_a_reason_and_harm_no_other(
    signal: LoraGradient, found: Values
) -> None:
    silent = item("<image>\nAnyone?", images=1)
    damaged = RecordItem(ITEMS[0].record, (ImageItem("bad.png", broken),))
    untemplated = item("<image>", "No.", images=2, roles=("assistant",))
    mixed = measure(signal, [silent, ITEMS[0], damaged, ITEMS[1], untemplated, ITEMS[2]])
    assert [bool(reason) for reason in mixed.reasons] == [True, False] * 3
    assert mixed.reasons[0] == NO_ANSWER
    assert mixed.reasons[2] == "image damaged: bad.png"
    assert "writes 0 image tokens for 2 images" in str(mixed.reasons[4])
    assert not mixed.passing
    norms = mixed.columns["grad_norm"]
    np.testing.assert_allclose(norms[1::2], found.columns["grad_norm"][:3], rtol=1e-5)
    assert not norms[::2].any()
    assert not mixed.columns["grad_projection"][::2].any()


def test_a_long_conversation_is_cut_as_in_training(ref: ModelRef) -> None:
    vlm = VLM.load(ref, "cpu", merge=False)
    batch = Collator.of(vlm)([conversation(ITEMS[3])])
    most = batch.turns.shape[1] - 50
    found = measure(LoraGradient(ref, max_tokens=most), ITEMS[3:4])
    wanted = by_autograd(vlm, batch.cut(most))
    assert found.columns["grad_norm"][0] == pytest.approx(np.linalg.norm(wanted), rel=1e-5)
    assert found.columns["answer_tokens"][0] == batch.answers.sum() - 50


def test_images_and_answers_behind_the_cut_are_reasons(ref: ModelRef, found: Values) -> None:
    asked = item("<image>\nA question without end" + "." * 99, "Yes.", images=1)
    images = item("<image>\n<image>\n<image>\n<image>\nWhich?", "This.", images=4)
    cut = measure(LoraGradient(ref, max_tokens=60), [ITEMS[0], asked, images, ITEMS[4]])
    assert list(cut.reasons) == [
        None,
        NO_ANSWER,
        "its images and what is said before them take more than 60 tokens",
        None,
    ]
    norms = cut.columns["grad_norm"]
    np.testing.assert_allclose(norms[[0, 3]], found.columns["grad_norm"][[0, 4]], rtol=1e-5)


def test_whole_gradients_that_are_too_long_are_refused(
    ref: ModelRef, monkeypatch: pytest.MonkeyPatch, exact: np.ndarray
) -> None:
    entries = exact.shape[1]
    monkeypatch.setattr("visift.signals.gradients.MOST_WHOLE", entries - 1)
    reason = f"whole gradients have {entries:,} entries here, more than {entries - 1:,}"
    with pytest.raises(InputError, match=reason):
        LoraGradient(ref, proj_dim=0).open("cpu")


def test_a_model_without_factors_is_refused() -> None:
    with pytest.raises(ModelError, match="no low-rank factors"):
        LoraGradient(ModelRef(BUILTIN_TINY)).open("cpu")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"projection": "dense"}, 'unknown projection "dense".\nOne of: sparse, rademacher, none.'),
        ({"reduction": "max"}, 'unknown reduction "max".\nOne of: mean, sum.'),
        ({"proj_dim": -1}, "proj_dim is -1: a number from 0 on was expected."),
        ({"params": "("}, 'params "(" is no regular expression'),
    ],
)
def test_fields_that_make_no_sense_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        LoraGradient(None, **fields)
    assert message in str(raised.value)


# --- identity, cost, a whole pool ----------------------------------------------------------------


def test_columns() -> None:
    def names(**fields: Any) -> list[tuple[str, str, tuple[int | None, ...]]]:
        columns = LoraGradient(None, **fields).columns
        return [(one.name, one.dtype, one.shape) for one in columns if not one.extra]

    norm = ("grad_norm", "float32", ())
    assert names() == [norm, ("grad_projection", "float16", (8192,))]
    assert names(proj_dim=0) == [norm, ("grad_projection", "float16", (None,))]
    assert names(projection="none") == [norm]


def test_every_field_is_part_of_the_identity(ref: ModelRef) -> None:
    base: dict[str, Any] = {}
    changes = [
        base,
        {"params": "mlp"},
        {"reduction": "sum"},
        {"projection": "rademacher"},
        {"proj_dim": 99},
        {"proj_seed": 1},
        {"max_tokens": 99},
        {"batch_tokens": 99},
        {"checkpoint": 1},
        {"adam": True},
    ]
    assert len({str(identity(LoraGradient(ref, **change))) for change in changes}) == len(changes)


def test_a_record_costs_a_forward_and_a_backward_pass(ref: ModelRef) -> None:
    load = Load(items=10, text_tokens=400, images=8)
    cost, reading = LoraGradient(ref).cost(load), AnswerLoss(ref).cost(load)
    assert (cost.forwards_full, cost.backwards) == (10, 10)
    assert (cost.tokens, cost.blocks) == (reading.tokens, reading.blocks)
    assert cost.bytes_stored == 10 * (4 + 2 * 8192 + 4)
    assert cost.flops is not None
    assert reading.flops is not None
    assert 1.5 * reading.flops < cost.flops < 2 * reading.flops
    assert LoraGradient(None).cost(load).tokens is None
    assert LoraGradient(ref, proj_dim=0).cost(load).bytes_stored is None


def test_a_whole_pool_with_a_model_tuned_here(tmp_path: Path) -> None:
    tuned, _ = make(tmp_path / "tuned", mixed_pool(tmp_path / "warm-up"), SHORT)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(png(1, (80, 60)))
    (tmp_path / "images" / "cut.png").write_bytes(png(2, (80, 60))[:60])
    records = [
        raw_talk("<image>\nWhat?", "That.", image="a.png"),
        raw_talk("Say something.", "Something."),
        raw_talk("<image>\nWhat?", "That.", image="cut.png"),
        raw_talk(f"<image>\n{'word ' * 3000}", "Never seen.", image="a.png"),
        raw_talk("<image> and <image>\nWhich?", "The second.", image=["a.png", "a.png"]),
    ]
    pool = open_records(tmp_path, records, image_folder=tmp_path / "images")
    lab = LocalLab(pool, tmp_path / "cache", lambda: ["cpu"])
    rows = np.arange(len(pool))
    model = ModelRef(str(tuned.path), dtype="float32")
    found = lab.measure(LoraGradient(model, proj_dim=512), Examples(rows))
    assert found.ok(rows).tolist() == [True, True, False, False, True]
    assert "cut.png" in str(found.reasons(rows)[2])
    assert found.reasons(rows)[3] == NO_ANSWER
    fine = np.flatnonzero(found.ok(rows))
    assert (found.take("grad_norm", fine) > 0).all()
    lengths = np.linalg.norm(found.take("grad_projection", fine).astype(float), axis=1)
    np.testing.assert_allclose(lengths, 512**0.5, rtol=0.25)
