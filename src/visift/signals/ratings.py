"""How helpful a record is for training each of some capabilities, as a model rates it from 0 to 5.

The signal of mmSSR: a scorer is shown the whole dialogue in one turn and asked about one capability
at a time. Image and dialogue go through the model once for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from visift.errors import VisiftError
from visift.models.conversation import ConversationError
from visift.models.devices import needs_models
from visift.models.facts import read_facts
from visift.models.ref import ModelRef
from visift.signals.batching import NOT_FINITE, ItemsAtFault, measure_in_batches
from visift.signals.cost import Cost, Load, value_bytes
from visift.signals.lengths import batches_by_length, estimate, image_tokens
from visift.signals.losses import collated, load_conversation
from visift.signals.rating_prompts import CAPABILITY, QUERY, must_hold, rating_query, rating_turns
from visift.signals.rating_replies import official_rating, rating
from visift.signals.signal import Column, Measure, RecordItem, Unit, Values

if TYPE_CHECKING:
    from visift.models.batch import Batch, Collator, Conversation
    from visift.models.suffixes import ReplyReader
    from visift.models.vlm import VLM

#: What a scorer may reply.
RATINGS = ("0", "1", "2", "3", "4", "5")

#: Tokens of a query that are not shared, the replies behind it among them, where costs are stated
#: and batches formed [ours].
SUFFIX_TOKENS = 16

BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class CapabilityRatings:
    """Ratings of capabilities, `score.<key>`, and the probabilities behind them, `p.<key>`.

    A rating is what greedy decoding replies, read strictly: the first number from 0 to 5, NaN where
    there is none. Where the likeliest tokens are a digit and the end of the turn, that is the
    reply; otherwise it is generated. Probabilities are those of the six digits where the digit
    belongs, normalised over the six; where a model writes digits in more than one token they are
    those of whole replies.

    Attributes:
        model: the scorer.
        capabilities: keys, see `annotate.capabilities`; the order changes last bits at most.
        query: what it is asked, see `rating_prompts`.
        official: replies are cast to integers of any size instead, as the official code does.
        max_tokens: a record that takes more with a query and its reply has no value, as it has no
            part in training: the query stands at its end.
        new_tokens: most tokens of a generated reply.
        batch_tokens: estimated tokens a forward pass reads; a field because another number may
            change last bits.
    """

    version: ClassVar[int] = 2
    unit: ClassVar[Unit] = "record"

    model: ModelRef | None
    capabilities: tuple[str, ...]
    query: str = QUERY
    official: bool = False
    max_tokens: int = 2048
    new_tokens: int = 8
    batch_tokens: int = 4096

    def __post_init__(self) -> None:
        """Raise `InputError` for a query that does not name the capability."""
        must_hold(self.query, CAPABILITY)

    @property
    def columns(self) -> tuple[Column, ...]:
        """A rating for each capability, and the probabilities of all ratings."""
        scores = [Column(f"score.{key}", "float32", missing=True) for key in self.capabilities]
        shape = (len(RATINGS),)
        beside = [
            Column(f"p.{key}", "float16", shape, extra=True, missing=True)
            for key in self.capabilities
        ]
        return (*scores, *beside)

    def cost(self, load: Load) -> Cost:
        """Return what records cost: one pass each, its queries behind it.

        Replies that must be generated are left out, as are models that share no rows: those read
        a record once for every capability.
        """
        facts = read_facts(self.model)
        asked = len(self.query) // BYTES_PER_TOKEN + len(self.capabilities) * SUFFIX_TOKENS
        tokens = load.images * facts.image_tokens + load.text_tokens + load.items * asked
        predicted = load.items * len(self.capabilities) * 2
        return Cost(
            forwards_full=load.items,
            blocks=load.items * (facts.blocks or 0),
            tokens=None if self.model is None else tokens,
            bytes_stored=load.items * (value_bytes(self.columns, None) or 0),
            flops=facts.reading_flops(load.images, tokens, predicted),
        )

    def open(self, device: str) -> Measure:
        """Load the model and return what measures a list of records; see `signal.Signal`."""
        with needs_models():
            from visift.models.batch import Collator
            from visift.models.vlm import VLM

        assert self.model is not None, "identity() asks for it before"
        vlm = VLM.load(self.model, device)
        rater = Rater.of(self, vlm, Collator.of(vlm))
        per_image = image_tokens(vlm)
        asked = len(self.query) // BYTES_PER_TOKEN + len(self.capabilities) * SUFFIX_TOKENS

        def measure(items: Sequence[RecordItem]) -> Values:
            lengths = [min(estimate(item, per_image), self.max_tokens) + asked for item in items]
            batches = batches_by_length(lengths, self.batch_tokens)
            return measure_in_batches(
                items, load_conversation, rater.values, self.columns, 0, 1, batches
            )

        return measure


@dataclass(frozen=True, slots=True)
class Rater:
    """A model that rates.

    Attributes:
        signal: how.
        vlm: the model.
        collate: its collator.
        ends: tokens that end a reply.
        reader: None where its digits are more than one token, or merge with the prompt.
    """

    signal: CapabilityRatings
    vlm: VLM
    collate: Collator
    ends: frozenset[int]
    reader: ReplyReader | None

    @classmethod
    def of(cls, signal: CapabilityRatings, vlm: VLM, collate: Collator) -> Rater:
        """Return what rates with a loaded model."""
        from visift.models.replies import ends_of_turn, find_replies
        from visift.models.suffixes import ReplyReader

        ends, replies = ends_of_turn(vlm, collate), find_replies(collate, RATINGS)
        reader = None if replies is None else ReplyReader.of(vlm, collate, replies, ends)
        return cls(signal, vlm, collate, ends, reader)

    def values(self, conversations: Sequence[Conversation]) -> dict[str, NDArray[Any]]:
        """Return the columns of n records.

        Raises:
            ItemsAtFault: names those that have no value.
        """
        from visift.models.answers import asking

        queries = [rating_query(self.signal.query, one) for one in self.signal.capabilities]
        asked = [[shown(one, query) for one in conversations] for query in queries]
        with asking(self.vlm):
            logs, greedy = self._read(asked)
        finite = np.isfinite(logs).all(axis=(0, 2))
        if not finite.all():
            broken = np.flatnonzero(~finite).tolist()
            raise ItemsAtFault({row: ConversationError(NOT_FINITE) for row in broken})
        scores = self._scores(asked, greedy)
        likely = np.exp(logs - logs.max(axis=2, keepdims=True))
        likely /= likely.sum(axis=2, keepdims=True)
        columns: dict[str, NDArray[Any]] = {}
        for number, key in enumerate(self.signal.capabilities):
            columns[f"score.{key}"] = scores[number]
            columns[f"p.{key}"] = likely[number]
        return columns

    def _read(
        self, asked: Sequence[Sequence[Conversation]]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return (c, n, 6) log-probabilities, and (c, n) which reply is greedy, or -1."""
        from visift.models.replies import replied

        batches = [[replied(one, RATINGS[0]) for one in some] for some in asked]
        first = [within(self.collate, some, self.signal.max_tokens) for some in batches]
        if self.reader is None:
            return self._by_replies(asked), np.full((len(asked), len(asked[0])), -1)
        odd = {
            row: ConversationError("the model's tokenizer writes a reply otherwise behind it.")
            for batch in first
            for row in (~self.reader.replies.stands(batch)).nonzero()[:, 0].tolist()
        }
        if odd:
            raise ItemsAtFault(odd)
        reading = self.reader.read(first)
        return reading.logs.numpy(), reading.greedy.numpy()

    def _by_replies(self, asked: Sequence[Sequence[Conversation]]) -> NDArray[np.float32]:
        """Return (c, n, 6) log-probabilities of whole replies, their ends included."""
        from visift.models.answers import Asked, answer_losses
        from visift.models.replies import replied

        logs = np.empty((len(asked), len(asked[0]), len(RATINGS)), np.float32)
        for query, some in enumerate(asked):
            for number, text in enumerate(RATINGS):
                batch = self.collate([replied(one, text) for one in some])
                (found,) = answer_losses(self.vlm, [Asked(batch, tuple(range(len(some))))], "never")
                logs[query, :, number] = [-float(losses.sum()) for losses in found]
        return logs

    def _scores(
        self, asked: Sequence[Sequence[Conversation]], greedy: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return (c, n) ratings; replies that are not known yet are generated."""
        read = official_rating if self.signal.official else rating
        scores = greedy.astype(np.float32)
        unknown = np.argwhere(greedy < 0)
        records = len(asked[0])
        for start in range(0, len(unknown), records):
            some = unknown[start : start + records]
            talks = [asked[query][row] for query, row in some]
            texts = generated(self.vlm, self.collate, talks, self.ends, self.signal.new_tokens)
            scores[tuple(some.T)] = [read(text) for text in texts]
        return scores


def shown(conversation: Conversation, query: str) -> Conversation:
    """Return a record as a scorer or a styler is shown it, with a query."""
    from visift.models.batch import Conversation

    return Conversation(rating_turns(conversation.turns, query), conversation.images)


def within(collate: Collator, conversations: Sequence[Conversation], max_tokens: int) -> Batch:
    """Return the inputs of conversations that end with a reply.

    Raises:
        ItemsAtFault: names those that take too many tokens, or that the template cannot write.
    """
    batch = collated(collate, dict(enumerate(conversations)))
    errors: dict[int, VisiftError] = {
        row: ConversationError(
            f"it and what is asked about it take more than {max_tokens:,} tokens"
        )
        for row in (~batch.answers[:, :max_tokens].any(dim=1)).nonzero()[:, 0].tolist()
    }
    if errors:
        raise ItemsAtFault(errors)
    return batch


def generated(
    vlm: VLM,
    collate: Collator,
    asked: Sequence[Conversation],
    ends: frozenset[int],
    new_tokens: int,
) -> list[str]:
    """Return greedy replies to conversations that end with a query, all of them in one batch."""
    from visift.models.asking import own_answers, questions
    from visift.models.replies import plain_greedy, replied

    prompts = [prompt for one in asked for prompt in questions(collate, replied(one, ""))]
    with plain_greedy(vlm, ends):
        return own_answers(vlm, collate, prompts, new_tokens)
