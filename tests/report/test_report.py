"""The page that holds everything."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from claire.core.command.documents import SCHEMA_VERSION
from claire.core.contracts.metrics import read_metrics, write_metrics
from claire.core.contracts.variant import Variant
from claire.report.figures import ticks
from claire.report.sections.saliency import _lesions
from claire.report.tables import interval, number

from tests.support.command import claire
from tests.support.report_inputs import COHORT, World, lesion

VOID = {"meta", "link", "img", "br", "hr", "input"}
Make = Callable[..., "Page"]


class Page(HTMLParser):
    """A report, parsed: its tags, and every open tag closed in order (inline SVG included)."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.source = folder, (folder / "report.html").read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.open = "", list[str]()
        self.feed(self.source)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID and not (self.get_starttag_text() or "").endswith("/>"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def section(self, name: str) -> str:
        return self.source.split(f'<section id="{name}">')[1].split("</section>")[0]


def report(folder: Path, flags: dict[str, Path], *more: str, out: str = "out") -> Page:
    """Run `claire report`; it must succeed."""
    argv = [word for name, path in flags.items() for word in (f"--{name.replace('_', '-')}", str(path))]
    assert claire("report", [*argv, "--out", str(folder / out), *more]) == 0
    return Page(folder / out)


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Inputs of a phantom run with four variants and all folds explained."""
    return World().write(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def page(flags: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Its report."""
    return report(tmp_path_factory.mktemp("report"), flags, "--title", "A phantom run")


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a report of another world."""

    def made(*more: str, **fields: Any) -> Page:
        return report(tmp_path, World(**fields).write(tmp_path / "inputs"), *more)

    return made


def edited(tmp_path: Path, flags: dict[str, Path], name: str, content: dict[str, Any]) -> dict[str, Path]:
    """The inputs with one document replaced."""
    path = tmp_path / flags[name].name
    path.write_text(json.dumps(content))
    return {**flags, name: path}


def test_nothing_is_asked_of_a_network(page: Page) -> None:
    assert not page.all("link")
    assert all((image["src"] or "").startswith("data:image/png;base64,") for image in page.all("img"))
    assert all((link["href"] or "").startswith(("#", "https://doi.org/")) for link in page.all("a"))
    assert not re.search(r"url\(|@import|<iframe|<object|<embed|fetch\(|XMLHttp", page.source)


def test_the_policy_lets_only_its_own_script_run(page: Page) -> None:
    policy = next(meta["content"] or "" for meta in page.all("meta") if meta.get("http-equiv"))
    script = page.source.split("<script>")[1].split("</script>")[0]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_every_link_within_the_page_has_a_target(page: Page) -> None:
    targets = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(targets) == len(set(targets))
    assert {(link["href"] or "")[1:] for link in page.all("a") if (link["href"] or "").startswith("#")} <= set(targets)


def test_the_first_line_says_what_against_what_by_which_standard(page: Page) -> None:
    line = re.sub(r"<[^>]+>", "", page.source.split('class="statement">')[1].split("</p>")[0])
    assert line == (
        "Distinguishes positive (n = 18 patients) from negative (n = 18 patients) on chest CT. "
        "Reference standard: RT-PCR (36 scans)."
    )


def test_covid_against_normal_only_is_no_diagnosis(make: Make) -> None:
    assert "Not a diagnosis" in make(classes=("normal", "COVID-19"), patients=18, explained=False).text


def test_phantoms_are_called_phantoms(page: Page) -> None:
    assert "they say nothing about patients" in page.text
    assert "Not a medical device" in page.text


def test_the_headline_is_the_nested_area_of_evaluate(page: Page, flags: dict[str, Path]) -> None:
    area = json.loads(flags["metrics"].read_text())["headline"]["patient"]["auc"]
    assert f'<span class="value">{area["value"]:.3f}</span>' in page.source
    assert f"{area['lower']:.3f} to {area['upper']:.3f}" in page.text


def test_the_winner_is_marked_selected_and_inherited_labels_are_named(page: Page) -> None:
    board = page.section("leaderboard")
    assert "winner: selected; corrected AUC" in board
    assert board.count("inherited labels") == 1


def test_too_few_patients_give_no_calibration(page: Page) -> None:
    assert "Not shown: too few (n=18, 18)" in page.section("curves")


def test_every_figure_leads_to_runs_variants_and_cohort(page: Page) -> None:
    figure = page.section("curves").split('id="figure-roc"')[1].split("</figure>")[0]
    names = {variant.id for variant in World().variants}
    assert any(f'href="#variant-{name}"' in figure and f'href="#run-{name}-f0"' in figure for name in names)
    assert 'href="#cohort-hash"' in figure
    assert COHORT in page.section("provenance")


def test_every_explained_scan_has_a_page_with_pictures_and_lesions(page: Page, flags: dict[str, Path]) -> None:
    assert page.section("scans").count('<details class="scan"') == 36
    assert len(page.all("img")) == 72
    assert all(image["alt"] and image["width"] for image in page.all("img"))
    assert "Lesions by what their removal does" in page.section("scans")


def test_errors_come_first(page: Page) -> None:
    order = re.findall(r'<details class="scan"[^>]*data-outcome="(..)"', page.source)
    assert order == sorted(order, key=["FN", "FP", "TP", "TN"].index)


def test_candidates_that_were_not_measured_are_told() -> None:
    rng = np.random.default_rng(0)
    lesions = [
        lesion(i, rng).model_copy(update={"crucial": False, "delta": delta}) for i, delta in enumerate((0.3, -0.1))
    ]
    assert "23 smaller opacities were removed together" in _lesions(lesions, 23).note
    assert _lesions(lesions, 0).note == ""


def test_open_gates_are_shown_as_open(page: Page) -> None:
    assert "every gate is open" in page.section("lesions")
    assert "not reliable" not in page.section("scans")
    assert "Pooled over 3 explained folds" in page.section("lesions")


def test_a_closed_gate_is_said_on_every_scan(make: Make) -> None:
    page = make(patients=18, gate_open=False)
    assert "Not reliable: 1 of 9 gates are closed (empty lung)." in page.section("lesions")
    assert page.section("scans").count("not reliable") == 18


def test_scans_say_in_a_sentence_what_decided(page: Page) -> None:
    scans = page.section("scans")
    assert "without it p falls from" in scans
    assert "Without any opacity: p 0.03, called negative, 4 % of what speaks for the call." in scans
    assert "below the noise" in scans
    assert "a region proposed by HU, Grad-CAM, no opacity" in scans
    assert "Lesions that act together" in scans


def test_the_insertion_audit_is_shown_by_fold(page: Page) -> None:
    assert "Insertion audit" in page.section("lesions")
    assert "fold 0: 85 ml" in page.section("lesions")


@pytest.mark.parametrize(
    ("policy", "phantom", "pictures"),
    [("none", True, 0), ("phantom", True, 36), ("phantom", False, 0), ("all", False, 36)],
)
def test_pictures_follow_the_policy(make: Make, policy: str, phantom: bool, pictures: int) -> None:
    page = make("--images", policy, patients=18, phantom=phantom)
    assert len(page.all("img")) == pictures
    assert ("withheld by the policy" in page.text) == (pictures == 0)


def test_a_limit_of_pictures_serves_errors_first(tmp_path: Path, flags: dict[str, Path]) -> None:
    page = report(tmp_path, flags, "--picture-limit", "4")
    assert len(page.all("img")) == 4
    assert "<img" not in page.source[page.source.index("rightly passed".capitalize() + " (true negative), called") :]


def test_small_cells_of_patients_are_merged(make: Make) -> None:
    page = make(patients=18, phantom=False, sites=("big", "big", "big", "big", "big", "big", "tiny"))
    cohort = page.section("cohort")
    assert "others (merged)" in cohort
    assert "tiny" not in cohort


def test_text_of_users_is_escaped(make: Make) -> None:
    evil = "<script>alert(1)</script>"
    page = make("--title", evil, classes=("negative", evil), sites=(evil, '"><img src=x>'), patients=18)
    assert len(page.all("script")) == 1
    assert page.text.count(evil) > 5
    assert not [image for image in page.all("img") if image["src"] == "x"]


def test_a_run_without_explanations_says_so(make: Make) -> None:
    page = make(patients=18, explained=False)
    assert "No network was explained" in page.text
    assert not any(link["href"] == "#scans" for link in page.all("a"))


def test_one_variant_is_compared_with_nothing(make: Make) -> None:
    page = make(patients=18, explained=False, variants=[Variant()])
    assert "nothing to compare" in page.section("comparisons")


def test_three_classes_are_told_from_one_another(make: Make) -> None:
    page = make(patients=27, explained=False, classes=("normal", "covid", "other pneumonia"))
    assert "Distinguishes covid (n = 9 patients) and other pneumonia (n = 9 patients) from normal" in page.text
    assert "covid against the rest" in page.section("curves")


def test_an_empty_archive_of_pictures_is_no_error(tmp_path: Path, flags: dict[str, Path]) -> None:
    nothing = tmp_path / "none.txt"
    nothing.write_text("\n")
    page = report(tmp_path, {**flags, "overlays": nothing})
    assert "No pictures were made of this scan" in page.text
    assert "Candidates by zone" in page.text


def test_metrics_without_figures_give_a_page_all_the_same(tmp_path: Path, flags: dict[str, Path]) -> None:
    metrics = read_metrics(flags["metrics"])
    nothing: dict[str, object] = {"patient": {}, "scan": {}, "at_sensitivity_90": None}
    bare = {"headline": metrics.headline.model_copy(update=nothing), "variants": {}, "axes": (), "subgroups": ()}
    path = write_metrics(tmp_path / "metrics.json", metrics.model_copy(update=bare))
    page = report(tmp_path, {**flags, "metrics": path})
    assert "Nothing was evaluated" in page.text


def test_metrics_that_lack_parts_are_refused_by_name(
    tmp_path: Path, flags: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    given = edited(tmp_path, flags, "metrics", {"schema_version": SCHEMA_VERSION})
    argv = [word for name, path in given.items() for word in (f"--{name.replace('_', '-')}", str(path))]
    assert claire("report", [*argv, "--out", str(tmp_path / "out")]) == 1
    assert "metrics.json is not valid: cohort_sha256" in capsys.readouterr().err
    assert not (tmp_path / "out" / "report.html").exists()


def test_files_of_different_cohorts_are_refused(
    tmp_path: Path, flags: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = read_metrics(flags["metrics"]).model_copy(update={"cohort_sha256": "d" * 64})
    given = {**flags, "metrics": write_metrics(tmp_path / "metrics.json", metrics)}
    argv = [word for name, path in given.items() for word in (f"--{name.replace('_', '-')}", str(path))]
    assert claire("report", [*argv, "--out", str(tmp_path / "out")]) == 2
    assert "metrics.json and cohort.json are from different cohorts" in capsys.readouterr().err


def test_another_schema_is_refused_by_name(
    tmp_path: Path, flags: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    given = edited(tmp_path, flags, "metrics", {"schema_version": 99})
    argv = [word for name, path in given.items() for word in (f"--{name.replace('_', '-')}", str(path))]
    assert claire("report", [*argv, "--out", str(tmp_path / "out")]) == 1
    assert "metrics.json has schema version 99" in capsys.readouterr().err
    assert not (tmp_path / "out" / "report.html").exists()


def test_rejects_are_counted_and_listed(page: Page) -> None:
    rejects = page.section("rejects")
    assert "another series of the same acquisition was preferred" in rejects
    assert "gap of 5.0 mm after slice 12" in rejects


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path, flags: dict[str, Path], page: Page) -> None:
    again = report(tmp_path, flags, "--title", "A phantom run")
    for name in ("report.html", "ro-crate-metadata.json"):
        assert (again.folder / name).read_bytes() == (page.folder / name).read_bytes()


def test_the_crate_links_the_page_to_what_it_was_made_of(page: Page) -> None:
    graph = json.loads((page.folder / "ro-crate-metadata.json").read_text())["@graph"]
    action = next(entity for entity in graph if entity["@id"] == "#report")
    assert action["result"] == {"@id": "report.html"}
    assert {"@id": "leaderboard.csv"} in action["object"]


def test_the_record_names_page_and_crate(page: Page) -> None:
    record = json.loads((page.folder / "report.run.json").read_text())
    assert set(record["outputs"]) == {"report.html", "ro-crate-metadata.json"}
    assert record["parameters"]["title"] == "A phantom run"
    assert str(page.folder) not in page.source


def test_the_page_of_a_small_cohort_is_small(page: Page) -> None:
    assert len(page.source) < 2_000_000


def test_ticks_are_round() -> None:
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(-0.1, 0.55) == [0.0, 0.2, 0.4]
    assert ticks(3, 3) == [3]


def test_numbers_are_for_people() -> None:
    assert [number(value) for value in (0.98765, 12, "12", -3.25, 1234.5, None, "")] == [
        "0.988", "12", "12", "−3.250", "1234", "–", "–",
    ]  # fmt: skip
    assert interval(0.5, 0.75) == "0.500 to 0.750"
    assert interval(1, 1) == interval(None, 1) == ""
