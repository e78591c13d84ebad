"""The names mmSSR scores by: what a record can train, and how it answers.

`mmssr.yaml` defines each of them in words; what follows the method reads these lists.
"""

from __future__ import annotations

CAPABILITIES: tuple[str, ...] = (
    "object_spatial_understanding",
    "attribute_identification",
    "logical_deduction",
    "scene_understanding",
    "fine_grained_recognition",
    "language_generation",
    "in_context_learning",
    "comparative_analysis",
    "activity_recognition",
    "causal_reasoning",
    "humanities",
    "stem_knowledge",
    "data_understanding",
    "optical_character_recognition",
)

STYLES: tuple[str, ...] = (
    "multi-choice",
    "coordinate",
    "yes/no",
    "word/short-phrase",
    "short description",
    "detailed description",
    "comparison",
    "chain-of-thought (step-by-step)",
    "specified style",
)


def words(capability: str) -> str:
    """Return a key as it is spoken of."""
    return capability.replace("_", " ")
