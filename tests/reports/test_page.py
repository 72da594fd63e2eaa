"""The page as text: escaped, self-contained, true to the study, and whole in every odd case."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from hyperjax.reports import report
from hyperjax.reports.page import script_json
from hyperjax.reports.study_page import answer, study_page
from hyperjax.reports.wording import edge_notes
from hyperjax.schedules import cosine_decay
from hyperjax.studies.ranges import log_uniform, uniform
from hyperjax.studies.study import Study, Trial
from hyperjax.training.record import Runs
from tests.reports.test_tables import pruned_of

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\"'"


class Reader(HTMLParser):
    """Counts tags, collects the attributes that could load or run something, and checks that tags balance."""

    VOID = frozenset({"meta", "link", "input", "br", "img"})

    def __init__(self):
        super().__init__()
        self.open, self.counts, self.loads, self.ids = [], {}, [], []

    def handle_starttag(self, tag, attributes):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.loads += [v for k, v in attributes if k in ("src", "href", "action") or k.startswith("on")]
        self.ids += [v for k, v in attributes if k == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(text):
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    return reader


def payload(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


def test_json_cannot_leave_its_script():
    assert json.loads(script_json({"a": EVIL})) == {"a": EVIL}
    assert not set("<>&\u2028") & set(script_json({"a": EVIL + "\u2028"}))
    with pytest.raises(ValueError, match="JSON"):
        script_json([float("nan")])


def test_names_and_values_are_only_text(study_of):
    plain = study_of(12)
    trials = tuple(
        Trial(t.number, {**t.values, EVIL: EVIL if t.number % 2 else "b"}, t.recipe, t.runs) for t in plain.trials
    )
    space = {**plain.space, EVIL: EVIL}
    study = Study(EVIL, space, trials, plain.metric, plain.direction, plain.seeds, conditions={EVIL: {EVIL: EVIL}})
    text = study_page(study).render()
    reader = read(text)
    assert reader.counts["script"] == 3
    assert "img" not in reader.counts
    assert reader.loads == ["data:,"]
    figures = payload(text)["figures"]
    shown = json.dumps([trace.get("text") for figure in figures.values() for trace in figure["data"]])
    assert "<img" not in shown
    assert "<img" not in "".join(payload(text)["texts"].values())


def test_the_page_holds_every_trial_once_and_loads_nothing(study_of, tmp_path):
    study = study_of(30)
    text = report(study, tmp_path / "deep" / "report.html").read_text("utf-8")
    reader = read(text)
    assert reader.loads == ["data:,"]
    assert reader.counts["tr"] == 1 + 10 + 1 + 30 + 1 + len(study.space)
    assert len(payload(text)["texts"]) == 30
    assert set(payload(text)["figures"]) == {
        *("curves-validation_accuracy", "curves-validation_loss", "curves-train_loss"),
        *(f"effect-{name}" for name in study.space),
        "parallel",
        *("importance", "joint", "isolation-schedule", "isolation-batch_size"),  # too few trials of each optimizer
    }
    assert text.count("plotly.js v") == 1
    assert "6.8 s" in text
    assert "log-uniform from 1e-4 to 1" in text


def test_the_answer_is_one_true_sentence(study_of):
    study = study_of(30)
    best = study.best
    assert answer(study) == (
        f"Best of 30: trial {best.number}, {best.values['optimizer']} at learning rate "
        f"{best.values['learning_rate']:.3g}, validation accuracy {best.score:.4g}, test accuracy 0.975."
    )
    assert "± " in answer(study_of(10, seeds=(0, 1, 2)))
    assert answer(study_of(5, all_diverge=True)).startswith("All 5 trials diverged")
    assert answer(study_of(1, all_diverge=True)).startswith("The only trial diverged")
    assert answer(study_of(1)).startswith("The only trial: trial 0")
    assert answer(study_of(0)).startswith("No trial was finished")


@pytest.mark.parametrize(
    ("made", "present", "absent"),
    [
        ({"count": 1}, "too few to compare", "Interrupted"),
        ({"count": 6, "all_diverge": True}, "All 6 trials diverged", "Best recipes"),
        ({"count": 6, "unfinished": 2}, "2 trials of 6 ended before the last step", "All 6"),
        ({"count": 4, "search": False}, "Nothing was searched", "Interrupted"),
        ({"count": 12, "direction": "min"}, "lower is better", "higher is better"),
        ({"count": 12, "seeds": (0, 1, 2)}, "over 3 seeds", "Interrupted"),
        ({"count": 0}, "No trial was finished", "Learning curves"),
    ],
)
def test_odd_studies_have_a_whole_page(study_of, made, present, absent):
    text = study_page(study_of(**made)).render()
    read(text)
    payload(text)
    body = text.split('<script type="application/json"')[0]
    assert present in body
    assert absent not in body


def test_a_winner_at_the_end_of_its_range_is_told_once(study_of):
    plain = study_of(12)
    rate, dropout = plain.best.values["learning_rate"], plain.best.values["dropout"]
    wide = {"learning_rate": log_uniform(rate / 10, rate * 10), "dropout": uniform(0.0, 1.0)}
    assert dropout > 0.05 and "search beyond it" not in study_page(replace(plain, ranges=wide)).render()
    text = study_page(replace(plain, ranges=wide | {"learning_rate": log_uniform(rate, 1e3)})).render()
    assert text.count("search beyond it") == 1
    assert re.search(r"The best learning rate, [\d.e-]+, is at the low end of its range, [\d.e-]+ to 1000:", text)


def test_pruned_trials_are_drawn_dotted_and_counted(study_of):
    study = pruned_of(study_of)
    page = study_page(study)
    text = page.render().split('<script type="application/json"')[0]
    assert "5 of 24 trials pruned, which saved 10 % of the epochs" in text and "Interrupted" not in text
    assert "1 pruned trial revived and trained to the end; the best has rank" in text
    dotted = [trace for trace in page.figures["curves-validation_accuracy"].data if trace.line.dash == "dot"]
    assert [trace.name for trace in dotted] == ["pruned (5)"] and set(dotted[0].customdata) == set(range(5))
    assert max(x for x in dotted[0].x if x is not None) == 10
    assert "pruned at epoch 10" in page.texts[0] and "pruned" not in page.texts[8]
    lone = replace(study, trials=study.trials[:1])
    assert answer(lone).endswith("It was pruned at epoch 10; what was not has no score.")


def test_how_to_search_beyond_a_range_is_said_in_a_line_to_paste(study_of):
    plain = study_of(12)
    rate, dropout = plain.best.values["learning_rate"], plain.best.values["dropout"]
    ranges = {"learning_rate": log_uniform(1e-6, rate), "dropout": uniform(dropout, 1.0)}
    wide = {"learning_rate": log_uniform(1e-6, 10.0), "dropout": ranges["dropout"]}
    rate_note, dropout_note, how, *lines = edge_notes(replace(plain, ranges=ranges, wider=wide))
    assert rate_note.endswith("search beyond it.") and dropout_note.endswith("its field allows nothing beyond it.")
    assert "space.widened(study.edges)" in how and "space file" in how
    assert lines == ["learning_rate = {low = 1e-06, high = 10.0, log = true}"]
    assert lines[0] in study_page(replace(plain, ranges=ranges, wider=wide)).render()
    assert edge_notes(replace(plain, ranges=ranges, wider={"dropout": ranges["dropout"]})) == [rate_note, dropout_note]


def test_other_results_have_a_page(run_of, study_of, tmp_path):
    study = study_of(12)
    runs = Runs([trial.runs[0] for trial in study.trials])
    things = [runs[0], runs, Runs([]), study.effect("optimizer"), study.effect("learning_rate"), cosine_decay(0.1, 50)]
    for place, thing in enumerate([*things, run_of(study.best.recipe, diverged_at=0)]):
        read(report(thing, tmp_path / f"{place}.html").read_text("utf-8"))
    with pytest.raises(ValueError, match=r"x must be a study.*got a dict"):
        report({}, tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_importing_reports_does_not_import_plotly():
    program = "import sys, hyperjax.reports; print([m for m in sys.modules if m.startswith('plotly')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
