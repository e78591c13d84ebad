"""What is to be asked for a list, before anything is: requests, and what they may cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from visift.annotate.asking import Asked
from visift.annotate.journal import Journal
from visift.annotate.money import Spending, Tokens
from visift.annotate.pictures import digest
from visift.annotate.replies import Reply
from visift.annotate.request import Request, Settings
from visift.annotate.todo import ToAnnotate
from visift.errors import ImageError
from visift.pool.imageroot import ImageRoot
from visift.pool.paths import name_image


class Work(Protocol):
    """What is asked about the lines of a list, and what makes a reply useful."""

    @property
    def tries(self) -> int:
        """Return how many replies a request may have until one can be used."""
        ...

    def request(self, item: ToAnnotate) -> Request:
        """Return what is asked about a line; raises `InputError` where that cannot be."""
        ...

    def fault(self, item: ToAnnotate, reply: Reply) -> str | None:
        """Return why a reply about a line cannot be used, if so."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be asked, before anything is.

    Attributes:
        items: the list.
        key_of: the request of every line whose images are there, by uid.
        asked: one entry a request without a reply, in order.
        unreadable: why a line cannot be asked about, by uid.
        estimate: tokens of `asked`.
        before: tokens that earlier runs used for them, or may have used.
        known: requests of the list that have a reply.
    """

    items: Sequence[ToAnnotate]
    key_of: Mapping[str, str]
    asked: Sequence[Asked]
    unreadable: Mapping[str, str]
    estimate: Tokens
    before: Tokens
    known: int


def make_plan(
    items: Sequence[ToAnnotate],
    work: Work,
    settings: Settings,
    spending: Spending,
    root: ImageRoot,
    journal: Journal,
    retry_failed: bool,
) -> Plan:
    """Find out what is to be asked; reads every image once, for its identity.

    Args:
        items: the list.
        work: what to ask.
        settings: of all requests.
        spending: what tokens to assume.
        root: where images lie.
        journal: the replies there are.
        retry_failed: ask again where a reply cannot be used.

    Raises:
        InputError: a line that cannot be asked about.
    """
    key_of: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    asked: dict[str, Asked] = {}
    digests: dict[str, str] = {}
    for item in items:
        request = work.request(item)
        try:
            key = request.key(settings, [_digest(root, path, digests) for path in item.images])
        except ImageError as error:
            unreadable[item.uid] = error.what
            continue
        key_of[item.uid] = key
        tries = _tries_left(item, work, key, journal, retry_failed)
        if tries:
            most = Tokens(request.tokens(spending.tokens_per_image), settings.longest_reply)
            asked.setdefault(key, Asked(key, request, most, tries, partial(work.fault, item)))
    answer = min(spending.tokens_per_answer, settings.longest_reply)
    estimate = Tokens(sum(one.most.sent for one in asked.values()), answer * len(asked))
    keys = set(key_of.values())
    before = sum((journal.paid.get(key, Tokens()) for key in keys), Tokens())
    before = sum((most for key in keys for most in journal.open.get(key, ())), before)
    known = len(keys & set(journal.replies))
    return Plan(items, key_of, tuple(asked.values()), unreadable, estimate, before, known)


def _tries_left(
    item: ToAnnotate, work: Work, key: str, journal: Journal, retry_failed: bool
) -> int:
    """Return how many replies a request may still have."""
    reply = journal.replies.get(key)
    if reply is None:
        return work.tries
    fault = work.fault(item, reply)
    if fault is None:
        return 0
    if retry_failed:
        return work.tries
    return max(0, work.tries - journal.times[key]) if reply.text is not None else 0


def rough_estimate(items: Iterable[ToAnnotate], work: Work, spending: Spending) -> Tokens:
    """Return about how many tokens a list would take if all of it were asked; opens no image.

    Raises:
        InputError: as for `make_plan`.
    """
    sent = [work.request(item).tokens(spending.tokens_per_image) for item in items]
    return Tokens(sum(sent), spending.tokens_per_answer * len(sent))


def _digest(root: ImageRoot, path: str, known: dict[str, str]) -> str:
    if path not in known:
        try:
            known[path] = digest(root.read(path))
        except ImageError as error:
            raise name_image(error, path) from error
    return known[path]
