"""A recipe comes from a file, from options, or from both, and what is none is refused in one line."""

import json

import pytest

import hyperjax as hj
from hyperjax.cli.recipes import recipe_of


def test_options_lie_over_the_file(tmp_path):
    kept = hj.Recipe(optimizer="momentum", learning_rate=0.3, epochs=2.5, schedule="cosine_decay")
    file = tmp_path / "recipe.json"
    file.write_text(kept.to_json())
    assert recipe_of() == hj.Recipe()
    assert recipe_of(file) == kept
    changed = recipe_of(file, "nesterov", "1e-2", "full", "3")
    assert changed == kept.replace(optimizer="nesterov", learning_rate=0.01, batch_size="full", epochs=3)


def test_of_a_study_it_is_the_winners_or_else_the_best_trials(tmp_path):
    file, best, winner = tmp_path / "best.json", {"recipe": {"epochs": 3}}, {"recipe": {"epochs": 5}}
    file.write_text(json.dumps({"best": best, "winner": None}))
    assert recipe_of(file).epochs == 3
    file.write_text(json.dumps({"best": best, "winner": winner}))
    assert recipe_of(file).epochs == 5


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (None, {}, "recipe must be a file that can be read, got '.*recipe.json': No such file"),
        ("{", {}, "recipe must be a file of JSON, got '.*recipe.json': "),
        ("[]", {}, "text must be a JSON object of recipe fields, got list"),
        ('{"best": null}', {}, "recipe must be a file that holds a recipe, got '.*recipe.json' of a study without"),
        ("{}", {"learning_rate": "fast"}, "learning_rate must be a number in .*, got 'fast'"),
        ("{}", {"batch_size": "2.5"}, "batch_size must be .*, got 2.5"),
        ("{}", {"optimizer": "adan"}, "optimizer must be one of .*; did you mean 'adam'?"),
    ],
)
def test_what_is_no_recipe_is_refused(tmp_path, text, options, message):
    file = tmp_path / "recipe.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ValueError, match=message):
        recipe_of(file, **options)
