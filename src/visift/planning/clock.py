"""From counts to times: by counting operations, or by measuring a sample here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from visift.engine.counting import Count
from visift.engine.store import item_keys
from visift.planning.accelerators import Accelerator
from visift.signals.cost import Load, stated_cost
from visift.signals.signal import Signal
from visift.training.tuned import TunedRef

#: Share of its peak that an accelerator reaches [ours]: common for training in bfloat16.
UTILISATION = 0.4
PROBE_SECONDS = 60.0

_FIRST_CHUNK = 16
_LARGEST_CHUNK = 256


class Clock(Protocol):
    """Says how long things take.

    Attributes:
        on_gpu: whether its devices are accelerators.
    """

    @property
    def on_gpu(self) -> bool:
        """Whether its devices are accelerators."""
        ...

    def device_seconds(self, count: Count) -> float | None:
        """Return the seconds one device takes for a request; None if that is not known."""
        ...

    def wall_seconds(self, count: Count) -> float | None:
        """Return the seconds until a request is measured; None if that is not known."""
        ...

    def speed(self) -> float | None:
        """Return the operations a second of one device; None if that is not known."""
        ...

    def source(self) -> str:
        """Return where its times come from, in a few words."""
        ...


@dataclass(frozen=True, slots=True)
class FlopsClock:
    """Times from operations counted, on one accelerator.

    Attributes:
        accelerator: which one.
        utilisation: share of its peak that is reached.
    """

    accelerator: Accelerator
    utilisation: float = UTILISATION
    on_gpu: bool = True

    def device_seconds(self, count: Count) -> float | None:
        """See `Clock.device_seconds`."""
        flops = count.entry.flops
        return None if flops is None else flops / self.speed()

    def wall_seconds(self, count: Count) -> float | None:
        """See `Clock.wall_seconds`; of one accelerator."""
        return self.device_seconds(count)

    def speed(self) -> float:
        """See `Clock.speed`."""
        return self.accelerator.tflops * 1e12 * self.utilisation

    def source(self) -> str:
        """See `Clock.source`."""
        return (
            f"estimates from a count of operations on one {self.accelerator.name}, "
            f"at {self.utilisation:.0%} of its {self.accelerator.tflops:g} TFLOPS "
            "(assumed); reading and decoding images is left out"
        )


@dataclass(frozen=True, slots=True)
class Probe:
    """A sample of one signal, measured.

    Attributes:
        signal: which one.
        device: where.
        workers: how many a run would have.
        opening: seconds until the model was there.
        load: what the items measured hold.
        seconds: this took.
    """

    signal: Signal
    device: str
    workers: int
    opening: float
    load: Load
    seconds: float

    @property
    def rate(self) -> float:
        """Items a second of one worker."""
        return self.load.items / self.seconds

    def text(self) -> str:
        """Return the outcome in words: `visual_feature of 148 images/s on cuda:0`."""
        rate = f"{self.rate:,.0f}" if self.rate >= 10 else f"{self.rate:.2g}"
        names = ", ".join(column.name for column in self.signal.columns)
        return f"{names} of {rate} {self.signal.unit}s/s on {self.device}"


@dataclass(frozen=True, slots=True)
class ProbeClock:
    """Times from samples measured on this machine.

    Attributes:
        probes: one a signal.
    """

    probes: Sequence[Probe] = field(default=())

    @property
    def on_gpu(self) -> bool:
        """See `Clock.on_gpu`."""
        return any(probe.device != "cpu" for probe in self.probes)

    def device_seconds(self, count: Count) -> float | None:
        """See `Clock.device_seconds`; loading the model counts for every worker."""
        found = self._of(count)
        if found is None:
            return self._by_operations(count)
        return found.opening * found.workers + count.entry.measured / found.rate

    def wall_seconds(self, count: Count) -> float | None:
        """See `Clock.wall_seconds`; workers are taken to add up."""
        found = self._of(count)
        if found is None:
            return self._by_operations(count)
        return found.opening + count.entry.measured / found.rate / found.workers

    def _by_operations(self, count: Count) -> float | None:
        """Return the seconds of what cannot be probed, training: at the speed of what was."""
        speed, flops = self.speed(), count.entry.flops
        if not count.entry.measured:
            return 0.0
        return None if speed is None or flops is None else flops / speed

    def _of(self, count: Count) -> Probe | None:
        if not count.entry.measured:
            return None
        return next((probe for probe in self.probes if probe.signal == count.signal), None)

    def speed(self) -> float | None:
        """See `Clock.speed`; as far as operations of the signals are known."""
        flops = [(stated_cost(probe.signal, probe.load).flops, probe) for probe in self.probes]
        known = [(one, probe) for one, probe in flops if one]
        seconds = sum(probe.seconds for _, probe in known)
        return sum(one for one, _ in known) / seconds if seconds else None

    def source(self) -> str:
        """See `Clock.source`."""
        if not self.probes:
            return "nothing is left to measure, so that there was nothing to probe"
        said = ", ".join(probe.text() for probe in self.probes)
        workers = max(probe.workers for probe in self.probes)
        many = f", {workers} workers taken to add up" if workers > 1 else ""
        return f"estimates from a probe of this machine: {said}{many}"


def _untuned(signal: Signal) -> Signal:
    """Return a signal with the model that its own will be tuned from, which is as fast."""
    model = getattr(signal, "model", None)
    if not isinstance(model, TunedRef):
        return signal
    return replace(signal, model=model.base)  # type: ignore[type-var]


def probe_signal(count: Count, device: str, workers: int, seconds: float) -> Probe:
    """Measure a sample of what a request lacks, and keep nothing of it.

    Items are taken in the order of their keys, which is as good as random and the same every time.

    Args:
        count: the request; something of it is left.
        device: where to measure.
        workers: how many a run would have, see `Probe`.
        seconds: when to stop; the chunk in hand is finished.

    Raises:
        ModelError: the signal's model cannot be loaded.
    """
    began = time.monotonic()
    measure = _untuned(count.signal).open(device)
    opening = time.monotonic() - began
    keys = item_keys(count.items.keys())[count.left]
    order = count.left[np.lexsort((keys[:, 1], keys[:, 0]))]
    timed, spent, at, size = order[:0], 0.0, 0, _FIRST_CHUNK
    while at < len(order) and spent < seconds:
        chunk = order[at : at + size]
        began = time.monotonic()
        measure(count.items.load(chunk))
        took = time.monotonic() - began
        first = at == 0
        at += len(chunk)
        if first and at < len(order) and took < seconds:
            continue  # what a device does the first time, it does slowly
        timed, spent = np.concatenate([timed, chunk]), spent + took
        if took < seconds / 10:
            size = min(2 * size, _LARGEST_CHUNK)
    load = count.items.holding(timed)
    return Probe(count.signal, device, workers, opening, load, max(spent, 1e-9))
