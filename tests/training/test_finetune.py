"""Fine-tuning: what is learnt, what is left out, and when nothing is trained at all."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("peft", reason="peft is not installed")

from safetensors.torch import save_file  # noqa: E402

from helpers import open_records, png, talk  # noqa: E402
from training.making import (  # noqa: E402
    RECORDS,
    SHORT,
    SHORT_FULL,
    examples_of,
    here,
    make,
    mixed_pool,
    model_files,
    tensors,
    wanted,
)
from visift.demo.generator import write_demo_pool  # noqa: E402
from visift.errors import InputError, ModelError, TrainingError  # noqa: E402
from visift.models.batch import Collator  # noqa: E402
from visift.models.ref import ModelRef  # noqa: E402
from visift.models.vlm import VLM  # noqa: E402
from visift.pool.pool import Pool  # noqa: E402
from visift.pool.record import Turn  # noqa: E402
from visift.training import weights  # noqa: E402
from visift.training.data import IGNORED, Reader, labels  # noqa: E402
from visift.training.finetune import Example, finetune, outcome_of  # noqa: E402
from visift.training.recipe import LLAVA, MMSSR, TINY, TINY_LORA, Recipe  # noqa: E402
from visift.training.saving import OPTIMIZER  # noqa: E402

TARGET = (Turn("user", "<image>\nwhat colour?"), Turn("assistant", "green."))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return mixed_pool(tmp_path_factory.mktemp("pool"))


@pytest.fixture(scope="module")
def tiny() -> VLM:
    return VLM.load(ModelRef("builtin:tiny"), "cpu")


def never(*_: Any) -> None:
    raise AssertionError("nothing is to be trained")


# --- what is learnt ------------------------------------------------------------------------------


def test_the_toy_model_learns_the_demo(tmp_path: Path) -> None:
    demo = write_demo_pool(tmp_path / "demo", records=200)
    pool = Pool.open(demo.pool, image_folder=demo.images)
    examples = examples_of(pool)[:64]
    recipe = dataclasses.replace(TINY, epochs=3)
    _, outcome = make(tmp_path, pool, recipe, examples=examples)
    assert outcome.steps == len(outcome.losses) == recipe.steps(outcome.examples)
    assert outcome.losses[-1] < outcome.losses[0] / 2
    assert outcome.examples + len(outcome.left_out) == 64


def test_only_tokens_of_answers_are_learnt(pool: Pool, tiny: VLM) -> None:
    reader = Reader(pool, Collator.of(tiny), 2048)
    batch = reader.batch([Example(row, "") for row in range(len(pool))])
    words = tiny.processor.tokenizer
    for row, ids in enumerate(labels(batch)):
        learnt = words.decode(ids[ids != IGNORED])
        turns = [turn.text for turn in pool.record(row).turns if turn.role == "assistant"]
        assert learnt.replace(" ", "") == "".join(
            (turn + words.eos_token).replace(" ", "") for turn in turns
        )


def test_the_loss_of_a_step_is_the_mean_over_its_tokens_however_they_are_batched(
    pool: Pool, tmp_path: Path
) -> None:
    losses = [
        make(tmp_path / str(size), pool, dataclasses.replace(SHORT, batch_size=4, micro_batch=size))
        for size in (1, 4)
    ]
    (first,), (second,) = (outcome.losses for _, outcome in losses)
    assert first == pytest.approx(second, abs=1e-5)


def test_the_order_of_the_pool_does_not_matter(pool: Pool, tmp_path: Path) -> None:
    turned = mixed_pool(tmp_path / "turned", RECORDS[::-1])
    one, _ = make(tmp_path / "one", pool)
    other, _ = make(tmp_path / "other", turned)
    assert one.path.name == other.path.name
    assert model_files(one.path) == model_files(other.path)


def test_targets_stand_in_for_conversations(pool: Pool, tmp_path: Path) -> None:
    told = mixed_pool(tmp_path / "told", [talk(TARGET[0].text, TARGET[1].text, image="0.png")])
    by_target, _ = make(tmp_path / "a", pool, examples=[Example(0, "0" * 32, TARGET)])
    by_record, _ = make(tmp_path / "b", told, examples=[Example(0, "0" * 32)])
    plain, _ = make(tmp_path / "c", pool, examples=[Example(0, "0" * 32)])
    assert model_files(by_target.path) == model_files(by_record.path)
    assert model_files(by_target.path) != model_files(plain.path)


def test_only_what_the_recipe_says_is_trained(pool: Pool, tmp_path: Path) -> None:
    base = {name: one.clone() for name, one in _named("builtin:tiny").items()}
    for projector, vision in ((True, False), (False, False), (False, True)):
        recipe = dataclasses.replace(SHORT_FULL, projector=projector, vision=vision)
        tuned, _ = make(tmp_path / f"{projector}{vision}", pool, recipe)
        changed = {n for n, one in _named(str(tuned.path)).items() if not torch.equal(one, base[n])}
        assert any("language_model" in name for name in changed)
        assert any("projector" in name for name in changed) == projector
        assert any("vision_tower" in name for name in changed) == vision


def _named(model: str) -> dict[str, Any]:
    return dict(VLM.load(ModelRef(model), "cpu").model.named_parameters())


def test_the_vision_tower_can_be_trained_beside_factors(
    pool: Pool, tmp_path: Path, tiny_model: Any
) -> None:
    for family, wanted_names in (("llava", ("vision_tower",)), ("qwen2_vl", ("visual",))):
        recipe = dataclasses.replace(SHORT, vision=True, projector=False, max_tokens=10_000)
        base = str(tiny_model(family))
        tuned, _ = make(tmp_path / family, pool, recipe, base)
        before, after = _named(base), _named(str(tuned.path))
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert any(wanted_names[0] in name for name in changed)
        assert not any(weights.PROJECTOR.search(name) for name in changed)


def test_the_projector_learns_at_its_own_rate(tiny: VLM) -> None:
    vlm = VLM.load(ModelRef("builtin:tiny"), "cpu")
    recipe = dataclasses.replace(LLAVA, weight_decay=0.1)
    trained = weights.mark(vlm, recipe)
    named = {id(weight): name for name, weight in trained.named().items()}
    rates = {
        (group["lr"], group["weight_decay"], "projector" in named[id(weight)], weight.ndim > 1)
        for group in trained.groups(recipe)
        for weight in group["params"]
    }
    assert rates == {(2e-4, 0.1, False, True), (2e-5, 0.1, True, True), (2e-5, 0.0, True, False)}
    assert all(weight.dtype == torch.float32 for weight in trained.named().values())


def test_the_vision_tower_learns_at_its_own_rate(tiny_model: Any) -> None:
    """In Qwen2-VL the projector is a part of the tower: it keeps its own."""
    for family, projector in (("llava", "projector"), ("qwen2_vl", "merger")):
        vlm = VLM.load(ModelRef(str(tiny_model(family))), "cpu")
        trained = weights.mark(vlm, MMSSR)
        named = {id(weight): name for name, weight in trained.named().items()}
        for group in trained.groups(dataclasses.replace(MMSSR, projector_rate=3e-5)):
            for name in (named[id(weight)] for weight in group["params"]):
                in_tower = "vision_tower" in name or "visual" in name
                expected = 3e-5 if projector in name else 2e-6 if in_tower else 1e-5
                assert group["lr"] == expected, name


def test_bfloat16_trains_weights_in_float32(pool: Pool, tmp_path: Path) -> None:
    recipe = dataclasses.replace(SHORT, dtype="bfloat16", checkpointing=True)
    tuned, outcome = make(tmp_path / "a", pool, recipe)
    _, plain = make(tmp_path / "b", pool, SHORT)
    assert outcome.losses == pytest.approx(plain.losses, rel=0.05)
    assert outcome.losses != plain.losses
    assert {one.dtype for one in tensors(tuned.path).values()} == {torch.float32}


# --- what is left out ----------------------------------------------------------------------------


def test_what_cannot_be_trained_on_is_left_out_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "pool"
    mixed_pool(folder)
    (folder / "cut.png").write_bytes(png(9, (40, 30))[:-20])
    records = [
        *RECORDS,
        talk("<image>\nwhat?", "a cut one.", image="cut.png"),
        {"conversations": talk("and?")["conversations"][:1] + talk("x", "")["conversations"][1:]},
        talk("what? " * 300, "too late."),
        talk("<image> " * 6, "many.", image=["0.png"] * 6),
    ]
    pool = open_records(folder, records)
    recipe = dataclasses.replace(SHORT, max_tokens=90)
    examples = [Example(row, f"{row:032x}") for row in range(len(pool))]
    _, outcome = make(tmp_path, pool, recipe, examples=examples)
    reasons = {int(key, 16): why for key, why in outcome.left_out.items()}
    assert set(reasons) >= {4, 6, 7}
    assert reasons[4].startswith("image truncated: cut.png")
    assert reasons[6] == "no answer to learn within 90 tokens"
    assert reasons[7] == "its images and what is said before them take more than 90 tokens"
    assert outcome.examples == len(records) - len(reasons)


def test_without_anything_to_train_on_nothing_is_trained(tmp_path: Path) -> None:
    pool = open_records(tmp_path / "pool", [talk("what? " * 300)])
    with pytest.raises(TrainingError, match=r"none of 1 examples can be trained on; .* no answer"):
        make(tmp_path, pool, dataclasses.replace(SHORT, max_tokens=50))
    with pytest.raises(TrainingError, match="no examples"):
        make(tmp_path, pool, examples=[])


def test_a_pool_that_changed_is_refused(tmp_path: Path) -> None:
    pool = mixed_pool(tmp_path / "pool")
    mixed_pool(tmp_path / "pool", [*RECORDS[:2], talk("2 and 3?", "5."), RECORDS[3]])
    with pytest.raises(TrainingError, match=r"the pool changed .* row 2 is another record"):
        make(tmp_path, pool)


def test_a_loss_that_is_no_number_ends_it(pool: Pool, tmp_path: Path) -> None:
    recipe = dataclasses.replace(SHORT_FULL, rate=1e30, clip=0.0)
    with pytest.raises(TrainingError, match=r"the loss of step 2 is (nan|inf)"):
        make(tmp_path, pool, recipe)


def test_float16_is_refused(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="float16"):
        make(tmp_path, pool, dataclasses.replace(SHORT, dtype="float16"), run=never)


def test_a_model_without_a_projector_says_so(monkeypatch: pytest.MonkeyPatch, tiny: VLM) -> None:
    monkeypatch.setattr(weights, "PROJECTOR", weights.re.compile("nothing"))
    with pytest.raises(ModelError, match="its projector was not found") as caught:
        weights.mark(tiny, SHORT)
    assert caught.value.fix == "Leave it as it is: projector:false in the recipe."


# --- when nothing is trained ---------------------------------------------------------------------


def test_asked_for_again_it_is_not_trained_again(pool: Pool, tmp_path: Path) -> None:
    tuned, outcome = make(tmp_path, pool)
    again, same = make(tmp_path, pool, run=never)
    assert (again, same) == (tuned, outcome)
    assert outcome_of(tuned) == outcome
    assert sorted(path.name for path in tmp_path.iterdir()) == [tuned.path.name]


def test_another_recipe_example_or_base_is_another_model(
    pool: Pool, tmp_path: Path, tiny_model: Any
) -> None:
    examples = examples_of(pool)
    asked = [
        wanted(tmp_path, examples, SHORT),
        wanted(tmp_path, examples, dataclasses.replace(SHORT, seed=1)),
        wanted(tmp_path, examples, dataclasses.replace(SHORT, rate=2e-3)),
        wanted(tmp_path, examples[1:], SHORT),
        wanted(tmp_path, examples, SHORT, str(tiny_model("llava"))),
        wanted(tmp_path, examples_of(pool, {0: TARGET}), SHORT),
    ]
    assert len({tuned.path for tuned in asked}) == len(asked)
    assert wanted(tmp_path, examples[::-1], SHORT).path == asked[0].path


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_two_processes_that_want_one_model_train_it_once(pool: Pool, tmp_path: Path) -> None:
    examples = examples_of(pool)
    tuned = wanted(tmp_path / "out", examples, SHORT)
    trained = tmp_path / "trained"
    trained.mkdir()

    def run(folder: Path, devices: Sequence[str], hear: Any, handles: Sequence[int]) -> None:
        (trained / str(os.getpid())).touch()
        time.sleep(0.5)
        here(folder, devices, hear, handles)

    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                outcome = finetune(tuned, pool, examples, ("cpu",), lambda _: None, run=run)
                status = 0 if outcome.steps == 2 else 2
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert len(list(trained.iterdir())) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == [tuned.path.name]


# --- what is saved -------------------------------------------------------------------------------


def test_checkpoints_are_kept_with_the_state_of_the_optimiser(pool: Pool, tmp_path: Path) -> None:
    recipe = dataclasses.replace(SHORT, epochs=3, checkpoints=3)
    tuned, outcome = make(tmp_path, pool, recipe)
    assert [one.step for one in outcome.checkpoints] == [2, 4, 6]
    rates = [recipe.rate * recipe.rate_share(step, 6) for step in range(6)]
    assert [one.rate for one in outcome.checkpoints] == rates[1::2]
    assert outcome.checkpoints[1].mean_rate == pytest.approx(sum(rates[2:4]) / 2)
    folders = [tuned.path / f"checkpoint-{number}" for number in (1, 2, 3)]
    for folder in folders:
        state = tensors(folder)
        names = {name for name in state if not name.endswith(("exp_avg", "exp_avg_sq"))}
        named = {
            f"{name.removeprefix('base_model.model.')}.{kind}"
            for name in names
            for kind in ("exp_avg", "exp_avg_sq")
        }
        assert named == set(state) - names
        VLM.load(ModelRef(str(folder)), "cpu")
    last = (folders[-1] / "adapter_model.safetensors").read_bytes()
    assert last == (tuned.path / "adapter_model.safetensors").read_bytes()
    assert last != (folders[0] / "adapter_model.safetensors").read_bytes()
    assert not (tuned.path / OPTIMIZER).exists()


def test_a_checkpoint_names_its_base_and_no_machine(pool: Pool, tmp_path: Path) -> None:
    tuned, _ = make(tmp_path / "here", pool)
    said = json.loads((tuned.path / "adapter_config.json").read_text())
    assert said["base_model_name_or_path"] == "builtin:tiny"
    assert str(tmp_path).encode() not in b"".join(model_files(tuned.path).values())


def test_a_checkpoint_says_what_became_of_the_training(pool: Pool, tmp_path: Path) -> None:
    tuned, outcome = make(tmp_path, pool)
    said = json.loads((tuned.path / "training.json").read_text())
    assert said["recipe"] == dataclasses.asdict(SHORT)
    assert said["losses"] == list(outcome.losses)
    assert outcome.tokens > 4 * 10
    assert Recipe(**said["recipe"]) == SHORT


def test_a_whole_model_is_saved_with_its_processor(pool: Pool, tmp_path: Path) -> None:
    tuned, _ = make(tmp_path, pool, SHORT_FULL)
    loaded = VLM.load(ModelRef(str(tuned.path)), "cpu")
    base = ModelRef("builtin:tiny").folder()
    assert (tuned.path / "config.json").read_bytes() == (base / "config.json").read_bytes()
    assert loaded.processor.chat_template is not None


def test_a_tuned_model_can_be_tuned_again(pool: Pool, tmp_path: Path) -> None:
    first, _ = make(tmp_path / "a", pool)
    second, _ = make(tmp_path / "b", pool, model=str(first.path))
    merged, base = _named(str(second.path)), _named(str(first.path))
    assert merged.keys() == base.keys()
    assert not all(torch.equal(merged[name], base[name]) for name in base)
    assert len(ModelRef(str(second.path)).parts()) == 3


def test_recipes_for_the_toy_model_fit_it(pool: Pool, tiny: VLM) -> None:
    assert weights.mark(VLM.load(ModelRef("builtin:tiny"), "cpu"), TINY_LORA).adapter is not None


# --- adapters by name ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("{", "does not say what it is an adapter of"),
        ("[]", "does not say what it is an adapter of"),
        ("{}", "does not say what it is an adapter of"),
        ('{"base_model_name_or_path": null}', "does not say what it is an adapter of"),
        ('{"base_model_name_or_path": "/no/such/folder"}', "/no/such/folder, which is not to be"),
        ('{"base_model_name_or_path": "builtin:other"}', "builtin:other, which is not to be had"),
        ('{"base_model_name_or_path": "SELF"}', "which is not to be had: that is itself"),
    ],
)
def test_an_adapter_without_its_base_says_so(said: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(said.replace("SELF", str(tmp_path)))
    with pytest.raises(ModelError, match=what):
        ModelRef(str(tmp_path)).parts()


def test_an_adapter_of_another_model_is_refused(
    pool: Pool, tmp_path: Path, tiny_model: Any
) -> None:
    tuned, _ = make(tmp_path, pool)
    config = tuned.path / "adapter_config.json"
    config.write_text(config.read_text().replace("builtin:tiny", str(tiny_model("llava"))))
    with pytest.raises(ModelError, match="does not fit onto its base"):
        VLM.load(ModelRef(str(tuned.path)), "cpu")


def test_an_adapter_that_lacks_weights_is_refused(pool: Pool, tmp_path: Path) -> None:
    tuned, _ = make(tmp_path, pool)
    path = tuned.path / "adapter_model.safetensors"
    stored = tensors(tuned.path)
    stored.pop(next(name for name in stored if "lora_B" in name))
    save_file(stored, path)
    with pytest.raises(ModelError, match="Found missing adapter keys"):
        VLM.load(tuned, "cpu")


def test_an_adapter_has_the_identity_of_both_its_parts(pool: Pool, tmp_path: Path) -> None:
    tuned, _ = make(tmp_path, pool)
    asked = ModelRef(str(tuned.path))
    alone = asked.identity()["digest"]
    config = tuned.path / "adapter_config.json"
    config.write_text(config.read_text() + " ")
    assert (
        len({alone, asked.identity()["digest"], ModelRef("builtin:tiny").identity()["digest"]}) == 3
    )
    assert asked.config_folder() == ModelRef("builtin:tiny").folder()
