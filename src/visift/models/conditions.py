"""The ways in which the answers of a conversation are asked for: with or without what is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from visift.models.conversation import messages
from visift.pool.record import IMAGE_TAG, Turn

if TYPE_CHECKING:
    from visift.models.batch import Conversation

#: `given`: images and questions; `no_question`: images only; `no_image`: questions only;
#: `answer_only`: neither.
Condition = Literal["given", "no_question", "no_image", "answer_only"]

#: Ways without images -> what they are for conversations that have none.
_WITHOUT_IMAGES: dict[Condition, Condition] = {"no_image": "given", "answer_only": "no_question"}


def effective(condition: Condition, conversation: Conversation) -> Condition:
    """Return the condition that asks the same where there is no image to take away."""
    return condition if conversation.images else _WITHOUT_IMAGES.get(condition, condition)


def asked_as(
    conversation: Conversation, condition: Condition, joined: bool = False
) -> Conversation:
    """Return a conversation as a condition asks for its answers, which stay what they are.

    Without questions the texts of users are empty; images stay in the turns where they stood.

    Args:
        conversation: as it is in the pool.
        condition: what is asked with.
        joined: without questions, one turn has all images and one all answers, a blank between
            them.
    """
    if condition == "given":
        return conversation
    questions, shown = condition == "no_image", condition == "no_question"
    said = messages(conversation.turns, len(conversation.images))
    turns = list[Turn]()
    for turn, one in zip(conversation.turns, said, strict=True):
        if turn.role == "user":
            tags = sum(part["type"] == "image" for part in one["content"])
            texts = [part["text"] for part in one["content"] if part["type"] == "text"]
            text = IMAGE_TAG * tags * shown + "".join(texts) * questions
            turn = Turn("user", text)
        turns.append(turn)
    if joined and not questions:
        turns = _joined(turns)
    images = conversation.images if shown else ()
    return replace(conversation, turns=tuple(turns), images=images)


def _joined(turns: list[Turn]) -> list[Turn]:
    """Return one turn of each role: all that users say, and all answers."""
    system = [turn for turn in turns if turn.role == "system"]
    user = "".join(turn.text for turn in turns if turn.role == "user")
    answers = " ".join(turn.text for turn in turns if turn.role == "assistant")
    return [*system, Turn("user", user), Turn("assistant", answers)]
