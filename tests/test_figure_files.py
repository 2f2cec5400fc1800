"""Figures as files: they come back as they were, and hold one run."""

import plotly.graph_objects as go
import plotly.io

from creativity_lens.report.figure_files import SCRIPT, write_figures


def test_a_figure_comes_back_and_its_page_needs_no_network(tmp_path):
    hostile = "</script><script>alert(1)</script>"
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name=hostile))
    (page,) = write_figures(tmp_path / "new" / "figures", {"layers": figure})
    assert page.name == "layers.html"
    assert plotly.io.read_json(page.with_suffix(".json")) == figure
    html = page.read_text(encoding="utf-8")
    assert f'src="{SCRIPT}"' in html
    assert "http" not in html.replace("http://www.w3.org", "").replace("https://plot.ly", "")
    assert "alert(1)</script>" not in html
    assert (page.parent / SCRIPT).stat().st_size > 1e6


def test_figures_of_an_earlier_run_are_gone(tmp_path):
    write_figures(tmp_path, {"layers": go.Figure(), "groups": go.Figure()})
    (tmp_path / "notes.txt").write_text("mine")
    write_figures(tmp_path, {"layers": go.Figure()})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "layers.html", "layers.json", "notes.txt", SCRIPT,
    ]  # fmt: skip
