"""Figures show what they are given and print nothing; hostile text is inert in the report."""

import html
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from creativity_lens.directions.direction import DirectionSet
from creativity_lens.directions.extract import ContrastRow, Extraction
from creativity_lens.plots.layers import norms_figure, separability_figure, shift_by_layer_figure
from creativity_lens.plots.scores import arms_figure, paired_scores_figure, strength_figure
from creativity_lens.plots.style import CREATIVE, plain, transparent
from creativity_lens.probes.held_out import HeldOutScores, ProbeCurve
from creativity_lens.probes.separability import Separability
from creativity_lens.report.demo import render_demo
from creativity_lens.report.page import Figure, Section, Table, render_page
from creativity_lens.stats import Interval
from creativity_lens.studies.claims import Claim
from creativity_lens.studies.demo import DemoConfig, DemoResult, HeldOutPairs, StrengthChoice
from creativity_lens.studies.steering_arms import Arm, ArmTexts, Comparison

N_LAYERS = 4
OWNED = "document.title='owned'"
HOSTILE = (
    f"<i>tags</i><script>{OWNED}</script>",
    f"</script><script>{OWNED}</script>",
    f'"><img src=x onerror="{OWNED}">',
    f"'><svg onload={OWNED}>",
    f"</td></table></html>\u2028{OWNED}\u2029",
    f"<!--<script>{OWNED}",
    f'<a href="javascript:{OWNED}" onmouseover="{OWNED}">a</a>',
    "{{ 7 * 7 }} {% raw %} &lt;b&gt; &amp;",
)


def interval(estimate: float, width: float = 0.1) -> Interval:
    return Interval(estimate, estimate - width, estimate + width)


def curve(*estimates: float) -> tuple[Interval, ...]:
    return tuple(interval(estimate) for estimate in estimates)


def demo_result(text: str, *, texts: tuple[str, ...] | None = None) -> DemoResult:
    """A made-up result in which every string that came from outside is `text`.

    Args:
        text: stands for premises, prompts, names and settings.
        texts: the responses, in turn.
    """
    texts = texts or (text,)
    response = (texts[i % len(texts)] for i in range(10_000))
    premises = 3
    rows = tuple(
        ContrastRow(
            pair_id=f"{text}{i}",
            condition=condition,
            sample=0,
            premise_id=text,
            domain=text,
            split="test",
            paraphrase_id=text,
            seed=0,
            finish_reason="length",
            prompt=text,
            response=next(response),
            prompt_ids=(1,),
            read_prompt_ids=(1,),
            response_ids=(2,),
        )
        for i in range(premises)
        for condition in ("creative", "uncreative")
    )
    names = ("unsteered", "steered", "opposite", "paper", "random-0", "random-1")
    arms = tuple(
        ArmTexts(
            Arm(name, f"arm {name}"),
            tuple(next(response) for _ in range(premises)),
            np.arange(premises * N_LAYERS).reshape(premises, N_LAYERS) / 100 + 0.01 * k,
            np.full(premises, 2.0 + k),
            np.full(premises, 12),
        )
        for k, name in enumerate(names)
    )
    scores = HeldOutScores(np.array([1.0, 2.0]), np.array([0.0, 1.5]), ("a", "b"))
    found = Separability(
        ProbeCurve("probe", np.zeros((N_LAYERS, 2, 2)), ("a", "b"), scores, (3, 3)),
        curve(0.5, 0.6, 0.7, 0.8),
        (0.5, 0.4, 0.3, 0.01),
        np.full(200, 0.75),
    )
    ones = torch.ones(N_LAYERS, 2)
    directions = DirectionSet(
        ones / 2**0.5,
        ones,
        -ones,
        torch.ones(N_LAYERS),
        10 * torch.ones(N_LAYERS),
        {
            "model": {
                "name": text,
                "n_layers": N_LAYERS,
                "d_model": 2,
                "dtype": "float32",
                "model_class": text,
            },
            "sampling": {"temperature": text},
            "versions": {text: text},
            "estimator": text,
            "contrast": text,
            "context": text,
            "span": text,
            "n_pairs": 3,
            "n_pairs_dropped": 0,
            "seed": 0,
            "neutral_prompt": {"system": text, "user": text},
            "pairs_sha256": text,
            "instructions_sha256": text,
        },
    )
    return DemoResult(
        config=DemoConfig(),
        extraction=Extraction(directions, rows, (), None, torch.full((N_LAYERS,), 0.02)),
        test_rows=rows,
        as_generated=found,
        neutral=found,
        rivals={"bag of words": scores, "length": scores},
        read_layer=3,
        steer_layer=1,
        held_out=HeldOutPairs(
            (text,) * premises, np.array([0.3, 0.2, 0.1]), np.array([0.1, 0.1, 0.2]), interval(0.7)
        ),
        strength=StrengthChoice(
            0.2, curve(0.1, 0.2, 0.3, 0.4), curve(0.0, 0.1, 0.6, 1.0), f"the rule {text}"
        ),
        steered=Comparison(("p0", "p1", "p2"), (text,) * premises, arms),
        claims=(
            Claim(text, interval(0.8), text, text, text, "supported", text),
            Claim("Plain.", interval(0.1), "nats", "0.2", "0.3", "not supported", "No."),
        ),
        seconds={text: 1.0},
    )


# --- figures ---------------------------------------------------------------------------------


def all_figures(label: str = "a premise") -> dict[str, go.Figure]:
    arms = {"steered": interval(0.2), "opposite": interval(-0.2), "paper": interval(0.0)}
    return {
        "separability": separability_figure(
            {"one": curve(0.5, 0.9), "two": curve(0.6, 0.7)},
            null_95={"one": 0.65, "two": 0.66},
            rivals={"words": interval(0.8), "length": interval(0.55)},
        ),
        "norms": norms_figure([1.0, 2.0, 8.0], [10.0, 40.0, 80.0]),
        "shift": shift_by_layer_figure(
            {"steered": curve(0.0, 0.1), "paper": curve(0.0, 0.01)},
            steered_layer=1,
            colours={"steered": CREATIVE},
        ),
        "pairs": paired_scores_figure(
            np.array([0.3, 0.1]), np.array([0.2, 0.2]), labels=[label, "other"], layer=20
        ),
        "strength": strength_figure(
            (0.1, 0.2), curve(0.1, 0.3), curve(0.05, 0.6), chosen=0.1, budget=0.5
        ),
        "arms": arms_figure(arms, arms, read_layer=20),
    }


@pytest.mark.parametrize("name", all_figures())
def test_a_figure_function_returns_a_titled_figure_and_prints_nothing(name, capsys):
    figure = all_figures()[name]
    assert isinstance(figure, go.Figure)
    assert figure.layout.title.text
    assert figure.data
    assert capsys.readouterr() == ("", "")


def trace(figure: go.Figure, name: str):
    (found,) = [t for t in figure.data if t.name == name]
    return found


def test_separability_shows_every_curve_its_band_its_null_and_every_rival():
    rivals = {f"rival {i}": interval(0.5 + i / 100) for i in range(6)}
    figure = separability_figure(
        {"one": curve(0.5, 0.9), "two": curve(0.6, 0.7)},
        null_95={"one": 0.65, "two": 0.66},
        rivals=rivals,
    )
    per_curve = 2 + len(rivals) + 1
    assert len(figure.data) == 2 * per_curve
    for k, (estimates, null) in enumerate([((0.5, 0.9), 0.65), ((0.6, 0.7), 0.66)]):
        band, line, *lines, chance = figure.data[k * per_curve : (k + 1) * per_curve]
        low, high = np.array(estimates) - 0.1, np.array(estimates) + 0.1
        assert tuple(band.y) == pytest.approx((*high, *low[::-1]))
        assert tuple(line.x) == (0, 1)
        assert tuple(line.y) == estimates
        assert [t.name for t in lines] == [f"rival: {name}" for name in rivals]
        assert [t.y[0] for t in lines] == [rival.estimate for rival in rivals.values()]
        assert tuple(chance.y) == (null, null)
    assert [a.text for a in figure.layout.annotations] == ["one", "two"]


def test_norms_are_shown_with_their_share():
    figure = norms_figure([1.0, 2.0, 8.0], [10.0, 40.0, 80.0])
    difference = trace(figure, "norm of the difference of means")
    assert tuple(difference.y) == (1.0, 2.0, 8.0)
    assert tuple(difference.customdata) == (0.1, 0.05, 0.1)
    assert tuple(trace(figure, "median norm of a token").y) == (10.0, 40.0, 80.0)
    assert figure.layout.yaxis.type == "log"


def test_shift_by_layer_shows_each_arm_and_where_it_was_steered():
    figure = all_figures()["shift"]
    assert tuple(trace(figure, "steered").y) == (0.0, 0.1)
    assert tuple(trace(figure, "paper").y) == (0.0, 0.01)
    assert trace(figure, "steered").line.color == CREATIVE
    assert [s.x0 for s in figure.layout.shapes if s.x0 == s.x1] == [1]


def test_paired_scores_draw_each_pair_from_uncreative_to_creative():
    figure = all_figures()["pairs"]
    scatters = [t for t in figure.data if t.type == "scatter"]
    lines = [t for t in scatters if t.mode == "lines"]
    assert [tuple(t.y) for t in lines] == [(0.2, 0.3), (0.2, 0.1)]
    assert lines[0].line.color != lines[1].line.color  # rising and falling
    markers = {t.x[0]: tuple(t.y) for t in scatters if t.mode == "markers"}
    assert markers == {0: (0.2, 0.2), 1: (0.3, 0.1)}
    assert {t.name for t in figure.data if t.type == "violin"} == {"creative", "uncreative"}


def test_strength_shows_effect_and_cost_with_their_intervals():
    effect, cost = all_figures()["strength"].data
    assert tuple(effect.x) == (0.1, 0.2)
    assert tuple(effect.y) == (0.1, 0.3)
    assert tuple(cost.y) == (0.05, 0.6)
    assert tuple(effect.error_y.array) == pytest.approx((0.1, 0.1))
    assert tuple(effect.error_y.arrayminus) == pytest.approx((0.1, 0.1))


def test_arms_lie_at_their_cost_and_effect():
    changes = {"steered": Interval(0.2, 0.1, 0.5), "paper": Interval(0.0, -0.1, 0.1)}
    costs = {"steered": Interval(0.6, 0.4, 0.7), "paper": Interval(0.1, 0.0, 0.2)}
    steered = trace(arms_figure(changes, costs, read_layer=5), "steered")
    assert (steered.x[0], steered.y[0]) == (0.6, 0.2)
    assert steered.error_y.array[0] == pytest.approx(0.3)
    assert steered.error_y.arrayminus[0] == pytest.approx(0.1)
    assert steered.error_x.array[0] == pytest.approx(0.1)
    assert steered.error_x.arrayminus[0] == pytest.approx(0.2)


@pytest.mark.parametrize("text", HOSTILE)
def test_hover_text_is_escaped(text):
    figure = paired_scores_figure(np.ones(1), np.zeros(1), labels=[text], layer=0)
    shown = []
    for t in figure.data:
        hover = t.hovertext
        if hover is not None:
            shown += [hover] if isinstance(hover, str) else list(hover)
    assert len(shown) == 3  # the pair's line and its two ends
    for hover in shown:
        assert not set(hover) & set("<>\"'")
        assert html.unescape(hover) == text


def test_plain_cuts_before_it_escapes():
    assert plain("a" * 160) == "a" * 160
    assert plain("a" * 161) == "a" * 159 + "…"
    assert plain("<" * 200, limit=3) == "&lt;&lt;…"  # no entity is cut in two


def test_transparent_colours():
    assert transparent("#D55E00", 0.5) == "rgba(213,94,0,0.5)"


# --- the page --------------------------------------------------------------------------------

# Attributes by which a page fetches something.
FETCHING = {"src", "srcset", "href", "xlink:href", "action", "data", "poster", "background"}


class Page(HTMLParser):
    """What a browser would make of a page: elements, attributes, and the text of table cells."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.cells: list[tuple[str, str]] = []
        self.title = self.styles = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "td":
            self.cells.append((dict(attrs).get("class", ""), ""))
        if tag not in {"meta", "link", "img", "br"}:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        where = self._open[-1] if self._open else ""
        if where == "td":
            kind, text = self.cells[-1]
            self.cells[-1] = (kind, text + data)
        elif where == "title":
            self.title += data
        elif where == "style":
            self.styles += data


@pytest.fixture(scope="module")
def hostile_page() -> str:
    return render_demo(demo_result("\n".join(HOSTILE), texts=HOSTILE), command=HOSTILE[0])


@pytest.fixture(scope="module")
def harmless_page() -> str:
    return render_demo(demo_result("a harmless text"), command="creativity-lens demo")


def test_the_page_is_self_contained(harmless_page):
    page = Page(harmless_page)
    fetched = [(tag, n, v) for tag, n, v in page.attributes if n in FETCHING]
    assert fetched  # the table of contents
    assert all(value.startswith("#") for _, _, value in fetched), fetched
    assert page.elements["link"] == page.elements["iframe"] == page.elements["img"] == 0
    assert not re.search(r"url\(|@import", page.styles)
    policy = next(v for tag, n, v in page.attributes if tag == "meta" and "default-src" in v)
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_the_same_results_make_the_same_page(harmless_page):
    again = render_demo(demo_result("a harmless text"), command="creativity-lens demo")
    assert again == harmless_page


def test_hostile_text_adds_no_element_and_no_attribute(hostile_page, harmless_page):
    hostile, harmless = Page(hostile_page), Page(harmless_page)
    assert hostile.elements == harmless.elements
    assert hostile.attributes == harmless.attributes


def test_hostile_text_is_shown_as_it_is(hostile_page):
    page = Page(hostile_page)
    shown = {text for kind, text in page.cells if kind == "text"}
    assert shown == set(HOSTILE)
    everything = "\n".join(HOSTILE)
    assert page.title == f"A creativity direction in {everything}"
    assert ("code", HOSTILE[0]) in page.cells  # the command
    assert ("", everything) in page.cells  # a claim


def test_every_claim_stands_in_the_opening_table_with_all_it_needs(harmless_page):
    cells = [text for _, text in Page(harmless_page).cells]
    start = cells.index("Plain.")
    assert cells[start : start + 6] == [
        "Plain.",
        "0.100 [0.000, 0.200] nats",
        "0.2",
        "0.3",
        "not supported",
        "No.",
    ]


def test_a_page_of_ones_own():
    figure = go.Figure(go.Scatter(x=[1], y=[2], name="</script>"))
    text = render_page(
        title="<T>",
        lead=("First & second.",),
        sections=(
            Section("One", ("A paragraph.",), (Figure(figure, "A caption."),)),
            Section("Two", items=(Table(("a",), (("1 < 2",),)), Figure(figure, "Again."))),
        ),
        footer="The end.",
    )
    page = Page(text)
    assert page.title == "<T>"
    assert page.cells == [("", "1 < 2")]
    assert page.elements["figure"] == page.elements["figcaption"] == 2
    identifiers = [v for tag, n, v in page.attributes if tag == "div" and n == "id"]
    assert identifiers == ["figure-0", "figure-1"]
    assert text.count("First &amp; second.") == 1


def test_a_result_without_numbers_still_makes_a_page():
    """An arm whose responses are all empty has scores and likelihoods that are NaN."""
    result = demo_result("a text")
    arms = list(result.steered.arms)
    blank = np.full(3, np.nan)
    arms[1] = arms[1]._replace(texts=("", "", ""), scores=np.full((3, N_LAYERS), np.nan), nll=blank)
    run = replace(result.steered, arms=tuple(arms))
    page = Page(render_demo(replace(result, steered=run), command="demo"))
    assert page.elements["figure"] == 6


# --- a real browser --------------------------------------------------------------------------

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--virtual-time-budget=20000", "--window-size=1200,900", "--dump-dom"),
)

# The figure of the held-out pairs shows premises when the mouse rests on a point: rest there.
HOVER = """
<script>
window.addEventListener("load", function () {
  var plot = document.getElementById("figure-2");
  var ends = plot.data.map(function (t, i) { return t.mode === "markers" ? i : -1; });
  Plotly.Fx.hover(plot, [{curveNumber: Math.max.apply(null, ends), pointNumber: 0}]);
});
</script>
</body>"""


class Dom(HTMLParser):
    """The figures of a page that a browser has drawn."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements = Counter()
        self.drawn: dict[str, int] = {}
        self.title = self.hover = ""
        self._figure: str | None = None
        self._in_title = self._in_hover = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        classes = (found.get("class") or "").split()
        self.elements[tag] += 1
        if tag == "div" and (found.get("id") or "").startswith("figure-"):
            self._figure = found["id"]
            self.drawn[self._figure] = 0
        if tag == "svg" and "main-svg" in classes and self._figure:
            self.drawn[self._figure] += 1
        self._in_title = tag == "title"
        self._in_hover |= tag == "g" and "hovertext" in classes

    def handle_endtag(self, tag):
        if tag == "figure":
            self._figure = None
        if tag == "g":
            self._in_hover = False
        self._in_title = False

    def handle_data(self, data):
        if self._in_title:
            self.title += data
        if self._in_hover:
            self.hover += data


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    """Open a page in headless Chromium and return the document that it makes of it."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")

    def _browse(text: str) -> str:
        folder = tmp_path_factory.mktemp("browser")
        page = folder / "report.html"
        page.write_text(text, encoding="utf-8")
        done = subprocess.run(
            [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", page.as_uri()],
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return _browse


def test_a_browser_draws_every_figure_and_runs_nothing_of_the_texts(browse, hostile_page):
    dom = Dom(browse(hostile_page.replace("</body>", HOVER)))
    assert list(dom.drawn) == [f"figure-{i}" for i in range(6)]
    assert all(dom.drawn.values()), dom.drawn
    assert dom.title == "A creativity direction in " + "\n".join(HOSTILE)  # and not "owned"
    assert dom.elements["img"] == 0
    # The label on the mouse shows the premise itself, not what Plotly makes of its tags.
    assert dom.hover.startswith("0.300")
    assert HOSTILE[0] in dom.hover


@pytest.mark.parametrize("text", [HOSTILE[0], HOSTILE[2]])
def test_a_browser_would_have_run_the_texts_unescaped(browse, text):
    """What the test above rests on."""
    page = f'<!doctype html><title>mine</title><p title="{text}">{text}</p>'
    assert Dom(browse(page)).title == "owned"
