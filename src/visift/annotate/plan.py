"""What is to be asked for a list, before anything is: requests, and what they may cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from visift.annotate.asking import Asked
from visift.annotate.conversations import TURNS_SCHEMA, conversation
from visift.annotate.journal import Journal
from visift.annotate.money import Spending, Tokens
from visift.annotate.pictures import digest
from visift.annotate.prompts import Prompts
from visift.annotate.request import Request, Settings
from visift.annotate.todo import ToAnnotate
from visift.errors import ImageError, InputError
from visift.pool.imageroot import ImageRoot
from visift.pool.paths import name_image


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
    prompts: Prompts,
    settings: Settings,
    spending: Spending,
    root: ImageRoot,
    journal: Journal,
    retry_failed: bool,
) -> Plan:
    """Find out what is to be asked; reads every image once, for its identity.

    Args:
        items: the list.
        prompts: what to ask.
        settings: of all requests.
        spending: what tokens to assume.
        root: where images lie.
        journal: the replies there are.
        retry_failed: ask again where a reply cannot be used.

    Raises:
        InputError: a line without a question that its template would need, or with an unknown
            answer type.
    """
    key_of: dict[str, str] = {}
    unreadable: dict[str, str] = {}
    asked: dict[str, Asked] = {}
    digests: dict[str, str] = {}
    for item in items:
        request = _request(item, prompts)
        try:
            key = request.key(settings, [_digest(root, path, digests) for path in item.images])
        except ImageError as error:
            unreadable[item.uid] = error.what
            continue
        key_of[item.uid] = key
        reply = journal.replies.get(key)
        useless = retry_failed and reply and conversation(item, prompts.of(item), reply)[1]
        if reply is None or useless:
            sent = request.tokens(spending.tokens_per_image)
            asked.setdefault(key, Asked(key, request, Tokens(sent, settings.longest_reply)))
    answer = min(spending.tokens_per_answer, settings.longest_reply)
    estimate = Tokens(sum(one.most.sent for one in asked.values()), answer * len(asked))
    keys = set(key_of.values())
    before = sum((journal.paid.get(key, Tokens()) for key in keys), Tokens())
    before = sum((most for key in keys for most in journal.open.get(key, ())), before)
    known = len(keys & set(journal.replies))
    return Plan(items, key_of, tuple(asked.values()), unreadable, estimate, before, known)


def rough_estimate(items: Iterable[ToAnnotate], prompts: Prompts, spending: Spending) -> Tokens:
    """Return about how many tokens a list would take if all of it were asked; opens no image.

    Raises:
        InputError: as for `make_plan`.
    """
    sent = [_request(item, prompts).tokens(spending.tokens_per_image) for item in items]
    return Tokens(sum(sent), spending.tokens_per_answer * len(sent))


def _request(item: ToAnnotate, prompts: Prompts) -> Request:
    template = prompts.of(item)
    if template.reply == "answer" and not (item.prompt or template.question):
        raise InputError(
            f'"{item.uid}" has no question, and template "{template.name}" has none either.',
            fix='Give the line a "prompt", or the template a question.',
        )
    schema = TURNS_SCHEMA if template.reply == "turns" else None
    return Request(prompts.system, prompts.text(item), item.images, schema)


def _digest(root: ImageRoot, path: str, known: dict[str, str]) -> str:
    if path not in known:
        try:
            known[path] = digest(root.read(path))
        except ImageError as error:
            raise name_image(error, path) from error
    return known[path]
