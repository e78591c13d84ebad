"""Steps of Adam on single gradients, against what torch's Adam does and the form as printed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from safetensors.torch import save_file  # noqa: E402

from visift.errors import ModelError  # noqa: E402
from visift.models.kept import BETAS, EPSILON, OPTIMIZER, Adam, kept_in  # noqa: E402


def test_the_step_as_printed() -> None:
    """(b1 m + (1 - b1) g) / (sqrt(b2 v + (1 - b2) g^2) + eps), with m = 2, v = 4."""
    state = Adam({"a": torch.tensor([[2.0, 0.0]])}, {"a": torch.tensor([[4.0, 0.0]])})
    step = state.step("a", torch.tensor([[[1.0, 3.0]], [[0.0, 0.0]]]))
    first = (0.9 * 2 + 0.1 * 1) / (4 * 0.999 + 0.001 * 1) ** 0.5
    nothing_before = 0.1 * 3 / (0.001 * 9) ** 0.5
    without = 0.9 * 2 / (4 * 0.999) ** 0.5
    np.testing.assert_allclose(step, [[[first, nothing_before]], [[without, 0]]], rtol=1e-6)


def test_the_next_step_of_torch_points_the_same_way() -> None:
    weight = torch.zeros(3, 5, requires_grad=True)
    optimizer = torch.optim.AdamW([weight], lr=1.0, betas=BETAS, eps=EPSILON, weight_decay=0)
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(7, 3, 5, generator=generator)
    for gradient in gradients[:-1]:
        weight.grad = gradient
        optimizer.step()
    state = optimizer.state[weight]
    adam = Adam({"w": state["exp_avg"].clone()}, {"w": state["exp_avg_sq"].clone()})
    found = adam.step("w", gradients[-1:])[0]
    before = weight.detach().clone()
    weight.grad = gradients[-1]
    optimizer.step()
    taken = before - weight.detach()
    cosine = torch.nn.functional.cosine_similarity(found.flatten(), taken.flatten(), dim=0)
    assert float(cosine) == pytest.approx(1, abs=1e-6)


def test_a_checkpoint_without_a_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no state of an optimiser"):
        Adam.read(tmp_path, ["a"], "cpu")
    folder = kept_in(tmp_path, 2)
    folder.mkdir()
    save_file({"a.weight.exp_avg": torch.zeros(1, 1)}, folder / OPTIMIZER)
    with pytest.raises(ModelError, match=r"no state of an optimiser .*a\.weight\.exp_avg_sq"):
        Adam.read(folder, ["a"], "cpu")
