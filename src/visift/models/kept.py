"""Checkpoints that a training keeps with the state of its optimiser, and the step it would take.

LESS (arXiv 2402.04333) compares, in place of the gradient of a record, the step that Adam would
take on this record alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from visift.errors import ModelError

#: The optimiser's moments beside a checkpoint that is kept with them.
OPTIMIZER = "optimizer.safetensors"

#: How Adam's means of gradients and of their squares forget, and what it adds to their root.
BETAS, EPSILON = (0.9, 0.999), 1e-8


def kept_in(folder: Path, number: int) -> Path:
    """Return where a finished model has one of several checkpoints, counted from 1 on."""
    return folder / f"checkpoint-{number}"


@dataclass(frozen=True, slots=True, eq=False)
class Adam:
    """The state of Adam at a checkpoint.

    Attributes:
        means: by name of a factor, the running mean of its gradients.
        squares: likewise of their squares.
    """

    means: Mapping[str, Tensor]
    squares: Mapping[str, Tensor]

    @classmethod
    def read(cls, folder: Path, factors: Iterable[str], device: str) -> Adam:
        """Read the state of some factors, in float32.

        Args:
            folder: of the checkpoint.
            factors: their names, see `gradients.Factors.sizes`.
            device: where to.

        Raises:
            ModelError: there is none.
        """
        names = tuple(factors)
        try:
            with safe_open(folder / OPTIMIZER, "pt", device=device) as file:
                both = [
                    {name: file.get_tensor(f"{name}.weight.{kind}").float() for name in names}
                    for kind in ("exp_avg", "exp_avg_sq")
                ]
        except (OSError, SafetensorError) as error:
            raise ModelError(
                f"holds no state of an optimiser for its factors ({error}).",
                where=str(folder),
                fix="Have the warm-up keep it: checkpoints=2 or more.",
            ) from error
        return cls(*both)

    def step(self, name: str, gradients: Tensor) -> Tensor:
        """Return the step on each of n gradients of a factor, at a learning rate of 1.

        Corrections for a young state are left out: they scale steps, whose directions are wanted.

        Args:
            name: of the factor.
            gradients: (n, out, in) float32.
        """
        (keep, keep_squares), means = BETAS, self.means[name] * BETAS[0]
        mean = means + gradients * (1 - keep)
        square = self.squares[name] * keep_squares + gradients.square() * (1 - keep_squares)
        return mean / (square.sqrt() + EPSILON)
