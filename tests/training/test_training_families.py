"""Every family is trained, saved, and loaded back as it was when it was saved."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("peft", reason="peft is not installed")

from models.families import FAMILIES  # noqa: E402
from training.making import SHORT, make, mixed_pool, tensors  # noqa: E402
from visift.models.batch import Batch, Collator  # noqa: E402
from visift.models.ref import ModelRef  # noqa: E402
from visift.models.vlm import VLM  # noqa: E402
from visift.pool.pool import Pool  # noqa: E402
from visift.training.data import IGNORED, Reader, labels  # noqa: E402
from visift.training.job import Example  # noqa: E402
from visift.training.trainer import head_at_answers  # noqa: E402
from visift.training.weights import PROJECTOR  # noqa: E402


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return mixed_pool(tmp_path_factory.mktemp("pool"))


def batch_of(vlm: VLM, pool: Pool) -> Batch:
    reader = Reader(pool, Collator.of(vlm), 100_000)
    return reader.batch([Example(row, "") for row in range(len(pool))])


def logits_of(vlm: VLM, batch: Batch) -> torch.Tensor:
    with torch.inference_mode():
        return vlm.model(**batch.inputs).logits[batch.answers]


#: Families whose projector lies beside the vision tower, and inside it.
WITHOUT_PROJECTOR = ("llava", "qwen3_vl")


@pytest.mark.parametrize(
    ("family", "projector"),
    [*((name, True) for name in FAMILIES), *((name, False) for name in WITHOUT_PROJECTOR)],
)
def test_low_rank_factors_are_trained_and_load_back(
    family: str, projector: bool, tiny_model: Callable[[str], Path], pool: Pool, tmp_path: Path
) -> None:
    base = tiny_model(family)
    recipe = dataclasses.replace(SHORT, projector=projector, max_tokens=10_000, checkpointing=True)
    tuned, outcome = make(tmp_path, pool, recipe, str(base))
    assert (outcome.steps, outcome.left_out) == (2, {})
    saved = tensors(tuned.path)
    factors = {name for name in saved if "lora_" in name}
    others = set(saved) - factors
    assert bool(others) == projector
    assert all(PROJECTOR.search(name) for name in others)
    assert not any(part in name for name in factors for part in ("vision", "visual", "lm_head"))
    blocks = VLM.load(ModelRef(str(base)), "cpu").blocks
    linear = [m for m in blocks.modules() if isinstance(m, torch.nn.Linear)]
    assert len(factors) == 2 * len(linear)
    assert all(bool(saved[name].any()) for name in factors)  # B begins with zeros
    merged = VLM.load(tuned, "cpu")
    apart = VLM.load(ModelRef(str(tuned.path)), "cpu", merge=False)
    stored = dict(apart.model.named_parameters())
    for name, value in saved.items():
        inside = name.removeprefix("base_model.model.")
        places = [
            one
            for one in stored
            if one.replace(".default", "").replace(".modules_to_save", "") == inside
        ]
        assert [bool(torch.equal(stored[one], value)) for one in places] == [True], name
    batch = batch_of(merged, pool)
    assert torch.allclose(logits_of(merged, batch), logits_of(apart, batch), atol=1e-4)
    plain = logits_of(VLM.load(ModelRef(str(base)), "cpu"), batch)
    assert not torch.allclose(logits_of(merged, batch), plain, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_that_of_the_model_on_tokens_of_answers(
    family: str, tiny_model: Callable[[str], Path], pool: Pool
) -> None:
    vlm = VLM.load(ModelRef(str(tiny_model(family))), "cpu")
    batch = batch_of(vlm, pool)
    targets = labels(batch)
    shifted = targets[:, 1:]
    vlm.model.train()
    with head_at_answers(vlm.model, targets):
        logits = vlm.model(**batch.inputs, use_cache=False).logits
    ours = torch.nn.functional.cross_entropy(logits[0], shifted[shifted != IGNORED])
    theirs = vlm.model(**batch.inputs, labels=targets, use_cache=False).loss
    assert logits.shape[:2] == (1, int((shifted != IGNORED).sum()))
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
