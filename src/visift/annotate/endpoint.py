"""One host that speaks the OpenAI chat protocol, and one attempt to get a reply from it.

Requests go to that host and to no other: redirects are not followed, `.netrc` is not read, and a
proxy is used only where the environment names one. The key is in the header of a request and
nowhere else; where an endpoint repeats it, it is struck out.
"""

from __future__ import annotations

import asyncio
import math
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from visift.annotate.replies import error_text
from visift.errors import InputError, VisiftError
from visift.pool.paths import shortened

if TYPE_CHECKING:
    import httpx2

_LOCAL = ("localhost", "127.0.0.1", "::1")
_AGAIN = (408, 409, 425, 429)
_STOP = {
    401: "Check the key: the environment variable named by --key-env holds it.",
    402: "Check your account with the provider.",
    403: "Check what the key may do, and whether it may use this model.",
    404: "Check --endpoint (it usually ends in /v1) and --model.",
    405: "Check --endpoint: it usually ends in /v1.",
}
_LONGEST_REPLY = 10 * 2**20
# A shorter key could be a word of an answer; local servers take such.
_SHORTEST_SECRET = 12


class EndpointError(VisiftError):
    """An endpoint that nothing more can be had from."""


class TryAgain(Exception):
    """An attempt that failed for a reason that may pass.

    Attributes:
        reason: in a few words.
        maybe_billed: whether the endpoint may have done its work all the same.
        wait: seconds that it asks to wait, if it does.
    """

    def __init__(self, reason: str, *, maybe_billed: bool, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.maybe_billed = maybe_billed
        self.wait = wait


class Refused(Exception):
    """A request that the endpoint will not have; the message says why."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go.

    Attributes:
        url: what `/chat/completions` is added to.
        key: sent as a bearer token, if there is one.
    """

    url: str
    key: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str, key: str | None = None) -> Endpoint:
        """Return an endpoint.

        Raises:
            InputError: not a web address, or one that holds a password; a key with signs that no
                header can hold.
        """
        example = "Such as: --endpoint https://api.example.com/v1"
        try:
            parts = urlsplit(url.strip())
            named = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            named = False
        if not named:
            raise InputError("--endpoint is no web address.", fix=example)
        if parts.username or parts.password or parts.query or parts.fragment:
            raise InputError(
                "--endpoint holds more than an address: a name, a password or a query.",
                fix=f"A key belongs into an environment variable: --key-env. {example}",
            )
        key = (key or "").strip()
        if not (key.isascii() and key.isprintable()):
            raise InputError("the key holds signs that no key has.", fix="Check --key-env.")
        path = parts.path.rstrip("/").removesuffix("/chat/completions")
        return cls(f"{parts.scheme}://{parts.netloc}{path}", key or None)

    @property
    def host(self) -> str:
        """Scheme, host and port: all that is ever shown of it."""
        return host_of(self.url)

    @property
    def proxy(self) -> str | None:
        """Address of the proxy that the environment names for this host."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if host in _LOCAL or urllib.request.proxy_bypass(host):
            return None
        known = urllib.request.getproxies()
        return known.get(parts.scheme) or known.get("all")

    @property
    def is_readable_on_the_way(self) -> bool:
        """Whether images and key go over a network without encryption."""
        parts = urlsplit(self.url)
        return parts.scheme == "http" and parts.hostname not in _LOCAL

    @asynccontextmanager
    async def connected(self, connections: int, timeout: float) -> AsyncIterator[Line]:
        """Open a client for as long as the block runs.

        Args:
            connections: at most.
            timeout: seconds for one request, until its last byte.

        Raises:
            EndpointError: httpx2 is not installed.
        """
        check_installed()
        import httpx2

        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        async with httpx2.AsyncClient(
            headers=headers,
            timeout=timeout,
            limits=httpx2.Limits(max_connections=connections),
            proxy=self.proxy,
            trust_env=False,
            follow_redirects=False,
        ) as client:
            yield Line(self, client, timeout)


@dataclass(frozen=True, slots=True)
class Line:
    """A connection to an endpoint.

    Attributes:
        endpoint: where to.
        client: of httpx2.
        timeout: seconds for one request.
    """

    endpoint: Endpoint
    client: httpx2.AsyncClient
    timeout: float

    async def post(self, body: dict[str, Any]) -> bytes:
        """Send one request, once; return the body of a successful response.

        Raises:
            TryAgain: the endpoint is busy, at fault, too slow, or gone.
            Refused: it does not take this request.
            EndpointError: it takes none.
        """
        import httpx2

        try:
            async with asyncio.timeout(self.timeout):
                status, headers, data = await self._exchange(orjson.dumps(body))
        except (TimeoutError, httpx2.TimeoutException) as error:
            never_sent = isinstance(error, httpx2.ConnectTimeout | httpx2.PoolTimeout)
            reason = f"no reply in {self.timeout:g} seconds"
            raise TryAgain(reason, maybe_billed=not never_sent) from None
        except (httpx2.ConnectError, httpx2.ProxyError) as error:
            raise TryAgain(self._why("no connection", error), maybe_billed=False) from None
        except httpx2.TransportError as error:
            raise TryAgain(self._why("connection lost", error), maybe_billed=True) from None
        if 200 <= status < 300:
            return data
        raise self._failure(status, headers, data)

    async def _exchange(self, content: bytes) -> tuple[int, httpx2.Headers, bytes]:
        url = f"{self.endpoint.url}/chat/completions"
        kind = {"Content-Type": "application/json"}
        async with self.client.stream("POST", url, content=content, headers=kind) as response:
            data = bytearray()
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > _LONGEST_REPLY:
                    raise TryAgain("a reply of more than 10 MB", maybe_billed=True)
        return response.status_code, response.headers, self._struck(bytes(data))

    def _failure(
        self, status: int, headers: httpx2.Headers, data: bytes
    ) -> TryAgain | Refused | EndpointError:
        """Return what a response other than a success means."""
        said = error_text(data)
        text = f"{status}: {said}" if said else str(status)
        host = self.endpoint.host
        if 300 <= status < 400:
            there = shortened(self._struck(headers.get("location", "").encode()).decode())
            return EndpointError(
                f"answers with a redirect ({status}) to {there or 'nowhere'}; images go to no "
                "other address.",
                where=host,
                fix="If you trust that one, name it with --endpoint.",
            )
        if status in _STOP:
            return EndpointError(f"turns us away ({text}).", where=host, fix=_STOP[status])
        if status in _AGAIN or status >= 500:
            wait = retry_after(headers.get("retry-after"), datetime.now(UTC))
            return TryAgain(text, maybe_billed=False, wait=wait)
        return Refused(f"the endpoint refuses it: {text}")

    def _struck(self, data: bytes) -> bytes:
        """Return what an endpoint said without our key, should it repeat it."""
        key = self.endpoint.key
        if key is None or len(key) < _SHORTEST_SECRET:
            return data
        return data.replace(key.encode(), b"***")

    def _why(self, what: str, error: Exception) -> str:
        said = shortened(" ".join(str(error).split()))
        return self._struck((f"{what}: {said}" if said else what).encode()).decode()


def retry_after(header: str | None, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, given so or as a date.

    Args:
        header: its value; what cannot be read counts as none.
        now: with its time zone.
    """
    text = (header or "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            until = parsedate_to_datetime(text)
        except (TypeError, ValueError):
            return None
        aware = until if until.tzinfo else until.replace(tzinfo=UTC)
        seconds = (aware - now).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def check_installed() -> None:
    """Raise `EndpointError` where httpx2 is missing, which a bare install lacks."""
    if find_spec("httpx2") is None:
        raise EndpointError("this needs httpx2.", fix='pip install "visift[annotate]"')


def host_of(url: str) -> str:
    """Return scheme, host and port of an address: all that is ever shown of it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
