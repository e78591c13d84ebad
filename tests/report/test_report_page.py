"""The report: what it says, and that nothing in a pool can make it say something else."""

from __future__ import annotations

import base64
import io
import re
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from helpers import MIXED, REAL_IMAGES, needs_shared, talk, write_json
from report.pages import HOSTILE, Page, random_run, read_page, records, scored_run
from visift.errors import StorageError
from visift.finished import Run, reopen
from visift.report.page import write_report
from visift.run import select

SIZES = {"coco": 30, "gqa": 15, "vg": 5}


def report(run: Run) -> Page:
    return read_page(write_report(run, run.folder / "report"))


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("scored")
    return report(scored_run(folder, records(folder, SIZES, text=10)))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """A pool whose every text is an attack, and whose images are missing, broken or fine."""
    folder = tmp_path_factory.mktemp("hostile")
    names = [f"<b>{n}&amp;'\"\u202e.png" for n in range(6)]
    good = records(folder, {"fine": 6})
    for name, record in zip(names, good, strict=True):
        (folder / record["image"]).rename(folder / name)
        record["image"] = name
        record |= {"source": f"{HOSTILE} s", "task": f"{HOSTILE} t", "license": HOSTILE}
        record["conversations"][0]["value"] = f"<image>{HOSTILE}"
        record["conversations"][1]["value"] = HOSTILE
    (folder / names[0]).write_bytes(b"<svg onload=alert(1)>")
    lost = [talk(HOSTILE, image=f"{HOSTILE}.png".replace("\x00", ""), source=HOSTILE)]
    run = random_run(folder, [*good, good[1], *lost], budget="60%", max_unusable="50%")
    return report(run)


# --- what it says ----------------------------------------------------------------------------


def test_one_sentence_says_what_happened(scored: Page) -> None:
    assert scored.one("h1").text == "12 of 60 usable records chosen by prism (20.0\xa0%)"
    assert scored.one("title").text == "12 of 60 records, chosen by prism"


def test_the_funnel_loses_nothing_without_a_reason(tmp_path: Path) -> None:
    pool = records(tmp_path, SIZES, text=10)
    pool[0]["image"] = "coco/lost.png"
    page = report(random_run(tmp_path, [*pool, pool[1]], max_unusable="5%", method="balanced"))
    rows = [element for element in page.all("tr") if "section" in element.parents]
    assert [" ".join(row.text.split()) for row in rows[1:8]] == [
        "Read 61 100.0 %",
        "image missing −1 1.6 %",
        "Usable 60 98.4 %",
        "exact duplicates of another record −1 1.6 %",
        "Eligible 59 96.7 %",
        "beyond the budget −48 78.7 %",
        "Selected 11 18.0 %",
    ]


def test_the_mix_has_a_line_a_source_and_all_arms(scored: Page) -> None:
    said = scored.section("mix")
    assert "coco 50.0 % 50.0 % 50.0 % 50.0 % 30 6" in said
    assert "text-only 16.7 % 16.7 % 16.7 % 16.7 % 10 2" in said
    assert "All 60 12" in said
    assert "By task" not in said


def test_tasks_have_a_mix_of_their_own_where_they_differ_from_sources(tmp_path: Path) -> None:
    pool = [record | {"task": f"t{n % 3}"} for n, record in enumerate(records(tmp_path, SIZES))]
    assert "By task" in report(random_run(tmp_path, pool)).section("mix")


def test_many_sources_are_shown_as_the_largest_and_the_rest(tmp_path: Path) -> None:
    pool = records(tmp_path, {f"s{n:02}": 40 - n for n in range(40)})
    said = report(random_run(tmp_path, pool)).section("mix")
    assert "s22" in said
    assert "s23" not in said
    assert "17 smaller sources" in said


def test_every_group_has_a_histogram_that_speaks(scored: Page) -> None:
    figures = scored.all("svg", role="img")
    assert len(figures) == len(SIZES)
    pattern = r"Histogram of 30 scores from \S+ to \S+, median \S+; 6 chosen, cut at \S+\."
    assert re.fullmatch(pattern, figures[0].attributes["aria-label"])
    assert "Low scores are chosen first, in every group for itself." in scored.section("scores")


def test_a_method_without_scores_shows_none(tmp_path: Path) -> None:
    page = report(random_run(tmp_path, records(tmp_path, SIZES)))
    assert not page.all("section", id="scores")
    assert "Chosen last" in page.section("records")
    assert "outside the cut" not in page.section("records")
    assert "not drawn: the budget was used up before its turn" in page.section("records")


def test_galleries_show_both_sides_of_the_cut(scored: Page) -> None:
    titles = [element.text for element in scored.all("h3")]
    assert titles[1:] == ["Chosen", "Just inside the cut", "Just outside the cut", "Not chosen"]
    said = scored.section("records")
    assert "name coco/" in said
    assert "it is coco/" in said
    assert re.search(r"score \S+, above the cut of coco at \S+", said)
    assert len(scored.all("article")) <= 60


def test_the_same_run_writes_the_same_report(tmp_path: Path) -> None:
    run = random_run(tmp_path, records(tmp_path, SIZES))
    first = write_report(reopen(run.folder), tmp_path / "one").read_bytes()
    again = write_report(reopen(run.folder), tmp_path / "two").read_bytes()
    assert first == again


def test_duplicates_are_counted_whatever_the_method_does(tmp_path: Path) -> None:
    pool = records(tmp_path, SIZES)
    page = report(random_run(tmp_path, [*pool, pool[3], pool[4]], budget="100%"))
    said = page.section("duplicates")
    assert "2 usable records repeat another one" in said
    assert "2 of them are in the selection." in said
    assert "name coco/3.png?" in said


def test_a_clean_pool_says_so(scored: Page) -> None:
    assert "Nothing: every record could be used." in scored.section("set-aside")
    assert "No usable record repeats another one" in scored.section("duplicates")


def test_settings_say_where_they_are_from(tmp_path: Path) -> None:
    page = report(scored_run(tmp_path, records(tmp_path, SIZES), seed=7, settings={"unit": "row"}))
    said = page.section("settings")
    assert "budget 20% you" in said
    assert "seed 7 you" in said
    assert "unit row you" in said
    assert "center corpus paper" in said
    assert "layer 2 ours" in said
    assert str(tmp_path) not in page.html  # the folders of a machine are nobody's business


def test_what_nobody_named_is_a_default(tmp_path: Path) -> None:
    said = report(random_run(tmp_path, records(tmp_path, SIZES), method=None)).section("settings")
    assert "method balanced default" in said
    assert "seed 0 default" in said


def test_licences_are_those_of_the_chosen_records(tmp_path: Path) -> None:
    pool = records(tmp_path, SIZES)
    for n, record in enumerate(pool[:30]):
        record["license"] = "MIT" if n % 2 else "CC-BY-4.0"
    said = report(random_run(tmp_path, pool, budget="100%")).section("licences")
    assert "coco CC-BY-4.0 15 coco MIT 15 gqa unknown 15 vg unknown 5" in said


def test_a_toy_model_is_called_one(tmp_path: Path) -> None:
    page = report(scored_run(tmp_path, records(tmp_path, SIZES), model="builtin:tiny"))
    (warning,) = page.all("p", role="note")
    assert warning.text == "Toy model: the ranking means nothing outside a demo."


def test_text_alone_needs_no_image(tmp_path: Path) -> None:
    page = report(random_run(tmp_path, [talk(f"text {n}?") for n in range(30)]))
    assert not page.all("img")
    assert "text only" in page.section("records")
    assert "6 records are text-only" in " ".join(page.one("header").text.split())


def test_a_group_of_which_nothing_is_chosen_has_no_cut(tmp_path: Path) -> None:
    page = report(scored_run(tmp_path, records(tmp_path, {"large": 40, "tiny": 1}), budget="3"))
    tiny = page.all("svg", role="img")[1].attributes["aria-label"]
    assert tiny.endswith("0 chosen.")
    assert "tiny 1 0" in page.section("scores")


def test_kept_and_known_records_have_their_place(tmp_path: Path) -> None:
    pool = records(tmp_path, SIZES)
    keep = write_json(tmp_path / "keep.json", pool[:3])
    have = write_json(tmp_path / "have.json", pool[3:5])
    run = random_run(tmp_path, pool[5:], image_folder=tmp_path, keep=keep, have=have)
    page = report(run)
    assert "Read 50 100.0 % there already (--have) −2" in page.section("funnel").replace(
        "Usable 50 100.0 % ", ""
    )
    assert "All 48 9" in page.section("mix")


# --- nothing gets in, nothing gets out -------------------------------------------------------


def test_data_is_text_and_nothing_else(hostile: Page) -> None:
    """The parser in `pages` has already checked that every tag is closed where it should be."""
    tags = {element.tag for element in hostile.elements}
    assert not tags & {"script", "iframe", "object", "embed", "form", "base", "foreignobject", "b0"}
    for element in hostile.elements:
        assert not [n for n in element.attributes if n.startswith("on") or n == "style"]
    assert hostile.html.count("<img") == len(hostile.all("img"))
    assert "<script>alert(1)</script>" in hostile.section("records")
    assert "{{ 7*7 }}" in hostile.section("records")


def test_what_cannot_be_seen_is_named(hostile: Page) -> None:
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029\u2066-\u2069]",
                         hostile.html)  # fmt: skip
    assert "⟨U+0000⟩⟨U+001B⟩[31m⟨U+202E⟩gnp.exe⟨U+2066⟩⟨U+2028⟩" in hostile.section("records")


def test_images_that_cannot_be_read_say_why(hostile: Page) -> None:
    assert "unreadable (not an image: starts with '<svg onload=aler')" in hostile.section("records")
    assert "image missing" in hostile.section("set-aside")


@pytest.mark.parametrize("name", ["scored", "hostile"])
def test_nothing_is_loaded(name: str, request: pytest.FixtureRequest) -> None:
    page: Page = request.getfixturevalue(name)
    for element in page.elements:
        for attribute in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
            value = element.attributes.get(attribute, "#")
            assert value.startswith(("#", "data:")), f"{element.tag} {attribute}={value}"
    assert "url(" not in page.one("style").text
    assert "@import" not in page.one("style").text


@pytest.mark.parametrize("name", ["scored", "hostile"])
def test_the_policy_allows_this_style_and_pictures_inside_the_page(
    name: str, request: pytest.FixtureRequest
) -> None:
    page: Page = request.getfixturevalue(name)
    digest = base64.b64encode(sha256(page.one("style").text.encode()).digest()).decode()
    policy = page.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


@pytest.mark.parametrize("name", ["scored", "hostile"])
def test_the_structure_serves_a_screen_reader(name: str, request: pytest.FixtureRequest) -> None:
    page: Page = request.getfixturevalue(name)
    assert page.one("html").attributes["lang"] == "en"
    assert [page.one(tag).tag for tag in ("header", "nav", "main", "footer", "h1")]
    levels = [int(e.tag[1]) for e in page.elements if re.fullmatch("h[1-6]", e.tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    targets = {e.attributes["href"][1:] for e in page.all("a")}
    assert targets <= set(ids)
    assert all(e.attributes.get("scope") for e in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(e.attributes.get("alt") for e in page.all("img"))
    for svg in page.all("svg"):
        assert svg.attributes.get("aria-hidden") == "true" or svg.attributes.get("aria-label")


def test_a_report_stays_small_whatever_is_in_the_pool(tmp_path: Path) -> None:
    """Noise does not compress, texts are endless, and so are names."""
    noise = io.BytesIO()
    Image.effect_noise((400, 400), 200).convert("RGB").save(noise, "JPEG")
    pool = records(tmp_path, {"s" * 200: 120}, text=20)
    for record in pool[:120]:
        (tmp_path / record["image"]).write_bytes(noise.getvalue())
        record["conversations"] = talk("why? " * 20_000, "so " * 20_000)["conversations"]
    path = write_report(random_run(tmp_path, pool), tmp_path / "report")
    assert path.stat().st_size < 4_000_000


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    run = random_run(tmp_path, records(tmp_path, SIZES))
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_report(run, tmp_path / "file" / "report")


@needs_shared
def test_a_real_pool(tmp_path: Path) -> None:
    run = select(
        MIXED, image_folder=REAL_IMAGES, method="stratified", budget="15%", output=tmp_path / "out"
    )
    path = write_report(run, tmp_path / "report")
    page = read_page(path)
    assert len(page.all("article")) == 36
    assert len(page.all("img")) >= 24
    assert path.stat().st_size < 3_000_000
