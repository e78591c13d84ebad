"""The lines a person reads before anything is spent, as (label, text) for whoever prints them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from visift.amounts import counted as number_of
from visift.amounts import money, short
from visift.annotate.endpoint import Endpoint, host_of
from visift.annotate.money import Spending, Tokens
from visift.annotate.plan import Plan
from visift.annotate.prompts import Prompts
from visift.annotate.request import Settings
from visift.annotate.taxonomy import Taxonomy
from visift.annotate.todo import ToAnnotate

Say = Callable[[str, str], None]


def say_endpoint(
    say: Say, endpoint: Endpoint, settings: Settings, *, conversations: bool = False
) -> None:
    """Say where images go, and conversations where those are sent, before anything else."""
    key = "with a key" if endpoint.key else "without a key"
    say("Endpoint", f"{endpoint.host} · model {settings.model} · {key}")
    by = f", through the proxy {host_of(endpoint.proxy)}" if endpoint.proxy else ""
    larger = f"; larger than {settings.max_side:,} pixels: scaled down" if settings.max_side else ""
    what = "and conversations go" if conversations else "go"
    say("Images", f"{what} to this host and no other{by}{larger}")
    if endpoint.is_readable_on_the_way:
        say("Note", "http is not encrypted: images and key can be read on the way")


def say_list(say: Say, name: str | None, items: Sequence[ToAnnotate], prompts: Prompts) -> None:
    """Say what is to be annotated, and by which prompts."""
    asked = sum(item.prompt is not None for item in items)
    tasks = len({item.task for item in items if item.task})
    parts = [name, number_of(len(items), "line"), number_of(tasks, "task") if tasks else None]
    parts.append(f"{asked:,} with a question" if asked else None)
    say("To do", " · ".join(part for part in parts if part))
    counts = Counter(prompts.of(item).name for item in items).most_common()
    where = prompts.name or "visift's own; --show-prompts prints them"
    say("Prompts", f"{' · '.join(f'{name} {count:,}' for name, count in counts)} ({where})")


def say_records(
    say: Say, name: str | None, items: Sequence[ToAnnotate], taxonomy: Taxonomy
) -> None:
    """Say what is to be rated, and by which definitions."""
    tasks = len({item.task for item in items if item.task})
    bare = sum(not item.images for item in items)
    parts = [name, number_of(len(items), "record"), number_of(tasks, "task") if tasks else None]
    parts.append(f"{bare:,} without images" if bare else None)
    say("To rate", " · ".join(part for part in parts if part))
    asked = ["1 capability" if len(taxonomy.keys) == 1 else f"{len(taxonomy.keys)} capabilities"]
    asked += [number_of(len(taxonomy.labels), "style")] if taxonomy.labels else []
    where = taxonomy.source or "visift's own; --show-prompts prints them"
    say("Asked", f"{' and '.join(asked)} ({where})")


def say_plan(say: Say, plan: Plan, spending: Spending) -> None:
    """Say what was spent before, and what this run is expected to cost, with what is assumed."""
    if plan.before != Tokens():
        cost = spending.cost(plan.before)
        price = "" if cost is None else f", for up to {money(cost)}"
        say("Before", f"{plan.known:,} replies of earlier runs{price}")
    if plan.unreadable:
        first = next(iter(plan.unreadable.values()))
        lost = number_of(len(plan.unreadable), "line")
        say("Note", f"{lost} cannot be asked about (the first: {first})")
    estimate, cost = plan.estimate, spending.cost(plan.estimate)
    price = "" if cost is None else f", about {money(cost)}"
    say(
        "Estimate",
        f"{number_of(len(plan.asked), 'request')}, about {short(estimate.sent)} tokens in and "
        f"{short(estimate.received)} out{price}",
    )
    if plan.asked:
        answer = estimate.received // len(plan.asked)
        unpriced = "" if spending.prices else "; --price-in and --price-out give the cost"
        say(
            "",
            f"assumed: {spending.tokens_per_image:,} tokens an image (--tokens-per-image), "
            f"{answer:,} an answer (--tokens-per-answer){unpriced}",
        )
    if spending.max_cost is not None:
        say("Limit", f"{money(spending.max_cost)} for this list, earlier runs included")
