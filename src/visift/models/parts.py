"""Do a language model, a vision tower and a projector fit together? Seen from names and shapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from visift.errors import ModelError
from visift.models.vlm import import_transformers
from visift.models.weights import Stored

Tensors = Mapping[str, Stored]

LANGUAGE = "language_model."
VISION = "vision_tower.vision_model."
PROJECTOR = "multi_modal_projector."
EMBEDDING = "language_model.model.embed_tokens.weight"
HEAD = "language_model.lm_head.weight"

#: What LLaVA takes: the output of the last block but one, without the first token.
FEATURE_LAYER = -2

# Computed from the configuration, and stored by old versions of the library only.
_COMPUTED = (".rotary_emb.inv_freq", ".position_ids")
_CLIP_PREFIX = "vision_model."
_PROJECTOR_PREFIX = re.compile(r"^(?:model\.)?mm_projector\.")
_PROJECTOR_NAMES = {
    "0.weight": "linear_1.weight",
    "0.bias": "linear_1.bias",
    "2.weight": "linear_2.weight",
    "2.bias": "linear_2.bias",
}
_LINEAR = {"weight", "bias"}
_BLOCK = re.compile(r"\.layers\.(\d+)\.")
_THE_PUBLISHED_ONE = (
    "LLaVA-1.5's mm_projector.bin holds model.mm_projector.0 and .2, a weight and a bias each."
)


@dataclass(frozen=True, slots=True)
class Part:
    """One part's tensors under the names they have in a LLaVA checkpoint.

    Attributes:
        path: its folder or file, for messages.
        prefix: of its names in the checkpoint.
        tensors: by name in the checkpoint.
    """

    path: Path
    prefix: str
    tensors: Tensors

    @property
    def blocks(self) -> int:
        """Number of transformer blocks its names speak of."""
        return len({found.group(1) for found in map(_BLOCK.search, self.tensors) if found})


def language_part(path: Path, tensors: Tensors, *, tied: bool) -> Part:
    """Return a language model's tensors; of a tied output layer the embedding stands for both."""
    named = {f"{LANGUAGE}{name}": stored for name, stored in _weights(tensors)}
    if tied:
        named.pop(HEAD, None)
    return Part(path, LANGUAGE, named)


def vision_part(path: Path, tensors: Tensors) -> Part:
    """Return a vision tower's tensors; of a whole CLIP the text half is left behind."""
    whole = any(name.startswith(_CLIP_PREFIX) for name in tensors)
    named = {
        f"{VISION}{name.removeprefix(_CLIP_PREFIX)}": stored
        for name, stored in _weights(tensors)
        if not whole or name.startswith(_CLIP_PREFIX)
    }
    return Part(path, VISION, named)


def projector_part(path: Path, tensors: Tensors) -> Part:
    """Return a projector's tensors.

    Raises:
        ModelError: they are not those of two layers.
    """
    found = {_PROJECTOR_PREFIX.sub("", name): stored for name, stored in tensors.items()}
    if set(found) == _LINEAR:
        raise ModelError(
            "is a projector of one layer, as of the first LLaVA.",
            where=str(path),
            fix=_THE_PUBLISHED_ONE,
        )
    _no_difference(path, "it", found, _PROJECTOR_NAMES, fix=_THE_PUBLISHED_ONE)
    named = {f"{PROJECTOR}{_PROJECTOR_NAMES[name]}": found[name] for name in found}
    return Part(path, PROJECTOR, named)


def check_widths(projector: Part, vision_width: int, language_width: int) -> None:
    """See that a projector leads from this tower to this language model.

    Raises:
        ModelError: it was trained for others.
    """
    first = projector.tensors[f"{PROJECTOR}linear_1.weight"].shape
    second = projector.tensors[f"{PROJECTOR}linear_2.weight"].shape
    if first[1:] != (vision_width,):
        takes, has = _times(first[1:]), vision_width
        raise _of_others(projector, f"takes features of width {takes}, and the tower's have {has}")
    if second[:1] != (language_width,):
        gives, has = _times(second[:1]), language_width
        raise _of_others(projector, f"gives width {gives}, and the language model has {has}")
    wanted = {
        "linear_1.weight": (language_width, vision_width),
        "linear_1.bias": (language_width,),
        "linear_2.weight": (language_width, language_width),
        "linear_2.bias": (language_width,),
    }
    shapes = {f"{PROJECTOR}{name}": shape for name, shape in wanted.items()}
    _right_shapes(projector, shapes, "between these parts it is")


def _of_others(projector: Part, what: str) -> ModelError:
    return ModelError(
        f"{what}: it was trained for others.",
        where=str(projector.path),
        fix="Name the parts that it was trained with.",
    )


def check_weights(part: Part, wanted: Mapping[str, tuple[int, ...]], blocks: int) -> None:
    """See that a part's weights are those its configuration speaks of.

    Args:
        part: with its names in the checkpoint.
        wanted: shapes by name of the whole checkpoint.
        blocks: as its configuration says.

    Raises:
        ModelError: some lack, are too many, or have another shape.
    """
    if part.blocks != blocks:
        raise ModelError(
            f"its config.json says {blocks} blocks, and its weights hold {part.blocks}.",
            where=str(part.path),
            fix="Download it again.",
        )
    mine = {name: shape for name, shape in wanted.items() if name.startswith(part.prefix)}
    _no_difference(part.path, "its weights", _short(part, part.tensors), _short(part, mine))
    _right_shapes(part, mine, "by its config.json it is")


def wanted_shapes(config: Any) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a LLaVA's tensors by their names in a checkpoint; nothing is allocated.

    Raises:
        ModelError: there is no LLaVA of such parts.
    """
    transformers = import_transformers()
    try:
        with torch.device("meta"):
            model = transformers.LlavaForConditionalGeneration(config)
    except Exception as error:  # a configuration of any content meets any part of transformers
        reason = str(error).strip().partition("\n")[0][:200]
        raise ModelError(
            f"no LLaVA can be built from such parts ({type(error).__name__}: {reason}).",
            fix="Take a language model that transformers knows, and a CLIP vision tower.",
        ) from error
    shapes = {_published(name): tuple(one.shape) for name, one in model.state_dict().items()}
    if config.tie_word_embeddings:
        shapes.pop(HEAD, None)
    return shapes


def _published(name: str) -> str:
    """Return the name in a checkpoint of a tensor of the model, which versions name differently."""
    name = name.removeprefix("model.")
    if name.startswith("lm_head."):
        return f"{LANGUAGE}{name}"
    if name.startswith("language_model."):
        return f"{LANGUAGE}model.{name.removeprefix('language_model.')}"
    if name.startswith("vision_tower."):
        return f"{VISION}{name.removeprefix('vision_tower.').removeprefix(_CLIP_PREFIX)}"
    return name


def _weights(tensors: Tensors) -> Iterable[tuple[str, Stored]]:
    return ((name, one) for name, one in tensors.items() if not f".{name}".endswith(_COMPUTED))


def _short(part: Part, names: Iterable[str]) -> set[str]:
    return {name.removeprefix(part.prefix) for name in names}


def _no_difference(
    path: Path, what: str, found: Iterable[str], wanted: Iterable[str], fix: str | None = None
) -> None:
    missing, odd = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing:
        raise ModelError(
            f"{what} lack{'s' if what == 'it' else ''} {_some(missing)}.",
            where=str(path),
            fix=fix or "Download it again.",
        )
    if odd:
        raise ModelError(
            f"{what} hold{'s' if what == 'it' else ''} {_some(odd)}, "
            "which has no place in a LLaVA of these parts.",
            where=str(path),
            fix=fix or "Name the model itself, not an adapter or a quantised copy of it.",
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 1} more tensors" if len(names) > 1 else ""
    return f"{names[0]}{more}"


def _right_shapes(part: Part, wanted: Mapping[str, tuple[int, ...]], who: str) -> None:
    for name, shape in wanted.items():
        stored = part.tensors[name]
        short = name.removeprefix(part.prefix)
        if not stored.is_float:
            raise ModelError(
                f"{short} is stored as {stored.dtype}: quantised weights cannot be put together.",
                where=str(part.path),
                fix="Name the model as it was before it was quantised.",
            )
        if stored.shape != shape:
            raise ModelError(
                f"{short} has shape {_times(stored.shape)}; {who} {_times(shape)}.",
                where=str(part.path),
                fix="Name files that belong together.",
            )


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "a single number"
