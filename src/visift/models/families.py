"""The few facts about model families that cannot be found by looking at a loaded model.

A family without an entry has none of them. Each entry carries its reason.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """What differs from other families.

    Attributes:
        prefix_attention: every token up to the first answer sees all the others up to there;
            `token_type_ids` tell the model where the answers begin.
        begins_without_image: its processor writes the first token beside an image only, so that a
            text-only conversation must bring its own.
        appended: what its processor writes behind a prompt with images.
        answer_header: what its template writes before an answer that is there, and what it writes
            to ask for one; the second stands before every answer. Empty where they are the same.
    """

    prefix_attention: bool = False
    begins_without_image: bool = False
    appended: str = ""
    answer_header: tuple[str, str] = ("", "")


_FAMILIES = {
    # Its template writes a blank after the role of every turn, but not after that of the answer it
    # asks for, nor did its training: the prompt would be no prefix of the whole conversation.
    "llava_onevision": Family(answer_header=("assistant \n", "assistant\n")),
    # A prefix language model: tokens of type 0 are the prefix, of type 1 what is to be predicted.
    # All zeros, as its processor returns them without a `suffix`, would let answers see what they
    # are to predict. The processor refuses text without an image, and ends a prompt with one by a
    # line break, be there one already or not.
    "paligemma": Family(prefix_attention=True, begins_without_image=True, appended="\n"),
}


def family_of(model_type: str) -> Family:
    """Return what differs in the family of a configuration's `model_type`."""
    return _FAMILIES.get(model_type, Family())
