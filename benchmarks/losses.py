"""Losses of answers with and without their questions, against two passes over every record."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import llava_like
from benchmarks.harness import best_of
from benchmarks.table import Line

SIDE, PATCH = 336, 14
IMAGE_TOKENS = (SIDE // PATCH) ** 2
#: Vision tower, language model and output layer have the shares of LLaVA-1.5-7B's parameters.
WIDTH, BLOCKS, VISION_WIDTH, VISION_BLOCKS, WORDS = 768, 8, 192, 4, 1500
RECORDS, QUICK_RECORDS = 32, 4
QUESTION_WORDS, TOKENS_PER_WORD = 18, 1.3
BATCH = 8
RUNS = 2
CONDITIONS = ("given", "no_question")
NAMES = ("nll", "nll_no_question")

_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] %}"
    "{{ '<image>' if part['type'] == 'image' else part['text'] }}{{ ' ' }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
_SPECIAL = ("<pad>", "<unk>", "</s>", "<image>", "USER:", "ASSISTANT:")


def run(folder: Path, quick: bool) -> Iterator[Line]:
    """Yield the lines of this benchmark, on a model with random weights made for it."""
    records, runs = (QUICK_RECORDS, 1) if quick else (RECORDS, RUNS)
    with tempfile.TemporaryDirectory(dir=folder) as model:
        build_model(Path(model))
        single = best_of(runs, run_passes, model, records, 1)
        batched = best_of(runs, run_passes, model, records, BATCH)
        signal = best_of(runs, run_signal, model, records)
    size = f"{records} records, {IMAGE_TOKENS} image tokens, {BLOCKS} blocks of width {WIDTH}"
    yield Line.of(
        f"losses: two full passes, one record at a time ({size})",
        single,
        f"1 ({records / single.seconds:.2f} a s)",
    )
    yield Line.of(
        f"losses: two full passes, batches of {BATCH} by length",
        batched,
        f"{single.seconds / batched.seconds:.2f} x as fast ({records / batched.seconds:.2f} a s)",
        *_equal(single.value, batched.value),
    )
    yield Line.of(
        "losses: AnswerLoss",
        signal,
        f"{single.seconds / signal.seconds:.2f} x and {batched.seconds / signal.seconds:.2f} x as "
        f"fast ({records / signal.seconds:.2f} a s)",
        *_equal(single.value, signal.value),
    )


def _equal(one: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[str, float]:
    difference = float(np.abs(one - other).max())
    return f"largest difference {difference:.1e}", difference


def run_signal(model: str, records: int) -> Generator[None, None, NDArray[np.float32]]:
    """As a job: (2, records) losses by the package's signal."""
    from visift.models.ref import ModelRef
    from visift.signals.losses import AnswerLoss

    measure = AnswerLoss(ModelRef(model, dtype="float32"), CONDITIONS).open("cpu")
    items = made_items(records)
    measure(items[:1])
    yield
    values = measure(items)
    yield
    return np.stack([values.columns[name] for name in NAMES])


def run_passes(model: str, records: int, batch: int) -> Generator[None, None, NDArray[np.float32]]:
    """As a job: the same from the logits of forward passes, one for each condition."""
    from visift.models.batch import Collator, Conversation
    from visift.models.ref import ModelRef
    from visift.models.vlm import VLM

    vlm = VLM.load(ModelRef(model, dtype="float32"), "cpu")
    collate, items = Collator.of(vlm), made_items(records)
    lengths = [sum(len(turn.text) for turn in item.record.turns) for item in items]
    order = np.argsort(lengths, kind="stable") if batch > 1 else np.arange(records)
    losses = np.empty((len(CONDITIONS), records), np.float32)

    def measure(numbers: NDArray[np.int64]) -> None:
        some = [items[n] for n in numbers]
        talks = [Conversation(i.record.turns, tuple(x.load() for x in i.images)) for i in some]
        losses[:, numbers] = _two_passes(vlm, collate, talks)

    measure(order[:1])
    yield
    for start in range(0, records, batch):
        measure(order[start : start + batch])
    yield
    return losses


def _two_passes(vlm: Any, collate: Any, talks: Sequence[Any]) -> NDArray[np.float32]:
    import torch

    from visift.models.conditions import asked_as
    from visift.models.vlm import one_cpu_thread

    means = []
    for condition in CONDITIONS:
        batch = collate([asked_as(talk, condition) for talk in talks])  # type: ignore[arg-type]
        with torch.inference_mode(), one_cpu_thread():
            logits = vlm.model(**batch.inputs, use_cache=False).logits
            targets = batch.inputs["input_ids"][:, 1:]
            losses = torch.nn.functional.cross_entropy(
                logits[:, :-1].transpose(1, 2), targets, reduction="none"
            )
        marked = batch.answers[:, 1:]
        means.append(((losses * marked).sum(dim=1) / marked.sum(dim=1)).numpy())
    return np.stack(means)


# --- records -------------------------------------------------------------------------------------


def made_items(records: int) -> list[Any]:
    """Return records with an image each, in the mixture of LLaVA-665K and as long as its are."""
    from visift.pool.record import Record, Turn
    from visift.signals.signal import ImageItem, RecordItem

    rng = np.random.default_rng(0)
    shown = [source for source in llava_like.SOURCES.values() if source[1] is not None]
    shares = np.array([count for count, *_ in shown]) / sum(count for count, *_ in shown)
    items = []
    for number in range(records):
        _, _, (fewest, most), words = shown[rng.choice(len(shown), p=shares)]
        pairs = int(rng.integers(fewest, most + 1))
        texts = [_words(rng, words if i % 2 else QUESTION_WORDS) for i in range(2 * pairs)]
        texts[0] = f"<image>\n{texts[0]}"
        turns = tuple(Turn("assistant" if i % 2 else "user", text) for i, text in enumerate(texts))
        record = Record("", turns, (), None, None, "", b"")
        items.append(RecordItem(record, (ImageItem(str(number), partial(_image, number)),)))
    return items


def _words(rng: np.random.Generator, about: int) -> str:
    count = max(1, round(about * TOKENS_PER_WORD * rng.uniform(0.5, 1.5)))
    return " ".join(f"w{word}" for word in rng.integers(0, WORDS, count))


def _image(number: int) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


# --- model ---------------------------------------------------------------------------------------


def build_model(folder: Path) -> None:
    """Write a LLaVA with LLaVA-1.5's image tokens, narrow, random weights."""
    from visift.models.vlm import import_transformers

    transformers = import_transformers()
    processor = _processor(transformers)
    words = processor.tokenizer
    vision = transformers.CLIPVisionConfig(
        hidden_size=VISION_WIDTH,
        intermediate_size=4 * VISION_WIDTH,
        num_hidden_layers=VISION_BLOCKS,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=PATCH,
    )
    text = transformers.LlamaConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        intermediate_size=2064,
        num_hidden_layers=BLOCKS,
        num_attention_heads=8,
        max_position_embeddings=2048,
        pad_token_id=words.pad_token_id,
    )
    config = transformers.LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_seq_length=IMAGE_TOKENS,
    )
    transformers.set_seed(0)
    transformers.LlavaForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)


def _processor(transformers: Any) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    names = [*_SPECIAL, *(f"w{number}" for number in range(WORDS))]
    words = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessor(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
        ),
        tokenizer=transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            pad_token="<pad>",
            unk_token="<unk>",
            eos_token="</s>",
            extra_special_tokens={"image_token": "<image>"},
        ),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_TEMPLATE,
    )
