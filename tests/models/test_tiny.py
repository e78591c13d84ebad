"""`builtin:tiny` is a real LLaVA in small: aligned, and able to learn what the demo asks."""

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from visift.demo.scenes import draw_scene  # noqa: E402
from visift.demo.tasks import describe  # noqa: E402
from visift.models.tiny.batches import Example, collate, prompt  # noqa: E402
from visift.models.tiny.train import CHECKPOINT  # noqa: E402


@pytest.fixture(scope="module")
def processor():
    return transformers.AutoProcessor.from_pretrained(CHECKPOINT)


@pytest.fixture(scope="module")
def model():
    return transformers.AutoModelForImageTextToText.from_pretrained(CHECKPOINT).eval()


CONVERSATIONS = [
    [
        {"role": "user", "content": "<image>\nCount the shapes."},
        {"role": "assistant", "content": "3"},
    ],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "<image>\nWhat shape is this?"},
        {"role": "assistant", "content": "ring"},
        {"role": "user", "content": "And which colour?"},
        {"role": "assistant", "content": "dark red"},
    ],
]


def test_the_checkpoint_is_small_enough_to_ship():
    assert sum(path.stat().st_size for path in CHECKPOINT.iterdir()) <= 5_000_000


def test_it_is_a_llava_of_about_a_million_parameters(model):
    assert model.config.model_type == "llava"
    assert 0.9e6 < sum(parameter.numel() for parameter in model.parameters()) < 1.3e6
    assert model.dtype == torch.float32


def test_it_has_blocks_enough_and_positions_enough(model):
    assert model.config.text_config.num_hidden_layers >= 3
    assert model.config.text_config.max_position_embeddings >= 2048


def test_digits_are_single_tokens(processor):
    tokenizer = processor.tokenizer
    assert len(tokenizer) <= 1024
    ids = tokenizer("0123456789", add_special_tokens=False)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == list("0123456789")


def test_any_text_survives_the_tokenizer(processor):
    text = "12 rings – größer\nthan 3? ✓"
    ids = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert processor.tokenizer.decode(ids) == text


def test_an_image_becomes_sixteen_tokens(processor, model):
    image = Image.fromarray(draw_scene(np.random.default_rng(0), 2).pixels())
    text = processor.apply_chat_template(CONVERSATIONS[0], tokenize=False)
    batch = processor(images=[image], text=[text], return_tensors="pt")
    assert int((batch["input_ids"] == model.config.image_token_id).sum()) == 16
    assert batch["pixel_values"].shape == (1, 3, 64, 64)
    assert model(**batch).logits.shape[1] == batch["input_ids"].shape[1]


def test_images_of_any_size_and_mode_are_taken(processor):
    image = Image.new("L", (200, 90))
    batch = processor(images=[image], text=["<image>"], return_tensors="pt")
    assert batch["pixel_values"].shape == (1, 3, 64, 64)


@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_a_prompt_is_a_prefix_of_the_conversation_it_opens(processor, conversation):
    def render(messages, **options):
        return processor.apply_chat_template(messages, tokenize=False, **options)

    def ids(text):
        return processor.tokenizer(text, add_special_tokens=False)["input_ids"]

    full = render(conversation)
    for at, message in enumerate(conversation):
        if message["role"] == "assistant":
            opening = render(conversation[:at], add_generation_prompt=True)
            assert full.startswith(opening)
            assert ids(full)[: len(ids(opening))] == ids(opening)
            assert render(conversation[: at + 1]).endswith(message["content"] + "</s>")


def test_parts_render_like_a_string(processor):
    parts = [
        {"type": "image"},
        {"type": "text", "text": "Count the shapes."},
    ]
    as_parts = [{"role": "user", "content": parts}, CONVERSATIONS[0][1]]
    assert processor.apply_chat_template(as_parts, tokenize=False) == processor.apply_chat_template(
        CONVERSATIONS[0], tokenize=False
    )


def test_training_batches_are_what_the_processor_makes(processor):
    scene = draw_scene(np.random.default_rng(3), 4)
    example = Example((scene,), "Count the shapes.", "4")
    messages = [
        {"role": "user", "content": "<image>\nCount the shapes."},
        {"role": "assistant", "content": "4"},
    ]
    text = processor.apply_chat_template(messages, tokenize=False)
    batch = processor(images=[Image.fromarray(scene.pixels())], text=[text], return_tensors="pt")
    ours = collate(processor, [example])
    assert torch.equal(ours["input_ids"], batch["input_ids"])
    assert torch.allclose(ours["pixel_values"], batch["pixel_values"], atol=1e-6)
    told = ours["labels"][ours["labels"] >= 0]
    assert processor.tokenizer.decode(told) == " 4</s>"
    assert text.startswith(prompt(Example((), "", "")))


def test_captions_fit_their_own_picture_far_better_than_another(processor, model):
    rng = np.random.default_rng(7)
    scenes = [draw_scene(rng, 1 + number % 3) for number in range(32)]

    def loss(pictures):
        captions = zip(pictures, (describe(scene.things) for scene in scenes), strict=True)
        examples = [Example((one,), "Describe the picture.", told) for one, told in captions]
        with torch.no_grad():
            return float(model(**collate(processor, examples)).loss)

    assert loss(scenes) < 0.5 * loss(scenes[3:] + scenes[:3])


@pytest.mark.slow
def test_it_learns_every_task_it_must_to_twice_chance():
    from visift.models.tiny.check import DEMANDED, check

    learnt = {row.task: row for row in check()}
    assert all(learnt[task].passed for task in DEMANDED), learnt
