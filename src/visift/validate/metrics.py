"""How right an answer is, from 0 to 1: exact match, ANLS, overlap of boxes, overlap of words.

These score held-out records of a pool's own tasks. Public benchmarks are scored by their own
evaluators, see `validate.collect`.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from statistics import median

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
Metric = Callable[[str, str], float]

#: An answer less alike than this is wrong, as in the definition of ANLS.
_ANLS_THRESHOLD = 0.5
#: Answers of more words than this are sentences.
_SENTENCE = 5
#: Share of a task's answers that must hold a box for it to be a task of boxes.
_BOXES = 0.9
#: With these, words in names of tasks begin whose answers are read off the image, letter by letter.
_READING = ("ocr", "textvqa", "docvqa", "infovqa", "infographic", "stvqa", "receipt", "sroie")
_ARTICLES = ("a", "an", "the")
#: A minus says something, and what stands behind a letter of a grade or a language: C++, C#.
_BEFORE = string.punctuation.replace("-", "")
_AFTER = "".join(mark for mark in _BEFORE if mark not in "+#")
_POINT = re.compile(r"(?<![\w.])\.(?=\d)")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
_BOX = re.compile(rf"[\[(]{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}[\])]")
_QWEN_BOX = re.compile(rf"[\[(]{_NUMBER},{_NUMBER}[\])]\s*,\s*[\[(]{_NUMBER},{_NUMBER}[\])]")


def normalised(answer: str) -> str:
    """Return an answer without what says nothing: case, articles, white space, marks around words.

    "The Red circle." and "red circle" are one answer, "(B)" and "b" too, "1,000" and "1000", ".5"
    and "0.5"; "3.5" and "35" are not, nor are "C++" and "c".
    """
    text = unicodedata.normalize("NFKC", answer).replace("\N{MINUS SIGN}", "-").casefold()
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", _POINT.sub("0.", text))
    words = [word.lstrip(_BEFORE).rstrip(_AFTER) or word for word in text.split()]
    return " ".join([word for word in words if word not in _ARTICLES] or words)


def exact_match(answer: str, truth: str) -> float:
    """Return 1 where an answer is the right one, as `normalised` sees it, otherwise 0."""
    return float(normalised(answer) == normalised(truth))


def anls(answer: str, truth: str) -> float:
    """Return the normalised Levenshtein similarity, 0 below one half (arXiv:1905.13648).

    Case and white space do not count.
    """
    a, b = (" ".join(text.casefold().split()) for text in (answer, truth))
    longest = max(len(a), len(b))
    likeness = 1 - edit_distance(a, b) / longest if longest else 1.0
    return likeness if likeness >= _ANLS_THRESHOLD else 0.0


def edit_distance(a: str, b: str) -> int:
    """Return how many letters must be put in, taken out or replaced to turn one into the other.

    A row of the table at a time: insertions along a row are a running minimum.
    """
    letters = np.array([ord(letter) for letter in b], np.int64)
    places = np.arange(len(b) + 1)
    row: NDArray[np.int64] = places.copy()
    for letter in a:
        below = np.empty_like(row)
        below[0] = row[0] + 1
        below[1:] = np.minimum(row[1:] + 1, row[:-1] + (letters != ord(letter)))
        row = np.minimum.accumulate(below - places) + places
    return int(row[-1])


def token_f1(answer: str, truth: str) -> float:
    """Return the harmonic mean of precision and recall of words, each as often as it stands."""
    a, b = (Counter(normalised(text).split()) for text in (answer, truth))
    if not a or not b:
        return float(a == b)
    same = (a & b).total()
    return 2 * same / (a.total() + b.total())


def boxes_in(text: str) -> tuple[Box, ...]:
    """Return the boxes that a text holds, as (x1, y1, x2, y2), corners in order.

    Reads `[0.1, 0.2, 0.3, 0.4]`, `<box>[[10, 20, 30, 40]]</box>`, `{"bbox_2d": [10, 20, 30, 40]}`
    and `(10,20),(30,40)`.
    """
    found = _BOX.findall(text) or _QWEN_BOX.findall(text)
    return tuple(_ordered(*map(float, numbers)) for numbers in found)


def box_overlap(answer: str, truth: str) -> float:
    """Return the mean intersection over union of the boxes of two texts.

    Boxes are matched one to one so that the sum is largest, and divided by the larger number of
    boxes: one too many costs as much as one too few. Both texts must use the same unit.
    """
    a, b = boxes_in(answer), boxes_in(truth)
    if not a or not b:
        return float(not a and not b)
    from scipy.optimize import linear_sum_assignment

    overlap = np.array([[intersection_over_union(one, other) for other in b] for one in a])
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    return float(overlap[rows, columns].sum()) / max(len(a), len(b))


def intersection_over_union(a: Box, b: Box) -> float:
    """Return how much of the area of two boxes is common to both; 0 where neither has any."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0.0) * max(height, 0.0)
    union = _area(a) + _area(b) - common
    return common / union if union > 0 else 0.0


METRICS: Mapping[str, Metric] = {
    "exact match": exact_match,
    "ANLS": anls,
    "box overlap": box_overlap,
    "token F1": token_f1,
}


def metric_for(task: str, answers: Sequence[str]) -> str:
    """Return the name of the metric that fits a task [ours].

    Box overlap where nine answers of ten hold a box; ANLS where the name of the task says that
    text is read off the image (a word begins with ocr, textvqa, docvqa, infovqa, infographic,
    stvqa, receipt or sroie: "OCR-VQA", "text_vqa", "ReceiptQA"; not "mediocre"); token F1 where
    the median answer has more than five words; exact match otherwise.

    Args:
        task: its name.
        answers: the right ones.
    """
    boxed = sum(bool(boxes_in(answer)) for answer in answers)
    if answers and boxed >= _BOXES * len(answers):
        return "box overlap"
    if _is_read_off(task):
        return "ANLS"
    if answers and median(len(answer.split()) for answer in answers) > _SENTENCE:
        return "token F1"
    return "exact match"


def _is_read_off(task: str) -> bool:
    words = [word.casefold() for word in _WORD.findall(task)]
    pairs = ["".join(pair) for pair in pairwise(words)]
    return any(word.startswith(_READING) for word in (*words, *pairs))


def majority_scores(metric: str, answers: Sequence[str]) -> list[float]:
    """Return what one who always gives a task's commonest answer scores on each question.

    Their mean is the majority-class accuracy. Of equally common answers the first one counts.

    Args:
        metric: one of `METRICS`.
        answers: the right ones of one task.
    """
    counts = Counter(map(normalised, answers))
    commonest = max(answers, key=lambda answer: counts[normalised(answer)], default="")
    return [METRICS[metric](commonest, answer) for answer in answers]


def _ordered(x1: float, y1: float, x2: float, y2: float) -> Box:
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
