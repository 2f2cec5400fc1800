"""The page of a form, in a real browser and from the keyboard."""

import json
import re
import time

import pytest

from creativity_lens.errors import InputError
from creativity_lens.evaluation.annotation_exports import read_exports
from creativity_lens.evaluation.annotation_tables import preference, tidy_answers
from creativity_lens.evaluation.study_design import make_study
from creativity_lens.report.annotation_page import render_annotation_page, write_study
from tests.browser import CHROMIUM, Browser
from tests.study_fakes import texts

OWNED = "document.title='owned'"
HOSTILE = (
    f"</script><script>{OWNED}</script>",
    f'"><img src=x onerror="{OWNED}">',
    f"<!--<script>{OWNED}",
    f"\u2028{OWNED}\u2029 {{{{ 7 * 7 }}}} &lt;b&gt; &amp; \\u003c \\",
    f'<a href="javascript:{OWNED}" autofocus onfocus="{OWNED}">a</a>',
    f"<style>*{{display:none}}</style><base href=//x><svg onload={OWNED}>",
)
MARKS = "bell \x07, escape \x1b[31m, nul \x00, turned \u202e, c1 \x9b"
SEEN = "bell \u2407, escape \u241b[31m, nul \u2400, turned [U+202E], c1 [U+009B]"
PAUSE = 0.26


def fresh_study(**options):
    options = {"names": ("zebra", "yak"), "forms": 2, "checks": 1, "seed": 5, **options}
    return make_study(texts("One", 4), texts("Two", 4), **options)


# --- the file ---


def test_a_page_knows_nothing_of_sets_and_loads_nothing():
    study = fresh_study()
    page = render_annotation_page(study, 1)
    for secret in ("zebra", "yak", "text-0", "prompt-0", "pair-1", '"check"', '"repeat"'):
        assert secret not in page
    assert not re.search(r"https?:|src=|<link|@import|url\(", page)
    assert "default-src 'none'" in page
    assert "unsafe" not in page
    with pytest.raises(InputError, match="has the forms 1 to 2, not 3"):
        render_annotation_page(study, 3)


def test_a_hostile_text_adds_no_tag_to_the_page():
    def tags(page):
        return re.findall(r"<[a-zA-Z/!][^>]*", page.partition('id="study"')[2])

    plain = fresh_study()
    a = [t._replace(text=h, prompt=h) for t, h in zip(texts("One", 4), HOSTILE, strict=False)]
    b = [t._replace(prompt=h) for t, h in zip(texts("Two", 4), HOSTILE, strict=False)]
    hostile = make_study(a, b, names=("zebra", "yak"), forms=2, checks=1, seed=5)
    assert tags(render_annotation_page(hostile, 1)) == tags(render_annotation_page(plain, 1))


# --- a real browser ---


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    running = Browser(tmp_path_factory.mktemp("browser"))
    yield running
    running.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Write a study and open its first page."""

    def _opened(study):
        return browser.open(write_study(study, tmp_path / "study")[0])

    return _opened


def text_of(tab, name):
    return tab.value(f"document.getElementById('{name}').textContent")


def begin(tab, rater):
    tab.value("document.getElementById('rater').focus()")
    tab.type(rater)
    tab.press("Enter")


def press(tab, key):
    """A key, after the pause in which a second press is taken for a slip."""
    time.sleep(PAUSE)
    tab.press(key)


def place(tab):
    return text_of(tab, "place")


def test_a_form_is_answered_with_the_keyboard_and_read_back(opened):
    study = fresh_study(repeats=1, groups=("expert", "lay"))
    tab = opened(study)
    tab.value("document.getElementById('rater').focus()")
    tab.type("Ann \u00c9/../<b>")
    tab.press("Tab")
    tab.press("l")  # the select goes to lay
    tab.press("Tab")
    tab.press("Enter")
    assert tab.focused() == "place"
    items = study.forms[0]
    for i, item in enumerate(items):
        assert place(tab) == f"Pair {i + 1} of {len(items)}"
        # He goes by the words on the screen: texts of yak begin with Two.
        liked = "left" if text_of(tab, "left-text").startswith("Two") else "right"
        liked = item.told if item.kind == "check" else liked
        keys = {"left": ("1", "ArrowLeft"), "right": ("2", "ArrowRight")}[liked]
        press(tab, keys[i % 2])
    assert tab.focused() == "thanks"
    tab.press("Tab")
    assert tab.focused() == "download"
    tab.press("Enter")
    path = tab.downloaded(f"answers-{study.study_id}-form-1-ann-b")
    exports, notes = read_exports(study, [path])
    assert (exports[0].rater, exports[0].group) == ("Ann \u00c9/../<b>", "lay")
    assert notes == []
    found = tidy_answers(study, exports)
    assert preference(found.pairs, "yak").estimate == 1.0
    assert found.raters["checks_failed"].tolist() == [0]
    assert found.raters["repeats_alike"].tolist() == [1.0]
    assert found.pairs["seconds"].between(PAUSE / 2, 60).all()


def test_backspace_goes_back_and_a_reload_loses_nothing(opened):
    study = fresh_study()
    tab = opened(study)
    begin(tab, "bob")
    press(tab, "1")
    press(tab, "3")
    assert place(tab) == "Pair 3 of 5"
    tab.press("Backspace")
    tab.press("Backspace")
    assert place(tab) == "Pair 1 of 5"
    pressed = "[...document.querySelectorAll('[aria-pressed=true]')].map((b) => b.id).join()"
    assert tab.value(pressed) == "choose-left"
    press(tab, "2")  # he thinks again
    tab.reload()
    assert place(tab) == "Pair 2 of 5"
    assert tab.value(pressed) == "choose-tie"
    assert "earlier answers" in text_of(tab, "status")
    tab.value("document.getElementById('save').click()")
    (export,), notes = read_exports(study, [tab.downloaded(f"{study.study_id}-form-1-bob")])
    first, second = (item.item_id for item in study.forms[0][:2])
    choices = [(answer.item_id, answer.choice) for answer in export.answers]
    assert choices == [(first, "right"), (second, "tie")]
    assert notes == ["'bob' answered 2 of the 5 items of form 1."]


# --- several tabs, several raters ---

KEPT = "Object.entries(localStorage).filter(([name]) => name.includes('{}')).map(([, v]) => v)[0]"
# A tab that sleeps hears nothing of the others.
DEAF = "window.addEventListener('storage', (event) => event.stopImmediatePropagation())"


def kept(tab, study):
    """The choices in the store, in the order of the form."""
    found = json.loads(tab.value(KEPT.format(study.study_id)))["choices"]
    return [found.get(item.item_id) for item in study.forms[0]]


def saved(tab, study, rater):
    """Download, read, and take the file away."""
    tab.value("document.getElementById('save').click()")
    path = tab.downloaded(f"{study.study_id}-form-1-{rater}")
    (export,), _ = read_exports(study, [path])
    path.unlink()
    choices = {answer.item_id: answer.choice for answer in export.answers}
    return [choices.get(item.item_id) for item in study.forms[0]]


@pytest.mark.parametrize("deaf", [False, True])
def test_a_tab_that_is_left_behind_undoes_nothing(browser, tmp_path, deaf):
    study = fresh_study(seed=11 + deaf)
    page = write_study(study, tmp_path / "study")[0]
    behind = browser.open(page, script=DEAF * deaf)
    begin(behind, "dan")
    press(behind, "1")
    ahead = browser.open(page)
    assert place(ahead) == "Pair 2 of 5"
    for _ in range(3):
        press(ahead, "2")
    assert place(ahead) == "Pair 5 of 5"
    ahead.close()
    behind.reload()  # it is hidden for a moment, and would write what it knows
    assert kept(behind, study) == ["left", "right", "right", "right", None]
    assert place(behind) == "Pair 5 of 5"
    assert saved(behind, study, "dan") == ["left", "right", "right", "right", None]


@pytest.mark.parametrize("deaf", [False, True])
def test_of_two_tabs_the_later_choice_for_each_pair_counts(browser, tmp_path, deaf):
    study = fresh_study(seed=13 + deaf)
    page = write_study(study, tmp_path / "study")[0]
    first = browser.open(page, script=DEAF * deaf)
    begin(first, "dee")
    second = browser.open(page, script=DEAF * deaf)
    press(first, "1")
    press(first, "1")
    press(second, "2")  # pair 1 again, later
    press(second, "2")  # and pair 2
    press(second, "3")
    press(first, "1")  # pair 3, later than the tie
    expected = ["right", "right", "left", None, None]
    assert kept(first, study) == expected
    assert saved(second, study, "dee") == expected
    assert saved(first, study, "dee") == expected
    times = json.loads(first.value(KEPT.format(study.study_id)))["times"]
    # The second tab, in front, looked at the first three pairs, each for a pause or longer.
    assert all(times[item.item_id] >= 900 * PAUSE for item in study.forms[0][:3])


@pytest.mark.parametrize("deaf", [False, True])
def test_a_choice_in_one_tab_shows_in_the_other(browser, tmp_path, deaf):
    study = fresh_study(seed=15 + 100 * deaf)
    page = write_study(study, tmp_path / "study")[0]
    first = browser.open(page, script=DEAF * deaf)
    begin(first, "eli")
    second = browser.open(page)
    press(second, "2")
    if deaf:
        first.call("Page.bringToFront")  # what it slept through it reads when it is seen again
    first.until("document.getElementById('choose-right').ariaPressed === 'true'")
    assert place(first) == "Pair 1 of 5"
    assert first.value("document.getElementById('progress').value") == 1
    assert not first.value("document.getElementById('next').disabled")


def test_a_rater_who_begins_in_one_tab_has_begun_in_the_other(browser, tmp_path):
    study = fresh_study(seed=16)
    page = write_study(study, tmp_path / "study")[0]
    first, second = browser.open(page), browser.open(page, script=DEAF)
    begin(first, "fay")
    press(first, "1")
    assert not second.value("document.getElementById('start').hidden")
    begin(second, "gus")  # the tab has not heard that fay began
    assert kept(second, study)[0] == "left"
    assert text_of(second, "not-you")
    assert second.value("document.querySelector('#work .name').textContent") == "fay"


def test_a_second_rater_at_the_same_computer_starts_anew(opened):
    study = fresh_study(seed=17)
    tab = opened(study)
    begin(tab, "ann")
    press(tab, "1")
    tab.reload()  # somebody else sits down
    assert tab.value("document.querySelector('#work .who').innerText").startswith("Rater: ann")
    tab.press("Tab", shift=True)
    assert tab.focused() == "not-you"
    tab.press("Enter")
    assert tab.value("document.getElementById('leave').open")
    assert "answered 1 of 5 pairs" in text_of(tab, "leave-words")
    assert "would be lost" in text_of(tab, "leave-words")
    assert tab.focused() == "leave-stay"
    press(tab, "2")  # chooses nothing while the question stands
    tab.press("Escape")
    assert tab.focused() == "not-you"
    assert place(tab) == "Pair 2 of 5"
    tab.press("Enter")
    tab.press("Tab")
    assert tab.focused() == "leave-save"
    tab.press("Enter")
    (export,), _ = read_exports(study, [tab.downloaded(f"{study.study_id}-form-1-ann")])
    assert (export.rater, [a.choice for a in export.answers]) == ("ann", ["left"])
    assert tab.focused() == "asked"
    assert f"{study.study_id}-form-1-ann.json" in text_of(tab, "note")
    tab.press("Tab")
    assert tab.focused() == "rater"
    tab.type("bob")
    tab.press("Enter")
    assert place(tab) == "Pair 1 of 5"
    assert tab.value("document.querySelectorAll('[aria-pressed=true]').length") == 0
    press(tab, "2")
    assert saved(tab, study, "bob") == ["right", None, None, None, None]
    tab.value("document.getElementById('not-you').click()")
    assert "They are all in the file" in text_of(tab, "leave-words")
    assert tab.value("document.getElementById('leave-save').hidden")
    tab.value("document.getElementById('leave-clear').click()")
    tab.reload()
    assert not tab.value("document.getElementById('start').hidden")


@pytest.mark.parametrize("deaf", [False, True])
def test_answers_that_were_cleared_do_not_come_back_from_another_tab(browser, tmp_path, deaf):
    study = fresh_study(seed=18 + deaf)
    page = write_study(study, tmp_path / "study")[0]
    first = browser.open(page)
    begin(first, "ann")
    press(first, "1")
    other = browser.open(page, script=DEAF * deaf)
    first.value("document.getElementById('not-you').click()")
    first.value("document.getElementById('leave-clear').click()")
    if not deaf:
        other.until("!document.getElementById('start').hidden")
    begin(first, "bob")
    press(other, "2")  # of ann's session, which has ended, or a choice of bob's
    other.reload()
    assert other.value("document.querySelector('#work .name').textContent") == "bob"
    press(first, "3")
    assert saved(first, study, "bob")[0] == "tie"
    assert "ann" not in first.value(KEPT.format(study.study_id))


CONTRAST = """((box) => {
  const light = (rgb) => rgb.match(/[0-9.]+/g).slice(0, 3).map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  let back = box;
  while (getComputedStyle(back).backgroundColor === "rgba(0, 0, 0, 0)") back = back.parentElement;
  const [a, b] = [getComputedStyle(box).color, getComputedStyle(back).backgroundColor].map(light);
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
})(document.querySelector("%s"))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_way_to_hand_over_is_there_where_it_is_narrow_and_dark(opened, scheme):
    tab = opened(fresh_study(seed=20))
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    tab.call("Emulation.setEmulatedMedia", features=media)
    tab.call(
        "Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1,
        mobile=True,
    )  # fmt: skip
    begin(tab, "W" * 60)
    assert tab.value("document.documentElement.scrollWidth <= 400")
    size = "(({width, height}) => [width, height])"
    width, height = tab.value(f"{size}(document.getElementById('not-you').getBoundingClientRect())")
    assert width >= 24
    assert height >= 24
    press(tab, "1")
    tab.value("document.getElementById('not-you').click()")
    box = "document.getElementById('leave').getBoundingClientRect()"
    assert tab.value(f"{box}.left >= 0 && {box}.right <= 400 && {box}.bottom <= 800")
    assert tab.value("document.getElementById('leave').scrollWidth <= 400")
    for part in ("#not-you", "#work .name", "#work .who", "#leave-words", "#leave-clear"):
        assert tab.value(CONTRAST % part) >= 4.5


def test_slips_of_the_keyboard_choose_nothing(opened):
    tab = opened(fresh_study(ties=False, seed=6))
    assert tab.value("document.getElementById('choose-tie')") is None
    tab.value("document.getElementById('rater').focus()")
    tab.press("Enter")  # without a rater id
    assert tab.value("document.getElementById('work').hidden")
    begin(tab, "12")  # digits in the field are no choices
    press(tab, "1")
    tab.press("1")  # at once again: a slip
    time.sleep(PAUSE)
    tab.press("1", repeat=True)  # a key held down
    press(tab, "3")  # no tie in this study
    assert place(tab) == "Pair 2 of 5"
    tab.value("document.getElementById('keys').click()")
    press(tab, "1")
    assert place(tab) == "Pair 2 of 5"


def test_the_buttons_do_without_the_shortcuts(opened):
    study = fresh_study(seed=7)
    tab = opened(study)
    begin(tab, "cyd")
    reached = []
    for _ in range(3):
        tab.press("Tab")
        reached.append(tab.focused())
    assert reached == ["choose-left", "choose-tie", "choose-right"]
    time.sleep(PAUSE)
    tab.press(" ")
    assert place(tab) == "Pair 2 of 5"
    assert text_of(tab, "status") == "Saved: right."
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    tab.press("Tab")
    assert tab.value(outline) == "solid"
    unnamed = (
        "[...document.querySelectorAll('button, input, select, progress')].filter((e) => "
        "!e.textContent.trim() && !e.labels?.length && !e.ariaLabel).map((e) => e.outerHTML).join()"
    )
    assert tab.value(unnamed) == ""


def test_texts_stand_side_by_side_and_one_below_the_other_where_it_is_narrow(opened):
    tab = opened(fresh_study(seed=8))
    begin(tab, "dee")
    tops = "['left', 'right'].map((s) => document.getElementById(s + '-text')"
    tops += ".getBoundingClientRect().top)"
    wide = tab.value(tops)
    assert wide[0] == wide[1]
    tab.call(
        "Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1,
        mobile=False,
    )  # fmt: skip
    narrow = tab.value(tops)
    assert narrow[0] < narrow[1]
    assert tab.value("document.documentElement.scrollWidth <= 400")


@pytest.mark.parametrize("hostile", [*HOSTILE, MARKS])
def test_a_hostile_text_is_shown_and_does_nothing(opened, hostile):
    a = [t._replace(text=f"A {hostile}", prompt=hostile) for t in texts("One", 1)]
    b = [t._replace(text=f"B {hostile}", prompt=hostile) for t in texts("Two", 1)]
    tab = opened(make_study(a, b, checks=0, question=f"Which? {hostile}", groups=(HOSTILE[1],)))
    tab.value("document.getElementById('group').selectedIndex = 1")
    begin(tab, "eve")
    tab.until("!document.getElementById('work').hidden")
    shown = {text_of(tab, "left-text"), text_of(tab, "right-text")}
    seen = SEEN if hostile == MARKS else hostile
    assert shown == {f"A {seen}", f"B {seen}"}
    assert tab.value("document.title").startswith("Which?")
    assert tab.value("document.querySelectorAll('img, svg, a, base, style').length") == 1


def test_the_policy_of_the_page_lets_no_other_script_run(browser, tmp_path):
    """What protects raters if a text ever got into the page as HTML."""
    page = render_annotation_page(fresh_study(), 1)
    path = tmp_path / "page.html"
    script = f"<script>{OWNED}</script><img src=x onerror={OWNED}></body>"
    path.write_text(page.replace("</body>", script), encoding="utf-8")
    assert browser.open(path).value("document.title") != "owned"
    path.write_text(re.sub(r"<meta http-equiv[^>]*>", "", path.read_text("utf-8")), "utf-8")
    assert browser.open(path).value("document.title") == "owned"
