"""Instructions for selected images, written by a model behind an endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from visift.annotate.asking import Manners
from visift.annotate.conversations import conversation
from visift.annotate.endpoint import Endpoint
from visift.annotate.errand import Errand, Terms, Watch, listed
from visift.annotate.money import Spending
from visift.annotate.outcome import Annotated
from visift.annotate.prompts import Prompts
from visift.annotate.records import Finished, check_output, write_finished
from visift.annotate.request import Settings
from visift.annotate.telling import Say, say_endpoint, say_list
from visift.annotate.todo import ToAnnotate, check_bare


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
    output, prompts = Path(output), prompts or Prompts.read()
    name = str(todo) if isinstance(todo, str | Path) else None
    check_output(output, [Path(name)] if name else [], overwrite=overwrite)
    say_endpoint(say, endpoint, settings)
    items = listed(todo)
    check_bare(items)
    say_list(say, name, items, prompts)
    terms = Terms(
        image_folder,
        endpoint,
        settings,
        output,
        spending or Spending(),
        manners or Manners(),
        retry_failed,
        say,
        watch,
    )
    errand = Errand(items, prompts, terms)
    if dry_run:
        return errand.outcome(None)
    errand.ask()
    settled = errand.settled()
    said = {
        item.uid: conversation(item, prompts.of(item), settled.replies[item.uid])[0]
        for item in items
        if item.uid in settled.replies
    }
    write_finished(output, items, Finished(said, settled.failed), settings.model)
    return errand.outcome(settled)
