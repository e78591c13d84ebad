"""Mean hidden states of records: later tokens weigh more, and padding weighs nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from models.pictures import pictures  # noqa: E402
from visift.models.batch import Collator, Conversation  # noqa: E402
from visift.models.ref import ModelRef  # noqa: E402
from visift.models.vlm import VLM  # noqa: E402
from visift.pool.record import Record, Turn  # noqa: E402
from visift.signals.cost import Load  # noqa: E402
from visift.signals.hidden import HIDDEN, HiddenMean, weighted_mean  # noqa: E402
from visift.signals.signal import ImageItem, RecordItem  # noqa: E402


def item(question: str, answer: str, images: int = 0) -> RecordItem:
    turns = (Turn("user", question), Turn("assistant", answer))
    shown = tuple(ImageItem(f"{n}.png", partial(pictures().__getitem__, n)) for n in range(images))
    return RecordItem(Record("", turns, (), None, None, "", b""), shown)


ITEMS = [
    item("<image>\nWhat is it?", "A cat.", 1),
    item("Say hello.", "Hello! " * 9),
    item("<image> and <image>?", "Both.", 2),
]


@pytest.fixture(scope="module")
def ref(tiny_model: Callable[[str], Path]) -> ModelRef:
    return ModelRef(str(tiny_model("llava")), dtype="float32")


def measure(signal: HiddenMean, items: list[RecordItem]) -> Any:
    return signal.open("cpu")(items)


def test_the_t_th_token_weighs_t() -> None:
    states = torch.tensor([[1.0, 0], [0, 1], [1, 1]])
    assert weighted_mean(states).numpy() == pytest.approx([2 / 3, 5 / 6], abs=1e-6)


def test_a_value_is_the_mean_of_the_model_s_own_last_states(ref: ModelRef) -> None:
    found = measure(HiddenMean(ref), ITEMS)
    vlm = VLM.load(ref, "cpu")
    for number, one in enumerate(ITEMS):
        images = tuple(image.load() for image in one.images)
        batch = Collator.of(vlm)([Conversation(one.record.turns, images)])
        with torch.inference_mode():
            out = vlm.model(**vlm.moved(batch.inputs), output_hidden_states=True)
        h = out.hidden_states[-1][0].double().numpy()
        t = np.arange(1, len(h) + 1)
        assert found.columns[HIDDEN][number] == pytest.approx(t @ h / t.sum(), abs=1e-5)


def test_a_record_alone_is_a_record_among_others(ref: ModelRef) -> None:
    signal = HiddenMean(ref)
    together = measure(signal, ITEMS).columns[HIDDEN]
    for number, one in enumerate(ITEMS):
        assert together[number] == pytest.approx(
            measure(signal, [one]).columns[HIDDEN][0], abs=1e-5
        )


def test_what_cannot_be_cut_has_a_reason_and_harms_no_other(ref: ModelRef) -> None:
    long = item("<image>\n<image>\n<image>\n<image>\nWhich?", "This.", 4)
    found = measure(HiddenMean(ref, max_tokens=60), [ITEMS[1], long])
    assert found.reasons[0] is None
    assert "take more than 60 tokens" in found.reasons[1]
    assert not found.columns[HIDDEN][1].any()


def test_one_forward_a_record_is_planned() -> None:
    cost = HiddenMean(None).cost(Load(items=4, text_tokens=80, images=2))
    assert (cost.forwards_full, cost.backwards, cost.tokens) == (4, 0, None)
