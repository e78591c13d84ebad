"""Asynchronous work from code that is not, wherever that runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any


def run_to_end(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end, also where a loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    _run_beside(work)


def _run_beside(work: Coroutine[Any, Any, None]) -> None:
    """Run in a thread of its own; an interrupt here ends it there."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)
    raised: list[BaseException] = []

    def whole() -> None:
        try:
            loop.run_until_complete(task)
        except BaseException as error:
            raised.append(error)
        finally:
            loop.close()

    thread = threading.Thread(target=whole)
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        raise
    if raised:
        raise raised[0]
