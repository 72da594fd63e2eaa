"""Population based training: what is copied, what is varied, and the schedule that comes of it."""

import numpy as np
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax.studies.population_based import _exploited, explored, population_based
from tests.training.made import classes
from tests.training.test_engine import same

EPOCHS = 12


def falling():
    """A line far from its start under noisy targets: fast rates at first, slow ones for the last digits."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 1)).astype(np.float32)
    across = np.linalg.qr(np.concatenate([x, np.ones_like(x)], 1))[0]
    noise = rng.normal(0, 3, x.shape)
    noise -= across @ (across.T @ noise)  # so that the best line through the noisy targets is the true one
    data = {"train": (x, (30 * x + noise).astype(np.float32)), "validation": (x, 30 * x)}
    return hj.Task(lambda rngs: nnx.Linear(1, 1, rngs=rngs), data, loss="squared_error", name="falling")


@pytest.fixture(scope="module")
def task():
    return falling()


@pytest.fixture(scope="module")
def found(task):
    return search(task)


def search(task, **changes):
    own = hj.space(learning_rate=hj.log_uniform(1e-3, 0.3))
    return population_based(
        task, own, recipe=hj.Recipe(optimizer="sgd", batch_size=4, epochs=EPOCHS), **({"members": 16} | changes)
    )


def test_the_schedule_found_falls_and_is_what_was_in_force(found):
    rates = found.schedule("learning_rate")
    assert rates.shape == (EPOCHS,) and rates[:3].mean() > 3 * rates[-3:].mean()
    assert all((member.run.score >= found.best.run.score) for member in found.members)
    assert found.conditions["copies"] == 4 * (EPOCHS - 1) and found.conditions["programs"] == 1
    for member in found.members:
        assert member.history[0].epoch == 0 and member.history[-1].member == member.number and member.run.finished
        assert member.history[-1].recipe == member.run.recipe and len(member.run.losses) == 16 * EPOCHS
        in_force = member.run.in_force("learning_rate")
        for piece, end in zip(member.history, [*(p.epoch for p in member.history[1:]), EPOCHS], strict=True):
            assert (in_force[16 * piece.epoch : 16 * end] == np.float32(piece.values["learning_rate"])).all()
    np.testing.assert_array_equal(rates, found.best.run.in_force("learning_rate")[::16])


def test_the_worst_quarter_and_those_without_a_score_copy_the_best_quarter():
    gains = np.array([0.5, 0.9, 0.1, 0.8, np.nan, 0.2, 0.7, 0.3])
    pairs = [
        pair for seed in range(200) for pair in _exploited(gains, range(10, 18), 0.25, np.random.default_rng(seed))
    ]
    assert set(pairs) == {(source, target) for source in (11, 13) for target in (12, 14)}
    shares = np.array([pairs.count((11, 12)), pairs.count((13, 14))]) / 200
    assert (abs(shares - 0.5) < 0.15).all()
    assert {
        target for _, target in _exploited(np.array([1.0, np.nan, np.nan]), [0, 1, 2], 0.25, np.random.default_rng(0))
    } == {1, 2}
    for gains in ([np.nan, np.nan], [1.0]):  # nobody to copy
        assert _exploited(np.array(gains), range(len(gains)), 0.25, np.random.default_rng(0)) == []


def test_the_same_seed_gives_the_same_members(task, found):
    again, other = search(task), search(task, seed=1)
    for a, b in zip(found.members, again.members, strict=True):
        same(a.run, b.run)
        assert a.history == b.history and a.seed == b.seed
    assert [m.history for m in other.members] != [m.history for m in found.members]


def test_a_member_that_copied_once_is_what_a_fork_of_its_source_is(task):
    """Trained alone, forked where the copy was made, with the target's seed behind it: the same bits."""
    found = search(task, every=6, members=6, quantile=0.34)
    copied = [member for member in found.members if len(member.history) == 2]
    assert len(copied) == 2 == found.conditions["copies"]
    for member in copied:
        first, second = member.history
        assert (first.epoch, second.epoch, second.member) == (0, 6, member.number) and first.member != member.number
        alone = hj.fit(task, first.recipe, seed=found.members[first.member].seed)
        fork = hj.fork(alone, 6 * 16, [second.recipe], seeds=[member.seed])
        np.testing.assert_array_equal(fork.runs[0].losses, member.run.losses)
        np.testing.assert_array_equal(fork.runs[0].metrics["validation_loss"], member.run.metrics["validation_loss"])


def test_members_that_diverge_go_on_from_others(task):
    wild = hj.space(learning_rate=[0.01, 1e30])
    found = population_based(task, wild, 8, recipe=hj.Recipe(optimizer="sgd", batch_size=4, epochs=3), resample=0.0)
    assert any(len(member.history) > 1 for member in found.members)
    assert all(not member.run.diverged and member.run.recipe.learning_rate == 0.01 for member in found.members)
    assert found.schedule("learning_rate").tolist() == pytest.approx([0.01] * 3)


@pytest.mark.slow
def test_choices_are_drawn_anew_and_structure_stays():
    own = hj.space(
        learning_rate=hj.log_uniform(1e-3, 0.3),
        optimizer=["sgd", "momentum", "adam"],
        momentum=hj.uniform(0.5, 0.99),
        batch_size=[10, 23],
    )
    found = population_based(classes(), own, 12, recipe=hj.Recipe(epochs=5), resample=0.5)
    assert found.conditions["programs"] == 2
    for member in found.members:
        assert len({piece.values["batch_size"] for piece in member.history}) == 1
        assert all(
            ("momentum" in piece.values) == (piece.values["optimizer"] == "momentum") for piece in member.history
        )
    changes = {
        (a.values["optimizer"], b.values["optimizer"])
        for m in found.members
        for a, b in zip(m.history, m.history[1:], strict=False)
    }
    assert any(a != b for a, b in changes)
    assert set(found.schedule("optimizer")) <= {"sgd", "momentum", "adam"} and found.schedule("batch_size").tolist()[
        0
    ] in (10, 23)


def test_what_is_varied_stays_in_its_range_and_keeps_constraints():
    own = hj.space(
        {"model.width": [8, 16]},
        learning_rate=hj.log_uniform(1e-3, 0.1),
        dropout=hj.uniform(0.0, 0.5),
        activation=["relu", "tanh", "gelu"],
        batch_size=hj.integer(10, 20),
        constraints={"small": lambda v: v["learning_rate"] < 0.05 or v["dropout"] > 0.1},
    )
    rng, start = (
        np.random.default_rng(0),
        {"model.width": 8, "learning_rate": 0.04, "dropout": 0.05, "activation": "relu", "batch_size": 12},
    )
    drawn = [explored(own, start, (0.5, 2.0), 0.2, rng) for _ in range(300)]
    assert {d["batch_size"] for d in drawn} == {12} and {d["model.width"] for d in drawn} == {8}
    near = [d["learning_rate"] for d in drawn if d["learning_rate"] in (0.02, 0.08)]
    assert 0.6 < len(near) / 300 < 0.95 and all(d["learning_rate"] < 0.05 or d["dropout"] > 0.1 for d in drawn)
    assert {d["activation"] for d in drawn} == {"relu", "tanh", "gelu"}
    assert 0.78 < sum(d["activation"] == "relu" for d in drawn) / 300 < 0.95  # 1 - 0.2 * 2 / 3
    assert all(0 <= d["dropout"] <= 0.5 for d in drawn)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"members": 1}, "members must be a whole number of at least 2, got 1"),
        ({"every": 0}, "every must be a whole number of at least 1, got 0"),
        ({"quantile": 0.6}, r"quantile must be a number in \(0, 0.5\], got 0.6"),
        ({"resample": 2}, r"resample must be a number in \[0, 1\], got 2"),
        ({"perturb": ()}, r"perturb must be factors above 0, got \(\)"),
        ({"perturb": (0.8, 0)}, r"perturb must be a number in \(0, inf\), got 0"),
        ({"seed": -1}, r"seed must be"),
        ({"space": hj.space(epochs=[1, 2])}, r"epochs must be the same for all members, got \[1, 2\]"),
        ({"space": 3}, r"space must come from hyperjax.space\(...\), got 3"),
        ({"recipe": hj.Recipe(early_stopping={"patience": 2})}, "early_stopping must be left out"),
    ],
)
def test_names_the_bad_argument(task, changes, message):
    given = {"space": hj.space(learning_rate=[0.1, 0.2]), "members": 4} | changes
    with pytest.raises(ValueError, match=message):
        population_based(task, given.pop("space"), **given)


def test_asks_for_what_there_is(found):
    with pytest.raises(ValueError, match="name must be one of learning_rate, got 'momentum'"):
        found.schedule("momentum")
    with pytest.raises(ValueError, match="member must be from 0 to 15, got 16"):
        found.schedule("learning_rate", 16)
    assert repr(found).startswith("PopulationBased(16 members on falling: validation_loss=")
