"""Records that a teacher rates: what is asked, what is kept, and what is set aside."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotate.chat_server import TOKENS_PER_ANSWER, Asked, Behaviour, Handler, chat, chooses, status
from annotate.lists import QUICK, lines, spending
from annotate.teacher import demo_lines, rated, teaching
from helpers import put_images
from visift.annotate import Annotated, Endpoint, Settings, Taxonomy, ToAnnotate, label, write_todo
from visift.annotate.asking import Manners
from visift.annotate.capabilities import CAPABILITIES, STYLES
from visift.annotate.endpoint import EndpointError
from visift.annotate.money import Spending
from visift.annotate.plan import rough_estimate
from visift.annotate.rating import rating
from visift.annotate.replies import Reply
from visift.annotate.taxonomy import own_taxonomy
from visift.cli import run
from visift.demo.generator import write_demo_pool
from visift.demo.ratings import demo_ratings
from visift.errors import InputError
from visift.pool.record import Turn

pytest.importorskip("httpx2")

GOOD = {"scores": dict.fromkeys(CAPABILITIES, 2), "styles": [STYLES[3]]}
COLUMNS = {
    "uid": pa.string(),
    "content_hash": pa.string(),
    **{f"score.{key}": pa.int8() for key in CAPABILITIES},
    "styles": pa.list_(pa.string()),
    "annotator": pa.string(),
    "failed": pa.string(),
    "tokens_in": pa.int64(),
    "tokens_out": pa.int64(),
    "dollars": pa.float64(),
}


def record(number: int, *, image: bool = True) -> ToAnnotate:
    turns = (
        Turn("user", f"{'<image>' if image else ''}\nWhat is {number}?"),
        Turn("assistant", str(number)),
    )
    images = (f"a/{number}.png",) if image else ()
    return ToAnnotate(f"u{number}", images, f"{number:032x}", number + 1, conversations=turns)


def todo(folder: Path, count: int) -> Path:
    """Write a list of so many records, the last of them without an image; return the list."""
    put_images(folder, [f"a/{number}.png" for number in range(count)])
    path = folder / "to_annotate.jsonl"
    write_todo(path, [record(number, image=number < count - 1) for number in range(count)])
    return path


def ask(url: str, folder: Path, listed: Any, **rest: Any) -> Annotated:
    """Have a list rated into `labels.parquet` of a folder."""
    known: dict[str, Any] = {
        "image_folder": folder,
        "endpoint": Endpoint.parse(url),
        "settings": Settings("m", max_tokens=TOKENS_PER_ANSWER),
        "output": folder / "labels.parquet",
        "manners": QUICK,
        "spending": spending(),
    }
    return label(listed, **(known | rest))


def rows(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(folder / "labels.parquet").to_pylist()
    return found


def fine(handler: Handler, asked: Asked, number: int) -> None:
    chooses(json.dumps(GOOD))(handler, asked, number)


def changed(change: Callable[[dict[str, Any]], Any]) -> str:
    """Return the good reply with something done to it."""
    said = json.loads(json.dumps(GOOD))
    change(said)
    return json.dumps(said)


# --- a teacher that knows the demo ----------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_demo_pool(folder, records=200)
    return folder


@pytest.fixture(scope="module")
def teacher(demo: Path) -> Iterator[str]:
    with teaching(demo, delay=0.02) as url:
        yield url


def some(folder: Path) -> list[ToAnnotate]:
    """Return two records of every task of the demo; each says something of its own."""
    items = {(item.images, item.conversations): item for item in demo_lines(folder)}.values()
    by_task: dict[str | None, list[ToAnnotate]] = {}
    for item in items:
        by_task.setdefault(item.task, []).append(item)
    assert len(by_task) == 13
    return sorted((item for group in by_task.values() for item in group[:2]), key=lambda i: i.uid)


def test_the_ratings_of_a_teacher_become_a_table(demo: Path, teacher: str, tmp_path: Path) -> None:
    items = some(demo)
    known = {"image_folder": demo / "images", "settings": Settings("teacher")}
    done = ask(teacher, tmp_path, items, **known)
    assert (done.annotated, done.failed, done.left, done.requests) == (26, {}, 0, 26)
    table = pq.read_table(tmp_path / "labels.parquet")
    assert dict(zip(table.schema.names, table.schema.types, strict=True)) == COLUMNS
    truth = demo_ratings(demo)
    for item, row in zip(sorted(items, key=lambda one: one.uid), rows(tmp_path), strict=True):
        number = int(item.uid.partition("#")[2])
        assert (row["uid"], row["content_hash"]) == (item.uid, f"{number:032x}")
        assert {key: row[f"score.{key}"] for key in CAPABILITIES} == truth[number].scores
        assert tuple(row["styles"]) == truth[number].styles
        assert (row["annotator"], row["failed"]) == ("teacher", None)
    assert lines(tmp_path / "labels.failed.jsonl") == []


def test_killed_and_continued_it_asks_nothing_twice(
    demo: Path, teacher: str, tmp_path: Path
) -> None:
    write_todo(tmp_path / "list.jsonl", some(demo))
    (demo / "rated.log").unlink(missing_ok=True)
    told = f"annotate --for mmssr {tmp_path}/list.jsonl --endpoint {teacher} --model m"
    told += f" --image-folder {demo}/images -o {tmp_path}/labels.parquet"
    process = subprocess.Popen(
        [sys.executable, "-m", "visift", *told.split(), "--concurrency", "2"],
        stdout=subprocess.DEVNULL,
    )
    replies = tmp_path / "labels.replies.jsonl"
    while not replies.exists() or replies.read_bytes().count(b'"answered"') < 4:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = replies.read_bytes().count(b'"answered"')
    assert 4 <= kept < 26
    assert not (tmp_path / "labels.parquet").exists()
    assert run(told.split()) == 0
    assert len(rows(tmp_path)) == 26
    answered = [line["answered"] for line in lines(replies) if "answered" in line]
    assert len(answered) == len(set(answered)) == 26
    # The teacher may have worked for the two in flight; nothing else was asked twice.
    assert set(rated(demo)) == {int(item.uid.partition("#")[2]) for item in some(demo)}
    assert len(rated(demo)) <= 28


# --- what is sent ---------------------------------------------------------------------------------


def test_a_request_holds_images_dialogue_definitions_and_the_schema(tmp_path: Path) -> None:
    put_images(tmp_path, ["a.png", "b.png"])
    turns = (
        Turn("system", "Be brief."),
        Turn("user", "Is <image> darker than <image>? {styles}"),
        Turn("assistant", "Yes, <image>."),
        Turn("user", "And <image>?"),
        Turn("assistant", "None."),
    )
    item = ToAnnotate("u", ("a.png", "b.png"), conversations=turns)
    with chat(fine) as server:
        assert ask(server.url, tmp_path, [item]).annotated == 1
    (asked,) = server.asked
    system, text = asked.texts
    assert len(asked.images) == 2
    said = (
        "[system]\nBe brief.\n\n[user]\nIs [image 1] darker than [image 2]? {styles}\n\n"
        "[assistant]\nYes, <image>.\n\n[user]\nAnd <image>?\n\n[assistant]\nNone."
    )
    assert said in text
    for entry in (*Taxonomy.read().capabilities, *Taxonomy.read().styles):
        assert f"- {entry.key}: {entry.definition}" in system
    told = asked.body["response_format"]["json_schema"]
    assert (told["name"], told["strict"]) == ("rating", True)
    scores = told["schema"]["properties"]["scores"]
    assert scores["required"] == list(CAPABILITIES)
    assert scores["properties"]["humanities"]["enum"] == [0, 1, 2, 3, 4, 5]
    styles = told["schema"]["properties"]["styles"]
    assert (styles["items"]["enum"], styles["minItems"]) == (list(STYLES), 1)
    # For servers that know no schema, the form is told in words.
    assert '"optical_character_recognition": "a whole number from 0 to 5"' in system


def test_the_schema_that_is_sent_takes_the_good_reply() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = Taxonomy.read().request(record(0)).schema
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(GOOD)
    for bad in ({"scores": GOOD["scores"]}, {**GOOD, "styles": []}, {**GOOD, "more": 1}):
        assert not validator.is_valid(bad)


def test_records_without_images_and_images_without_a_place(tmp_path: Path) -> None:
    put_images(tmp_path, ["a.png"])
    turns = (Turn("user", "What is this?"), Turn("assistant", "A cat."))
    items = [
        ToAnnotate("text", (), conversations=turns),
        ToAnnotate("unplaced", ("a.png",), conversations=turns),
    ]
    with chat(fine) as server:
        done = ask(server.url, tmp_path, items, manners=Manners(concurrency=1))
    assert done.annotated == 2
    assert [len(asked.images) for asked in server.asked] == [0, 1]
    assert "[image" not in server.asked[0].texts[1]
    assert "[image 1]\n\n[user]\nWhat is this?" in server.asked[1].texts[1]


# --- replies that cannot be used ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I would say 3.", "the reply is not the JSON asked for"),
        ("[" * 5000, "the reply is not the JSON asked for"),
        ("[1]", "the reply has not the form asked for"),
        ('{"scores": 3, "styles": ["yes/no"]}', "the reply has not the form asked for"),
        (changed(lambda said: said["scores"].pop("humanities")), "the reply lacks: humanities"),
        (changed(lambda said: said["scores"].clear()), "the reply lacks: object_spatial_under"),
        (changed(lambda said: said.pop("styles")), "the reply lacks: styles"),
        (
            changed(lambda said: said["scores"].update(taste=5)),
            "the reply says more than was asked for: taste",
        ),
        (changed(lambda said: said.update(why="x")), "the reply says more than was asked for: why"),
        *(
            (
                changed(lambda said, bad=bad: said["scores"].update(humanities=bad)),
                f"a score is no whole number from 0 to 5: humanities is {json.dumps(bad)}",
            )
            for bad in (6, -1, 3.5, 3.0, "3", True, None)
        ),
        (changed(lambda said: said.update(styles=[])), "the reply names no style"),
        (changed(lambda said: said.update(styles="yes/no")), "the reply names no style"),
        (
            changed(lambda said: said.update(styles=["yes/no", "poem"])),
            "a style that is not in the list: poem",
        ),
        (
            changed(lambda said: said.update(styles=[None])),
            "a style that is not in the list: null",
        ),
    ],
)
def test_nothing_is_made_of_a_reply_of_another_form(text: str, reason: str) -> None:
    given, fault = rating(Reply(text), CAPABILITIES, STYLES)
    assert given is None
    assert fault is not None
    assert fault.startswith(reason)


def test_a_reply_of_another_form_is_asked_for_three_times(tmp_path: Path) -> None:
    listed = todo(tmp_path, 2)

    def bad(handler: Handler, asked: Asked, number: int) -> None:
        (chooses('{"scores": {}}') if "What is 0?" in asked.texts[1] else fine)(
            handler, asked, number
        )

    with chat(bad) as server:
        done = ask(server.url, tmp_path, listed)
        assert (done.annotated, done.left, len(server.asked)) == (1, 0, 4)
        again = ask(server.url, tmp_path, listed)
        assert (len(server.asked), again.requests) == (4, 0)
    (failed,) = lines(tmp_path / "labels.failed.jsonl")
    assert failed["failed"] == "the reply lacks: styles"
    lost, good = rows(tmp_path)
    assert lost["failed"] == failed["failed"]
    assert {lost[name] for name in ("styles", *(f"score.{key}" for key in CAPABILITIES))} == {None}
    assert good["failed"] is None
    corrected = [asked.texts[1] for asked in server.asked if "What is 0?" in asked.texts[1]]
    assert "An earlier reply could not be used" not in corrected[0]
    assert all(said.count("An earlier reply could not be used") == 1 for said in corrected[1:])


def sometimes(*behaviours: Behaviour) -> Behaviour:
    """Behave in turn, then well."""
    every = dict(enumerate(behaviours))
    return lambda handler, asked, number: every.get(number, fine)(handler, asked, number)


def test_a_second_reply_may_be_good(tmp_path: Path) -> None:
    with chat(sometimes(chooses("no"), status(500), chooses("{}"))) as server:
        done = ask(server.url, tmp_path, todo(tmp_path, 1))
    assert (done.annotated, done.failed, len(server.asked)) == (1, {}, 4)
    assert rows(tmp_path)[0]["styles"] == [STYLES[3]]
    # Every reply is paid for.
    assert done.tokens.received == 3 * TOKENS_PER_ANSWER
    assert done.cost is not None
    assert done.estimated_cost is not None
    assert done.cost > 3 * done.estimated_cost
    (row,) = rows(tmp_path)
    assert (row["tokens_in"], row["tokens_out"]) == (done.tokens.sent, done.tokens.received)
    assert row["dollars"] == pytest.approx(float(done.cost))


def test_of_lines_with_one_request_the_first_has_what_it_cost(tmp_path: Path) -> None:
    todo(tmp_path, 1)
    one = record(0)
    twin = replace(one, uid="twin")
    with chat(fine) as server:
        done = ask(server.url, tmp_path, [one, twin], spending=Spending())
    assert len(server.asked) == 1
    assert [row["tokens_out"] for row in rows(tmp_path)] == [done.tokens.received, 0]
    assert {row["dollars"] for row in rows(tmp_path)} == {None}  # nobody named prices


def test_an_equal_record_of_another_list_costs_nothing_more(tmp_path: Path) -> None:
    todo(tmp_path, 1)
    one = record(0)
    with chat(fine) as server:
        first = ask(server.url, tmp_path, [one])
        ask(server.url, tmp_path, [replace(one, uid="twin")])
        assert len(server.asked) == 1
        assert [row["tokens_out"] for row in rows(tmp_path)] == [first.tokens.received, 0]
        # Asked for again, with its twin or alone, the costs are those of one reply.
        ask(server.url, tmp_path, [one])
    assert sum(row["tokens_out"] for row in rows(tmp_path)) == first.tokens.received


def test_labels_of_before_costs_were_kept_stay(tmp_path: Path) -> None:
    todo(tmp_path, 3)
    path = tmp_path / "labels.parquet"
    with chat(fine) as server:
        ask(server.url, tmp_path, [record(0)])
        pq.write_table(
            pq.read_table(path).drop_columns(["tokens_in", "tokens_out", "dollars"]), path
        )
        ask(server.url, tmp_path, [record(1)])
    old, new = rows(tmp_path)
    assert (old["uid"], old["tokens_out"], old["dollars"]) == ("u0", None, None)
    assert (new["uid"], new["tokens_out"]) == ("u1", TOKENS_PER_ANSWER)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (chooses("{", finish_reason="length"), "cut off at the token limit"),
        (chooses("", message={"refusal": "I will not."}), "refused by the model: I will not."),
        (chooses(""), "the reply is empty"),
    ],
)
def test_a_reply_that_says_nothing_is_asked_for_once(
    bad: Behaviour, reason: str, tmp_path: Path
) -> None:
    listed = todo(tmp_path, 1)
    with chat(sometimes(bad)) as server:
        assert ask(server.url, tmp_path, listed).failed == {"u0": reason}
        assert len(server.asked) == 1
        assert ask(server.url, tmp_path, listed, retry_failed=True).annotated == 1
    assert rows(tmp_path)[0]["failed"] is None


def test_repeated_styles_and_a_fence_are_fine(tmp_path: Path) -> None:
    styles = [STYLES[1], STYLES[0], STYLES[1]]
    text = f"```json\n{json.dumps({**GOOD, 'styles': styles})}\n```"
    with chat(chooses(text)) as server:
        assert ask(server.url, tmp_path, todo(tmp_path, 1)).annotated == 1
    assert rows(tmp_path)[0]["styles"] == styles[:2]


# --- stopped --------------------------------------------------------------------------------------


def test_what_the_money_paid_for_is_there_and_more_continues(tmp_path: Path) -> None:
    listed = todo(tmp_path, 5)
    with chat(fine) as server:
        before = ask(server.url, tmp_path, listed, dry_run=True)
        assert (server.asked, list(tmp_path.glob("labels*"))) == ([], [])
        cost = before.estimated_cost
        assert cost is not None
        half = spending(max_cost=str(cost / 2))
        # One at a time: side by side, who comes first has the money.
        some = ask(server.url, tmp_path, listed, spending=half, manners=Manners(concurrency=1))
        assert (some.annotated, some.left) == (2, 3)
        assert [row["uid"] for row in rows(tmp_path)] == ["u0", "u1"]
        rest = ask(server.url, tmp_path, listed)
    assert (rest.annotated, rest.left, len(server.asked)) == (5, 0, 5)
    assert [row["uid"] for row in rows(tmp_path)] == [f"u{number}" for number in range(5)]
    assert rough_estimate([record(0)], Taxonomy.read(), spending()).sent > 1000


def test_an_endpoint_that_fails_leaves_what_is_settled(tmp_path: Path) -> None:
    listed = todo(tmp_path, 4)
    one = Manners(concurrency=1)

    def two(handler: Handler, asked: Asked, number: int) -> None:
        (fine if number < 2 else status(401))(handler, asked, number)

    with chat(two) as server:
        with pytest.raises(EndpointError):
            ask(server.url, tmp_path, listed, manners=one)
        assert [row["uid"] for row in rows(tmp_path)] == ["u0", "u1"]
        server.behave = fine
        assert ask(server.url, tmp_path, listed, manners=one).annotated == 4
    with chat(status(401)) as server, pytest.raises(EndpointError):
        ask(server.url, tmp_path, listed, output=tmp_path / "none.parquet")
    assert not (tmp_path / "none.parquet").exists()


class Interrupting:
    """A progress bar that is interrupted when the second request has ended."""

    def __init__(self) -> None:
        self.ended = 0

    def advance(self, items: int) -> None:
        self.ended += items
        if self.ended == 2:
            raise KeyboardInterrupt


def test_an_interrupt_leaves_what_is_settled(tmp_path: Path) -> None:
    listed, one = todo(tmp_path, 4), Manners(concurrency=1)
    with chat(fine) as server:
        with pytest.raises(KeyboardInterrupt, match="2 replies are kept"):
            ask(
                server.url,
                tmp_path,
                listed,
                manners=one,
                watch=lambda total: nullcontext(Interrupting()),
            )
        assert [row["uid"] for row in rows(tmp_path)] == ["u0", "u1"]
        assert ask(server.url, tmp_path, listed).annotated == 4
    assert len(server.asked) == 4


def test_an_interrupted_correction_goes_on_where_it_was(tmp_path: Path) -> None:
    listed = todo(tmp_path, 1)
    with chat(sometimes(chooses("no"), chooses("no"), status(401))) as server:
        with pytest.raises(EndpointError):
            ask(server.url, tmp_path, listed)
        assert not (tmp_path / "labels.parquet").exists()
        # Two of three replies are spent.
        server.behave = chooses("no")
        done = ask(server.url, tmp_path, listed)
    assert (len(server.asked), done.requests) == (4, 1)
    assert done.failed == {"u0": "the reply is not the JSON asked for"}


# --- tables that are there ------------------------------------------------------------------------


def test_labels_of_other_records_stay_and_other_tables_are_not_replaced(tmp_path: Path) -> None:
    todo(tmp_path, 4)
    items = [record(number) for number in range(4)]
    with chat(fine) as server:
        ask(server.url, tmp_path, items[:2])
        ask(server.url, tmp_path, items[1:3])
        assert [row["uid"] for row in rows(tmp_path)] == ["u0", "u1", "u2"]
        new = Taxonomy.read().only(["humanities"])
        with pytest.raises(InputError, match="holds labels of other capabilities"):
            ask(server.url, tmp_path, items, taxonomy=new)
        (tmp_path / "labels.parquet").write_bytes(b"PAR1")
        with pytest.raises(InputError, match="is no table of labels"):
            ask(server.url, tmp_path, items)
        assert ask(server.url, tmp_path, items[3:], overwrite=True).annotated == 1
        other = tmp_path / "other.parquet"
        other.touch()
        with pytest.raises(InputError, match="is there already"):
            ask(server.url, tmp_path, items, output=other)
    with pytest.raises(InputError, match=r"does not end in \.parquet"):
        ask("http://127.0.0.1:9/v1", tmp_path, items, output=tmp_path / "labels.jsonl")
    assert [row["uid"] for row in rows(tmp_path)] == ["u3"]


def test_a_capability_of_ones_own_asked_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        own_taxonomy().replace("capabilities:\n", "capabilities:\n  taste: Whether it is tasty.\n")
    )
    taxonomy = Taxonomy.read(path).only(["taste"])
    with chat(chooses('{"scores": {"taste": 4}}')) as server:
        assert ask(server.url, tmp_path, todo(tmp_path, 1), taxonomy=taxonomy).annotated == 1
    system = server.asked[0].texts[0]
    assert "- taste: Whether it is tasty." in system
    assert "- humanities" not in system
    assert "styles" not in system
    assert "styles" not in json.dumps(server.asked[0].body["response_format"])
    assert (rows(tmp_path)[0]["score.taste"], rows(tmp_path)[0]["styles"]) == (4, None)


# --- as a person uses it --------------------------------------------------------------------------


def said(capsys: pytest.CaptureFixture[str], *arguments: object, ends: int = 0) -> str:
    assert run(["annotate", *map(str, arguments)]) == ends
    told = capsys.readouterr()
    return told.err if ends else told.out


def test_what_a_person_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    todo(tmp_path, 3)
    with chat(fine) as server:
        asked = ["to_annotate.jsonl", "--endpoint", server.url, "--model", "m", "--for", "mmssr"]
        shown = said(capsys, *asked).splitlines()
        host = server.url.removesuffix("/v1")
        assert shown[:4] == [
            f"Endpoint  {host} · model m · without a key",
            "Images    and conversations go to this host and no other; larger than 2,048 pixels: "
            "scaled down",
            "To rate   to_annotate.jsonl · 3 records · 1 without images",
            "Asked     14 capabilities and 9 styles (visift's own; --show-prompts prints them)",
        ]
        assert shown[6] == "Rated     3 of 3 lines · 0 failed"
        assert shown[-2:] == [
            "Wrote     labels.parquet",
            "Next      the visift select command that asked for these labels, again",
        ]
        assert said(capsys, "--for", "mmssr", "--show-prompts") == own_taxonomy()
        wrong = said(capsys, *asked, "--only", "humanity", ends=1)
        assert 'Did you mean "humanities"?' in wrong
        instructions = said(capsys, *asked[:-2], ends=1)
        assert "visift annotate --for mmssr" in instructions
        (tmp_path / "plain.jsonl").write_text('{"uid": "1", "image": "a/0.png"}\n')
        bare = said(capsys, "plain.jsonl", *asked[1:], "-o", "b.parquet", ends=1)
        assert '"1" has no conversation to rate' in bare
    for people in (["--tasks", "csv"], ["--from", "x.csv"]):
        assert "ratings of them" in said(capsys, "to_annotate.jsonl", *people, ends=1)
        told = said(capsys, "to_annotate.jsonl", *people, "--for", "mmssr", ends=1)
        assert "of a model, not of people" in told
    assert "--only is about ratings" in said(capsys, *asked[:-2], "--only", "humanities", ends=1)
