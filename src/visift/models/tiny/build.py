"""Tokenizer, processor and untrained model of `builtin:tiny`, from configuration alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from visift.demo.scenes import SIZE
from visift.demo.tasks import TASKS, exchange
from visift.models.tiny.captions import REQUESTS, draw_pair, draw_text
from visift.models.vlm import import_transformers

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE_TOKENS = 16
PATCH = 16
POSITIONS = 4096
VOCABULARY = 640
# Of the drawn pictures, which are dark: with the usual 0.5 every patch starts almost the same.
PIXEL_MEAN = PIXEL_SPREAD = 0.2
SPECIAL = ("<pad>", "<s>", "</s>", "<image>")

# LLaVA's layout. An image part brings its own line break, so a text part's is dropped: a
# conversation reads the same whether it came as one string or as parts.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ 'USER: ' }}"
    "{% elif message['role'] == 'assistant' %}{{ 'ASSISTANT: ' }}{% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>\n' }}"
    "{% elif part['type'] == 'text' %}{{ part['text'].lstrip('\n') }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{% if message['role'] == 'assistant' %}{{ '</s>' }}{% else %}{{ ' ' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def build_processor(seed: int = 0) -> Any:
    """Train the tokenizer on captions and questions, and pair it with the image processor."""
    transformers = import_transformers()
    image_processor = transformers.CLIPImageProcessor(
        size={"shortest_edge": SIZE},
        crop_size={"height": SIZE, "width": SIZE},
        image_mean=[PIXEL_MEAN] * 3,
        image_std=[PIXEL_SPREAD] * 3,
    )
    return transformers.LlavaProcessor(
        image_processor=image_processor,
        tokenizer=_train_tokenizer(seed),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


def build_model(processor: Any, seed: int = 0) -> Any:
    """Initialise a LLaVA of about a million parameters."""
    transformers = import_transformers()
    tokenizer = processor.tokenizer
    vision = transformers.CLIPVisionConfig(
        hidden_size=96,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=SIZE,
        patch_size=PATCH,
        projection_dim=96,
    )
    text = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=POSITIONS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    config = transformers.LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=processor.image_token_id,
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = transformers.LlavaForConditionalGeneration(config)
    _spread_weights(model.model)
    return model


def _spread_weights(model: Any) -> None:
    """Initialise by fan-in: the library's 0.02 suits wide models and starves a width of 128.

    The position embedding starts as large as the patches', or a long time passes before the
    language model can tell one place from another.
    """
    for name, weight in model.named_parameters():
        if weight.ndim < 2 or "embed_tokens" in name or "vision_tower.encoder" in name:
            continue
        residual = name.endswith(("o_proj.weight", "down_proj.weight"))
        spread = 0.5 if residual or "position_embedding" in name else 1.0
        fan_in = 1 if "position_embedding" in name else weight[0].numel()
        torch.nn.init.normal_(weight, std=spread * fan_in**-0.5)


def _train_tokenizer(seed: int) -> Any:
    tokenizer = Tokenizer(models.BPE())
    # Digits alone, so that counts and sums are made of the same ten tokens.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(seed), trainer)
    pad, bos, eos, image = SPECIAL
    return import_transformers().PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        bos_token=bos,
        eos_token=eos,
        extra_special_tokens={"image_token": image},
        model_max_length=POSITIONS,
        padding_side="right",
    )


def _corpus(seed: int) -> Iterator[str]:
    rng = np.random.default_rng(seed)
    for _ in range(4000):
        yield f"ASSISTANT: {draw_pair(rng, 1.0)[1]}"
        yield f"ASSISTANT: {draw_text(rng)}"
        task = TASKS[int(rng.integers(len(TASKS)))]
        for question, answer in exchange(task, rng)[1]:
            yield f"USER: \n{question} ASSISTANT: {answer}"
    yield from (f"USER: \n{request}" for request in REQUESTS)
