"""Tokens and money: what a run is expected to cost, has cost, and may not exceed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from visift.errors import InputError

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens sent and received."""

    sent: int = 0
    received: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.sent + other.sent, self.received + other.received)


@dataclass(frozen=True, slots=True)
class Prices:
    """Dollars a million tokens.

    Attributes:
        sent: of a request.
        received: of a reply.
    """

    sent: Decimal
    received: Decimal

    def of(self, tokens: Tokens) -> Decimal:
        """Return what tokens cost, in dollars, exactly."""
        return (self.sent * tokens.sent + self.received * tokens.received) / _MILLION


@dataclass(frozen=True, slots=True)
class Spending:
    """What is known of costs, and their limit.

    Attributes:
        prices: None where nobody said.
        max_cost: dollars for the whole list, earlier runs included.
        tokens_per_image: assumed, as every provider counts images in its own way.
        tokens_per_answer: assumed.
    """

    prices: Prices | None = None
    max_cost: Decimal | None = None
    tokens_per_image: int = 1000
    tokens_per_answer: int = 250

    @classmethod
    def parse(
        cls,
        *,
        price_in: str | None,
        price_out: str | None,
        max_cost: str | None,
        tokens_per_image: int = 1000,
        tokens_per_answer: int = 250,
    ) -> Spending:
        """Return these from texts.

        Raises:
            InputError: not an amount, one price without the other, or a limit without prices.
        """
        sent, received = dollars("--price-in", price_in), dollars("--price-out", price_out)
        limit = dollars("--max-cost", max_cost)
        if (sent is None) != (received is None):
            raise InputError("--price-in and --price-out go together.", fix="Give both of them.")
        if limit is not None and sent is None:
            raise InputError(
                "--max-cost needs prices.",
                fix="Dollars a million tokens: --price-in 0.15 --price-out 0.60",
            )
        if tokens_per_image < 0 or tokens_per_answer < 0:
            raise InputError("a number of tokens is negative.", fix="Give 0 or more.")
        prices = None if sent is None or received is None else Prices(sent, received)
        return cls(prices, limit, tokens_per_image, tokens_per_answer)

    def cost(self, tokens: Tokens) -> Decimal | None:
        """Return what tokens cost in dollars; None without prices."""
        return self.prices.of(tokens) if self.prices else None


def dollars(flag: str, text: str | None) -> Decimal | None:
    """Return an amount of money; raises `InputError` for what is none."""
    if text is None:
        return None
    try:
        amount = Decimal(text.strip().removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("nan")
    if not amount.is_finite() or amount < 0:
        raise InputError(f'{flag} "{text}" is no amount of dollars.', fix=f"Such as: {flag} 5.00")
    return amount


@dataclass
class Purse:
    """Keeps count, and never lets more be spent than there is.

    A request is paid for in advance, as if its reply were as long as it may be, and as if the
    endpoint counted tokens as generously as it did at its worst so far.

    Attributes:
        spending: prices and limit.
        tokens: counted by the endpoint in replies of this run.
        spent: dollars for them.
        before: dollars that earlier runs spent on this list, and may have spent.
        uncertain: dollars of requests that got no reply, which may have to be paid all the same.
        unanswered: how many those are.
        reserved: dollars of requests in flight.
    """

    spending: Spending
    before: Decimal = Decimal(0)
    tokens: Tokens = field(default_factory=Tokens)
    spent: Decimal = Decimal(0)
    uncertain: Decimal = Decimal(0)
    unanswered: int = 0
    reserved: Decimal = Decimal(0)
    _factor: Decimal = Decimal(1)

    def reserve(self, most: Tokens) -> Decimal | None:
        """Set money aside for one request; return it, or None where there is not enough.

        Args:
            most: tokens it is assumed to have at most.
        """
        amount = self._price(Tokens(math.ceil(most.sent * self._factor), most.received))
        limit = self.spending.max_cost
        if limit is not None and self.committed + amount > limit:
            return None
        self.reserved += amount
        return amount

    @property
    def committed(self) -> Decimal:
        """Dollars that are spent, may be spent or are set aside."""
        return self.before + self.spent + self.uncertain + self.reserved

    def settle(self, reserved: Decimal, most: Tokens, counted: Tokens | None) -> None:
        """Pay for a reply.

        Args:
            reserved: what was set aside for it.
            most: what it was assumed to have at most.
            counted: what the endpoint says; None counts as the assumption.
        """
        self.reserved -= reserved
        tokens = most if counted is None else counted
        self.tokens += tokens
        self.spent += self._price(tokens)
        self._factor = max(self._factor, Decimal(tokens.sent) / max(most.sent, 1))

    def release(self, reserved: Decimal, *, maybe_billed: bool) -> None:
        """Take back what was set aside for a request without a reply, if it costs nothing."""
        self.reserved -= reserved
        if maybe_billed:
            self.uncertain += reserved
            self.unanswered += 1

    def _price(self, tokens: Tokens) -> Decimal:
        return self.spending.cost(tokens) or Decimal(0)
