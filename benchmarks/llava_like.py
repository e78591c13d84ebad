"""A pool file like LLaVA-665K in layout, mixture and size, made from nothing but a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Records of each source of LLaVA-665K, with the folder of its images and the question-answer
#: pairs of a record: fewest, most, and the words of an answer.
SOURCES: dict[str, tuple[int, str | None, tuple[int, int], int]] = {
    "llava": (157_712, "coco/train2017", (1, 4), 40),
    "sharegpt": (40_688, None, (1, 6), 110),
    "vqav2": (82_783, "coco/train2017", (3, 9), 2),
    "gqa": (72_140, "gqa/images", (3, 12), 1),
    "okvqa": (8_998, "coco/train2017", (1, 3), 2),
    "ocr_vqa": (80_000, "ocr_vqa/images", (3, 6), 5),
    "a_okvqa": (66_160, "coco/train2017", (1, 3), 1),
    "textcaps": (21_953, "textvqa/train_images", (1, 1), 14),
    "refcoco": (48_447, "coco/train2017", (2, 8), 8),
    "vg": (86_417, "vg/VG_100K", (3, 10), 6),
}
#: How prompts of a source end; those of others have no form of their own.
PROMPTS = {
    "vqav2": "\nAnswer the question using a single word or phrase.",
    "okvqa": "\nAnswer the question using a single word or phrase.",
    "a_okvqa": "\nAnswer with the option's letter from the given choices directly.",
    "refcoco": "\nPlease provide a short description for this region: [0.2, 0.31, 0.58, 0.9].",
}
RECORDS = sum(count for count, *_ in SOURCES.values())

_PLAIN = (
    "the a an of in on with two three people street sign wooden table bright window man woman "
    "holding small large behind bicycle kitchen green umbrella standing picture bus. dog, [0.31,"
)
_ODD = 'café naïve 木 街道 Straße "STOP" C:\\path {x} <b>bold</b> 😀 next\nline tab\there'
#: Share of sentences with odd words among the others.
_ODD_SHARE = 0.05
_GAPS = (", ", ",\n", ",\n  ", ",\n\n\t")
_SENTENCES = 4096


def write(
    path: Path,
    records: int = RECORDS,
    seed: int = 0,
    *,
    images: int | None = None,
    labelled: bool = True,
) -> None:
    """Write a list of records in the mixture of `SOURCES`, of which the order is drawn.

    Args:
        path: of the file.
        records: how many.
        seed: of everything in it.
        images: names that a folder's images are drawn from, so that few of them are shown often;
            None gives every record images of its own.
        labelled: whether every third record has a field `source`.
    """
    rng = random.Random(seed)
    say = _speaker(rng)
    names = [name for name, (count, *_) in SOURCES.items() for _ in range(count)]
    beside = path.with_suffix(".tmp")
    with beside.open("w", encoding="utf-8") as file:
        for number, name in enumerate(rng.sample(names * -(-records // RECORDS), records)):
            file.write("[\n" if number == 0 else _GAPS[number % 7 % len(_GAPS)])
            record = _record(rng, number, name, say)
            if images is not None and "image" in record:
                record["image"] = f"{SOURCES[name][1]}/{rng.randrange(images):012d}.jpg"
            if labelled and number % 3 == 0:
                record["source"] = name
            file.write(_as_json(rng, record))
        file.write("\n]\n")
    beside.replace(path)


def _as_json(rng: random.Random, record: dict[str, Any]) -> str:
    """Return a record as JSON, indented in different ways, with and without escapes."""
    indent = (None, None, None, 1, 2, 4)[rng.randrange(6)]
    return json.dumps(record, indent=indent, ensure_ascii=rng.random() < 0.1)


def _record(
    rng: random.Random, number: int, name: str, say: Callable[[int], str]
) -> dict[str, Any]:
    _, folder, (fewest, most), words = SOURCES[name]
    record: dict[str, Any] = {"id": number if number % 5 == 0 else f"{number:012d}"}
    if folder is not None:
        image = f"{folder}/{number:012d}.jpg"
        record["image"] = [image, f"{folder}/{number}.png"] if number % 200 == 7 else image
    turns = []
    for pair in range(rng.randint(fewest, most)):
        mark = "<image>\n" if pair == 0 and folder is not None else ""
        turns.append({"from": "human", "value": mark + say(9) + PROMPTS.get(name, "")})
        turns.append({"from": "gpt", "value": say(words)})
    record["conversations"] = turns
    return record


def _speaker(rng: random.Random) -> Callable[[int], str]:
    """Return a function that says about so many words, out of sentences made once."""
    lengths = {9, *(words for *_, words in SOURCES.values())}
    bank = {words: [_sentence(rng, words) for _ in range(_SENTENCES)] for words in sorted(lengths)}
    return lambda words: bank[words][rng.randrange(_SENTENCES)]


def _sentence(rng: random.Random, words: int) -> str:
    known = f"{_PLAIN} {_ODD}" if rng.random() < _ODD_SHARE else _PLAIN
    return " ".join(rng.choices(known.split(" "), k=max(1, round(words * rng.uniform(0.5, 1.5)))))
