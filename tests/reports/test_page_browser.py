"""The page in a real browser: it draws, filters, sorts, follows a trial, copies; no request, no error."""

import json
import shutil
import time
from dataclasses import replace

import pytest

from hyperjax.reports import report
from hyperjax.reports.wording import MISSING
from hyperjax.studies.ranges import log_uniform, uniform

selenium = pytest.importorskip("selenium.webdriver", reason="selenium drives the browser")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="neither Chromium nor Chrome with chromedriver is installed"),
]
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)
EVIL = "</script><img src=x onerror=window.pwned=1>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = selenium.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def study(study_of):
    return study_of(60, task=EVIL)


@pytest.fixture(scope="module")
def address(study, tmp_path_factory):
    return report(study, tmp_path_factory.mktemp("page") / "report.html").as_uri()


def show(browser, address, scheme="light", width=1280):
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get_log("performance")
    browser.get(address)
    wait(browser, "return document.documentElement.dataset.ready === 'yes'")


def wait(browser, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 30).until(lambda _: browser.execute_script(condition))


def click(browser, selector):
    """Scroll to an element and click it as a person would."""
    element = browser.find_element("css selector", selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
    element.click()


def visible_rows(browser):
    script = (
        "return [...document.querySelectorAll('table[data-sorts] tbody tr')]"
        ".filter(r => r.offsetParent).map(r => r.innerText)"
    )
    return [row.split("\t") for row in browser.execute_script(script)]


def type_filter(browser, text):
    box = browser.find_element("id", "filter")
    box.clear()
    box.send_keys(text)
    return browser.find_element("id", "count").text


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)])
def test_everything_is_drawn_quietly_and_fits(browser, address, study, scheme, width):
    show(browser, address, scheme, width)
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('[data-figure]')].map(f =>"
        " [f.dataset.figure, f.querySelectorAll('.scatterlayer .trace').length, f.getBoundingClientRect().width])"
    )
    assert drawn[0][0] == "curves-validation_accuracy"
    answers = ["parallel", "importance", "joint", "isolation-optimizer", "isolation-schedule", "isolation-batch_size"]
    assert len(drawn) == 1 + len(study.space) + len(answers) and {name for name, *_ in drawn} >= set(answers)
    assert all(traces >= 1 and wide > 250 for _, traces, wide in drawn)
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.execute_script("return innerWidth") == width
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert asked
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)
    assert browser.execute_script("return window.pwned") is None
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")


def test_figures_follow_the_colour_scheme(browser, address):
    show(browser, address, "light")
    ink = "return document.querySelector('#curves .xtick text').style.fill"
    before = browser.execute_script(ink)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    wait(browser, f"return (() => {{{ink}}})() !== '{before}'")


def test_the_filter_takes_words_and_conditions(browser, address, study):
    show(browser, address)
    assert browser.find_element("id", "count").text == "60 of 60 rows"
    adamw = [t for t in study.trials if t.values["optimizer"] == "adamw"]
    assert type_filter(browser, "adamw") == f"{len(adamw)} of 60 rows"
    assert len(visible_rows(browser)) == len(adamw)
    both = [t for t in adamw if t.values["learning_rate"] > 0.01]
    assert 0 < len(both) < len(adamw)
    for text in ("adamw learning_rate>0.01", "optimizer=adamw learning_rate > 1e-2"):
        assert type_filter(browser, text) == f"{len(both)} of 60 rows"
    assert {row[1] for row in visible_rows(browser)} == {str(t.number) for t in both}
    assert (
        type_filter(browser, "batch_size!=32")
        == f"{sum(t.values['batch_size'] != 32 for t in study.trials)} of 60 rows"
    )
    assert "no column" in type_filter(browser, "colour>3")
    assert browser.find_element("id", "filter").get_attribute("aria-invalid") == "true"
    assert "is not a number" in type_filter(browser, "dropout<big")
    assert browser.get_log("browser") == []


def test_headings_sort_numbers_as_numbers(browser, address, study):
    show(browser, address)
    heads = browser.find_elements("css selector", "table[data-sorts] th")
    names = [head.get_attribute("data-name") for head in heads]
    place = names.index("learning_rate")
    by_rate = [str(t.number) for t in sorted(study.trials, key=lambda t: t.values["learning_rate"])]
    for order, expected in (("ascending", by_rate), ("descending", by_rate[::-1])):
        click(browser, "th[data-name='learning_rate'] button")
        assert heads[place].get_attribute("aria-sort") == order
        assert [head.get_attribute("aria-sort") for head in heads].count("none") == len(heads) - 1
        assert [row[1] for row in visible_rows(browser)] == expected
    click(browser, "th[data-name='trial'] button")  # 2 comes before 10
    assert [row[1] for row in visible_rows(browser)] == [str(trial.number) for trial in study.trials]
    for _ in range(2):  # trials without a score stay last in either direction
        click(browser, "th[data-name='validation_accuracy'] button")
        diverged = sum(trial.diverged > 0 for trial in study.trials)
        assert diverged
        assert {row[names.index("validation_accuracy")] for row in visible_rows(browser)[-diverged:]} == {MISSING}


def test_a_trial_can_be_followed_and_the_curves_switched(browser, address, study):
    show(browser, address)
    best = study.best.number
    click(browser, f"button.trial[data-trial='{best}']")
    assert f"trial {best} (rank 1" in browser.find_element("id", "pinned").text
    last = "return (t => [t.x.length, t.showlegend])(document.getElementById('curves').data.at(-1))"
    wait(browser, f"return (() => {{{last}}})()[1] === false")
    assert browser.execute_script(last)[0] == len(study.best.runs[0].epochs)
    click(browser, "[data-shows='curves-train_loss']")
    title = "document.querySelector('#curves .ytitle')?.textContent"
    wait(browser, f"return {title} === 'train loss'")
    click(browser, "#closer")
    close = (
        "(f => JSON.stringify(f.layout.yaxis.range) === JSON.stringify(f.layout.meta.close))"
        "(document.getElementById('curves'))"
    )
    wait(browser, f"return {close}")
    assert browser.get_log("browser") == []


def test_the_recipe_is_copied_or_selected(browser, address):
    show(browser, address)
    browser.execute_script("navigator.clipboard.writeText = async () => { throw new Error('refused') }")
    click(browser, "[data-copies]")
    wait(browser, "return document.querySelector('[data-copies]').textContent.startsWith('Selected')")
    assert "hj.Recipe(" in browser.execute_script("return getSelection().toString()")


@pytest.mark.parametrize(
    "made",
    [{"count": 1}, {"count": 6, "all_diverge": True}, {"count": 12, "seeds": (0, 1), "unfinished": 3}, {"count": 0}],
)
def test_odd_studies_open_quietly(browser, study_of, tmp_path, made):
    show(browser, report(study_of(**made), tmp_path / "odd.html").as_uri(), width=390)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390


def test_a_page_that_is_written_again_comes_back_to_where_it_was(browser, study_of, tmp_path):
    from hyperjax.reports.study_page import Running, study_page

    hook = "const soon = setTimeout; window.setTimeout = (f, ms) => (ms === 1e6 ? (window.later = f) : soon(f, ms))"
    made = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": hook})
    path = report(study_page(study_of(40), Running(1000.0, "12:00:00")), tmp_path / "report.html")
    show(browser, path.as_uri())
    assert "Running. 40 trials have ended" in browser.find_element("css selector", ".notice").text
    type_filter(browser, "adamw")
    click(browser, "[data-shows='curves-train_loss']")
    click(browser, "button.trial")
    followed = browser.find_element("id", "pinned").text
    browser.execute_script("scrollTo({top: 777, behavior: 'instant'}); document.documentElement.dataset.first = 'yes'")
    report(study_of(41), path)
    browser.execute_script("later()")
    wait(browser, "return !document.documentElement.dataset.first && document.documentElement.dataset.ready === 'yes'")
    assert browser.find_element("id", "count").text.endswith("of 41 rows")
    assert browser.find_element("id", "filter").get_attribute("value") == "adamw"
    assert browser.execute_script("return document.getElementById('curves').dataset.figure") == "curves-train_loss"
    assert browser.find_element("id", "pinned").text.split()[1] == followed.split()[1]
    assert browser.execute_script("return Math.round(scrollY)") == 777
    assert browser.execute_script("return window.later === undefined")  # it is complete, and stays
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", made)
    assert browser.get_log("browser") == []


def test_parallel_lines_scroll_on_a_narrow_screen_and_follow_a_trial(browser, address, study):
    show(browser, address, width=390)
    sizes = "return (e => [e.clientWidth, e.scrollWidth])(document.querySelector('.sideways'))"
    seen, whole = browser.execute_script(sizes)
    assert seen < 390 < 80 * (len(study.space) + 1) < whole
    best = study.best.number
    click(browser, f"button.trial[data-trial='{best}']")
    line = "document.querySelector('[data-figure=parallel]').data.at(-1)"
    wait(browser, f"return {line}.hoverinfo === 'skip' && {line}.mode === 'lines' && {line}.line.width === 3")
    assert browser.execute_script(f"return {line}.y.filter((y) => y !== null).length") == len(study.space) + 1


def test_twenty_thousand_trials_make_a_page_that_is_small_and_soon_there(browser, study_of, tmp_path):
    some = study_of(500)
    trials = []
    for number in range(20_000):
        trial = some.trials[number % 500]
        values = {**trial.values, "learning_rate": trial.values["learning_rate"] * (1 + 1e-6 * number)}
        trials.append(replace(trial, number=number, values=values))
    spans = {
        "learning_rate": log_uniform(1e-4, 2.0),
        "weight_decay": log_uniform(1e-6, 0.1),
        "dropout": uniform(0, 0.5),
    }
    study = replace(some, trials=tuple(trials), ranges=spans, continuous=frozenset(spans))
    begin = time.process_time()  # of one core, whatever else the machine does
    path = report(study, tmp_path / "report.html")
    assert time.process_time() - begin < 60
    assert path.stat().st_size < 15e6
    show(browser, path.as_uri())
    said = browser.find_element("tag name", "main").text
    assert "1,000 of 20,000 curves are drawn" in said and "400 of 20,000 trials are drawn" in said
    assert "The best 1,000 of 20,000 trials are listed" in said and len(visible_rows(browser)) == 1000
    drawn = "return performance.timing.domInteractive - performance.timing.navigationStart"
    assert browser.execute_script(drawn) < 10_000  # 3,000 on a machine that does nothing else
    assert browser.get_log("browser") == []
