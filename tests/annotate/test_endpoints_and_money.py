"""Addresses, waits and amounts, without any network."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visift.amounts import money
from visift.annotate.asking import Manners
from visift.annotate.endpoint import Endpoint, retry_after
from visift.annotate.journal import Journal
from visift.annotate.money import Prices, Purse, Spending, Tokens
from visift.annotate.replies import Reply, read_reply
from visift.errors import InputError, StorageError

NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 0.5 ", 0.5),
        ("-3", 0.0),
        ("Tue, 01 Jan 2030 12:01:30 GMT", 90.0),
        ("Tue, 01 Jan 2030 11:00:00 GMT", 0.0),
        ("soon", None),
        ("nan", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


def test_waits_double_up_to_a_limit_and_at_most_half_is_random() -> None:
    manners = Manners(first_wait=1, longest_wait=10)
    for tried, full in enumerate((1, 2, 4, 8, 10, 10), 1):
        assert full / 2 <= manners.wait("key", tried) <= full
    assert manners.wait("key", 1) != manners.wait("other", 1)
    assert manners.wait("key", 1) != Manners(seed=1).wait("key", 1)


@pytest.mark.parametrize(
    "url",
    ["", "api.example.com/v1", "ftp://a/b", "https://", "http://a:b", "https://me:secret@a/v1",
     "https://a/v1?key=secret", "https://a/v1#x"],
)  # fmt: skip
def test_what_is_no_endpoint(url: str) -> None:
    with pytest.raises(InputError) as error:
        Endpoint.parse(url)
    assert "secret" not in str(error.value)


def test_what_is_shown_of_an_endpoint() -> None:
    endpoint = Endpoint.parse("https://api.example.com:8443/v1/", "sk-secret")
    assert (endpoint.url, endpoint.host) == (
        "https://api.example.com:8443/v1",
        "https://api.example.com:8443",
    )
    assert "secret" not in repr(endpoint)
    assert Endpoint.parse("http://a/v1").is_readable_on_the_way
    assert not Endpoint.parse("http://127.0.0.1:8/v1").is_readable_on_the_way
    with pytest.raises(InputError, match="signs that no key has"):
        Endpoint.parse("https://a", "sk-\n1")


def test_a_proxy_is_the_one_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://me:secret@proxy:3128")
    monkeypatch.setenv("no_proxy", "inside.example.com")
    assert Endpoint.parse("https://a.example.com").proxy == "http://me:secret@proxy:3128"
    assert Endpoint.parse("https://inside.example.com").proxy is None
    assert Endpoint.parse("http://localhost:1").proxy is None


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0", "$0.00"), ("12.4", "$12.40"), ("1234.567", "$1,234.57"), ("0.25", "$0.25"),
     ("0.012345", "$0.012"), ("0.0000099", "$0.0000099")],
)  # fmt: skip
def test_amounts_as_a_person_reads_them(amount: str, text: str) -> None:
    assert money(Decimal(amount)) == text
    assert money(float(amount)) == text


@pytest.mark.parametrize("text", ["five", "-1", "nan", "inf", ""])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(InputError, match="no amount of dollars"):
        Spending.parse(price_in=text, price_out="1", max_cost=None)


def test_prices_and_limits_go_together() -> None:
    with pytest.raises(InputError, match="go together"):
        Spending.parse(price_in="1", price_out=None, max_cost=None)
    with pytest.raises(InputError, match="needs prices"):
        Spending.parse(price_in=None, price_out=None, max_cost="1")
    assert Spending.parse(price_in="0.15", price_out="$0.6", max_cost="5").cost(
        Tokens(1_000_000, 500_000)
    ) == Decimal("0.45")


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 50), st.sampled_from("rul"))))
def test_a_purse_never_gives_more_than_it_has_where_assumptions_hold(
    requests: list[tuple[int, int, str]],
) -> None:
    limit = Decimal(2000)
    prices = Prices(Decimal(1_000_000), Decimal(2_000_000))
    purse = Purse(Spending(prices, limit), before=Decimal(10))
    in_flight = []
    for sent, received, end in requests:
        most = Tokens(500, 50)
        too_much = purse.committed + 600 > limit
        reserved = purse.reserve(most)
        assert (reserved is None) == too_much
        assert purse.committed <= limit
        in_flight += [] if reserved is None else [(reserved, most, sent, received, end)]
        if len(in_flight) == 2:
            reserved, most, sent, received, end = in_flight.pop(0)
            if end == "r":
                purse.settle(reserved, most, Tokens(sent, received))
            else:
                purse.release(reserved, maybe_billed=end == "u")


def test_a_journal_remembers_what_was_paid_and_what_may_have_been(tmp_path: Path) -> None:
    journal = Journal.read(tmp_path / "replies.jsonl")
    most = Tokens(10, 5)
    with journal.writing():
        for key in ("good", "bad", "turned away", "in flight"):
            journal.asked(key, most)
        journal.answered("good", Reply("yes", None, 7, 2, "m"))
        journal.answered("bad", Reply(None, "the reply is empty"))
        journal.costs_nothing("turned away")
    again = Journal.read(journal.path)
    assert again.replies == {
        "good": Reply("yes", None, 7, 2, "m"),
        "bad": Reply(None, "the reply is empty"),
    }
    assert again.paid == {"good": Tokens(7, 2), "bad": most} == journal.paid
    assert {key: left for key, left in again.open.items() if left} == {"in flight": [most]}


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_torn_last_line_is_dropped_and_written_over(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    journal = Journal.read(path)
    with journal.writing():
        for key in ("a", "b"):
            journal.answered(key, Reply(key))
    path.write_bytes(path.read_bytes()[:-cut])
    torn = Journal.read(path)
    assert set(torn.replies) == {"a"}
    with torn.writing():
        torn.answered("c", Reply("c"))
    assert set(Journal.read(path).replies) == {"a", "c"}


def test_a_file_of_something_else_is_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    for text in ('{"uid": 1}\n', "hello\n", '{"answered": "k", "reply": {"text": 3}}\n', "[]\n"):
        path.write_text(text)
        with pytest.raises(StorageError, match="line 1: is no line that visift annotate wrote"):
            Journal.read(path)


@given(st.binary() | st.text().map(lambda text: f'{{"choices": [{text}]}}'.encode()))
def test_no_body_is_too_strange_for_a_reason(body: bytes) -> None:
    reply = read_reply(body)
    assert (reply.text is None) != (reply.fault is None)
