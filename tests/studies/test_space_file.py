"""Space files: every form that TOML gives, and everything that a file can be instead."""

import numpy as np
import pytest

import hyperjax as hj
from hyperjax.studies import Range, read_space


@pytest.fixture
def read(tmp_path):
    def reader(text, **fixed):
        path = tmp_path / "space.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_space(path, **fixed)

    return reader


def test_every_form_of_an_entry(read):
    made = read(
        """
        learning_rate = {low = 1e-4, high = 1, log = true}   # a range on a logarithmic scale
        dropout = {low = 0, high = 0.5}
        batch_size = {low = 16, high = 64, log = true, integer = true}
        epochs = {low = 2, high = 5, integer = true}
        optimizer = ["adam", "adamw"]
        warmup = [0, 10, {fraction = 0.1}, {epochs = 2}]
        schedule = "cosine_decay"
        l2 = 0.01
        "model.width" = [16, 32]
        optimizer_arguments.b1 = 0.8

        [schedule_arguments]
        alpha = {low = 0.0, high = 0.1}
        decay_steps = {fraction = 0.5}

        [hyperparameters]
        slope = [0.1, 0.2]
        """
    )
    assert made.entries == {
        "learning_rate": Range(1e-4, 1.0, log=True),
        "dropout": Range(0.0, 0.5),
        "batch_size": Range(16, 64, log=True, integer=True),
        "epochs": Range(2, 5, integer=True),
        "optimizer": ["adam", "adamw"],
        "warmup": [0, 10, hj.fraction(0.1), hj.epochs(2)],
        "schedule": "cosine_decay",
        "l2": 0.01,
        "model.width": [16, 32],
        "optimizer_arguments.b1": 0.8,
        "schedule_arguments.alpha": Range(0.0, 0.1),
        "schedule_arguments.decay_steps": hj.fraction(0.5),
        "hyperparameters.slope": [0.1, 0.2],
    }
    recipe = made.recipe(made.sample(np.random.default_rng(0)))
    assert recipe.schedule_arguments["decay_steps"] == hj.fraction(0.5) and recipe.model["width"] in (16, 32)


def test_what_is_fixed_outside_gives_way_to_the_file(read):
    assert read("epochs = 3", epochs=20).entries == {"epochs": 3}
    assert read("l2 = 0.1", epochs=20).entries == {"epochs": 20, "l2": 0.1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "space must name at least one hyperparameter, got an empty file"),
        ("# nothing\n", "space must name at least one hyperparameter, got an empty file"),
        ("optimizer = [sgd]", r"space must be a TOML file, got '.*space.toml': .*line 1"),
        ("just words", "space must be a TOML file"),
        (np.random.default_rng(0).bytes(4096), r"space must be a TOML file, got '.*': 'utf-8' codec"),
        (b"\0\0\0\0", "space must be a TOML file"),
        ("l2 = " + "9" * 5000, "space must be a TOML file"),
        ("l2 = " + "[" * 100_000, "space must be a TOML file"),
        ("l2 = 1\nl2 = 2", "space must be a TOML file.*overwrite"),
        ('"model.width" = 3\n[model]\nwidth = 4', "model.width must be given once, got it twice"),
        ("optimiser = ['sgd']", "space '.*space.toml': space must name fields .*'optimiser'; did you mean 'optimizer'"),
        ("[model]\nwidth = []", "model.width must have at least one choice, got an empty list"),
        ("[learning]\nrate = 1", "learning must be a table such as .* got {'rate': 1}"),
        ("dropout = []", "dropout must have at least one choice, got an empty list"),
        (
            "dropout = {low = 0.5, high = 0.1}",
            "dropout: low of uniform must be at most high, got low 0.5 above high 0.1",
        ),
        ("dropout = {low = 0, high = 2}", r"dropout must be a number in \[0, 1\], got 2.0"),
        ("dropout = 2", r"dropout must be a number in \[0, 1\], got 2"),
        ("learning_rate = {low = 0, high = 1, log = true}", "learning_rate: low of log_uniform must be above 0"),
        ("learning_rate = {low = 'a', high = 1}", "learning_rate: low of uniform must be a number, got 'a'"),
        ("learning_rate = {low = [0], high = 1}", r"learning_rate: low of uniform must be a number, got \[0\]"),
        ("learning_rate = {low = 0, high = inf}", "learning_rate: high of uniform must be a number in .* got inf"),
        ("learning_rate = {low = 0}", "learning_rate must be a table of low, high and perhaps log and integer, got"),
        (
            "learning_rate = {low = 0, hihg = 1}",
            "learning_rate must be a table of low, high and perhaps log and integer",
        ),
        (
            "learning_rate = {low = 0, high = 1, lgo = true}",
            "learning_rate must be a table of low, high and perhaps log",
        ),
        ("learning_rate = {low = 0, high = 1, log = 'yes'}", "log of learning_rate must be true or false, got 'yes'"),
        ("learning_rate = {low = 0, high = 1, integer = 1}", "integer of learning_rate must be true or false, got 1"),
        ("learning_rate = {}", "learning_rate must be a table such as .* got {}"),
        ("learning_rate = 'fast'", "learning_rate must be a number in .* got 'fast'"),
        ("learning_rate = ['fast']", "learning_rate must be a number in .* got 'fast'"),
        ("learning_rate = 1979-05-27", "learning_rate must be a number in .* got datetime.date"),
        ("learning_rate = true", "learning_rate must be a number in .* got True"),
        ("learning_rate = [[0.1]]", r"learning_rate must be one number or name at a time, got \[0.1\]"),
        ("epochs = {low = 0.5, high = 2, integer = true}", "epochs: low and high of integer must be whole numbers"),
        ("epochs = {epochs = 3}", r"epochs must be a number in .* got epochs\(3\)"),
        ("epochs = nan", "epochs must be a number in .* got nan"),
        ("warmup = {fraction = 'a'}", "fraction of warmup must be a number, got 'a'"),
        ("warmup = {fraction = -0.1}", "warmup: fraction must be a number in .* got -0.1"),
        ("warmup = [{steps = 3}]", "warmup must be a table such as"),
        ("warmup = {fraction = 0.1, epochs = 2}", "warmup must be a table such as"),
        ("model = 3", "model must be a mapping from names to values, got 3"),
        ("model = {low = 0, high = 3}\nmodel2 = 1", "space must name fields"),
        ("optimizer = 3", "optimizer must be one of .* got 3"),
        ("optimizer = ['sgd', 3]", "optimizer must be one of .* got 3"),
        ("optimizer = {low = 0, high = 1}", "optimizer must be one of .* got 0.0"),
        ("schedule = [1]", "must be one of .* got 1"),
        ("batch_size = 'all'", "batch_size must be a whole number of at least 1, or 'full', got 'all'"),
        ("batch_size = 2.5", "batch_size must be a whole number of at least 1, or 'full', got 2.5"),
        ("optimizer = 'adam'\nmomentum = 0.9", "momentum must be left out, since optimizer adam can read"),
    ],
)
def test_what_a_file_cannot_be(read, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(text)
    assert "space.toml" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match=r"space must be a TOML file, got '.*absent.toml', which does not exist"):
        read_space(tmp_path / "absent.toml")
    with pytest.raises(ValueError, match=r"space must be a TOML file, got '.*': Is a directory"):
        read_space(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"space must be a TOML file, got '.*x.toml': Not a directory"):
        read_space(tmp_path / "file" / "x.toml")
    with pytest.raises(ValueError, match=r"space must be a TOML file, got 'a+': File name too long"):
        read_space("a" * 300)


def test_no_file_of_random_bytes_or_mangled_text_gets_past(read):
    rng = np.random.default_rng(1)
    good = b"learning_rate = {low = 1e-4, high = 1.0, log = true}\noptimizer = ['sgd', 'adam']\nepochs = 3\n"
    for _ in range(150):
        mangled = bytearray(good)
        for place in rng.integers(len(good), size=3):
            mangled[place] = rng.integers(32, 127)
        try:
            made = read(bytes(mangled))
        except ValueError:
            continue
        assert all(made.recipe(made.sample(rng)).epochs > 0 for _ in range(3))
