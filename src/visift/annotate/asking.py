"""Many requests to one endpoint: several at a time, patiently, and never above the limit of money.

What the replies mean is not known here: they lie in the journal by key.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Protocol

from visift.amounts import duration
from visift.annotate.endpoint import Endpoint, EndpointError, Line, Refused, TryAgain
from visift.annotate.journal import Journal, counted
from visift.annotate.loops import run_to_end
from visift.annotate.money import Purse, Tokens
from visift.annotate.pictures import data_url
from visift.annotate.replies import Reply, read_reply
from visift.annotate.request import Request, Settings
from visift.errors import ImageError
from visift.pool.imageroot import ImageRoot
from visift.pool.paths import name_image

#: How the reason begins for what another run may well get a reply to.
NO_REPLY = "no reply after"

_KEPT = "What was answered is kept: the same command continues here."


class Advance(Protocol):
    """Takes how many more requests have come to their end."""

    def advance(self, items: int) -> None:
        """Show it."""
        ...


@dataclass(frozen=True, slots=True)
class Manners:
    """How an endpoint is treated.

    Attributes:
        concurrency: requests in flight at most.
        timeout: seconds for one of them.
        tries: of one request, before it is given up.
        first_wait: seconds before the second try; doubled for each that follows.
        longest_wait: seconds that these waits grow to.
        most_patience: seconds that an endpoint may ask to wait; above that the run stops.
        failures_in_a_row: requests given up without any success between, after which it stops.
        seed: of the random part of waits.
    """

    concurrency: int = 8
    timeout: float = 60.0
    tries: int = 6
    first_wait: float = 1.0
    longest_wait: float = 60.0
    most_patience: float = 300.0
    failures_in_a_row: int = 20
    seed: int = 0

    def wait(self, key: str, tried: int) -> float:
        """Return the seconds to wait after so many tries of a request: half of it at random."""
        full = min(self.longest_wait, self.first_wait * 2.0 ** (tried - 1))
        draw = random.Random(f"{self.seed}:{key}:{tried}").random()
        return full * (0.5 + draw / 2)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of a run.

    Attributes:
        key: its identity.
        request: what is asked.
        most: tokens it is assumed to have at most.
        tries: replies it may have until one can be used; one that says nothing ends it.
        fault: why a reply cannot be used, if so.
    """

    key: str
    request: Request
    most: Tokens
    tries: int = 1
    fault: Callable[[Reply], str | None] = lambda reply: None

    def corrected(self, fault: str) -> Asked:
        """Return this with a word on what was wrong with the last reply."""
        request = self.request.corrected(fault)
        more = request.tokens(0) - self.request.tokens(0)
        most = Tokens(self.most.sent + more, self.most.received)
        return replace(self, request=request, most=most)


@dataclass
class Asking:
    """One run of requests.

    Attributes:
        settings: the same for all of them.
        root: where images lie.
        journal: takes the replies.
        purse: pays for them.
        manners: towards the endpoint.
        bar: shows how many requests have come to their end.
        failed: why a request was given up, by key.
    """

    settings: Settings
    root: ImageRoot
    journal: Journal
    purse: Purse
    manners: Manners
    bar: Advance | None = None
    failed: dict[str, str] = field(default_factory=dict)
    _hold_until: float = 0.0
    _in_a_row: int = 0
    _sent: int = 0
    _settled: asyncio.Event = field(default_factory=asyncio.Event)

    def ask(self, endpoint: Endpoint, several: Sequence[Asked]) -> None:
        """Ask for all that the money allows, in order; the journal must be writing.

        Raises:
            EndpointError: the endpoint turns us away, or nothing comes back any more.
        """
        run_to_end(self._all(endpoint, several))

    async def _all(self, endpoint: Endpoint, several: Sequence[Asked]) -> None:
        queue = iter(several)
        manners = self.manners
        async with endpoint.connected(manners.concurrency, manners.timeout) as line:
            # The first goes alone: a wrong key is told once, and its reply shows what images cost.
            if await self._some(line, queue, alone=True):
                return
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(manners.concurrency, len(several))):
                        group.create_task(self._some(line, queue))
            except ExceptionGroup as failures:
                raise failures.exceptions[0] from None

    async def _some(self, line: Line, queue: Iterator[Asked], *, alone: bool = False) -> bool:
        """Ask from the queue until it is empty; return whether the money was what ended it.

        Args:
            line: the connection.
            queue: what is left, for all that ask.
            alone: end as soon as one request was sent.
        """
        while not (alone and self._sent) and (asked := next(queue, None)) is not None:
            if not await self._one(line, asked):
                return True
            if self.bar is not None:
                self.bar.advance(1)
        return False

    async def _one(self, line: Line, asked: Asked) -> bool:
        """Bring a request to its end; return False where there is no money for it."""
        try:
            urls = await asyncio.to_thread(self._urls, asked.request)
        except ImageError as error:
            self.failed[asked.key] = error.what
            return True
        now = asked
        for _ in range(asked.tries):
            if not await self._reply_to(line, now, urls):
                return False
            reply = self.journal.replies.get(asked.key)
            if asked.key in self.failed or reply is None or reply.text is None:
                break
            fault = asked.fault(reply)
            if fault is None:
                break
            now = asked.corrected(fault)
        return True

    async def _reply_to(self, line: Line, asked: Asked, urls: Sequence[str]) -> bool:
        """Send a request until it has a reply; return False where there is no money for it."""
        body = asked.request.body(self.settings, urls)
        reason = ""
        for tried in range(1, self.manners.tries + 1):
            await self._hold()
            reserved = await self._reserve(asked.most)
            if reserved is None:
                return False
            failure = await self._try(line, asked, body, reserved)
            if failure is None:
                return True
            if isinstance(failure, Refused):
                reason = str(failure)
                break
            reason = f"{NO_REPLY} {tried} tries: {failure.reason}"
            if tried < self.manners.tries:
                await self._wait(failure, asked.key, tried, line.endpoint)
        self._give_up(asked.key, reason, line.endpoint)
        return True

    async def _try(
        self, line: Line, asked: Asked, body: dict[str, Any], reserved: Decimal
    ) -> TryAgain | Refused | None:
        """Send a request once and keep the reply; return why there is none."""
        # Whoever is killed from here on may have to pay for it: the next run counts it.
        self.journal.asked(asked.key, asked.most)
        self._sent += 1
        try:
            data = await line.post(body)
        except (TryAgain, Refused, EndpointError) as failure:
            maybe_billed = isinstance(failure, TryAgain) and failure.maybe_billed
            self.purse.release(reserved, maybe_billed=maybe_billed)
            if not maybe_billed:
                self.journal.costs_nothing(asked.key)
            if isinstance(failure, EndpointError):
                raise
            return failure
        else:
            reply = read_reply(data)
            self.journal.answered(asked.key, reply)
            self.purse.settle(reserved, asked.most, counted(reply, asked.most))
            self._in_a_row = 0
            return None
        finally:
            self._settled.set()

    def _urls(self, request: Request) -> list[str]:
        urls = []
        for path in request.images:
            try:
                urls.append(data_url(self.root.read(path), self.settings.max_side))
            except ImageError as error:
                raise name_image(error, path) from error
        return urls

    async def _reserve(self, most: Tokens) -> Decimal | None:
        """Set money aside; where what is in flight may leave enough, wait for it."""
        while True:
            in_flight = self.purse.reserved
            reserved = self.purse.reserve(most)
            if reserved is not None or not in_flight:
                return reserved
            self._settled.clear()
            await self._settled.wait()

    async def _hold(self) -> None:
        """Wait as long as the endpoint asked anybody to."""
        while (left := self._hold_until - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(left)

    async def _wait(self, again: TryAgain, key: str, tried: int, endpoint: Endpoint) -> None:
        """Wait before another try."""
        asked_for = again.wait or 0.0
        if asked_for > self.manners.most_patience:
            raise EndpointError(
                f"asks to come back in {duration(asked_for)} ({again.reason}).",
                where=endpoint.host,
                fix=_KEPT,
            )
        until = asyncio.get_running_loop().time() + asked_for
        self._hold_until = max(self._hold_until, until)
        await asyncio.sleep(max(asked_for, self.manners.wait(key, tried)))

    def _give_up(self, key: str, reason: str, endpoint: Endpoint) -> None:
        self.failed[key] = reason
        self._in_a_row += 1
        if self._in_a_row >= self.manners.failures_in_a_row:
            raise EndpointError(
                f"{self._in_a_row} requests in a row came to nothing (the last: {reason}).",
                where=endpoint.host,
                fix=_KEPT,
            )
