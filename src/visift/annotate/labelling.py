"""Records rated by a model behind an endpoint: capability scores and answer styles."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from visift.annotate.asking import NO_REPLY, Manners
from visift.annotate.endpoint import Endpoint
from visift.annotate.errand import Errand, Settled, Terms, Watch, listed
from visift.annotate.labels import LineCosts, check_labels, read_earlier, write_labels
from visift.annotate.money import Spending
from visift.annotate.outcome import Annotated
from visift.annotate.rating import Rating, rating
from visift.annotate.records import write_failed
from visift.annotate.request import Settings
from visift.annotate.taxonomy import Taxonomy
from visift.annotate.telling import Say, say_endpoint, say_records
from visift.annotate.todo import ToAnnotate

if TYPE_CHECKING:
    import pyarrow as pa


def label(
    todo: str | Path | Sequence[ToAnnotate],
    *,
    image_folder: str | Path,
    endpoint: Endpoint,
    settings: Settings,
    output: str | Path,
    taxonomy: Taxonomy | None = None,
    spending: Spending | None = None,
    manners: Manners | None = None,
    retry_failed: bool = False,
    dry_run: bool = False,
    overwrite: bool = False,
    say: Say = lambda label, text: None,
    watch: Watch = lambda total: nullcontext(),
) -> Annotated:
    """Have a model rate every record of a list, each with one request.

    Replies are kept beside the output as they come, by content: whatever stops this, the same call
    continues it and asks nothing twice. Labels are written also when the money ends, when somebody
    interrupts it, and when the endpoint fails.

    Args:
        todo: the list, or its file; every line with its conversation.
        image_folder: what image paths start from: a folder, an archive, or a folder of archives.
        endpoint: where to ask; images and conversations go to this host only.
        settings: the model and its parameters.
        output: the `.parquet` file to write; ratings of other records that it holds stay in it.
        taxonomy: what to rate by; the definitions that come with visift by default.
        spending: prices and a limit.
        manners: towards the endpoint.
        retry_failed: ask again where earlier replies could not be used.
        dry_run: ask nothing, write nothing.
        overwrite: replace an output that is not from an annotation, or of other capabilities.
        say: takes lines as (label, text).
        watch: opens a progress bar.

    Raises:
        InputError: a list, definitions or an output that cannot be used.
        EndpointError: the endpoint turns us away, or nothing comes back any more.
        StorageError: a file cannot be written.
    """
    output, taxonomy = Path(output), taxonomy or Taxonomy.read()
    name = str(todo) if isinstance(todo, str | Path) else None
    check_labels(output, [Path(name)] if name else [], overwrite=overwrite)
    earlier = None if overwrite else read_earlier(output, taxonomy.keys)
    say_endpoint(say, endpoint, settings, conversations=True)
    items = listed(todo)
    say_records(say, name, items, taxonomy)
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
    errand = Errand(items, taxonomy, terms)
    if dry_run:
        return errand.outcome(None)
    try:
        errand.ask()
    except BaseException:
        if errand.settled().replies:
            _write(errand, taxonomy, terms, earlier)
        raise
    return errand.outcome(_write(errand, taxonomy, terms, earlier))


def _write(errand: Errand, taxonomy: Taxonomy, terms: Terms, earlier: pa.Table | None) -> Settled:
    """Write what is settled by now, and return it."""
    settled = errand.settled()
    # What got no reply has no row: whoever needs its labels asks for them again.
    ratings: dict[str, Rating | str] = {
        uid: why for uid, why in settled.failed.items() if not why.startswith(NO_REPLY)
    }
    for uid, reply in settled.replies.items():
        given, _ = rating(reply, taxonomy.keys, taxonomy.labels)
        assert given is not None, "a settled reply can be used"
        ratings[uid] = given
    annotator, costs = terms.settings.model, LineCosts(errand.paid(), terms.spending)
    write_labels(terms.output, errand.items, ratings, taxonomy.keys, annotator, earlier, costs)
    write_failed(terms.output, errand.items, settled.failed)
    return settled
