"""Ratings of fourteen capabilities and styles, against fifteen generations for every record."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import losses
from benchmarks.harness import best_of
from benchmarks.table import Line

RECORDS, QUICK_RECORDS = 4, 1
BATCH = 4
RATINGS = ("0", "1", "2", "3", "4", "5")
#: How much stronger than others the tokens speak that make the model reply a number and stop.
LOUD, SURE = 0.5, 1.0


def run(folder: Path, quick: bool) -> Iterator[Line]:
    """Yield the lines of this benchmark, on a model with random weights that replies numbers."""
    records = QUICK_RECORDS if quick else RECORDS
    with tempfile.TemporaryDirectory(dir=folder) as model:
        build_model(Path(model))
        single = best_of(1, run_generations, model, records, 1)
        batched = best_of(1, run_generations, model, records, BATCH)
        signal = best_of(1, run_signals, model, records)
    size = f"{records} records, {losses.IMAGE_TOKENS} image tokens, 14 capabilities and styles"
    yield Line.of(f"ratings: fifteen generations a record, one at a time ({size})", single, "1")
    yield Line.of(
        f"ratings: fifteen generations in batches of {BATCH}",
        batched,
        f"{single.seconds / batched.seconds:.2f} x as fast",
        *_equal(single.value, batched.value),
    )
    yield Line.of(
        "ratings: CapabilityRatings and InteractionStyles",
        signal,
        f"{single.seconds / signal.seconds:.2f} x and {batched.seconds / signal.seconds:.2f} x as "
        f"fast ({records / signal.seconds:.2f} a s)",
        *_equal(single.value, signal.value),
    )


Result = tuple[NDArray[np.float32], NDArray[np.float32]]


def _equal(one: Result, other: Result) -> tuple[str, float]:
    """Compare ratings, which must be the same, and probabilities, stored in half precision."""
    difference = float(np.abs(one[1] - other[1]).max())
    same = int((one[0] == other[0]).sum())
    return f"{same} of {one[0].size} ratings, probabilities within {difference:.1e}", difference


def run_signals(model: str, records: int) -> Generator[None, None, Result]:
    """As a job: ratings (14, n) and probabilities (14, n, 6) by the package's signals."""
    from visift.annotate.capabilities import CAPABILITIES, STYLES
    from visift.models.ref import ModelRef
    from visift.signals.ratings import CapabilityRatings
    from visift.signals.styles import InteractionStyles

    ref = ModelRef(model, dtype="float32")
    rate = CapabilityRatings(ref, CAPABILITIES).open("cpu")
    name = InteractionStyles(ref, STYLES).open("cpu")
    items = losses.made_items(records)
    yield
    found = rate(items).columns
    name(items)
    yield
    scores = np.stack([found[f"score.{key}"] for key in CAPABILITIES])
    likely = np.stack([found[f"p.{key}"] for key in CAPABILITIES])
    return scores, likely.astype(np.float32)


def run_generations(model: str, records: int, batch: int) -> Generator[None, None, Result]:
    """As a job: the same by generation, and what that costs for styles, too."""
    from visift.annotate.capabilities import CAPABILITIES, STYLES
    from visift.models.ref import ModelRef
    from visift.models.vlm import VLM
    from visift.signals.rating_prompts import QUERY, STYLE_QUERY, rating_query, style_query

    vlm = VLM.load(ModelRef(model, dtype="float32"), "cpu")
    items = losses.made_items(records)
    queries = [rating_query(QUERY, key) for key in CAPABILITIES]
    scores = np.empty((len(queries), records), np.float32)
    likely = np.empty((len(queries), records, len(RATINGS)), np.float32)
    yield
    for start in range(0, records, batch):
        some = slice(start, start + batch)
        for number, query in enumerate(queries):
            scores[number, some], likely[number, some] = _generate(vlm, items[some], query)
        _generate(vlm, items[some], style_query(STYLE_QUERY, STYLES))
    yield
    return scores, likely


def _generate(
    vlm: Any, items: Sequence[Any], query: str
) -> tuple[list[float], NDArray[np.float32]]:
    """Return replies as numbers, and the probabilities of the digits where replies begin."""
    import torch

    from visift.models.batch import Collator
    from visift.models.vlm import one_cpu_thread
    from visift.signals.rating_prompts import rating_turns, with_reply
    from visift.signals.rating_replies import rating

    template, words = Collator.of(vlm).template, vlm.processor.tokenizer
    prompts = [
        template.prompts(with_reply(rating_turns(one.record.turns, query), ""), 1)[0]
        for one in items
    ]
    images = [[image.load() for image in one.images] for one in items]
    words.padding_side = "left"
    inputs = vlm.processor(images=images, text=prompts, padding=True, return_tensors="pt")
    with torch.inference_mode(), one_cpu_thread():
        made = vlm.model.generate(
            **inputs,
            max_new_tokens=16,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
    new = made.sequences[:, inputs["input_ids"].shape[1] :]
    replies = words.batch_decode(new, skip_special_tokens=True)
    digits = words.convert_tokens_to_ids(list(RATINGS))
    likely = made.logits[0][:, digits].float().softmax(dim=-1).numpy()
    return [rating(reply) for reply in replies], likely


# --- model ---------------------------------------------------------------------------------------


def build_model(folder: Path) -> None:
    """Write the model of the losses' benchmark, which knows the words of queries as well.

    Its weights are random but for this: whatever it read, a number follows the end of a prompt,
    and the end of the turn follows a number.
    """
    import torch
    from tokenizers import AddedToken

    from visift.annotate.capabilities import CAPABILITIES, STYLES
    from visift.models.vlm import import_transformers
    from visift.signals.rating_prompts import QUERY, STYLE_QUERY, rating_query, style_query

    losses.build_model(folder)
    transformers = import_transformers()
    model = transformers.LlavaForConditionalGeneration.from_pretrained(folder)
    processor = transformers.LlavaProcessor.from_pretrained(folder)
    said = " ".join([*(rating_query(QUERY, one) for one in CAPABILITIES), *RATINGS])
    said += f" {style_query(STYLE_QUERY, STYLES)} Question: Answer:"
    words = processor.tokenizer
    words.add_tokens([AddedToken(one, single_word=True) for one in dict.fromkeys(said.split())])
    model.resize_token_embeddings(len(words), mean_resizing=False)
    embedding = model.get_input_embeddings().weight
    head = model.get_output_embeddings().weight
    asked, *digits = words.convert_tokens_to_ids(["ASSISTANT:", *RATINGS])
    with torch.no_grad():
        for token in (asked, *digits):
            embedding[token] *= LOUD / embedding[token].std()
        head[digits] += SURE * embedding[asked] / embedding[asked].norm()
        directions = embedding[digits] / embedding[digits].norm(dim=1, keepdim=True)
        head[words.eos_token_id] += SURE * directions.sum(dim=0)
    model.generation_config.eos_token_id = words.eos_token_id
    model.generation_config.pad_token_id = words.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
