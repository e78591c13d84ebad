"""Instructions for selected images, written by a model behind an endpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from visift.annotate.asking import Advance, Asked, Asking, Manners
from visift.annotate.conversations import conversation
from visift.annotate.endpoint import Endpoint, check_installed
from visift.annotate.journal import Journal
from visift.annotate.money import Purse, Spending
from visift.annotate.outcome import Annotated
from visift.annotate.plan import Plan, make_plan
from visift.annotate.prompts import Prompts
from visift.annotate.records import (
    Finished,
    check_output,
    replies_path,
    write_finished,
)
from visift.annotate.request import Settings
from visift.annotate.telling import Say, say_endpoint, say_list, say_plan
from visift.annotate.todo import ToAnnotate, read_todo
from visift.errors import InputError
from visift.pool.imageroot import ImageRoot

#: Opens what shows progress, for so many requests.
Watch = Callable[[int], AbstractContextManager[Advance | None]]


def annotate(
    todo: str | Path | Sequence[ToAnnotate],
    *,
    image_folder: str | Path,
    endpoint: Endpoint,
    settings: Settings,
    output: str | Path,
    prompts: Prompts | None = None,
    spending: Spending | None = None,
    manners: Manners | None = None,
    retry_failed: bool = False,
    dry_run: bool = False,
    overwrite: bool = False,
    say: Say = lambda label, text: None,
    watch: Watch = lambda total: nullcontext(),
) -> Annotated:
    """Have a model write a conversation for every line of a list.

    Replies are kept beside the output as they come, by content: whatever stops this, the same call
    continues it and asks nothing twice.

    Args:
        todo: the list, or its file.
        image_folder: what image paths start from: a folder, an archive, or a folder of archives.
        endpoint: where to ask; images go to this host only.
        settings: the model and its parameters.
        output: the `.jsonl` or `.json` file to write, in LLaVA's format.
        prompts: what to ask; those that come with visift by default.
        spending: prices and a limit.
        manners: towards the endpoint.
        retry_failed: ask again where an earlier reply could not be used.
        dry_run: ask nothing, write nothing.
        overwrite: replace an output that is not from an annotation.
        say: takes lines as (label, text).
        watch: opens a progress bar.

    Raises:
        InputError: a list, prompts or an output that cannot be used.
        EndpointError: the endpoint turns us away, or nothing comes back any more.
        StorageError: a file cannot be written.
    """
    output = Path(output)
    prompts, spending = prompts or Prompts.read(), spending or Spending()
    manners = manners or Manners()
    name = str(todo) if isinstance(todo, str | Path) else None
    check_output(output, [Path(name)] if name else [], overwrite=overwrite)
    say_endpoint(say, endpoint, settings)
    items = read_todo(Path(todo)) if isinstance(todo, str | Path) else distinct(todo)
    say_list(say, name, items, prompts)
    root = ImageRoot.open(image_folder)
    journal = Journal.read(replies_path(output))
    plan = make_plan(items, prompts, settings, spending, root, journal, retry_failed)
    say_plan(say, plan, spending)
    purse = Purse(spending, before=spending.cost(plan.before) or Decimal(0))
    if dry_run:
        return _annotated(output, plan, spending, purse, None)
    failed: dict[str, str] = {}
    if plan.asked:
        check_installed()
        with journal.writing(), watch(len(plan.asked)) as bar:
            asking = Asking(settings, root, journal, purse, manners, bar, failed)
            _ask(asking, endpoint, plan.asked)
    finished = _finished(plan, prompts, journal, failed)
    write_finished(output, items, finished, settings.model)
    return _annotated(output, plan, spending, purse, finished)


def _ask(asking: Asking, endpoint: Endpoint, several: Sequence[Asked]) -> None:
    try:
        asking.ask(endpoint, several)
    except KeyboardInterrupt as stop:
        kept = f"{len(asking.journal.replies):,} replies are kept"
        raise type(stop)(f"Stopped. {kept}; the same command continues here.") from None


def _finished(
    plan: Plan, prompts: Prompts, journal: Journal, failed: Mapping[str, str]
) -> Finished:
    said, lost = {}, dict(plan.unreadable)
    for item in plan.items:
        key = plan.key_of.get(item.uid)
        if key is None:
            continue
        reply = journal.replies.get(key)
        if reply is None:
            if key in failed:
                lost[item.uid] = failed[key]
            continue
        pairs, fault = conversation(item, prompts.of(item), reply)
        if fault is None:
            said[item.uid] = pairs
        else:
            lost[item.uid] = fault
    return Finished(said, lost)


def _annotated(
    output: Path, plan: Plan, spending: Spending, purse: Purse, finished: Finished | None
) -> Annotated:
    """Return how it ended; without `finished` as a dry run."""
    outcome = Annotated(
        lines=len(plan.items),
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
    if finished is None:
        return outcome
    annotated, failed = len(finished.said), dict(finished.failed)
    left = len(plan.items) - annotated - len(failed)
    return replace(outcome, output=output, annotated=annotated, failed=failed, left=left)


def distinct(todo: Iterable[ToAnnotate]) -> list[ToAnnotate]:
    """Return lines as a list; raises `InputError` where two share a uid."""
    items = list(todo)
    twice = [uid for uid, count in Counter(item.uid for item in items).items() if count > 1]
    if twice:
        raise InputError(f'two lines are called "{twice[0]}".', fix="Give each a uid of its own.")
    return items
