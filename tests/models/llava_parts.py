"""Tiny random parts of a LLaVA, as they are published: a Llama, a CLIP, a projector's tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors  # noqa: E402

from visift.models.vlm import import_transformers  # noqa: E402

t = import_transformers()

WIDTH, VISION_WIDTH, BLOCKS, PIXELS, PATCH = 48, 32, 3, 56, 14
#: Of the tokeniser and of the embedding: 256 bytes, <unk>, <s> and </s>.
TOKENS = 259


@dataclass(frozen=True)
class PublishedParts:
    """Where the parts lie, and the models they were saved from."""

    llm: Path
    vision: Path
    projector: Path
    language_model: Any
    clip: Any
    tensors: dict[str, Any]

    @property
    def options(self) -> list[str]:
        names = {"--llm": self.llm, "--vision": self.vision, "--projector": self.projector}
        return [str(word) for pair in names.items() for word in pair]


def save_parts(folder: Path, *, tied: bool = False, as_torch: bool = False) -> PublishedParts:
    """Save tiny parts: the language model and projector in float16, the CLIP in float32."""
    torch.manual_seed(0)
    llm, vision = folder / "tiny-vicuna", folder / "tiny-clip"
    language_model, clip = _language_model(tied), _clip()
    if as_torch:
        _save_as_torch(language_model, llm)
        _save_as_torch(clip, vision)
    else:
        language_model.save_pretrained(llm, max_shard_size="60KB")
        clip.save_pretrained(vision)
    save_tokenizer(llm)
    save_image_processor(vision, PIXELS)
    tensors = projector_tensors()
    torch.save(tensors, folder / "mm_projector.bin")
    return PublishedParts(llm, vision, folder / "mm_projector.bin", language_model, clip, tensors)


def projector_tensors(width: int = WIDTH, vision_width: int = VISION_WIDTH) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    shapes = {
        "0.weight": (width, vision_width),
        "0.bias": (width,),
        "2.weight": (width, width),
        "2.bias": (width,),
    }
    return {
        f"model.mm_projector.{name}": torch.randn(shape, generator=generator).half()
        for name, shape in shapes.items()
    }


def save_tokenizer(folder: Path, extra: int = 0) -> None:
    """Save a tokeniser of single bytes that begins as Llama's does, with `<s>`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({char: i for i, char in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<unk>", "<s>", "</s>", *(f"<extra-{n}>" for n in range(extra))])
    begin = [("<s>", made.token_to_id("<s>"))]
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=begin)
    t.PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<unk>",
    ).save_pretrained(folder)


def save_image_processor(folder: Path, pixels: int) -> None:
    t.CLIPImageProcessorPil(
        size={"shortest_edge": pixels}, crop_size={"height": pixels, "width": pixels}
    ).save_pretrained(folder)


def _language_model(tied: bool) -> Any:
    config = t.LlamaConfig(
        vocab_size=TOKENS,
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=BLOCKS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        initializer_range=0.1,
        tie_word_embeddings=tied,
        bos_token_id=257,
        eos_token_id=258,
    )
    return t.LlamaForCausalLM(config).half()


def _clip() -> Any:
    vision = {
        "hidden_size": VISION_WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": BLOCKS,
        "num_attention_heads": 4,
        "image_size": PIXELS,
        "patch_size": PATCH,
        "initializer_range": 0.1,
    }
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    config = t.CLIPConfig(
        vision_config=vision, text_config={**text, "num_attention_heads": 2, "vocab_size": 9}
    )
    return t.CLIPModel(config)


def _save_as_torch(model: Any, folder: Path) -> None:
    """Save as older versions of transformers did, with what they stored beside the weights."""
    model.config.save_pretrained(folder)
    tensors = dict(model.state_dict())
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    if hasattr(model, "vision_model"):
        del tensors["model.layers.0.self_attn.rotary_emb.inv_freq"]
        tensors["vision_model.embeddings.position_ids"] = torch.arange(17).unsqueeze(0)
    torch.save(tensors, folder / "pytorch_model.bin")
