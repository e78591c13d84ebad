"""Gradients of records in batches: those of a loop over single records and autograd."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("peft", reason="peft is not installed")

from models.families import FAMILIES  # noqa: E402
from models.test_conformance import CONVERSATIONS  # noqa: E402
from models.tuned_families import save_adapter  # noqa: E402
from visift.errors import ModelError  # noqa: E402
from visift.models.batch import Batch, Collator, Conversation  # noqa: E402
from visift.models.gradients import (  # noqa: E402
    Factors,
    RecordGradients,
    Reduction,
    lengths,
    record_gradients,
)
from visift.models.projection import Projection, Sparse, Whole  # noqa: E402
from visift.models.ref import ModelRef  # noqa: E402
from visift.models.vlm import VLM  # noqa: E402

ATTENTION = "self_attn"


@pytest.fixture(scope="session")
def tuned(
    tiny_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], ModelRef]:
    return lambda family: save_adapter(tiny_model(family), tmp_path_factory.mktemp(family) / "a")


@pytest.fixture(scope="module", params=FAMILIES)
def vlm(request: pytest.FixtureRequest, tuned: Callable[[str], ModelRef]) -> VLM:
    return VLM.load(tuned(str(request.param)), "cpu", merge=False)


@pytest.fixture(scope="module")
def llava(tuned: Callable[[str], ModelRef]) -> VLM:
    return VLM.load(tuned("llava"), "cpu", merge=False)


def batch_of(vlm: VLM, some: list[Conversation]) -> Batch:
    return Collator.of(vlm)(some)


def gradients(
    vlm: VLM,
    batch: Batch,
    params: str = ATTENTION,
    reduction: Reduction = "mean",
    projection: Callable[[dict[str, int]], Projection] = Whole.of,
) -> RecordGradients:
    factors = Factors.find(vlm, params)
    return record_gradients(vlm, factors, batch, reduction, projection(factors.sizes()))


def by_autograd(
    vlm: VLM, batch: Batch, params: str = ATTENTION, reduction: str = "mean"
) -> NDArray[np.float64]:
    """Whole gradients of one record's loss, as a trainer computes it, by autograd."""
    named = vlm.model.named_parameters()
    weights = [one for name, one in named if "lora_" in name and re.search(params, name)]
    for one in weights:
        one.requires_grad_()
    logits = vlm.model(**batch.inputs, use_cache=False).logits[:, :-1].float()
    marked = batch.answers[:, 1:]
    loss = torch.nn.functional.cross_entropy(
        logits[marked], batch.inputs["input_ids"][:, 1:][marked], reduction=reduction
    )
    parts = torch.autograd.grad(loss, weights)
    return torch.cat([one.flatten() for one in parts]).double().numpy()


def apart(found: RecordGradients, wanted: NDArray[np.float64]) -> float:
    """Largest relative error of norms and of whole gradients."""
    assert found.directions is not None
    lengths = np.linalg.norm(wanted, axis=1)
    assert (lengths > 1e-3).all()
    whole = found.directions.astype(np.float64) * found.norms[:, None]
    errors = np.linalg.norm(whole - wanted, axis=1) / lengths
    return float(max(errors.max(), np.abs(found.norms / lengths - 1).max()))


# --- values --------------------------------------------------------------------------------------


def test_gradients_are_those_of_a_loop_over_single_records(vlm: VLM) -> None:
    found = gradients(vlm, batch_of(vlm, CONVERSATIONS))
    wanted = [by_autograd(vlm, batch_of(vlm, [one])) for one in CONVERSATIONS]
    assert apart(found, np.stack(wanted)) < 1e-5


@pytest.mark.parametrize("params", ["mlp", r"layers\.[12]\..*\.[qk]_proj$", ""])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_any_layers_and_either_reduction(llava: VLM, params: str, reduction: Reduction) -> None:
    found = gradients(llava, batch_of(llava, CONVERSATIONS[:3]), params, reduction)
    pattern = params.replace("$", r"\.lora")
    wanted = [
        by_autograd(llava, batch_of(llava, [one]), pattern, reduction) for one in CONVERSATIONS[:3]
    ]
    assert apart(found, np.stack(wanted)) < 1e-5


def test_a_sum_is_the_mean_times_the_tokens(llava: VLM) -> None:
    batch = batch_of(llava, CONVERSATIONS)
    counts = batch.answers.sum(dim=1).numpy()
    mean, total = gradients(llava, batch), gradients(llava, batch, reduction="sum")
    np.testing.assert_allclose(total.norms, mean.norms * counts, rtol=1e-5)


def test_a_projection_is_linear_in_whole_gradients(llava: VLM) -> None:
    """Part by part as of a whole gradient that lies in memory."""
    batch = batch_of(llava, CONVERSATIONS)
    sizes = Factors.find(llava, ATTENTION).sizes()
    sparse = Sparse.draw(sizes, 100, 7, "cpu")
    whole, projected = gradients(llava, batch), gradients(llava, batch, projection=lambda _: sparse)
    assert whole.directions is not None
    total = torch.zeros(len(whole.norms), 100)
    start = 0
    for name, size in sizes.items():
        part = whole.directions[:, start : start + size]
        sparse.add(total, name, torch.from_numpy(part.copy()))
        start += size
    np.testing.assert_allclose(projected.directions, total.numpy(), atol=1e-4)
    np.testing.assert_allclose(projected.norms, whole.norms)


def test_norms_of_large_factors_keep_their_digits() -> None:
    matrices = torch.randn(2, 512, 2048, generator=torch.Generator().manual_seed(0)) ** 3
    wanted = np.linalg.norm(matrices.double().flatten(1).numpy(), axis=1)
    np.testing.assert_allclose(lengths(matrices), wanted, rtol=1e-6)


# --- batches -------------------------------------------------------------------------------------


def test_neither_padding_nor_neighbours_change_a_record(llava: VLM) -> None:
    long = Conversation((*CONVERSATIONS[1].turns, *CONVERSATIONS[2].turns * 8))
    short = CONVERSATIONS[2]
    alone = gradients(llava, batch_of(llava, [short]))
    beside = gradients(llava, batch_of(llava, [Conversation(long.turns), short]))
    assert alone.directions is not None
    assert beside.directions is not None
    np.testing.assert_allclose(beside.norms[1:], alone.norms, rtol=1e-5)
    np.testing.assert_allclose(beside.directions[1:], alone.directions, atol=1e-5)


def test_the_same_batch_gives_the_same_bits(llava: VLM) -> None:
    batch = batch_of(llava, CONVERSATIONS)
    one, two = gradients(llava, batch), gradients(llava, batch)
    assert one.norms.tobytes() == two.norms.tobytes()
    assert one.directions is not None
    assert two.directions is not None
    assert one.directions.tobytes() == two.directions.tobytes()


def test_a_record_that_is_not_finite_leaves_the_others_alone(llava: VLM) -> None:
    batch = batch_of(llava, CONVERSATIONS[2:3] * 2)
    wanted = gradients(llava, batch)
    embed = llava.model.get_input_embeddings()

    def spoil(_: Any, __: Any, output: Any) -> Any:
        output = output.clone()
        output[0, 0, 0] = torch.nan
        return output

    hook = embed.register_forward_hook(spoil)
    try:
        found = gradients(llava, batch)
    finally:
        hook.remove()
    assert np.isnan(found.norms[0])
    assert found.norms[1] == pytest.approx(wanted.norms[1], rel=1e-5)


def test_few_logits_at_a_time_change_nothing(llava: VLM, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = batch_of(llava, CONVERSATIONS)
    wanted = gradients(llava, batch)
    monkeypatch.setattr("visift.models.gradients.MOST_LOGITS", 2000)
    found = gradients(llava, batch)
    np.testing.assert_allclose(found.norms, wanted.norms, rtol=1e-5)


def test_no_gradient_has_no_direction(llava: VLM) -> None:
    """Factors that are all zero leave a saddle: neither A nor B has a gradient."""
    factors = Factors.find(llava, ATTENTION)
    named = llava.model.state_dict()
    kept = {name: value.clone() for name, value in named.items() if "lora_" in name}
    try:
        for name in kept:
            named[name].zero_()
        found = record_gradients(
            llava,
            factors,
            batch_of(llava, CONVERSATIONS[:2]),
            "mean",
            Whole.of(factors.sizes()),
        )
    finally:
        for name, value in kept.items():
            named[name].copy_(value)
    assert found.norms.tolist() == [0, 0]
    assert found.directions is not None
    assert not found.directions.any()


def test_half_precision_is_near_and_its_products_are_not_halved(
    tuned: Callable[[str], ModelRef], llava: VLM
) -> None:
    half = VLM.load(ModelRef(tuned("llava").name, dtype="bfloat16"), "cpu", merge=False)
    found = gradients(half, batch_of(half, CONVERSATIONS))
    wanted = gradients(llava, batch_of(llava, CONVERSATIONS))
    assert found.directions is not None
    assert wanted.directions is not None
    assert found.directions.dtype == np.float32
    cosines = (found.directions * wanted.directions).sum(axis=1)
    assert cosines.min() > 0.99
    np.testing.assert_allclose(found.norms, wanted.norms, rtol=0.05)


# --- factors that nobody asks about --------------------------------------------------------------


def test_other_factors_become_weights_and_change_nothing(
    tuned: Callable[[str], ModelRef], llava: VLM
) -> None:
    vlm = VLM.load(tuned("llava"), "cpu", merge=False)
    wanted = gradients(llava, batch_of(llava, CONVERSATIONS))
    factors = Factors.find(vlm, ATTENTION)
    factors.merge_others(vlm)
    found = gradients(vlm, batch_of(vlm, CONVERSATIONS))
    np.testing.assert_allclose(found.norms, wanted.norms, rtol=1e-5)
    np.testing.assert_allclose(found.directions, wanted.directions, atol=1e-5)
    merged = {name: one.merged for name, one in vlm.model.named_modules() if hasattr(one, "merged")}
    assert {name for name, is_merged in merged.items() if not is_merged} == set(factors.layers)
    assert any(merged.values())


def test_half_precision_would_lose_small_factors_and_keeps_them_apart(
    tuned: Callable[[str], ModelRef],
) -> None:
    half = VLM.load(ModelRef(tuned("llava").name, dtype="bfloat16"), "cpu", merge=False)
    Factors.find(half, ATTENTION).merge_others(half)
    assert not any(getattr(one, "merged", False) for one in half.model.modules())


# --- what cannot be ------------------------------------------------------------------------------


def test_a_model_without_factors_is_refused(tiny_model: Callable[[str], Path]) -> None:
    plain = VLM.load(ModelRef(str(tiny_model("llava"))), "cpu", merge=False)
    with pytest.raises(ModelError, match="no low-rank factors"):
        Factors.find(plain, ATTENTION)


def test_a_name_that_no_layer_has_is_refused_with_those_there_are(llava: VLM) -> None:
    with pytest.raises(ModelError, match=r"none of a layer \"attention\"") as raised:
        Factors.find(llava, "attention")
    assert "self_attn.q_proj" in str(raised.value)
    assert "mlp.down_proj" in str(raised.value)


def test_factors_that_are_no_plain_pair_are_refused(
    tiny_model: Callable[[str], Path],
) -> None:
    import peft

    vlm = VLM.load(ModelRef(str(tiny_model("llava"))), "cpu")
    config = peft.LoraConfig(r=2, use_dora=True, target_modules=["q_proj"])
    peft.get_peft_model(vlm.model, config)
    with pytest.raises(ModelError, match="not one plain pair"):
        Factors.find(vlm, "language_model.*self_attn")


def test_a_layer_that_is_used_twice_is_refused(tuned: Callable[[str], ModelRef]) -> None:
    vlm = VLM.load(tuned("llava"), "cpu", merge=False)
    vlm.blocks[1] = vlm.blocks[0]
    with pytest.raises(ModelError, match="used twice"):
        gradients(vlm, batch_of(vlm, CONVERSATIONS[:1]))


@pytest.fixture(autouse=True)
def _grad_mode_as_it_was() -> Iterator[None]:
    yield
    assert torch.is_grad_enabled()
