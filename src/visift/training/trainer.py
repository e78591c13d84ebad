"""transformers' Trainer, told what this package trains on, and how its checkpoints are resumed.

Nothing of a run depends on when it was killed: order and batches are known before (`order`), and
a checkpoint for going on holds weights, optimiser, rates and random states. It counts only if it
was written to its end.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import SequentialSampler
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from visift.errors import TrainingError
from visift.files import write_atomically
from visift.models.kept import BETAS, EPSILON
from visift.training.data import IGNORED, Batches, loading, the_batch
from visift.training.job import Job, Step
from visift.training.recipe import Recipe
from visift.training.saving import sync_tree
from visift.training.weights import Trained

#: Written last into a checkpoint for going on.
_COMPLETE = "complete"
_WEIGHTS = "weights.safetensors"

Hear = Callable[[Step], None]


class Tuner(Trainer):  # type: ignore[misc,unused-ignore]
    """Trains what is marked, with a loss on answers only.

    The loss of a step is the mean over all its answer tokens, however they are spread over
    forward passes and devices.
    """

    def __init__(
        self,
        trained: Trained,
        job: Job,
        batches: Batches,
        work: Path,
        keep: Callable[[Tuner, int], None],
        hear: Hear,
    ) -> None:
        """Prepare a training.

        Args:
            trained: the model.
            job: what is asked.
            batches: the forward passes, of all steps.
            work: folder of the checkpoints for going on.
            keep: takes this trainer and the number of a checkpoint, from 1 on.
            hear: told after every step.
        """
        self.trained = trained
        self.recipe = job.recipe
        self.batches = batches
        self.work = work
        self.dtype = getattr(torch, job.model.dtype)
        super().__init__(
            model=trained.model,
            args=_arguments(job, len(batches), work),
            data_collator=the_batch,
            train_dataset=batches,
            callbacks=[_Watch(self, keep, hear)],
        )
        self.remove_callback(PrinterCallback)

    # --- what is optimised ---------------------------------------------------------------------

    def training_step(self, model: Any, inputs: dict[str, Any], *_: Any) -> Tensor:
        """Do one forward and backward pass; returns its part of the loss of the step."""
        model.train()
        inputs = self._prepare_inputs(inputs)
        targets, share = inputs.pop("labels"), inputs.pop("share")
        mixed = self.dtype != torch.float32
        precision = torch.autocast(self.args.device.type, self.dtype) if mixed else nullcontext()
        with precision, head_at_answers(self.trained.model, targets):
            logits = model(**inputs, use_cache=False).logits
        wanted = targets[:, 1:]
        sums = functional.cross_entropy(
            logits[0].float(), wanted[wanted != IGNORED], reduction="sum"
        )
        loss: Tensor = sums * share
        # Gradients are averaged over processes; the loss of a step is a sum over them.
        self.accelerator.backward(loss * self.args.world_size)
        told: Tensor = loss.detach() * self.args.world_size
        return told

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Return AdamW over the groups of the recipe."""
        if self.optimizer is None:
            groups = self.trained.groups(self.recipe)
            fused = self.args.device.type == "cuda"
            self.optimizer = torch.optim.AdamW(groups, betas=BETAS, eps=EPSILON, fused=fused)
        found: torch.optim.Optimizer = self.optimizer
        return found

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        """Return the schedule of the recipe."""
        if self.lr_scheduler is None:
            recipe = self.recipe
            self.lr_scheduler = LambdaLR(
                self.create_optimizer(), lambda step: recipe.rate_share(step, num_training_steps)
            )
            self._created_lr_scheduler = True
        found: LambdaLR = self.lr_scheduler
        return found

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.batches)

    # --- checkpoints for going on --------------------------------------------------------------

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the trained weights; all others are those of the base."""
        if not self.args.should_save:
            return
        folder = Path(output_dir or self.work)
        folder.mkdir(parents=True, exist_ok=True)
        named = self.trained.named().items()
        save_file({name: one.detach().contiguous() for name, one in named}, folder / _WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        stored = load_file(Path(resume_from_checkpoint) / _WEIGHTS)
        with torch.no_grad():
            for name, weight in self.trained.named().items():
                weight.copy_(stored[name])


@contextmanager
def head_at_answers(model: Any, targets: Tensor) -> Iterator[None]:
    """Have the output layer see only the positions that predict a target: logits are (1, k, V).

    Args:
        model: of transformers.
        targets: (n, length), `IGNORED` where nothing is learnt.
    """
    before = (targets[:, 1:] != IGNORED).nonzero(as_tuple=True)

    def choose(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0][before].unsqueeze(0), *args[1:])

    hook = model.get_output_embeddings().register_forward_pre_hook(choose)
    try:
        yield
    finally:
        hook.remove()


def _arguments(job: Job, passes: int, work: Path) -> TrainingArguments:
    recipe, cpu = job.recipe, job.device == "cpu"
    a_step = recipe.batch_size // recipe.micro_batch
    steps = passes // a_step
    loaders = loading(job.loaders)
    return TrainingArguments(
        output_dir=str(work),
        # A batch of the data set is a whole forward pass.
        per_device_train_batch_size=1,
        gradient_accumulation_steps=a_step // job.processes,
        max_steps=steps,
        max_grad_norm=recipe.clip,
        seed=recipe.seed,
        use_cpu=cpu,
        ddp_backend="gloo" if cpu and job.processes > 1 else None,
        # A pass without images leaves the projector without gradients.
        ddp_find_unused_parameters=True,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=math.ceil(steps / job.saves),
        # The one before stays until the next one is whole.
        save_total_limit=2,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=job.device == "cuda",
        dataloader_num_workers=job.loaders,
        dataloader_multiprocessing_context=loaders.get("multiprocessing_context"),
    )


class _Watch(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Tells of every step, keeps what is to be kept, and marks checkpoints that are whole."""

    def __init__(self, tuner: Tuner, keep: Callable[[Tuner, int], None], hear: Hear) -> None:
        self._tuner, self._keep, self._hear = tuner, keep, hear
        self._since = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Begin to count time, after what an earlier process needed."""
        self._since = time.monotonic() - seconds_of(state)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Keep the state, at steps that are evenly spread."""
        if args.should_save and state.global_step in (
            kept := kept_steps(state.max_steps, self._tuner.recipe)
        ):
            self._keep(self._tuner, kept.index(state.global_step) + 1)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Tell of a step; raises `TrainingError` where its loss is no number."""
        said = state.log_history[-1]
        if "loss" not in said:
            return
        if not math.isfinite(said["loss"]):
            raise TrainingError(
                f"the loss of step {state.global_step} is {said['loss']}.",
                fix="A smaller rate in the recipe may help, or dtype:float32.",
            )
        said["seconds"] = time.monotonic() - self._since
        if state.is_world_process_zero:
            self._hear(Step(state.global_step, state.max_steps, said["loss"]))

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Mark the checkpoint as whole, when all processes have written their part."""
        if args.world_size > 1:
            torch.distributed.barrier()
        if args.should_save:
            folder = self._tuner.work / f"checkpoint-{state.global_step}"
            sync_tree(folder)
            write_atomically(folder / _COMPLETE, b"")


def kept_steps(steps: int, recipe: Recipe) -> list[int]:
    """Return the steps after which the checkpoints of a recipe are taken, the last one included."""
    count = min(recipe.checkpoints, steps)
    return [round(steps * number / count) for number in range(1, count + 1)]


def seconds_of(state: TrainerState) -> float:
    """Return how long the steps so far took, over all processes that did some of them."""
    return next((said["seconds"] for said in reversed(state.log_history) if "seconds" in said), 0.0)


def losses_of(state: TrainerState) -> tuple[float, ...]:
    """Return the loss of every step."""
    return tuple(said["loss"] for said in state.log_history if "loss" in said)


def to_go_on_from(work: Path, *, tidy: bool) -> str | None:
    """Return the last checkpoint that is whole, None without any.

    Args:
        work: folder of the training.
        tidy: whether those that a killed process left half-written are removed.
    """
    found = sorted(work.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
    whole = [path for path in found if (path / _COMPLETE).is_file()]
    for path in set(found) - set(whole) if tidy else ():
        shutil.rmtree(path)
    return os.fspath(whole[-1]) if whole else None
