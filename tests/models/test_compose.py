"""A LLaVA put together from parts is the LLaVA one would build by hand from them."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from PIL import Image  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from models.llava_parts import (  # noqa: E402
    BLOCKS,
    PATCH,
    PIXELS,
    TOKENS,
    VISION_WIDTH,
    WIDTH,
    PublishedParts,
    projector_tensors,
    save_image_processor,
    save_parts,
    save_tokenizer,
    t,
)
from visift.errors import InputError, ModelError, StorageError, VisiftError  # noqa: E402
from visift.models.compose import Parts, compose  # noqa: E402
from visift.models.ref import ModelRef, digest  # noqa: E402
from visift.models.vlm import VLM  # noqa: E402
from visift.models.weights import Stored, tensors_of_folder, write_shards  # noqa: E402

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions. "
)


def read(parts: PublishedParts) -> Parts:
    return Parts.read(str(parts.llm), str(parts.vision), parts.projector)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> PublishedParts:
    """Parts that no test changes."""
    return save_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def composed(parts: PublishedParts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compose(read(parts), tmp_path_factory.mktemp("composed") / "llava").folder


# --- what is written ------------------------------------------------------------------------------


def by_hand(parts: PublishedParts) -> Any:
    """Build the LLaVA of the same parts from its classes, in float32."""
    config = t.LlavaConfig(
        vision_config=parts.clip.config.vision_config.to_dict(),
        text_config={
            **parts.language_model.config.to_dict(),
            "vocab_size": 320,
            "dtype": "float32",
        },
        image_token_index=TOKENS,
        image_seq_length=(PIXELS // PATCH) ** 2,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    model = t.LlavaForConditionalGeneration(config)
    language = parts.language_model.float()
    rows = language.lm_head.weight, language.model.embed_tokens.weight
    head, embedding = (
        torch.cat([one, one.double().mean(0).half().float().expand(320 - TOKENS, -1)])
        for one in rows
    )
    inner = {**language.model.state_dict(), "embed_tokens.weight": embedding}
    model.model.language_model.load_state_dict(inner)
    model.lm_head.load_state_dict({"weight": head})
    model.model.vision_tower.load_state_dict(parts.clip.vision_model.state_dict())
    layers = {0: "linear_1", 2: "linear_2"}
    projector = {
        f"{layers[n]}.{kind}": parts.tensors[f"model.mm_projector.{n}.{kind}"].float()
        for n in layers
        for kind in ("weight", "bias")
    }
    model.model.multi_modal_projector.load_state_dict(projector)
    return model.eval()


def test_logits_are_those_of_the_model_built_by_hand(parts: PublishedParts, composed: Path) -> None:
    model, found = t.AutoModelForImageTextToText.from_pretrained(
        composed, dtype=torch.float32, output_loading_info=True
    )
    assert not any(found[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    processor = t.AutoProcessor.from_pretrained(composed)
    images = [Image.linear_gradient("L").convert("RGB"), Image.new("RGB", (90, 40), "teal")]
    text = [f"{SYSTEM}USER: <image>\nwhat? ASSISTANT: that.</s>", "USER: <image>\n? ASSISTANT:"]
    inputs = processor(images=images, text=text, padding=True, return_tensors="pt")
    assert (inputs["input_ids"] == TOKENS).sum(dim=1).tolist() == [16, 16]
    with torch.no_grad():
        here, hand = model.eval()(**inputs).logits, by_hand(parts)(**inputs).logits
    assert here.shape[-1] == 320
    torch.testing.assert_close(here, hand, rtol=0, atol=0)


def test_every_tensor_keeps_its_values_and_dtype(parts: PublishedParts, composed: Path) -> None:
    written = load_file(composed / "model.safetensors")
    language, vision = (load_all(folder) for folder in (parts.llm, parts.vision))
    for name, tensor in language.items():
        assert torch.equal(written[f"language_model.{name}"][: len(tensor)], tensor)
    tower = {name: x for name, x in vision.items() if name.startswith("vision_model.")}
    for name, tensor in tower.items():
        assert torch.equal(written[f"vision_tower.{name}"], tensor)
    assert len(written) == len(language) + len(tower) + 4
    dtypes = {name.partition(".")[0]: tensor.dtype for name, tensor in written.items()}
    assert dtypes == {
        "language_model": torch.float16,
        "multi_modal_projector": torch.float16,
        "vision_tower": torch.float32,
    }


def load_all(folder: Path) -> dict[str, Any]:
    return {name: stored.read() for name, stored in tensors_of_folder(folder).items()}


def test_rows_of_added_tokens_are_the_mean_of_the_others(composed: Path) -> None:
    written = load_file(composed / "model.safetensors")
    for name in ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight"):
        rows = written[name]
        assert rows.shape == (320, WIDTH)  # 259 + 2 tokens, filled up to a multiple of 64
        mean = rows[:TOKENS].double().mean(0).half()
        assert torch.equal(rows[TOKENS:], mean.expand(320 - TOKENS, -1))


def test_configuration_and_processor_are_llavas(composed: Path) -> None:
    config = t.AutoConfig.from_pretrained(composed)
    assert (config.vision_feature_layer, config.vision_feature_select_strategy) == (-2, "default")
    assert (config.image_seq_length, config.projector_hidden_act) == (16, "gelu")
    assert (config.image_token_index, config.text_config.pad_token_id) == (TOKENS, TOKENS + 1)
    assert (config.text_config.vocab_size, config.dtype) == (320, torch.float16)
    processor = t.AutoProcessor.from_pretrained(composed)
    assert processor.tokenizer.pad_token == "<pad>"
    assert (processor.patch_size, processor.num_additional_image_tokens) == (PATCH, 1)
    assert processor.image_processor.crop_size["height"] == PIXELS


def test_the_prompt_is_vicunas(composed: Path) -> None:
    processor = t.AutoProcessor.from_pretrained(composed)
    image = {"type": "image"}
    talk = [
        {"role": "user", "content": [image, {"type": "text", "text": "\nwhat is it?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A dog's."}]},
        {"role": "user", "content": "sure?"},
        {"role": "assistant", "content": "yes"},
    ]
    whole = processor.apply_chat_template(talk)
    assert whole == (
        f"{SYSTEM}USER: <image>\nwhat is it? ASSISTANT: A dog's.</s>USER: sure? ASSISTANT: yes</s>"
    )
    for answered in (1, 3):
        asked = processor.apply_chat_template(talk[:answered], add_generation_prompt=True)
        assert asked.endswith("ASSISTANT:")
        assert whole.startswith(asked)
    told = [{"role": "system", "content": "Be brief."}, talk[2]]
    assert processor.apply_chat_template(told) == "Be brief. USER: sure? "


def test_visift_loads_it(composed: Path) -> None:
    vlm = VLM.load(ModelRef(str(composed)), "cpu")
    inputs = vlm.image_inputs([Image.new("RGB", (80, 60), "red")])
    assert vlm.image_positions(inputs).sum().item() == 16
    assert inputs["input_ids"][0, :2].tolist() == [257, 32]  # <s> once, then the A of the prompt
    assert vlm.hidden_states(inputs, 2).shape[-1] == vlm.width == WIDTH


def test_parts_saved_by_torch_make_the_same_bytes(
    parts: PublishedParts, composed: Path, tmp_path: Path
) -> None:
    """Also with what old versions of transformers stored beside weights."""
    old = save_parts(tmp_path, as_torch=True)
    again = compose(read(old), tmp_path / "llava").folder
    weights = "model.safetensors"
    assert (again / weights).read_bytes() == (composed / weights).read_bytes()


def test_the_same_parts_make_the_same_model(
    parts: PublishedParts, composed: Path, tmp_path: Path
) -> None:
    again = compose(read(parts), tmp_path / "again").folder
    assert digest(again) == digest(composed)


def test_a_vision_tower_alone_does_as_well_as_a_whole_clip(
    parts: PublishedParts, composed: Path, tmp_path: Path
) -> None:
    tower = t.CLIPVisionModel.from_pretrained(parts.vision)
    tower.save_pretrained(tmp_path / "tower")
    save_image_processor(tmp_path / "tower", PIXELS)
    done = compose(
        Parts.read(str(parts.llm), str(tmp_path / "tower"), parts.projector), tmp_path / "llava"
    )
    assert done.files[0].read_bytes() == (composed / "model.safetensors").read_bytes()


def test_a_tied_output_layer_stays_tied(tmp_path: Path) -> None:
    tied = save_parts(tmp_path, tied=True)
    folder = compose(read(tied), tmp_path / "llava").folder
    assert "language_model.lm_head.weight" not in load_file(folder / "model.safetensors")
    model, found = t.AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert not found["missing_keys"]
    assert model.lm_head.weight is model.model.language_model.embed_tokens.weight


def test_a_projector_may_be_safetensors(
    parts: PublishedParts, composed: Path, tmp_path: Path
) -> None:
    save_file(parts.tensors, tmp_path / "projector.safetensors")
    done = compose(
        Parts.read(str(parts.llm), str(parts.vision), tmp_path / "projector.safetensors"),
        tmp_path / "llava",
    )
    assert done.files[0].read_bytes() == (composed / "model.safetensors").read_bytes()


def test_its_card_names_the_parts_and_their_data_and_no_path(
    parts: PublishedParts, composed: Path, tmp_path: Path
) -> None:
    card = (composed / "README.md").read_text()
    assert all(name in card for name in ("`tiny-vicuna`", "`tiny-clip`", "`mm_projector.bin`"))
    note = json.loads((composed / "composed.json").read_text())
    assert note["llm"] == {"digest": digest(parts.llm)}
    assert note["tokens"] == {"<image>": TOKENS, "<pad>": TOKENS + 1}
    for path in composed.iterdir():
        assert str(parts.llm.parent).encode() not in path.read_bytes()
    told = save_parts(tmp_path)
    (told.llm / "README.md").write_text("---\ndatasets: [org/talks, 'a: b']\n---\n")
    again = compose(read(told), tmp_path / "llava").folder
    assert "datasets:\n- org/talks\n- 'a: b'\n" in (again / "README.md").read_text()


# --- shards ---------------------------------------------------------------------------------------


def test_shards_hold_the_same_tensors(
    parts: PublishedParts, composed: Path, tmp_path: Path
) -> None:
    done = compose(read(parts), tmp_path / "llava", shard_bytes=50_000)
    assert [file.name for file in done.files] == [
        f"model-{n:05}-of-{len(done.files):05}.safetensors" for n in range(1, len(done.files) + 1)
    ]
    assert len(done.files) > 2
    one = load_file(composed / "model.safetensors")
    sharded = [load_file(file) for file in done.files]
    for shard in sharded:
        sizes = [tensor.numel() * tensor.element_size() for tensor in shard.values()]
        assert sum(sizes) <= 50_000 or len(sizes) == 1
    together = {name: tensor for shard in sharded for name, tensor in shard.items()}
    assert together.keys() == one.keys()
    assert all(torch.equal(together[name], one[name]) for name in one)
    _, found = t.AutoModelForImageTextToText.from_pretrained(done.folder, output_loading_info=True)
    assert not found["missing_keys"]
    assert done.n_bytes == sum(tensor.numel() * tensor.element_size() for tensor in one.values())


def test_no_more_than_one_tensor_is_in_memory(tmp_path: Path) -> None:
    alive: list[weakref.ref[Any]] = []

    def reading(value: float) -> Callable[[], Any]:
        def read() -> Any:
            assert not [one for one in alive if one() is not None]
            tensor = torch.full((4, 4), value)
            alive.append(weakref.ref(tensor))
            return tensor

        return read

    tensors = {f"t{n}": Stored("F32", (4, 4), reading(n)) for n in range(5)}
    write_shards(tensors, tmp_path, shard_bytes=130)
    assert len(alive) == 5
    assert len(list(tmp_path.glob("*.safetensors"))) == 3


def test_tensors_of_all_widths_are_read_back(tmp_path: Path) -> None:
    """Odd lengths first, so that a wider one would start in the middle of a number."""
    made = {
        "a": torch.arange(3).half(),
        "b": torch.arange(3).double(),
        "c": torch.tensor(1.5, dtype=torch.bfloat16),
        "d": torch.arange(6.0).reshape(2, 3).T,  # not contiguous
        "e": torch.empty(0, 4),
    }
    codes = {"a": "F16", "b": "F64", "c": "BF16", "d": "F32", "e": "F32"}
    stored = {n: Stored(codes[n], tuple(x.shape), lambda x=x: x) for n, x in made.items()}
    (path,) = write_shards(stored, tmp_path)
    found = load_file(path)
    assert found.keys() == made.keys()
    assert all(torch.equal(found[n], made[n]) and found[n].dtype == made[n].dtype for n in made)


# --- what does not fit ----------------------------------------------------------------------------

PARTS_OF_ITS_OWN = "model.mm_projector"


def refusal(parts: PublishedParts) -> VisiftError:
    with pytest.raises(VisiftError) as caught:
        read(parts)
    return caught.value


def change_projector(parts: PublishedParts, **changes: Any) -> None:
    tensors = {**parts.tensors, **{f"{PARTS_OF_ITS_OWN}.{k}": v for k, v in changes.items()}}
    torch.save({k: v for k, v in tensors.items() if v is not None}, parts.projector)


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_weights(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Save a folder's weights again as one file, changed."""
    tensors = load_all(folder)
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


Change = Callable[[PublishedParts], None]


def without_a_bias(parts: PublishedParts) -> None:
    change_projector(parts, **{"2.bias": None})


def with_a_third_layer(parts: PublishedParts) -> None:
    change_projector(parts, **{"4.weight": torch.zeros(2, 2)})


def of_one_layer(parts: PublishedParts) -> None:
    linear = {"weight": torch.zeros(WIDTH, VISION_WIDTH), "bias": torch.zeros(WIDTH)}
    torch.save({f"model.mm_projector.{k}": v for k, v in linear.items()}, parts.projector)


def of_another_tower(parts: PublishedParts) -> None:
    torch.save(projector_tensors(vision_width=40), parts.projector)


def of_another_language_model(parts: PublishedParts) -> None:
    torch.save(projector_tensors(width=64), parts.projector)


def with_a_short_bias(parts: PublishedParts) -> None:
    change_projector(parts, **{"0.bias": torch.zeros(7)})


def with_whole_numbers(parts: PublishedParts) -> None:
    change_projector(parts, **{"0.bias": torch.zeros(WIDTH, dtype=torch.int8)})


def a_list(parts: PublishedParts) -> None:
    torch.save([torch.zeros(2)], parts.projector)


def no_projector(parts: PublishedParts) -> None:
    parts.projector.unlink()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_a_bias, "it lacks 2.bias."),
        (with_a_third_layer, "it holds 4.weight, which has no place in a LLaVA of these parts."),
        (of_one_layer, "is a projector of one layer, as of the first LLaVA."),
        (
            of_another_tower,
            "takes features of width 40, and the tower's have 32: it was trained for others.",
        ),
        (
            of_another_language_model,
            "gives width 64, and the language model has 48: it was trained for others.",
        ),
        (with_a_short_bias, "linear_1.bias has shape 7; between these parts it is 48."),
        (
            with_whole_numbers,
            "linear_1.bias is stored as torch.int8: quantised weights cannot be put together.",
        ),
        (a_list, "is no table of names and tensors."),
        (no_projector, "is no file."),
    ],
)
def test_a_projector_that_does_not_fit_is_refused(
    tmp_path: Path, change: Change, said: str
) -> None:
    parts = save_parts(tmp_path)
    change(parts)
    error = refusal(parts)
    assert (type(error), error.where, error.what) == (ModelError, str(parts.projector), said)
    assert error.fix


@pytest.mark.parametrize("kept", [0, 10, 1000, -900, -1])
def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path, kept: int) -> None:
    parts = save_parts(tmp_path)
    parts.projector.write_bytes(parts.projector.read_bytes()[:kept])
    error = refusal(parts)
    assert (type(error), error.where) == (ModelError, str(parts.projector))
    assert error.fix


class Harm:
    """What a pickle may do when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("old_format", [False, True])
def test_a_projector_with_code_is_refused_and_runs_nothing(
    tmp_path: Path, old_format: bool
) -> None:
    parts, mark = save_parts(tmp_path), tmp_path / "harm-was-done"
    harmful = {**parts.tensors, "more": Harm(mark)}
    torch.save(harmful, parts.projector, _use_new_zipfile_serialization=not old_format)
    error = refusal(parts)
    assert error.what.startswith("holds more than tensors")
    assert not mark.exists()


def language_with_fewer_blocks(parts: PublishedParts) -> None:
    def drop(tensors: dict[str, Any]) -> None:
        for name in [name for name in tensors if ".layers.2." in name]:
            del tensors[name]

    change_weights(parts.llm, drop)


def language_without_a_norm(parts: PublishedParts) -> None:
    change_weights(parts.llm, lambda tensors: tensors.pop("model.norm.weight"))


def an_adapter(parts: PublishedParts) -> None:
    name = "model.layers.0.mlp.up_proj.lora_A.weight"
    change_weights(parts.llm, lambda tensors: tensors.update({name: torch.zeros(2, 2)}))


def quantised(parts: PublishedParts) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    change_weights(parts.llm, lambda tensors: tensors.update({name: tensors[name].to(torch.int8)}))


def of_fewer_rows(parts: PublishedParts) -> None:
    name = "lm_head.weight"
    change_weights(parts.llm, lambda tensors: tensors.update({name: tensors[name][:-1].clone()}))


def without_a_shard(parts: PublishedParts) -> None:
    next(parts.llm.glob("model-00002*")).unlink()


def with_shards_elsewhere(parts: PublishedParts) -> None:
    index = parts.llm / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../mm_projector.bin"}}))


def without_weights(parts: PublishedParts) -> None:
    for path in parts.llm.glob("*.safetensors*"):
        path.unlink()


def damaged(parts: PublishedParts) -> None:
    path = next(parts.llm.glob("model-00002*"))
    path.write_bytes(path.read_bytes()[:100])


def without_a_tokeniser(parts: PublishedParts) -> None:
    (parts.llm / "tokenizer.json").unlink()


def with_a_tokeniser_of_sentencepiece(parts: PublishedParts) -> None:
    without_a_tokeniser(parts)
    (parts.llm / "tokenizer.model").write_bytes(b"")


def with_more_tokens(parts: PublishedParts) -> None:
    save_tokenizer(parts.llm, extra=5)


def that_sees(parts: PublishedParts) -> None:
    config = t.LlavaConfig(text_config=parts.language_model.config.to_dict())
    config.save_pretrained(parts.llm)


def a_bert(parts: PublishedParts) -> None:
    t.BertConfig(
        vocab_size=TOKENS,
        hidden_size=WIDTH,
        num_hidden_layers=BLOCKS,
        num_attention_heads=4,
    ).save_pretrained(parts.llm)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (language_with_fewer_blocks, "its config.json says 3 blocks, and its weights hold 2."),
        (language_without_a_norm, "its weights lack model.norm.weight."),
        (
            an_adapter,
            "its weights hold model.layers.0.mlp.up_proj.lora_A.weight, which has no place in a "
            "LLaVA of these parts.",
        ),
        (
            quantised,
            "model.layers.0.mlp.up_proj.weight is stored as I8: quantised weights cannot be put "
            "together.",
        ),
        (of_fewer_rows, "lm_head.weight has shape 258 × 48; by its config.json it is 259 × 48."),
        (without_weights, "holds no weights."),
        (without_a_tokeniser, "holds no tokeniser."),
        (with_more_tokens, "its tokeniser has 264 tokens, and its embedding 259 rows."),
        (that_sees, "is a llava, not a language model."),
    ],
)
def test_a_language_model_that_does_not_fit_is_refused(
    tmp_path: Path, change: Change, said: str
) -> None:
    parts = save_parts(tmp_path)
    change(parts)
    error = refusal(parts)
    assert (type(error), error.where, error.what) == (ModelError, str(parts.llm), said)
    assert error.fix


@pytest.mark.parametrize(
    ("change", "where", "said"),
    [
        (without_a_shard, "model-00002", "is missing: model.safetensors.index.json names it."),
        (with_shards_elsewhere, "model.safetensors.index.json", "is no index of weights."),
        (damaged, "model-00002", "is no safetensors file ("),
    ],
)
def test_files_of_weights_that_are_not_whole_are_named(
    tmp_path: Path, change: Change, where: str, said: str
) -> None:
    parts = save_parts(tmp_path)
    change(parts)
    error = refusal(parts)
    assert Path(error.where or "").name.startswith(where)
    assert error.what.startswith(said)


@pytest.mark.skipif(find_spec("sentencepiece") is not None, reason="sentencepiece is installed")
def test_what_reads_vicunas_own_tokeniser_is_named(tmp_path: Path) -> None:
    parts = save_parts(tmp_path)
    with_a_tokeniser_of_sentencepiece(parts)
    assert refusal(parts).fix == "pip install sentencepiece protobuf"


def test_a_model_without_a_decoder_is_refused(tmp_path: Path) -> None:
    parts = save_parts(tmp_path)
    a_bert(parts)
    assert refusal(parts).what.startswith("no LLaVA can be built from such parts (")


def of_another_size(parts: PublishedParts) -> None:
    save_image_processor(parts.vision, 28)


def without_a_processor(parts: PublishedParts) -> None:
    (parts.vision / "preprocessor_config.json").unlink()


def a_siglip(parts: PublishedParts) -> None:
    t.SiglipVisionConfig().save_pretrained(parts.vision)


def tower_with_more_blocks(parts: PublishedParts) -> None:
    config = json.loads((parts.vision / "config.json").read_text())["vision_config"]
    change_config(parts.vision, vision_config={**config, "num_hidden_layers": 4})


def tower_of_one_block(parts: PublishedParts) -> None:
    config = json.loads((parts.vision / "config.json").read_text())["vision_config"]
    change_config(parts.vision, vision_config={**config, "num_hidden_layers": 1})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            of_another_size,
            "its image processor does not make the 56 × 56 pixels that the tower takes.",
        ),
        (without_a_processor, "its image processor cannot be loaded ("),
        (a_siglip, "is a siglip_vision_model, not a CLIP."),
        (tower_with_more_blocks, "its config.json says 4 blocks, and its weights hold 3."),
        (tower_of_one_block, "has 1 block, and LLaVA takes what the last but one gives."),
    ],
)
def test_a_vision_tower_that_does_not_fit_is_refused(
    tmp_path: Path, change: Change, said: str
) -> None:
    parts = save_parts(tmp_path)
    change(parts)
    error = refusal(parts)
    assert (type(error), error.where) == (ModelError, str(parts.vision))
    assert error.what.startswith(said)
    assert error.fix


@pytest.mark.parametrize("flag", ["--llm", "--vision"])
def test_a_folder_that_is_not_there_is_named_with_its_option(
    tmp_path: Path, parts: PublishedParts, flag: str
) -> None:
    names = {"--llm": str(parts.llm), "--vision": str(parts.vision)} | {flag: "./nowhere"}
    with pytest.raises(ModelError) as caught:
        Parts.read(names["--llm"], names["--vision"], parts.projector)
    assert (caught.value.what, caught.value.where) == ("no such folder.", f"{flag} ./nowhere")
    assert caught.value.fix == f"Check {flag}."


# --- the output -----------------------------------------------------------------------------------


def test_a_folder_of_other_files_is_never_replaced(parts: PublishedParts, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds other files\."):
        compose(read(parts), tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(InputError, match=r"is a file\."):
        compose(read(parts), tmp_path / "mine.txt", overwrite=True)


def test_a_composed_folder_is_replaced_where_that_is_asked(
    parts: PublishedParts, tmp_path: Path
) -> None:
    ready, output = read(parts), tmp_path / "llava"
    compose(ready, output)
    (output / "stale.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"--overwrite"):
        compose(ready, output)
    compose(ready, output, overwrite=True)
    assert not (output / "stale.safetensors").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["llava"]


def test_what_fails_while_writing_leaves_nothing(parts: PublishedParts, tmp_path: Path) -> None:
    ready, output = read(parts), tmp_path / "llava"
    compose(ready, output)
    before = digest(output)
    gone = save_parts(tmp_path / "gone")
    vanishing = read(gone)
    gone.projector.unlink()
    with pytest.raises(StorageError):
        compose(vanishing, output, overwrite=True)
    assert digest(output) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gone", "llava"]
