"""A demo pool is one seed's pool, and everything planted in it is where the table says."""

import json
import subprocess
import sys
from collections import Counter, defaultdict

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from visift.demo import write_demo_pool
from visift.demo.plan import FULL_SIZE, RARE_CLUSTERS, task_sizes
from visift.errors import InputError

RECORDS = 600


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    write_demo_pool(folder, seed=0, records=RECORDS)
    return folder


@pytest.fixture(scope="module")
def records(folder):
    return json.loads((folder / "pool.json").read_text())


@pytest.fixture(scope="module")
def plants(folder):
    return pq.read_table(folder / "planted.parquet").to_pylist()


@pytest.fixture
def rows_of(plants):
    return lambda kind: [plant["row"] for plant in plants if plant["kind"] == kind]


def image_names(record):
    image = record.get("image", [])
    return [image] if isinstance(image, str) else image


def origin(plant):
    return int(plant["detail"].removeprefix("of row "))


def pixels(folder, name):
    return np.asarray(Image.open(folder / "images" / name)).astype(int)


def test_one_seed_gives_the_same_bytes_and_pixels(folder, tmp_path):
    write_demo_pool(tmp_path, seed=0, records=RECORDS)
    for name in ("pool.json", "planted.parquet"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*.png"))]
    assert [path.relative_to(tmp_path) for path in sorted(tmp_path.rglob("*.png"))] == names
    for name in names:
        assert np.array_equal(Image.open(tmp_path / name), Image.open(folder / name))


def test_another_seed_gives_another_pool(folder, tmp_path):
    write_demo_pool(tmp_path, seed=1, records=RECORDS)
    assert (tmp_path / "pool.json").read_bytes() != (folder / "pool.json").read_bytes()


def test_the_answer_counts_what_was_written(tmp_path):
    pool = write_demo_pool(tmp_path, records=200)
    records = json.loads(pool.pool.read_text())
    assert pool.records == len(records) == 200
    assert pool.image_files == len(list(pool.images.rglob("*.png")))
    assert pool.tasks == Counter(record["task"] for record in records)
    kinds = Counter(pq.read_table(pool.planted)["kind"].to_pylist())
    assert pool.plants == kinds


@pytest.mark.parametrize("number", [0, 199, FULL_SIZE + 1])
def test_a_pool_too_small_or_too_large_is_refused_before_writing(number, tmp_path):
    with pytest.raises(InputError, match="200 to 6,000"):
        write_demo_pool(tmp_path, records=number)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [200, 601, FULL_SIZE])
def test_task_sizes_add_up_and_are_skewed(number):
    sizes = task_sizes(number)
    assert sum(sizes) == number
    assert len(sizes) >= 8
    assert 7 <= max(sizes) / min(sizes) <= 14


def test_every_image_opens_as_a_small_rgb_picture(folder, records):
    for name in {name for record in records for name in image_names(record)}:
        with Image.open(folder / "images" / name) as image:
            assert (image.size, image.mode) == ((64, 64), "RGB")


def test_turns_alternate_and_hold_one_placeholder_for_every_image(records):
    for record in records:
        turns = record["conversations"]
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
        assert all(turn["value"].strip() for turn in turns)
        assert turns[0]["value"].count("<image>") == len(image_names(record))
        assert not any("<image>" in turn["value"] for turn in turns[1:])


def test_the_quirks_of_real_pools_are_there(records):
    assert any(isinstance(record["id"], int) for record in records)
    assert max(Counter(record["id"] for record in records).values()) >= 3
    assert 0.04 < np.mean(["image" not in record for record in records]) < 0.08
    assert any(isinstance(record.get("image"), list) for record in records)
    assert any(len(record["conversations"]) > 2 for record in records)
    values = [record["conversations"][0]["value"] for record in records]
    assert any(value.endswith("<image>") for value in values)
    assert {record["source"] for record in records} >= {"scenes", "digits", "pairs", "photos"}


def test_some_images_are_shared_by_records_that_ask_different_things(records):
    asked = defaultdict(set)
    for record in records:
        for name in image_names(record):
            asked[name].add(record["conversations"][0]["value"])
    assert sum(len(questions) > 1 for questions in asked.values()) > RECORDS // 50


def test_every_kind_is_planted_and_ids_match_the_pool(records, plants):
    assert {plant["kind"] for plant in plants} == {
        "near-duplicate",
        "exact-duplicate",
        "copied-file",
        "wrong-answer",
        "uninformative",
        "rare-cluster",
        "integer-id",
        "duplicate-id",
    }
    assert all(str(records[plant["row"]]["id"]) == plant["id"] for plant in plants)


def test_near_duplicates_repeat_a_conversation_with_almost_the_same_picture(
    folder, records, plants
):
    for plant in [plant for plant in plants if plant["kind"] == "near-duplicate"]:
        one, other = records[plant["row"]], records[origin(plant)]
        assert one["conversations"] == other["conversations"]
        for left, right in zip(image_names(one), image_names(other), strict=True):
            difference = np.abs(pixels(folder, left) - pixels(folder, right))
            assert 0 < difference.mean() < 25


def test_exact_duplicates_share_the_file_and_copied_files_the_bytes(folder, records, plants):
    for plant in plants:
        if plant["kind"] not in ("exact-duplicate", "copied-file"):
            continue
        one, other = records[plant["row"]], records[origin(plant)]
        assert one["conversations"] == other["conversations"]
        names, others = image_names(one), image_names(other)
        assert (names == others) == (plant["kind"] == "exact-duplicate")
        for left, right in zip(names, others, strict=True):
            images = folder / "images"
            assert (images / left).read_bytes() == (images / right).read_bytes()


def test_no_duplicate_is_an_accident(records, rows_of):
    planted = set(rows_of("exact-duplicate"))
    informative = set(range(len(records))) - planted - set(rows_of("uninformative"))
    content = Counter(
        json.dumps([records[row].get("image"), records[row]["conversations"]])
        for row in informative
    )
    assert max(content.values()) == 1


def test_wrong_answers_differ_from_the_right_ones_kept_beside_them(records, plants):
    wrong = [plant for plant in plants if plant["kind"] == "wrong-answer"]
    assert 0.02 < len(wrong) / len(records) < 0.04
    for plant in wrong:
        assert records[plant["row"]]["conversations"][-1]["value"] != plant["detail"]


def test_uninformative_records_are_blank_or_noise(folder, records, plants):
    for plant in [plant for plant in plants if plant["kind"] == "uninformative"]:
        spread = pixels(folder, records[plant["row"]]["image"]).std(axis=(0, 1)).mean()
        assert spread == 0 if plant["detail"] == "plain" else spread > 60


def test_rare_clusters_are_few_and_inside_large_sources(records, plants):
    rare = [plant for plant in plants if plant["kind"] == "rare-cluster"]
    sizes = Counter(plant["detail"] for plant in rare)
    assert sizes.keys() == {cluster for cluster, *_ in RARE_CLUSTERS}
    assert all(3 <= size <= 10 for size in sizes.values())
    assert all(10 <= number <= 40 for _, _, number, _ in RARE_CLUSTERS)
    sources = Counter(record["source"] for record in records)
    for plant in rare:
        assert sources[records[plant["row"]]["source"]] > 5 * sizes[plant["detail"]]


def test_the_demo_never_imports_torch():
    code = "import sys, visift.demo; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
