"""Labels of records as a table: one row a record that a teacher has settled.

uid           string          as the list has it
content_hash  string          the line's content_key, if it has one
score.<key>   int8            0 to 5, one column a capability
styles        list<string>    the first one has the most answers; null where none were asked for
annotator     string          the model
failed        string          why there is no rating, with scores and styles null then
tokens_in     int64           sent about this line, tries that came to nothing included; of lines
                              with the same content the first has all; null where nobody counted
tokens_out    int64           received, likewise
dollars       double          for these tokens, at the prices named last; null without prices
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visift.annotate.money import Spending, Tokens
from visift.annotate.rating import Rating
from visift.annotate.records import check_output
from visift.annotate.todo import ToAnnotate
from visift.errors import InputError
from visift.files import disk_errors, write_atomically
from visift.pool.bill import BILL, DOLLARS, TOKENS_IN, TOKENS_OUT

if TYPE_CHECKING:
    import pyarrow as pa

SCORE = "score."


@dataclass(frozen=True, slots=True)
class LineCosts:
    """What labels cost.

    Attributes:
        tokens: of the lines that were asked about, by uid.
        spending: prices, where they were named.
    """

    tokens: Mapping[str, Tokens]
    spending: Spending

    def of(self, item: ToAnnotate, paid: Container[str]) -> dict[str, Any]:
        """Return what a line cost, as its columns hold it: nothing where its content is paid."""
        asked = item.content_key is None or item.content_key not in paid
        tokens = self.tokens.get(item.uid, Tokens()) if asked else Tokens()
        cost = self.spending.cost(tokens)
        values = (tokens.sent, tokens.received, None if cost is None else float(cost))
        return dict(zip(BILL, values, strict=True))


def check_labels(output: Path, others: Sequence[Path], *, overwrite: bool) -> None:
    """Refuse an output that would replace something else.

    Raises:
        InputError: its name does not end in `.parquet`, it is read too, or not ours.
    """
    check_output(output, others, overwrite=overwrite, suffixes=(".parquet",))


def read_earlier(path: Path, capabilities: Sequence[str]) -> pa.Table | None:
    """Return labels that an earlier run wrote, if there are any.

    Raises:
        InputError: the file is no such table, or its labels are of other capabilities.
    """
    if not path.exists():
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError):
        raise _in_the_way("is no table of labels.", path) from None
    schema = label_schema(capabilities)
    for name in BILL:  # files of earlier versions lack them
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows))
    if set(table.schema.names) != set(schema.names):
        theirs = [name for name in table.schema.names if name not in schema.names]
        other = f", such as {theirs[0].removeprefix(SCORE)}" if theirs else ""
        raise _in_the_way(f"holds labels of other capabilities{other}.", path)
    return table.select(schema.names).cast(schema)


def write_labels(
    path: Path,
    items: Sequence[ToAnnotate],
    ratings: Mapping[str, Rating | str],
    capabilities: Sequence[str],
    annotator: str,
    earlier: pa.Table | None = None,
    costs: LineCosts | None = None,
) -> None:
    """Write the labels of a list, after those of other records that earlier runs have paid for.

    Args:
        path: the file; it is replaced as a whole.
        items: the list; what it leaves open has no row.
        ratings: of the settled lines, or why there is none, by uid.
        capabilities: one column each, in this order.
        annotator: the model.
        earlier: labels that `read_earlier` found.
        costs: what they cost; None where nobody counted.

    Raises:
        StorageError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    schema = label_schema(capabilities)
    others = schema.empty_table() if earlier is None else earlier
    ours = pa.array([item.uid for item in items], pa.string())
    others = others.filter(pc.invert(pc.is_in(others["uid"], ours)))
    # A reply is kept by content, so that an equal record of an earlier list has its cost already.
    paid = set(others.filter(pc.greater(others[TOKENS_IN], 0))["content_hash"].to_pylist())
    rows = [
        {
            **_row(item, ratings[item.uid], capabilities, annotator),
            **(costs.of(item, paid) if costs else {}),
        }
        for item in items
        if item.uid in ratings
    ]
    table = pa.concat_tables([others, pa.Table.from_pylist(rows, schema=schema)])
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, sink.getvalue())


def label_schema(capabilities: Sequence[str]) -> pa.Schema:
    """Return the columns of a table of labels."""
    import pyarrow as pa

    return pa.schema(
        [
            ("uid", pa.string()),
            ("content_hash", pa.string()),
            *((f"{SCORE}{key}", pa.int8()) for key in capabilities),
            ("styles", pa.list_(pa.string())),
            ("annotator", pa.string()),
            ("failed", pa.string()),
            (TOKENS_IN, pa.int64()),
            (TOKENS_OUT, pa.int64()),
            (DOLLARS, pa.float64()),
        ]
    )


def _row(
    item: ToAnnotate, rating: Rating | str, capabilities: Sequence[str], annotator: str
) -> dict[str, Any]:
    row = {"uid": item.uid, "content_hash": item.content_key, "annotator": annotator}
    if isinstance(rating, str):
        return {**row, "failed": rating}
    scores = {f"{SCORE}{key}": rating.scores[key] for key in capabilities}
    return {**row, **scores, "styles": list(rating.styles) or None}


def _in_the_way(what: str, path: Path) -> InputError:
    return InputError(
        what, where=str(path), fix="Choose another --output, or replace it: --overwrite"
    )
