"""Write docs/models.md, which model families work; run it as `python docs/make_models.py`.

Every entry of transformers' image-text-to-text mapping is built with tiny random weights and tried.
`pytest -m slow tests/models/test_models_page.py` fails where the page is not what this would write.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

DOCS = Path(__file__).parent
PAGE = DOCS / "models.md"
sys.path.insert(0, str(DOCS.parent / "tests"))

import torch  # noqa: E402

from models import automatic  # noqa: E402
from models.families import FAMILIES, save  # noqa: E402
from models.observing import inputs_of  # noqa: E402
from models.parts import t  # noqa: E402
from models.pictures import pictures  # noqa: E402
from visift.errors import VisiftError  # noqa: E402
from visift.models.answers import Asked, answer_losses, asking, why_not_packed  # noqa: E402
from visift.models.batch import Collator, Conversation  # noqa: E402
from visift.models.conditions import Condition, asked_as  # noqa: E402
from visift.models.ref import ModelRef  # noqa: E402
from visift.models.vlm import VLM  # noqa: E402
from visift.pool.record import Turn  # noqa: E402

_LONGEST = 160

_HEAD = """\
# Model families

Written by `docs/make_models.py` with transformers {version}. It builds every entry of its
image-text-to-text mapping with tiny random weights, and asks of each: do image tokens mark where
images stand, do the answers of a conversation get marked exactly, does a batch of rows with no, one
and two images give what each row gives alone (float32, 1e-5 of the largest value), and does the
forward pass stop where it should. Any model folder of a family that works can be given as
`--model`; what it is good for is not tried here.

Losses of answers, asked for with and without image and question, are compared with those of
separate full forward passes (1e-3). Packed: what the conversations of a record have in common goes
through the language model once. Separate: only images are read once, for the reason given.

{works} of {tried} entries work. Those marked *suite* also pass the whole conformance suite
(`tests/models/test_conformance.py`), with a chat template in the shape of the family's own.

| `model_type` | class | tried | losses |
|---|---|---|---|
"""

_REST = """
## The others

Refused: visift says so before the first image. Not built, or fails: the rules that make tiny models
(`tests/models/automatic.py`) gave none, or one whose parts do not fit together; neither says
anything of the family itself.

| `model_type` | class | |
|---|---|---|
"""


def page() -> str:
    """Return the page."""
    working, others = [], []
    for name, made in sorted(automatic.mapping().items()):
        verdict, losses = _verdict(name)
        if verdict:
            others.append(f"| {name} | {made} | {verdict} |")
        else:
            tried = "suite" if name in FAMILIES else "by rule"
            working.append(f"| {name} | {made} | {tried} | {losses} |")
    head = _HEAD.format(version=t.__version__, works=len(working), tried=len(working) + len(others))
    return head + "\n".join(working) + "\n" + _REST + "\n".join(others) + "\n"


def _verdict(name: str) -> tuple[str, str]:
    """Return why an entry does not work, nothing where it does, and how losses are computed."""
    with tempfile.TemporaryDirectory() as folder:
        if name in FAMILIES:
            vlm = VLM.load(ModelRef(str(save(name, Path(folder)))), "cpu")
            return "", _losses(vlm)
        try:
            model, processor = automatic.build(name)
        except Exception as error:  # of any kind: parts that nobody put together before
            return f"not built: {_line(error)}", ""
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        del model
        try:
            vlm = VLM.load(ModelRef(folder), "cpu")
            _try(vlm)
        except VisiftError as error:
            return f"refused: {_line(error.what)}", ""
        except Exception as error:
            return f"fails: {_line(error)}", ""
        return "", _losses(vlm)


def _losses(vlm: VLM) -> str:
    """Return how the losses of answers are computed, and whether they are right."""
    collate, talks = Collator.of(vlm), _conversations()[0][:2]
    try:
        why = why_not_packed(vlm, collate)
        with asking(vlm):
            asked = [
                Asked(collate([asked_as(talk, way) for talk in talks]), tuple(range(len(talks))))
                for way in get_args(Condition)
            ]
            found = answer_losses(vlm, asked, "always" if why is None else "never")
            for one, some in zip(asked, found, strict=True):
                _close_losses(vlm, one, some)
    except Exception as error:
        return f"fails: {_line(error)}"
    return "packed" if why is None else f"separate: {_line(why)}"


def _close_losses(vlm: VLM, asked: Asked, found: Sequence[Any]) -> None:
    logits = vlm.model(**vlm.moved(asked.batch.inputs), use_cache=False).logits.float()
    targets = asked.batch.inputs["input_ids"][:, 1:, None]
    losses = -logits[:, :-1].log_softmax(dim=-1).gather(2, targets)[..., 0]
    for row, losses_of_row in enumerate(found):
        wanted = losses[row][asked.batch.answers[row, 1:]]
        if not torch.allclose(wanted, losses_of_row, rtol=0, atol=1e-3):
            raise AssertionError(f"differ by {float((wanted - losses_of_row).abs().max()):.1g}")


def _line(error: object) -> str:
    kind = f"{type(error).__name__}: " if isinstance(error, Exception) else ""
    text = " ".join(f"{kind}{error}".split())
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    for sign in "\\|<>*_[]`":
        text = text.replace(sign, f"\\{sign}")
    return text


def _try(vlm: VLM) -> None:
    """Raise unless whole conversations can be read with a model."""
    collate, last = Collator.of(vlm), len(vlm.blocks)
    conversations, answers = _conversations()
    batch = collate(conversations)
    together = vlm.hidden_states(batch.inputs, last)
    with inputs_of(list(vlm.blocks)) as seen, torch.inference_mode():
        # Some image processors return bfloat16 whatever the model is.
        floats = {k: v.float() for k, v in batch.inputs.items() if k.startswith("pixel_values")}
        vlm.model(**batch.inputs | floats)
    real = batch.inputs["attention_mask"].bool()
    _close("stopping early", vlm.hidden_states(batch.inputs, 1)[real], seen[1][0][real])
    for row, conversation in enumerate(conversations):
        one = collate([conversation])
        length = one.answers.shape[1]
        alone = vlm.hidden_states(one.inputs, last)[0]
        marked = vlm.processor.tokenizer.decode(one.inputs["input_ids"][0][one.answers[0]])
        if marked != answers[row]:
            raise AssertionError(f"marks {marked!r} where the answers are {answers[row]!r}")
        _close("a row alone and in a batch", together[row, :length], alone)


def _close(what: str, states: Any, others: Any) -> None:
    most = float(others.abs().max())
    if not torch.allclose(states, others, rtol=0, atol=1e-5 * max(most, 1.0)):
        raise AssertionError(f"{what} differ by {float((states - others).abs().max()):.1g}")


def _conversations() -> tuple[list[Conversation], list[str]]:
    one, two = pictures()[:2]
    said: Sequence[tuple[tuple[str, ...], tuple[Any, ...]]] = [
        (("<image>\nWhat is it?", "A cat.", "And its colour?", "Black"), (one,)),
        (("Say hello.", "Hello!"), ()),
        (("First <image> then <image>: the same?", "No."), (two, one)),
    ]
    made, answers = [], []
    for texts, images in said:
        turns = tuple(
            Turn("assistant" if number % 2 else "user", text) for number, text in enumerate(texts)
        )
        made.append(Conversation(turns, images))
        answers.append("".join(f"{text}<eot>" for text in texts[1::2]))
    return made, answers


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    PAGE.write_text(page(), encoding="utf-8")
