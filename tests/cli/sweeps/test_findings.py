import json
import math
import re

import pytest

from lasagna.__main__ import main
from lasagna.cli.sweeps.findings import Claim, describe, differences, judge
from lasagna.core.pages import to_page

VALUES = {
    "test/recall": {
        "full": {0: 0.90, 1: 0.95, 2: 0.92},
        "fixed": {0: 0.60, 1: 0.64, 2: 0.62},
        "sampled": {0: 0.95, 1: 0.90, 2: 0.92},
        "once": {1: 0.1},
    },
    "test/fpr": {"full": {0: 0.1, 1: 0.1, 2: 0.1}, "fixed": {0: 0.3, 1: 0.3, 2: 0.3}, "sampled": {5: 0.2}},
}


def by_place():
    return {(one.score, one.variant): one for one in differences(VALUES, "full")}


def test_differences_are_taken_seed_by_seed():
    found = by_place()
    fixed = found["test/recall", "fixed"]
    # -0.30, -0.31, -0.30: mean -0.30333, standard deviation 0.0057735, t(0.975, 2) = 4.30265
    assert fixed.interval.mean == pytest.approx(-0.303333, abs=1e-6)
    assert fixed.interval.half_width == pytest.approx(4.30265 * 0.0057735 / math.sqrt(3), rel=1e-4)
    assert (fixed.verdict, found["test/recall", "sampled"].verdict) == ("lower", "noise")
    assert found["test/recall", "once"].verdict == "one seed"
    assert found["test/fpr", "fixed"].verdict == "higher"
    assert ("test/fpr", "sampled") not in found, "there is no common seed"


@pytest.mark.parametrize(
    ("variant", "score", "expected", "words"),
    [
        ("fixed", "test/recall", "lower", "**holds here**"),
        ("fixed", "test/recall", "higher", "**the opposite is seen here**"),
        ("sampled", "test/recall", "lower", "**not shown here**"),
        ("once", "test/recall", "lower", "**not shown here**"),
        ("gone", "test/recall", "lower", "not measured"),
    ],
)
def test_claims_are_judged_by_the_intervals(variant, score, expected, words):
    assert words in judge(Claim("Order matters", variant, score, expected), differences(VALUES, "full"))


def test_the_clear_differences_come_first():
    values = {f"test/{name}": VALUES["test/recall"] for name in ("a", "b")} | {"test/c": VALUES["test/fpr"]}
    text = describe(differences(values, "full"), [], "full")
    part = text[text.index("### fixed") : text.index("### sampled")]
    assert "3 of 3 scores differ clearly" in part
    assert part.index("test/a") < part.index("test/c")
    assert "one in 20" in text


@pytest.fixture
def runs(tmp_path):
    for variant, seeds in VALUES["test/recall"].items():
        for seed, value in seeds.items():
            folder = tmp_path / variant / f"seed_{seed}"
            folder.mkdir(parents=True)
            (folder / "scores.json").write_text(json.dumps({"stages": {"test": {"scores": {"test/recall": value}}}}))
    return tmp_path


def test_the_report_says_what_holds(runs):
    claim = {"text": "Order <matters>", "variant": "fixed", "score": "test/recall", "expected": "lower"}
    main(["report", "--folder", str(runs), "--baseline", "full", "--claims", json.dumps([claim])])
    assert "Order <matters>: **holds here** (fixed, test/recall: -0.303" in (runs / "report.md").read_text()
    page = (runs / "report.html").read_text()
    assert "Order &lt;matters&gt;: <strong>holds here</strong>" in page
    assert "<td>test/recall</td>" in page
    assert re.search(r'<img src="data:image/png;base64,\S+" alt="scores.png">', page)


def test_a_baseline_that_is_not_there_is_named(runs, capsys):
    with pytest.raises(SystemExit):
        main(["report", "--folder", str(runs), "--baseline", "ful"])
    assert "baseline: no runs of 'ful'; choose one of fixed, full, once, sampled" in capsys.readouterr().err


def test_pages_hold_headings_lists_tables_and_text():
    page = to_page("A & B", "## One\n\ntext\n- a\n- **b**\n\n| x | y |\n| --- | ---: |\n| 1 | 2 |\n", ["p.png"])
    for part in (
        "<h1>A &amp; B</h1>",
        "<h2>One</h2>",
        "<p>text</p>",
        "<li><strong>b</strong></li>",
        "<th>x</th>",
        ">2</td>",
    ):
        assert part in page
    assert "<li><strong>b</strong></li>" in page
    assert '<td style="text-align:right">2</td>' in page, "numbers stand at the right"
    assert "---" not in page


def test_pages_hold_pictures_where_they_belong_and_bars_within_cells():
    page = to_page("P", "## One\n\n![what <it> shows](one.png)\n\n## Two\n\n| name |\n| --- |\n| left\\|right |\n")
    picture = '<img src="one.png" alt="what &lt;it&gt; shows" loading="lazy">'
    assert f"{picture}<figcaption>what &lt;it&gt; shows</figcaption>" in page
    assert page.index("One") < page.index("one.png") < page.index("Two")
    assert "<td>left|right</td>" in page
