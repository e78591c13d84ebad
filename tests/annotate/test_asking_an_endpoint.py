"""A list, a real server on loopback that behaves or misbehaves, and what comes of it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from annotate.chat_server import (
    TOKENS_PER_ANSWER,
    Asked,
    Behaviour,
    Handler,
    chat,
    chooses,
    first,
    image_bytes,
    reply,
    says,
    status,
    well,
)
from annotate.lists import QUICK, ask, lines, spending, todo
from visift.annotate import Endpoint, Settings, ToAnnotate, read_todo, write_todo
from visift.annotate.asking import Manners
from visift.annotate.endpoint import EndpointError
from visift.annotate.plan import rough_estimate
from visift.annotate.prompts import Prompts
from visift.errors import InputError
from visift.pool.pool import Pool

pytest.importorskip("httpx2")
HERE = Path(__file__).parent


# --- when all is well -----------------------------------------------------------------------------


def test_every_line_becomes_a_record_that_a_pool_reads(tmp_path: Path) -> None:
    listed = todo(tmp_path, 5, task="photos", source="mine")
    with chat() as server:
        done = ask(server, tmp_path, listed)
    assert (done.annotated, done.failed, done.left) == (5, {}, 0)
    records = lines(tmp_path / "out.jsonl")
    assert [record["id"] for record in records] == ["u0", "u1", "u2", "u3", "u4"]
    assert records[2] == {
        "id": "u2",
        "image": "a/2.png",
        "task": "photos",
        "source": "mine",
        "annotator": "m",
        "conversations": [
            {"from": "human", "value": "<image>\nWhich colour (0)?"},
            {"from": "gpt", "value": "It is (2, 0, 7)."},
            {"from": "human", "value": "Which colour (1)?"},
            {"from": "gpt", "value": "It is (2, 0, 7)."},
        ],
    }
    pool = Pool.open(tmp_path / "out.jsonl", image_folder=tmp_path)
    assert pool.faults == [None] * 5
    assert pool.index["task"].to_pylist() == ["photos"] * 5
    assert lines(tmp_path / "out.failed.jsonl") == []


def test_the_cost_said_before_is_the_cost_after(tmp_path: Path) -> None:
    listed = todo(tmp_path, 6)
    with chat() as server:
        before = ask(server, tmp_path, listed, dry_run=True)
        assert server.asked == []
        assert not (tmp_path / "out.replies.jsonl").exists()
        after = ask(server, tmp_path, listed)
    assert before.estimated_cost == after.cost == after.estimated_cost
    assert before.estimate == after.tokens
    assert after.tokens.received == 6 * TOKENS_PER_ANSWER
    assert (after.cost_before, after.cost_uncertain) == (0, 0)
    rough = rough_estimate(read_todo(listed), Prompts.read(), spending())
    assert rough == before.estimate


def test_what_is_sent(tmp_path: Path) -> None:
    items = [ToAnnotate("u", ("a/0.png",), prompt="How many {task} <image>?", task="cats")]
    todo(tmp_path, 1)
    settings = Settings("m-1", 33, {"temperature": 0, "top_p": None})
    with chat() as server:
        ask(server, tmp_path, items, settings=settings)
        endpoint = Endpoint.parse(f"{server.url}/chat/completions", "sk-of-this-test")
        ask(server, tmp_path, todo(tmp_path, 1), endpoint=endpoint, output=tmp_path / "b.json")
    given, free = server.asked
    assert given.path == "/v1/chat/completions"
    assert "Authorization" not in given.headers
    assert free.headers["Authorization"] == "Bearer sk-of-this-test"
    names = ("model", "max_tokens", "temperature", "messages")
    assert tuple(given.body) == names
    assert [given.body[name] for name in names[:3]] == ["m-1", 33, 0]
    assert given.texts[1].endswith("How many {task} ?")
    assert free.body["response_format"]["json_schema"]["strict"] is True
    url = given.body["messages"][1]["content"][0]["image_url"]["url"]
    assert image_bytes(url) == (tmp_path / "a/0.png").read_bytes()
    assert 'collection "images"' in free.texts[1]
    assert isinstance(json.loads((tmp_path / "b.json").read_text()), list)


def test_several_images_and_the_place_of_their_tags(tmp_path: Path) -> None:
    todo(tmp_path, 2)
    two = ("a/0.png", "a/1.png")
    items = [
        ToAnnotate("before", two, prompt="Which is darker?"),
        ToAnnotate("inside", two, prompt="Is <image> darker than <image>?"),
        ToAnnotate("too few", two, prompt="Is <image> dark?"),
    ]
    with chat() as server:
        done = ask(server, tmp_path, items)
    assert [len(asked.images) for asked in server.asked] == [2, 2, 2]
    asks = [record["conversations"][0]["value"] for record in lines(tmp_path / "out.jsonl")]
    assert asks == ["<image>\n<image>\nWhich is darker?", "Is <image> darker than <image>?"]
    assert done.failed == {"too few": "a tag in the text: <image>"}


def test_equal_questions_about_equal_bytes_are_asked_once(tmp_path: Path) -> None:
    todo(tmp_path, 1)
    (tmp_path / "copy.png").write_bytes((tmp_path / "a/0.png").read_bytes())
    items = [ToAnnotate("one", ("a/0.png",)), ToAnnotate("two", ("copy.png",))]
    with chat() as server:
        done = ask(server, tmp_path, items)
    assert (done.annotated, done.requests, len(server.asked)) == (2, 1, 1)
    assert [record["image"] for record in lines(tmp_path / "out.jsonl")] == ["a/0.png", "copy.png"]


def test_no_more_requests_at_a_time_than_allowed_and_the_first_alone(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def watched(handler: Handler, asked: Asked, number: int) -> None:
        inside.append(number)
        most.append(len(inside))
        time.sleep(0.03)
        inside.remove(number)
        well(handler, asked, number)

    with chat(watched) as server:
        ask(server, tmp_path, todo(tmp_path, 12), manners=Manners(concurrency=3))
    assert most[:2] == [1, 1]
    assert max(most) == 3


def test_lower_ranks_are_asked_first(tmp_path: Path) -> None:
    todo(tmp_path, 3)
    items = [ToAnnotate(f"u{n}", (f"a/{n}.png",), rank=3 - n) for n in range(3)]
    write_todo(tmp_path / "list.jsonl", items)
    with chat() as server:
        ask(server, tmp_path, tmp_path / "list.jsonl", manners=Manners(concurrency=1))
    assert [asked.images[0].getpixel((0, 0))[0] for asked in server.asked] == [2, 1, 0]


def test_inside_a_running_loop_as_in_a_notebook(tmp_path: Path) -> None:
    listed = todo(tmp_path, 2)

    async def cell(server: Any) -> int | None:
        return ask(server, tmp_path, listed).annotated

    with chat() as server:
        assert asyncio.run(cell(server)) == 2


# --- pictures -------------------------------------------------------------------------------------


def test_pictures_are_written_anew_only_where_they_must(tmp_path: Path) -> None:
    large = Image.new("RGB", (60, 20), (200, 10, 10))
    large.save(tmp_path / "large.png")
    large.save(tmp_path / "small.jpg")
    large.resize((4, 4)).save(tmp_path / "other.bmp")
    turned = Image.new("RGB", (8, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    names = ("large.png", "small.jpg", "other.bmp", "turned.jpg")
    items = [ToAnnotate(name, (name,), rank=k) for k, name in enumerate(names)]
    with chat() as server:
        one = Manners(concurrency=1)
        ask(server, tmp_path, items[:1], settings=Settings("m", max_side=30), manners=one)
        ask(server, tmp_path, items[1:], output=tmp_path / "b.jsonl", manners=one)
    sent = [asked.body["messages"][1]["content"][0]["image_url"]["url"] for asked in server.asked]
    assert server.asked[0].images[0].size == (30, 10)
    assert image_bytes(sent[1]) == (tmp_path / "small.jpg").read_bytes()
    assert sent[2].startswith("data:image/png;")
    assert server.asked[3].images[0].size == (4, 8)
    assert not server.asked[3].images[0].getexif()


def test_images_that_cannot_be_sent_are_failures_with_a_reason(tmp_path: Path) -> None:
    todo(tmp_path, 1)
    (tmp_path / "cut.png").write_bytes((tmp_path / "a/0.png").read_bytes()[:-9])
    items = [
        ToAnnotate("good", ("a/0.png",)),
        ToAnnotate("gone", ("a/none.png",)),
        ToAnnotate("cut", ("cut.png",)),
        ToAnnotate("outside", ("../../etc/passwd",)),
    ]
    with chat() as server:
        done = ask(server, tmp_path, items)
    assert (done.annotated, len(server.asked), done.left) == (1, 1, 0)
    failed = {line["uid"]: line["failed"] for line in lines(tmp_path / "out.failed.jsonl")}
    assert set(failed) == {"gone", "cut", "outside"}
    assert failed["gone"] == "image missing: a/none.png"
    assert failed["cut"].startswith("image truncated: cut.png")
    assert "leaves the image folder" in failed["outside"]


# --- replies that cannot be used ------------------------------------------------------------------

GOOD = '{"turns": [{"question": "What?", "answer": "That."}]}'


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (says({"choices": []}), "no choices in the reply"),
        (says({"usage": {}}), "no choices in the reply"),
        (says({"choices": [3]}), "no message in the reply"),
        (says([1]), "the reply is no object: a list"),
        (says({"error": {"message": "over\n loaded"}}), "the reply is an error: over loaded"),
        (chooses(""), "the reply is empty"),
        (chooses(finish_reason="length"), "cut off at the token limit"),
        (chooses(finish_reason="content_filter"), "held back by the endpoint's content filter"),
        (chooses(message={"content": 7}), "the content of the reply is no text"),
        (chooses(message={"refusal": "I will not."}), "refused by the model: I will not."),
        (chooses(GOOD[:-6]), "the reply is not the JSON asked for"),
        (chooses('{"turns": []}'), "nothing was written"),
        (chooses('{"turns": [{"question": "What?", "answer": 7}]}'), "the reply has not the form"),
        (chooses(GOOD.replace("That.", " ")), "an answer is empty"),
        (chooses(GOOD.replace("That.", "<image>")), "a tag in the text: <image>"),
        (
            lambda handler, asked, number: handler.send(200, b'{"choices": [{"mess'),
            'the reply is no JSON: it starts with \'{"choices": [{"mess\'',
        ),
        (status(400, {"error": {"message": "too large"}}), "the endpoint refuses it: 400: too"),
        (status(413), "the endpoint refuses it: 413"),
    ],
)
def test_a_bad_reply_is_set_aside_with_its_reason(
    bad: Behaviour, reason: str, tmp_path: Path
) -> None:
    with chat(first(bad)) as server:
        done = ask(server, tmp_path, todo(tmp_path, 2))
    assert (done.annotated, done.left, len(server.asked)) == (1, 0, 2)
    (failed,) = lines(tmp_path / "out.failed.jsonl")
    assert failed["failed"].startswith(reason)
    assert failed["uid"] == "u0"


def test_json_in_a_fence_and_text_in_parts_are_fine(tmp_path: Path) -> None:
    fenced = chooses(f"```json\n{GOOD}\n```")
    parts = chooses(message={"content": [{"type": "text", "text": GOOD}]})
    for number, good in enumerate((fenced, parts)):
        with chat(good) as server:
            done = ask(server, tmp_path, todo(tmp_path, 1), output=tmp_path / f"{number}.jsonl")
        assert done.annotated == 1


def test_a_bad_reply_is_paid_for_once_and_asked_again_only_on_request(tmp_path: Path) -> None:
    listed = todo(tmp_path, 3)
    with chat(first(chooses(""))) as server:
        one = ask(server, tmp_path, listed)
        two = ask(server, tmp_path, listed)
        assert len(server.asked) == 3
        assert (two.requests, two.cost, two.cost_before) == (0, 0, one.cost)
        assert two.failed == one.failed == {"u0": "the reply is empty"}
        three = ask(server, tmp_path, listed, retry_failed=True)
    assert len(server.asked) == 4
    assert (three.requests, three.annotated, three.failed) == (1, 3, {})


# --- trouble that passes --------------------------------------------------------------------------


def reset(handler: Handler, asked: Asked, number: int) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.connection.close()
    handler.close_connection = True


def hang_up(handler: Handler, asked: Asked, number: int) -> None:
    body = json.dumps(reply(asked)).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True


def sleep(seconds: float) -> Behaviour:
    def slow(handler: Handler, asked: Asked, number: int) -> None:
        time.sleep(seconds)
        well(handler, asked, number)

    return slow


def drip(handler: Handler, asked: Asked, number: int) -> None:
    """Send a byte now and then: no single read is slow, the whole never ends."""
    handler.send_response(200)
    handler.send_header("Content-Length", "10000")
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("bad", "maybe_billed"),
    [
        (status(429), 0),
        (status(500, {"error": "oops"}), 0),
        (status(503, Retry_After="0"), 0),
        (reset, 2),
        (hang_up, 2),
        (sleep(0.6), 2),
        (drip, 2),
    ],
    ids=["429", "500", "503", "reset", "cut off", "slow", "drip"],
)
def test_trouble_that_passes_is_waited_out(
    bad: Behaviour, maybe_billed: int, tmp_path: Path
) -> None:
    manners = Manners(concurrency=4, timeout=0.4, first_wait=0.01)
    with chat(first(bad, times=2)) as server:
        done = ask(server, tmp_path, todo(tmp_path, 3), manners=manners)
    assert (done.annotated, done.failed, len(server.asked)) == (3, {}, 5)
    assert done.cost == done.estimated_cost
    assert done.cost_uncertain is not None
    one = done.cost / 3 if done.cost else 0
    assert done.cost_uncertain == maybe_billed * one


def test_retry_after_is_kept_to_by_everybody(tmp_path: Path) -> None:
    with chat(first(status(429, Retry_After="0.5"))) as server:
        done = ask(server, tmp_path, todo(tmp_path, 3))
    assert done.annotated == 3
    assert server.asked[1].at - server.asked[0].at >= 0.45


def test_what_never_gets_a_reply_fails_and_the_next_run_asks_it_again(tmp_path: Path) -> None:
    listed = todo(tmp_path, 3)

    def never_the_second(handler: Handler, asked: Asked, number: int) -> None:
        second = asked.images[0].getpixel((0, 0))[0] == 1
        (status(500) if second else well)(handler, asked, number)

    manners = Manners(tries=3, first_wait=0.01)
    with chat(never_the_second) as server:
        done = ask(server, tmp_path, listed, manners=manners)
        assert done.failed == {"u1": "no reply after 3 tries: 500"}
        assert (done.annotated, done.left, len(server.asked)) == (2, 0, 5)
        server.behave = well
        again = ask(server, tmp_path, listed, manners=manners)
    assert (again.annotated, again.requests, len(server.asked)) == (3, 1, 6)


# --- trouble that does not ------------------------------------------------------------------------


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_refusal_of_us_stops_at_once(code: int, tmp_path: Path) -> None:
    said = {"error": {"message": "Incorrect key: sk-of-this-test"}}
    with chat(status(code, said)) as server:
        endpoint = Endpoint.parse(server.url, "sk-of-this-test")
        with pytest.raises(EndpointError) as stop:
            ask(server, tmp_path, todo(tmp_path, 9), endpoint=endpoint)
    assert len(server.asked) == 1
    assert f"turns us away ({code}: Incorrect key: ***)" in stop.value.what
    assert stop.value.fix
    assert not (tmp_path / "out.jsonl").exists()


def test_a_wrong_key_is_told_once_though_the_first_image_cannot_be_sent(tmp_path: Path) -> None:
    listed = todo(tmp_path, 9)
    (tmp_path / "a/0.png").write_bytes(b"no image")
    with chat(status(401)) as server, pytest.raises(EndpointError):
        ask(server, tmp_path, listed)
    assert len(server.asked) == 1


def test_images_follow_no_redirect(tmp_path: Path) -> None:
    with chat() as elsewhere, chat(status(307, Location=elsewhere.url)) as server:
        with pytest.raises(EndpointError, match="a redirect") as stop:
            ask(server, tmp_path, todo(tmp_path, 3))
        assert elsewhere.url in stop.value.what
        assert (len(server.asked), len(elsewhere.asked)) == (1, 0)


def test_a_proxy_of_the_environment_is_not_asked_for_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with chat() as proxy, chat() as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert ask(server, tmp_path, todo(tmp_path, 1)).annotated == 1
        assert proxy.asked == []


def test_an_endpoint_that_is_gone_or_refuses_everything_stops_the_run(tmp_path: Path) -> None:
    manners = Manners(tries=1, failures_in_a_row=4)
    listed = todo(tmp_path, 9)
    with chat(status(400)) as server, pytest.raises(EndpointError, match="4 requests in a row"):
        ask(server, tmp_path, listed, manners=manners)
    assert len(server.asked) <= 4 + 8
    with pytest.raises(EndpointError, match="no connection"):
        ask(server, tmp_path, listed, manners=manners)


def test_an_endpoint_that_asks_for_too_much_patience_stops_the_run(tmp_path: Path) -> None:
    with chat(status(429, Retry_After="7200")) as server, pytest.raises(EndpointError) as stop:
        ask(server, tmp_path, todo(tmp_path, 2))
    assert stop.value.what == "asks to come back in 2 h 00 min (429)."
    assert "the same command continues" in (stop.value.fix or "")


# --- money ----------------------------------------------------------------------------------------


def test_the_limit_is_not_passed_and_a_higher_one_continues(tmp_path: Path) -> None:
    listed = todo(tmp_path, 7)
    with chat() as server:
        cost = ask(server, tmp_path, listed, dry_run=True).estimated_cost
        assert cost is not None
        limit = cost / 7 * 3 + 1
        some = ask(server, tmp_path, listed, spending=spending(max_cost=str(limit)))
        assert (some.annotated, some.left, len(server.asked)) == (3, 4, 3)
        assert some.cost == cost / 7 * 3
        none = ask(server, tmp_path, listed, spending=spending(max_cost=str(limit)))
        assert (none.annotated, none.left, len(server.asked)) == (3, 4, 3)
        rest = ask(server, tmp_path, listed, spending=spending(max_cost=str(cost)))
    assert (rest.annotated, rest.left, len(server.asked)) == (7, 0, 7)
    assert rest.cost_before == some.cost


def test_an_endpoint_that_counts_more_than_assumed_does_not_break_the_limit(
    tmp_path: Path,
) -> None:
    def dear(handler: Handler, asked: Asked, number: int) -> None:
        said = reply(asked)
        said["usage"]["prompt_tokens"] *= 5
        handler.send_json(said)

    listed = todo(tmp_path, 12)
    with chat(dear) as server:
        cost = ask(server, tmp_path, listed, dry_run=True).estimated_cost
        done = ask(server, tmp_path, listed, spending=spending(max_cost=str(cost)))
    assert cost is not None
    assert done.cost is not None
    assert 0 < done.cost <= cost
    assert done.left == 12 - len(server.asked) > 0


def test_a_reply_without_usage_counts_as_assumed(tmp_path: Path) -> None:
    def silent(handler: Handler, asked: Asked, number: int) -> None:
        handler.send_json({**reply(asked), "usage": None})

    with chat(silent) as server:
        done = ask(server, tmp_path, todo(tmp_path, 2))
    assert done.cost == done.estimated_cost


# --- stopped and continued ------------------------------------------------------------------------


def command(url: str, folder: Path) -> list[str]:
    told = f"annotate {folder}/to_annotate.jsonl --endpoint {url} --model m -o {folder}/out.jsonl"
    return [sys.executable, "-m", "visift", *told.split(), "--concurrency", "2"]


@pytest.mark.parametrize("kind", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_stopped_at_any_moment_nothing_answered_is_asked_again(kind: str, tmp_path: Path) -> None:
    todo(tmp_path, 12)
    log = tmp_path / "log"
    server = subprocess.Popen(
        [sys.executable, str(HERE / "chat_server.py"), str(log)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        run = subprocess.Popen(
            command(url, tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        replies = tmp_path / "out.replies.jsonl"
        while not replies.exists() or replies.read_bytes().count(b'"answered"') < 4:
            assert run.poll() is None
            time.sleep(0.01)
        run.send_signal(getattr(signal, kind))
        _, said = run.communicate(timeout=20)
        if kind != "SIGKILL":
            assert run.returncode == {"SIGTERM": 143, "SIGINT": 130}[kind]
            assert "replies are kept; the same command continues here." in said
        kept = [line["answered"] for line in lines(replies) if "answered" in line]
        assert 4 <= len(kept) < 12
        assert not (tmp_path / "out.jsonl").exists()
        # A torn line, as a crash of the machine leaves it.
        with replies.open("ab") as file:
            file.write(b'{"answered": "0123')
        subprocess.run(command(url, tmp_path), check=True, stdout=subprocess.DEVNULL)
    finally:
        server.kill()
        server.wait()
    assert len(lines(tmp_path / "out.jsonl")) == 12
    answered = [line["answered"] for line in lines(replies) if "answered" in line]
    assert len(answered) == len(set(answered)) == 12
    assert answered[: len(kept)] == kept
    # The server may have worked for the two in flight; nothing else was asked twice.
    assert 12 <= len(log.read_text().splitlines()) <= 14


def test_what_was_in_flight_counts_as_spent(tmp_path: Path) -> None:
    listed = todo(tmp_path, 2)
    with chat() as server:
        one = ask(server, tmp_path, listed)
        replies = tmp_path / "out.replies.jsonl"
        # As if the run had been killed before its last reply came.
        replies.write_bytes(b"".join(replies.read_bytes().splitlines(keepends=True)[:-1]))
        two = ask(server, tmp_path, listed)
    assert (one.cost, two.requests, two.cost) == (
        two.cost_before,
        1,
        one.cost / 2 if one.cost else 0,
    )


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    listed = todo(tmp_path, 2)

    def second(handler: Handler, asked: Asked, number: int) -> None:
        with pytest.raises(InputError, match="another"):
            ask(server, tmp_path, listed)
        well(handler, asked, number)

    with chat(second) as server:
        assert ask(server, tmp_path, listed, manners=Manners(concurrency=1)).annotated == 2
    assert len(server.asked) == 2


def test_the_key_is_nowhere_but_in_the_header(tmp_path: Path) -> None:
    key = "sk-of-this-very-test"
    environment = {**os.environ, "MY_KEY": key}
    todo(tmp_path, 1)
    echo = chooses(json.dumps({"turns": [{"question": "Key?", "answer": f"It is {key}."}]}))
    with chat(echo) as server:
        done = subprocess.run(
            [*command(server.url, tmp_path), "--key-env", "MY_KEY", "--log-file", tmp_path / "log"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert server.asked[0].headers["Authorization"] == f"Bearer {key}"
    assert key not in done.stdout + done.stderr
    assert "It is ***." in (tmp_path / "out.jsonl").read_text()
    assert all(
        key.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    )
    assert key not in repr(Endpoint.parse(server.url, key))
    assert base64.b64encode(key.encode()) not in (tmp_path / "log").read_bytes()
    assert QUICK.wait("key", 3) == QUICK.wait("key", 3)
