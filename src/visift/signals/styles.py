"""How the answers of a record are given, as a model names it: the interaction styles of mmSSR.

A styler is shown the whole dialogue in one turn, as a scorer is, and names labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray

from visift.models.devices import needs_models
from visift.models.ref import ModelRef
from visift.signals.answering import answering_cost
from visift.signals.batching import measure_in_batches
from visift.signals.cost import Cost, Load
from visift.signals.lengths import batches_by_length, estimate, image_tokens
from visift.signals.losses import load_conversation
from visift.signals.rating_prompts import STYLE_QUERY, STYLES, must_hold, style_query
from visift.signals.ratings import BYTES_PER_TOKEN, generated, shown, within
from visift.signals.signal import Column, Measure, RecordItem, Unit, Values
from visift.signals.texts import encoded

if TYPE_CHECKING:
    from visift.models.batch import Conversation

STYLES_COLUMN = "styles"

#: Bytes of a reply that are kept.
REPLY_BYTES = 256


@dataclass(frozen=True, slots=True)
class InteractionStyles:
    """Labels with commas between them, as the model replied: `rating_replies.labels_of` reads them.

    Greedy decoding; image and dialogue go through the model once, whatever the labels.

    Attributes:
        model: the styler.
        styles: labels it may choose from, in the order in which they are offered.
        query: what it is asked, see `rating_prompts`.
        new_tokens: most tokens of a reply; all nine published styles are 108 where a token is
            little more than a byte [ours].
        max_tokens: a record that takes more with the query has no value.
        batch_tokens: estimated tokens of the records asked at once; a field because another number
            may change a reply.
    """

    version: ClassVar[int] = 1
    unit: ClassVar[Unit] = "record"
    columns: ClassVar[tuple[Column, ...]] = (
        Column(STYLES_COLUMN, "uint8", (REPLY_BYTES,), missing=True, text=True),
    )

    model: ModelRef | None
    styles: tuple[str, ...]
    query: str = STYLE_QUERY
    new_tokens: int = 160
    max_tokens: int = 2048
    batch_tokens: int = 4096

    def __post_init__(self) -> None:
        """Raise `InputError` for a query that does not name the styles."""
        must_hold(self.query, STYLES)

    def cost(self, load: Load) -> Cost:
        """Return what records cost: reading them with the query, and every token of a reply.

        See `answering`.
        """
        return answering_cost(self.model, self.columns, load, self.new_tokens, self._asked())

    def open(self, device: str) -> Measure:
        """Load the model and return what measures a list of records; see `signal.Signal`."""
        with needs_models():
            from visift.models.batch import Collator
            from visift.models.replies import ends_of_turn, replied
            from visift.models.vlm import VLM

        assert self.model is not None, "identity() asks for it before"
        vlm = VLM.load(self.model, device)
        collate, per_image = Collator.of(vlm), image_tokens(vlm)
        query, ends = style_query(self.query, self.styles), ends_of_turn(vlm, collate)

        def compute(conversations: list[Conversation]) -> dict[str, NDArray[Any]]:
            asked = [shown(one, query) for one in conversations]
            within(collate, [replied(one, self.styles[0]) for one in asked], self.max_tokens)
            texts = generated(vlm, collate, asked, ends, self.new_tokens)
            return {STYLES_COLUMN: encoded(texts, REPLY_BYTES)}

        def measure(items: Sequence[RecordItem]) -> Values:
            lengths = [
                min(estimate(item, per_image), self.max_tokens) + self._asked() for item in items
            ]
            batches = batches_by_length(lengths, self.batch_tokens)
            return measure_in_batches(
                items, load_conversation, compute, self.columns, 0, 1, batches
            )

        return measure

    def _asked(self) -> int:
        """Return about how many tokens the query takes."""
        return len(style_query(self.query, self.styles)) // BYTES_PER_TOKEN
