"""A list taken to an endpoint, whatever is asked about its lines: planned, paid for, continued."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from visift.annotate.asking import Advance, Asking, Manners
from visift.annotate.endpoint import Endpoint, check_installed
from visift.annotate.journal import Journal
from visift.annotate.money import Purse, Spending, Tokens
from visift.annotate.outcome import Annotated
from visift.annotate.plan import Plan, Work, make_plan
from visift.annotate.records import replies_path
from visift.annotate.replies import Reply
from visift.annotate.request import Settings
from visift.annotate.telling import Say, say_plan
from visift.annotate.todo import ToAnnotate, read_todo
from visift.errors import InputError
from visift.pool.imageroot import ImageRoot

#: Opens what shows progress, for so many requests.
Watch = Callable[[int], AbstractContextManager[Advance | None]]


@dataclass(frozen=True, slots=True)
class Terms:
    """How an endpoint is asked, whatever it is asked.

    Attributes:
        image_folder: what image paths start from: a folder, an archive, or a folder of archives.
        endpoint: where to ask; what is asked goes to this host only.
        settings: the model and its parameters.
        output: the file that the answers go into; replies are kept beside it.
        spending: prices and a limit.
        manners: towards the endpoint.
        retry_failed: ask again where an earlier reply could not be used.
        say: takes lines as (label, text).
        watch: opens a progress bar.
    """

    image_folder: str | Path
    endpoint: Endpoint
    settings: Settings
    output: Path
    spending: Spending = field(default_factory=Spending)
    manners: Manners = field(default_factory=Manners)
    retry_failed: bool = False
    say: Say = lambda label, text: None
    watch: Watch = lambda total: nullcontext()


@dataclass(frozen=True, slots=True)
class Settled:
    """What has become of the lines of a list; those in neither are left for later.

    Attributes:
        replies: the useful reply of a line, by uid.
        failed: why a line has none, by uid.
    """

    replies: Mapping[str, Reply]
    failed: Mapping[str, str]


class Errand:
    """One list on its way: what is asked, what it costs, and what came back.

    Attributes:
        items: the list.
        plan: what is to be asked.
    """

    def __init__(self, items: Sequence[ToAnnotate], work: Work, terms: Terms) -> None:
        """Plan it; reads every image once, for its identity.

        Raises:
            InputError: a line that cannot be asked about.
            PoolError: there are no images.
            StorageError: the replies of an earlier run cannot be read.
        """
        self.items = items
        self._work, self._terms = work, terms
        self._root = ImageRoot.open(terms.image_folder)
        self._journal = Journal.read(replies_path(terms.output))
        spending = terms.spending
        self.plan: Plan = make_plan(
            items, work, terms.settings, spending, self._root, self._journal, terms.retry_failed
        )
        say_plan(terms.say, self.plan, spending)
        before = spending.cost(self.plan.before) or Decimal(0)
        self._purse = Purse(spending, before=before)
        self._failed: dict[str, str] = {}

    def ask(self) -> None:
        """Ask for all that the money allows.

        Raises:
            EndpointError: the endpoint turns us away, or nothing comes back any more.
        """
        terms, asked = self._terms, self.plan.asked
        if not asked:
            return
        check_installed()
        with self._journal.writing(), terms.watch(len(asked)) as bar:
            asking = Asking(
                terms.settings,
                self._root,
                self._journal,
                self._purse,
                terms.manners,
                bar,
                self._failed,
            )
            try:
                asking.ask(terms.endpoint, asked)
            except KeyboardInterrupt as stop:
                kept = f"{len(self._journal.replies):,} replies are kept"
                raise type(stop)(f"Stopped. {kept}; the same command continues here.") from None

    def settled(self) -> Settled:
        """Return what has become of every line so far."""
        replies: dict[str, Reply] = {}
        failed = dict(self.plan.unreadable)
        for item in self.items:
            key = self.plan.key_of.get(item.uid)
            if key is None:
                continue
            reply = self._journal.replies.get(key)
            fault = self._work.fault(item, reply) if reply else None
            if reply and fault is None:
                replies[item.uid] = reply
            elif key in self._failed:
                failed[item.uid] = self._failed[key]
            elif reply and fault and self._is_final(key, reply):
                failed[item.uid] = fault
        return Settled(replies, failed)

    def paid(self) -> dict[str, Tokens]:
        """Return the tokens of all replies about a line, by uid; lines with one request share it.

        The first of them has all, so that a sum over lines is what was paid for.
        """
        first: dict[str, str] = {}
        for item in self.items:
            key = self.plan.key_of.get(item.uid)
            if key in self._journal.paid:
                first.setdefault(key, item.uid)
        return {uid: self._journal.paid[key] for key, uid in first.items()}

    def _is_final(self, key: str, reply: Reply) -> bool:
        """Return whether a reply that cannot be used is the last one to be had."""
        return reply.text is None or self._journal.times[key] >= self._work.tries

    def outcome(self, settled: Settled | None) -> Annotated:
        """Return how it ended; without `settled` as a dry run."""
        spending, purse, plan = self._terms.spending, self._purse, self.plan
        outcome = Annotated(
            lines=len(self.items),
            requests=len(plan.asked),
            known=plan.known,
            estimate=plan.estimate,
            tokens=purse.tokens,
            estimated_cost=spending.cost(plan.estimate),
        )
        if spending.prices is not None:
            outcome = replace(
                outcome, cost=purse.spent, cost_before=purse.before, cost_uncertain=purse.uncertain
            )
        if settled is None:
            return outcome
        annotated, failed = len(settled.replies), dict(settled.failed)
        left = len(self.items) - annotated - len(failed)
        return replace(
            outcome, output=self._terms.output, annotated=annotated, failed=failed, left=left
        )


def listed(todo: str | Path | Sequence[ToAnnotate]) -> list[ToAnnotate]:
    """Return the lines of a list or of its file; raises `InputError` where two share a uid."""
    return read_todo(Path(todo)) if isinstance(todo, str | Path) else distinct(todo)


def distinct(todo: Iterable[ToAnnotate]) -> list[ToAnnotate]:
    """Return lines as a list; raises `InputError` where two share a uid."""
    items = list(todo)
    twice = [uid for uid, count in Counter(item.uid for item in items).items() if count > 1]
    if twice:
        raise InputError(f'two lines are called "{twice[0]}".', fix="Give each a uid of its own.")
    return items
