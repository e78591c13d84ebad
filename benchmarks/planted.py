"""What a toy model's losses say of a pool with known faults: `python -m benchmarks.planted`.

Detection, never "beats random": whoever planted the faults knows the answer. Everything is
measured with `builtin:tiny` on the demo pool, in a cache inside --data, so that a second run only
chooses. The figures stand in docs/methods/{mllm_selector,presel}.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.stats import spearmanr, wilcoxon

from visift.budget import Budget
from visift.config import EngineConfig
from visift.demo.generator import write_demo_pool
from visift.engine.lab import Examples, LocalLab
from visift.methods.irs import irs
from visift.methods.method import build
from visift.models.ref import ModelRef
from visift.pool.pool import Pool
from visift.pool.record import Turn
from visift.signals.losses import AnswerLoss
from visift.staff import staffing
from visift.training.recipe import read_recipe

MODEL = ModelRef("builtin:tiny")
BUDGET = Budget.parse("15%")
ALPHAS = (0, 0.5, 1, 2, 4, 50)
Rows = NDArray[np.int64]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planted", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("bench-data"))
    parser.add_argument("--records", type=int, default=6000)
    given = parser.parse_args()
    folder = given.data / f"planted-{given.records}"
    if not (folder / "pool.json").exists():
        write_demo_pool(folder, records=given.records)
    pool = Pool.open(folder / "pool.json", image_folder=folder / "images", hash_images=True)
    kinds = np.full(len(pool), "", dtype=object)
    table = pq.read_table(folder / "planted.parquet", columns=["row", "kind"])
    kinds[table["row"].to_numpy()] = table["kind"].to_numpy()
    necessity(pool, kinds, folder / "cache")
    relevance(pool, kinds, folder / "cache")


def lab_of(pool: Pool, cache: Path) -> LocalLab:
    """Return a lab as the command line has it."""
    devices, executor = staffing(EngineConfig(str(cache)), MODEL)
    return LocalLab(pool, cache, devices, executor)


# --- MLLM-Selector -------------------------------------------------------------------------------


def necessity(pool: Pool, kinds: NDArray[Any], cache: Path) -> None:
    """Print where planted rows stand by necessity, and how alpha moves them."""
    wrong, copies = kinds == "wrong-answer", kinds == "exact-duplicate"
    scores = []
    print("mllm_selector, 15 % of the demo pool\n")
    print("| seed | wrong answers in the pool | in the top group | lowest group |")
    print("|---|---|---|---|")
    for seed in (0, 1):
        choice = chosen(pool, cache, seed, 1)
        scores.append(choice.score)
        groups = np.array(choice.group, dtype=object)
        share = [f"{wrong[groups == f'necessity {g} of 10'].mean():.1%}" for g in (10, 1)]
        print(f"| {seed} | {wrong.mean():.1%} | {share[0]} | {share[1]} |")
    both = np.isfinite(scores[0]) & np.isfinite(scores[1])
    rho = spearmanr(scores[0][both], scores[1][both]).statistic
    print(f"\nrank correlation of necessity between two seed draws: {rho:.2f}\n")
    print("| alpha | wrong answers kept | exact duplicates kept |\n|---|---|---|")
    for alpha in ALPHAS:
        drawn = np.zeros(len(pool), bool)
        drawn[chosen(pool, cache, 0, alpha).rows] = True
        print(f"| {alpha:g} | {drawn[wrong].mean():.1%} | {drawn[copies].mean():.1%} |")


def chosen(pool: Pool, cache: Path, seed: int, alpha: float) -> Any:
    """Return what mllm_selector chooses."""
    method = build("mllm_selector", {"alpha": alpha}, seed=seed, model=MODEL)
    return method.choose(pool, method.measure(pool, lab_of(pool, cache), BUDGET), BUDGET)


# --- PreSel --------------------------------------------------------------------------------------


def relevance(pool: Pool, kinds: NDArray[Any], cache: Path) -> None:
    """Print IRS by task, as asked and with the questions shuffled inside the task."""
    sound = np.isin(pool.rows(), np.flatnonzero(kinds == ""))
    rows = pool.rows()[sound]
    rows = rows[~pool.text_only[rows]]
    order = rows[np.argsort(pool.tie_keys(0, b"reference")[rows])]
    learn, judge = order[:600], order[600:1800]
    lab = lab_of(pool, cache)
    tuned = lab.finetune(MODEL, read_recipe("tiny", MODEL), Examples(learn)).model
    asked = AnswerLoss(tuned, ("given", "no_question"))
    tasks = np.array(pool.index["task"].to_pylist(), dtype=object)
    mixed = shuffled(pool, judge, tasks)
    true, false = (
        scores(lab.measure(asked, Examples(judge, targets)), judge) for targets in ({}, mixed)
    )
    print("\npresel: IRS of rows the reference model has not seen\n")
    print("| task | rows | IRS | questions shuffled | p (Wilcoxon, shuffled higher) |")
    print("|---|---|---|---|---|")
    for task in sorted(set(tasks[judge])):
        mine = (tasks[judge] == task) & np.isfinite(true) & np.isfinite(false)
        a, b = true[mine], false[mine]
        moved = bool((a != b).any())
        p = f"{wilcoxon(b, a, alternative='greater').pvalue:.1e}" if moved else "the same"
        print(f"| {task} | {mine.sum():,} | {a.mean():.2f} | {b.mean():.2f} | {p} |")


def scores(losses: Any, rows: Rows) -> NDArray[np.float64]:
    """Return IRS of rows, NaN where there is none."""
    ok = losses.ok(rows)
    found = np.full(len(rows), np.nan)
    found[ok] = irs(
        losses.take("nll", rows[ok]).astype(np.float64),
        losses.take("nll_no_question", rows[ok]).astype(np.float64),
    )
    return found


def shuffled(pool: Pool, rows: Rows, tasks: NDArray[Any]) -> dict[int, tuple[Turn, ...]]:
    """Return conversations with the first question of another row of the task."""
    rng = np.random.default_rng(0)
    first = {row: pool.record(row).turns for row in rows.tolist()}
    swapped = {}
    for task in set(tasks[rows]):
        mine = rows[tasks[rows] == task]
        for row, other in zip(
            mine.tolist(), np.roll(rng.permutation(mine), 1).tolist(), strict=True
        ):
            turns = list(first[row])
            at = next(i for i, turn in enumerate(turns) if turn.role == "user")
            theirs = next(turn for turn in first[other] if turn.role == "user")
            turns[at] = theirs
            swapped[row] = tuple(turns)
    return swapped


if __name__ == "__main__":
    main()
