"""What signals rely on in a vision-language model, for every family that is built here.

F(layer) is what block `layer` receives: it is checked against an ordinary full forward pass.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from models.families import BLOCKS, FAMILIES  # noqa: E402
from models.observing import inputs_of, parts  # noqa: E402
from models.pictures import SIZES, pictures  # noqa: E402
from visift.errors import ModelError  # noqa: E402
from visift.models.families import family_of  # noqa: E402
from visift.models.ref import ModelRef  # noqa: E402
from visift.models.vlm import VLM  # noqa: E402
from visift.signals.features import visual_features  # noqa: E402

LAYERS = range(BLOCKS + 1)


@pytest.fixture(scope="module", params=FAMILIES)
def vlm(request: pytest.FixtureRequest, tiny_model: Callable[[str], Path]) -> VLM:
    return VLM.load(ModelRef(str(tiny_model(request.param))), "cpu")


@pytest.fixture
def folder(tiny_model: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of a model folder that a test may change."""
    return shutil.copytree(tiny_model("llava"), tmp_path / "model")


# --- image positions -----------------------------------------------------------------------------


def test_the_model_puts_its_image_features_at_the_image_positions(vlm: VLM) -> None:
    inputs = vlm.image_inputs(pictures())
    positions = vlm.image_positions(inputs)
    visual = {k: v for k, v in inputs.items() if k.startswith(("pixel", "image"))}
    with torch.inference_mode():
        found = vlm.model.get_image_features(**visual).pooler_output
    inserted = torch.cat([one.reshape(-1, vlm.width) for one in found])
    assert int(positions.sum()) == len(inserted)
    assert torch.allclose(vlm.hidden_states(inputs, 0)[positions], inserted, atol=1e-6)


def test_elsewhere_the_decoder_receives_the_embeddings_of_the_tokens(vlm: VLM) -> None:
    inputs = vlm.image_inputs(pictures())
    text = ~vlm.image_positions(inputs)
    embedded = vlm.model.get_input_embeddings()(inputs["input_ids"][text])
    assert torch.allclose(vlm.hidden_states(inputs, 0)[text], embedded, atol=1e-6)


def test_image_positions_hold_the_image_token_and_no_padding(vlm: VLM) -> None:
    inputs = vlm.image_inputs(pictures())
    positions = vlm.image_positions(inputs)
    assert vlm.image_token in vlm.processor.image_token_ids
    assert bool((inputs["input_ids"][positions] == vlm.image_token).all())
    assert not bool((positions & (inputs["attention_mask"] == 0)).any())


def test_sequences_are_padded_on_the_right(vlm: VLM) -> None:
    mask = vlm.image_inputs(pictures())["attention_mask"]
    assert bool((mask[:, 0] == 1).all())
    assert bool((mask.diff(dim=1) <= 0).all())


# --- hidden states -------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_is_what_its_block_receives_in_a_full_forward(vlm: VLM, layer: int) -> None:
    inputs = vlm.image_inputs(pictures())
    with inputs_of(parts(vlm)) as seen, torch.inference_mode():
        vlm.model(**inputs)
    states = vlm.hidden_states(inputs, layer)
    assert states.shape == (*inputs["input_ids"].shape, vlm.width)
    real = inputs["attention_mask"].bool()
    assert torch.allclose(states[real], seen[layer][0][real], atol=1e-5)


@pytest.mark.parametrize("layer", LAYERS)
def test_nothing_after_the_layer_runs(vlm: VLM, layer: int) -> None:
    inputs = vlm.image_inputs(pictures()[:1])
    with inputs_of(parts(vlm)) as seen:
        vlm.hidden_states(inputs, layer)
    after = {number: len(calls) for number, calls in seen.items() if number > layer}
    assert len(vlm.blocks) == BLOCKS
    assert set(after.values()) == {0}
    assert all(len(seen[number]) == 1 for number in range(layer))


def test_stopping_leaves_nothing_behind_in_the_model(vlm: VLM) -> None:
    inputs = vlm.image_inputs(pictures()[:2])
    with torch.inference_mode():
        before = vlm.model(**inputs).logits
        vlm.hidden_states(inputs, 1)
        after = vlm.model(**inputs, output_hidden_states=True)
    assert torch.equal(before, after.logits)
    assert len(after.hidden_states) == BLOCKS + 1


@pytest.mark.parametrize("layer", [-1, BLOCKS + 1])
def test_a_layer_out_of_range_is_named_with_the_range(vlm: VLM, layer: int) -> None:
    with pytest.raises(ModelError, match=f"layer {layer} of a model with {BLOCKS} blocks") as info:
        vlm.receiver(layer)
    assert f"0 to {BLOCKS}" in str(info.value)


# --- features ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["mean", "last"])
@pytest.mark.parametrize("layer", [0, 2, BLOCKS])
def test_a_batch_gives_what_single_images_give(vlm: VLM, layer: int, pool: Any) -> None:
    images = pictures()
    batch = visual_features(vlm, images, layer, pool)
    single = [visual_features(vlm, [image], layer, pool)[0] for image in images]
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch, np.stack(single), atol=1e-5)
    if layer > 0 or pool == "mean":  # the last token may be one that ends every image
        assert np.abs(batch[0] - batch[1]).max() > 1e-2  # ... and images do differ


def test_pooling_is_over_the_image_positions_alone(vlm: VLM) -> None:
    images = pictures()
    inputs = vlm.image_inputs(images)
    states, positions = vlm.hidden_states(inputs, 2), vlm.image_positions(inputs)
    mean = visual_features(vlm, images, 2, "mean")
    last = visual_features(vlm, images, 2, "last")
    for i in range(len(images)):
        at = torch.nonzero(positions[i])[:, 0]
        np.testing.assert_allclose(mean[i], states[i, at].double().mean(0), atol=1e-6)
        np.testing.assert_array_equal(last[i], states[i, at[-1]])


@pytest.mark.parametrize("text", ["What is shown?", "Count the red shapes, then add nine."])
def test_text_after_the_image_would_not_change_its_value(vlm: VLM, text: str) -> None:
    if family_of(vlm.model.config.model_type).prefix_attention:
        pytest.skip("tokens of a prompt see all of it")
    image = pictures()[1]
    content = [{"type": "image"}, {"type": "text", "text": text}]
    prompt = vlm.processor.apply_chat_template([{"role": "user", "content": content}])
    assert text not in vlm.image_prompt()
    inputs = vlm.processor(images=[[image]], text=[prompt], return_tensors="pt")
    states = vlm.hidden_states(dict(inputs), 2)[vlm.image_positions(inputs)]
    alone = visual_features(vlm, [image], 2, "mean")[0]
    np.testing.assert_allclose(alone, states.mean(0), atol=1e-5)


def test_bfloat16_agrees_with_float32(vlm: VLM) -> None:
    half = VLM.load(ModelRef(vlm.name, dtype="bfloat16"), "cpu")
    assert half.model.dtype == torch.bfloat16
    for layer in LAYERS:
        fine = visual_features(vlm, pictures(), layer, "mean")
        rough = visual_features(half, pictures(), layer, "mean")
        error = np.linalg.norm(fine - rough, axis=1) / np.linalg.norm(fine, axis=1)
        assert error.max() < 2e-2


def test_values_do_not_depend_on_the_number_of_threads(vlm: VLM) -> None:
    before = torch.get_num_threads()
    one = visual_features(vlm, pictures(), 2, "mean")
    try:
        torch.set_num_threads(2)
        two = visual_features(vlm, pictures(), 2, "mean")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(one, two)


# --- prompts -------------------------------------------------------------------------------------


def test_without_a_chat_template_the_prompt_is_the_image_alone(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    vlm = VLM.load(ModelRef(str(folder)), "cpu")
    assert vlm.image_prompt() == "<image>\n"


def test_a_template_that_writes_the_first_token_does_not_double_it(folder: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    path = str(folder / "tokenizer.json")
    tokens = Tokenizer.from_file(path)
    begin = tokens.token_to_id("<s>")
    tokens.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", begin)])
    tokens.save(path)
    settings = folder / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"bos_token": "<s>"}))
    template = folder / "chat_template.jinja"
    for prefix in ("", "<s>"):
        template.write_text(prefix + template.read_text())
        ids = VLM.load(ModelRef(str(folder)), "cpu").image_inputs(pictures()[:1])["input_ids"][0]
        assert ids.tolist().count(begin) == 1
        assert ids[0] == begin


# --- models that cannot be used ------------------------------------------------------------------


def refusal(folder: Path) -> ModelError:
    with pytest.raises(ModelError) as info:
        VLM.load(ModelRef(str(folder)), "cpu")
    assert str(folder) in str(info.value)
    assert len(str(info.value)) < 700
    return info.value


def test_a_template_without_an_image_token_is_refused_at_once(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages[0]['role'] }}: look.")
    assert "image token" in str(refusal(folder))


def test_a_model_that_looks_at_images_by_cross_attention_is_refused(
    tiny_model: Callable[[str], Path],
) -> None:
    assert "cross-attention" in refusal(tiny_model("mllama")).what


def test_a_model_with_an_encoder_of_its_own_is_refused(folder: Path) -> None:
    from models.automatic import build

    model, processor = build("pix2struct")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    assert "encoder and a decoder" in refusal(folder).what


def test_inputs_may_be_lists(tiny_model: Callable[[str], Path]) -> None:
    """Some processors return images of several sizes, or counts, without a batch axis."""
    vlm = VLM.load(ModelRef(str(tiny_model("llava"))), "cpu")
    inputs = vlm.image_inputs(pictures()[:1])
    more: Any = {**inputs, "crops": [torch.ones(1), [2, 3]]}
    assert torch.equal(vlm.hidden_states(more, 1), vlm.hidden_states(inputs, 1))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    assert "config.json" in str(refusal(tmp_path))


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert "no such folder" in str(refusal(tmp_path / "nowhere"))


def test_a_language_model_without_images_is_refused(folder: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    tiny = LlamaConfig(vocab_size=64, hidden_size=64, intermediate_size=16, num_hidden_layers=1)
    LlamaForCausalLM(tiny).save_pretrained(folder)
    assert "LlamaConfig" in refusal(folder).what


def test_missing_weights_are_not_made_up(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "layers.2.mlp.up_proj" in name)
    save_file(
        {k: v for k, v in weights.items() if k != name},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    assert "layers.2.mlp.up_proj.weight" in refusal(folder).what


def test_cut_off_weights_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    assert "cannot be loaded" in refusal(folder).what


def test_the_built_in_model_is_one_of_them() -> None:
    ref = ModelRef("builtin:tiny")
    vlm = VLM.load(ref, "cpu")
    batch = visual_features(vlm, pictures(), 2, "mean")
    assert batch.shape == (len(SIZES), vlm.width)
    single = [visual_features(vlm, [image], 2, "mean")[0] for image in pictures()]
    np.testing.assert_allclose(batch, np.stack(single), atol=1e-5)
