"""Accelerators by name, and how fast they could compute at best."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from visift.errors import InputError, did_you_mean

#: Peak TFLOPS in bfloat16 without sparsity, as their makers' data sheets round it.
PEAK_TFLOPS = {"h100": 989.0, "h200": 989.0, "a100": 312.0, "l40s": 362.0, "4090": 165.0}

_TFLOPS = re.compile(r"(\d+(?:\.\d+)?)\s*(?:tflops?)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Accelerator:
    """Something that computes.

    Attributes:
        name: as it is shown.
        tflops: its peak, in 10^12 floating-point operations a second.
    """

    name: str
    tflops: float

    @classmethod
    def parse(cls, text: str) -> Accelerator:
        """Read a name, or a peak such as `989` or `312TFLOPS`; `4090` is the card of that name.

        Raises:
            InputError: neither; names the nearest.
        """
        name = text.strip().lower().removeprefix("rtx").strip(" -_")
        if name in PEAK_TFLOPS:
            return cls(name.upper(), PEAK_TFLOPS[name])
        number = _TFLOPS.fullmatch(text.strip())
        if number is None or not 0 < float(number.group(1)) < math.inf:
            raise InputError(
                f'no accelerator "{text}" is known.{did_you_mean(name, PEAK_TFLOPS)}',
                fix=f"Known: {', '.join(PEAK_TFLOPS)}; or name its peak in TFLOPS: --flops 989",
            )
        tflops = float(number.group(1))
        return cls(f"accelerator of {tflops:g} TFLOPS", tflops)
