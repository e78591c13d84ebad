"""Conversations as a model's own template writes them, and where in them the answers stand.

Text and character positions only: what becomes of them in tokens is `batch`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from visift.errors import VisiftError
from visift.models.families import Family
from visift.pool.record import IMAGE_TAG, Turn

Message = dict[str, Any]

_MEDIA = ("image_token", "video_token", "audio_token")


class ConversationError(VisiftError):
    """One conversation that a model's template cannot write; `what` is the reason shown."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """A conversation as one text.

    Attributes:
        text: with one placeholder for each image.
        answers: start and end of each answer in characters: from where the model goes on when it
            is asked, which may be a blank before, up to its end of turn.
    """

    text: str
    answers: tuple[tuple[int, int], ...]


def messages(turns: Sequence[Turn], images: int, reserved: Sequence[str] = ()) -> list[Message]:
    """Return turns as chat messages of parts, image parts where users wrote `<image>`.

    Images without a tag come first, tags without an image stay text [ours: trainers differ].

    Args:
        turns: of the conversation, in order.
        images: how many images it has.
        reserved: tokens that texts must not hold; one that does gets a blank after its first
            character.
    """
    users = [i for i, turn in enumerate(turns) if turn.role == "user"]
    untagged = max(images - sum(turns[i].text.count(IMAGE_TAG) for i in users), 0)
    left, made = images - untagged, list[Message]()
    for i, turn in enumerate(turns):
        tags = min(left, turn.text.count(IMAGE_TAG)) if i in users else 0
        left -= tags
        parts: list[Message] = [{"type": "image"}] * (untagged if users[:1] == [i] else 0)
        for number, text in enumerate(_around_tags(turn.text, tags)):
            parts += [{"type": "image"}] * (number > 0)
            parts += [{"type": "text", "text": _defused(text, reserved)}] * (text != "")
        made.append({"role": turn.role, "content": parts or [{"type": "text", "text": ""}]})
    return made


def _around_tags(text: str, tags: int) -> list[str]:
    """Return the texts around the first `tags` tags.

    Without the line breaks that only set tags apart from each other, or from the text if they
    stand before or after all of it: templates bring their own.
    """
    texts = text.split(IMAGE_TAG, maxsplit=tags) if tags else [text]
    said = [i for i, one in enumerate(texts) if one.strip("\n")]
    if tags and said:
        first, last = said[0], said[-1]
        texts[first] = texts[first].removeprefix("\n") if first > 0 else texts[first]
        texts[last] = texts[last].removesuffix("\n") if last < tags else texts[last]
    return [one if i in said or not tags else "" for i, one in enumerate(texts)]


def _defused(text: str, reserved: Sequence[str]) -> str:
    for token in reserved:
        text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


@dataclass(frozen=True, slots=True)
class Template:
    """How one model writes conversations.

    Attributes:
        processor: of the model.
        ends: special tokens that may end a turn, longest first.
        reserved: those that mean something to the template or the processor; a text that holds
            one would break the conversation or ask for an image.
        family: what differs in the model's family.
        opening: what the template writes between the prompt that asks for an answer and the answer:
            a blank in some. A model must write that itself, so that it is learnt and counted, too.
    """

    processor: Any
    ends: tuple[str, ...]
    reserved: tuple[str, ...]
    family: Family
    opening: str = ""

    @classmethod
    def of(cls, processor: Any, family: Family) -> Template:
        """Return the template of a model's processor."""
        tokenizer = processor.tokenizer
        added = [one.content for one in tokenizer.added_tokens_decoder.values() if one.special]
        special = {*added, *tokenizer.all_special_tokens}
        media = {getattr(owner, name, None) for owner in (processor, tokenizer) for name in _MEDIA}
        outside = {*media, tokenizer.bos_token, tokenizer.pad_token} - {None}
        template = str(processor.chat_template)
        reserved = outside | {one for one in special if one in template} | {tokenizer.eos_token}
        found = cls(
            processor,
            _longest_first(special - outside | {tokenizer.eos_token}),
            _longest_first(one for one in reserved if one and len(one) > 1),
            family,
        )
        return replace(found, opening=found._opening())

    def _opening(self) -> str:
        """Return what stands between a prompt and its answer, see the attribute."""
        said = (Turn("user", "Which one?"), Turn("assistant", "This."))
        try:
            (asked,), whole = self.prompts(said), self.render(said)
        except ConversationError:
            return ""
        begin = whole.answers[0][0]
        return whole.text[len(asked) : begin] if whole.text.startswith(asked) else ""

    def render(self, turns: Sequence[Turn], images: int = 0) -> Rendering:
        """Write a whole conversation; every answer ends with its end-of-turn token.

        That is the special token that the template writes right after the answer (in some families
        the mark of the next turn). Where it writes none (LLaVA-1.5's), the tokenizer's end token
        stands there, as in training.

        Raises:
            ConversationError: the template refuses the conversation or changes its answers.
        """
        return self._render(messages(turns, images, self.reserved), images)

    def prompts(self, turns: Sequence[Turn], images: int = 0) -> list[str]:
        """Write what stands before each answer when the model is asked for it.

        Of nearly all templates a prefix of the whole conversation; not where a template writes
        something into its prompt (an opened thought) that it leaves out of earlier answers.

        Raises:
            ConversationError: see `render`.
        """
        said = messages(turns, images, self.reserved)
        spoken = [i for i, one in enumerate(said) if one["role"] == "assistant"]
        return [self._render(said[:i], images, add_generation_prompt=True).text for i in spoken]

    def _render(self, said: list[Message], images: int, **options: Any) -> Rendering:
        if self.processor.chat_template is None:
            return self._without_template(said, images)
        lead, parts = self._pieces(said, **options)
        closed = []
        for answer, after in parts:
            end, rest = self._end_of_turn(after)
            closed.append((answer + end, self._asking(rest)))
        return _joined(self._asking(lead), closed, self.opening)

    def _asking(self, piece: str) -> str:
        """Return what stands before an answer, ending as the model is asked for one."""
        written, asked = self.family.answer_header
        return piece.removesuffix(written) + asked if piece.endswith(written) else piece

    def _apply(self, said: list[Message], **options: Any) -> str:
        try:
            return str(self.processor.apply_chat_template(said, tokenize=False, **options))
        except Exception as error:  # a template runs code of its own
            raise ConversationError(f"the model's chat template refuses it: {error}") from error

    def _pieces(self, said: list[Message], **options: Any) -> tuple[str, list[tuple[str, str]]]:
        """Return what the template writes before the first answer, and (answer, what follows it).

        Marks are rendered in place of the answers, which shows where they go whatever they say.
        """
        texts = {
            i: "".join(part["text"] for part in one["content"])
            for i, one in enumerate(said)
            if one["role"] == "assistant"
        }
        written = self._apply(said, **options)
        marks = dict(zip(texts, _marks(len(texts), written), strict=True))
        marked = [
            {**one, "content": [{"type": "text", "text": marks[i]}]} if i in marks else one
            for i, one in enumerate(said)
        ]
        lead, *after = _cut(self._apply(marked, **options), list(marks.values()))
        for answers in (texts.values(), [text.strip() for text in texts.values()]):
            parts = list(zip(answers, after, strict=True))
            if _joined(lead, parts).text == written:
                return lead, parts
        raise ConversationError("the model's chat template does not write the answers as they are.")

    def _end_of_turn(self, piece: str) -> tuple[str, str]:
        """Split what follows an answer into its end of turn and the rest."""
        rest = piece.lstrip()
        token = next((token for token in self.ends if rest.startswith(token)), None)
        if token is None:
            return self.processor.tokenizer.eos_token or "", rest
        end = len(piece) - len(rest) + len(token)
        return piece[:end], piece[end:]

    def _without_template(self, said: list[Message], images: int) -> Rendering:
        """Write images first, then a line for each question; an answer ends with the end token."""
        tokenizer = self.processor.tokenizer
        lead, end = getattr(self.processor, "image_token", "") * images, tokenizer.eos_token or ""
        if self.family.begins_without_image and not images:
            lead = tokenizer.bos_token
        parts: list[tuple[str, str]] = []
        for one in said:
            text = "".join(part.get("text", "") for part in one["content"])
            if one["role"] == "assistant":
                parts.append((text + end, ""))
            elif parts:
                answer, after = parts.pop()
                parts.append((answer, f"{after}{text}\n"))
            else:
                lead += f"{text}\n"
        return _joined(lead, parts)


def _longest_first(tokens: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted((one for one in tokens if one), key=lambda one: (-len(one), one)))


def _marks(count: int, text: str) -> list[str]:
    """Return `count` marks that are no part of the text or of each other."""
    salt = 0
    while f"-{salt}-answer" in text:
        salt += 1
    return [f"({number}-{salt}-answer)" for number in range(count)]


def _cut(text: str, marks: Sequence[str]) -> list[str]:
    """Cut a text at its marks, each of which must stand there once and in order."""
    pieces = []
    for mark in marks:
        piece, found, text = text.partition(mark)
        if not found or mark in text:
            raise ConversationError("the model's chat template leaves out or repeats an answer.")
        pieces.append(piece)
    return [*pieces, text]


def _joined(lead: str, parts: Sequence[tuple[str, str]], opening: str = "") -> Rendering:
    """Join a text from (answer, what follows it) and say where the answers stand.

    Args:
        lead: what stands before the first answer.
        parts: of the rest.
        opening: what belongs to an answer where it stands right before one.
    """
    text, spans = lead, []
    for answer, after in parts:
        before = len(opening) if text.endswith(opening) else 0
        spans.append((len(text) - before, len(text) + len(answer)))
        text += answer + after
    return Rendering(text, tuple(spans))
