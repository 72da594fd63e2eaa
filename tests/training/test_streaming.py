"""Training on data that do not lie on the device: memory maps, iterables and Grain, in blocks that are read ahead."""

import threading

import numpy as np
import pytest
from flax import nnx

import hyperjax as hj
from hyperjax.tasks import MemoryMap, Stream
from hyperjax.training.engine import Engine
from hyperjax.training.mapping import Population
from tests.training.made import classes
from tests.training.test_engine import same

grain = pytest.importorskip("grain")
RECIPE = hj.Recipe(learning_rate=0.02, batch_size=8, epochs=5, dropout=0.2)
EXAMPLES, STEPS = 46, 6  # an epoch's last batch holds 6 of 8


@pytest.fixture(scope="module")
def on_device():
    return classes()


@pytest.fixture(scope="module")
def whole(on_device):
    return hj.fit(on_device, RECIPE, segment_steps=4)


def on_disk(folder, task):
    """The task with its training set in memory maps."""
    mapped = []
    for name, array in zip("xy", task.data["train"], strict=True):
        np.save(folder / f"{name}.npy", array)
        mapped.append(np.load(folder / f"{name}.npy", mmap_mode="r"))
    return classes(data={**task.data, "train": tuple(mapped)})


class Batches:
    """The batches that a run with seed 0 sees, as something else would make them; counts what is read."""

    def __init__(self, task, batch=8, epochs=5):
        reading = MemoryMap(task.data["train"]).open(batch, 0, 0, None)
        x, y = reading.read(epochs * STEPS)
        sizes = [batch if (i + 1) % STEPS else EXAMPLES - (STEPS - 1) * batch for i in range(epochs * STEPS)]
        self.made = [(x[i, :size], y[i, :size]) for i, size in enumerate(sizes)]
        self.read = 0

    def __iter__(self):
        for batch in self.made:
            self.read += 1
            yield batch


def streamed(task, train):
    return classes(data={**task.data, "train": train})


def test_memory_counts_the_block_that_trains_and_the_one_that_is_read(tmp_path, on_device, monkeypatch):
    task = on_disk(tmp_path, on_device)
    x, y = task.data["train"]
    engines = {each: Engine(each, [RECIPE], segment_steps=4) for each in (task, on_device)}
    block = 2 * 4 * 8 * (x[0].nbytes + y[:1].nbytes)
    assert [engine.groups[0].trainer.blocks_bytes for engine in engines.values()] == [block, 0]
    monkeypatch.setattr(Population, "memory", lambda *_: (10**6, 10**6 + block - 1))
    engines[on_device].compile()
    with pytest.raises(ValueError, match="batch_size must be smaller for made"):
        engines[task].compile()


def test_a_memory_map_gives_the_bits_of_the_same_data_on_the_device(tmp_path, on_device, whole):
    task = on_disk(tmp_path, on_device)
    assert task.stream is not None and "train" not in task.arrays and task.size("train") == EXAMPLES
    same(hj.fit(task, RECIPE, segment_steps=4), whole)


@pytest.mark.slow
def test_a_batch_that_grows_reads_on_where_the_smaller_ones_ended(tmp_path, on_device):
    ramp = RECIPE.replace(batch_ramp={"epochs": (2,), "factor": 2})
    same(hj.fit(on_disk(tmp_path, on_device), ramp, segment_steps=4), hj.fit(on_device, ramp, segment_steps=4))


@pytest.mark.parametrize("layout", [pytest.param("map", marks=pytest.mark.slow), "vmap"])
def test_all_members_share_one_reading(layout, tmp_path, on_device):
    batches = Batches(on_device)
    task = streamed(on_device, Stream(batches, steps=STEPS, last=6))
    recipes = [RECIPE, RECIPE.replace(learning_rate=0.1, epochs=3), RECIPE.replace(optimizer="sgd")]
    batches.read = 0
    runs = hj.fit_population(task, recipes, layout=layout, width=1)
    assert batches.read == 5 * STEPS
    if layout == "map":
        for run, recipe in zip(runs, recipes, strict=True):
            same(run, hj.fit(on_device, recipe))


def test_blocks_are_read_while_the_last_one_trains(on_device, monkeypatch):
    """The second block is asked for before the first has been trained on, by another thread; never a third."""
    from hyperjax.tasks.streams.memory_map import _Rows
    from hyperjax.training.chunk import Chunk

    seen, asked = [], threading.Event()
    read, take = _Rows.read, Chunk.take

    def reading(self, steps):
        seen.append(("read", self._step, threading.current_thread() is threading.main_thread()))
        asked.set() if self._step else None
        return read(self, steps)

    def taking(chunk, *args):
        assert asked.wait(10)
        seen.append(("trained", chunk.counter, None))
        take(chunk, *args)

    monkeypatch.setattr(_Rows, "read", reading)
    monkeypatch.setattr(Chunk, "take", taking)
    hj.fit(streamed(on_device, MemoryMap(on_device.data["train"])), RECIPE.replace(epochs=2), segment_steps=4)
    assert [(what, at) for what, at, _ in seen if what == "read"] == [("read", 0), ("read", 4), ("read", 8)]
    assert seen.index(("read", 4, False)) < seen.index(("trained", 0, None))
    assert ("read", 8, False) in seen[seen.index(("trained", 0, None)) :]


def test_a_run_on_blocks_that_are_shorter_is_continued_at_the_step_that_was_asked_for(on_device, monkeypatch):
    task = streamed(on_device, MemoryMap(on_device.data["train"]))
    row = sum(array[0].nbytes for array in on_device.data["train"])
    monkeypatch.setattr("hyperjax.training.trainer.BYTES_PER_BLOCK", 4 * 8 * row)  # four steps
    run = hj.fit(task, RECIPE.replace(epochs=3))
    stopped = run.recipe.replace(learning_rate=0.0)
    same_again, frozen = hj.fork(run, 9, [run.recipe, stopped], seeds=[run.seed]).runs
    same(same_again, run)
    np.testing.assert_array_equal(frozen.update_norms == 0, np.arange(18) >= 9)


def test_an_iterator_is_begun_once_though_a_last_validation_waits_for_the_end_of_an_epoch(on_device):
    """The segment from step 9 trains on nothing: it is there for the validation behind step 12."""
    recipe = RECIPE.replace(epochs=1.5)
    task = streamed(on_device, Stream(iter(Batches(on_device)), steps=STEPS, last=6))
    same(hj.fit(task, recipe, segment_steps=3), hj.fit(on_device, recipe, segment_steps=3))


class StoppedError(Exception):
    pass


def goes_on(make, folder, whole):
    """A run that ends at its fourth segment goes on bit for bit in a new reading."""
    calls = []

    def stop(run):
        calls.append(run)
        if len(calls) == 4:
            raise StoppedError

    with pytest.raises(StoppedError):
        hj.fit(make(), RECIPE, on_segment=stop, segment_steps=4, checkpoint=folder)
    same(hj.resume(folder, make()), whole)


def test_a_run_on_a_memory_map_goes_on(tmp_path, on_device, whole):
    goes_on(lambda: on_disk(tmp_path, on_device), tmp_path / "kept", whole)


def test_a_run_on_batches_goes_on_behind_those_it_has_seen(tmp_path, on_device, whole):
    goes_on(lambda: streamed(on_device, Stream(Batches(on_device), steps=STEPS, last=6)), tmp_path, whole)


def test_a_run_on_an_iterator_goes_on_with_a_new_one(tmp_path, on_device, whole):
    goes_on(lambda: streamed(on_device, Stream(iter(Batches(on_device)), steps=STEPS, last=6)), tmp_path, whole)


class Rows:
    """What Grain reads from, one example at a time."""

    def __init__(self, task):
        self.x, self.y = task.data["train"]

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]

    def __repr__(self):
        return "Rows()"


def map_dataset(task):
    return grain.MapDataset.source(Rows(task)).shuffle(seed=3).batch(8)


def iter_dataset(task):
    return Stream(map_dataset(task).repeat().to_iter_dataset(), steps=STEPS, last=6)


def data_loader(task):
    sampler = grain.samplers.IndexSampler(EXAMPLES, num_epochs=None, shuffle=True, seed=3)
    loader = grain.DataLoader(data_source=Rows(task), sampler=sampler, operations=[grain.transforms.Batch(8)])
    return Stream(loader, steps=STEPS)


def test_an_iterator_of_grains_is_begun_again_and_left_open(on_device):
    iterator = iter(map_dataset(on_device).repeat().to_iter_dataset())
    next(iterator)
    task = streamed(on_device, Stream(iterator, steps=STEPS, last=8))
    short = RECIPE.replace(epochs=0.5)
    same(hj.fit(task, short), hj.fit(task, short))
    assert next(iterator)[0].shape == (8, 4)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(map_dataset, marks=pytest.mark.slow),
        pytest.param(iter_dataset, marks=pytest.mark.slow),
        pytest.param(data_loader, marks=pytest.mark.slow),
    ],
)
def test_grain_is_followed_and_goes_on_by_its_own_state(make, tmp_path, on_device, monkeypatch):
    def task():
        return streamed(on_device, make(on_device))

    whole = hj.fit(task(), RECIPE, segment_steps=4)
    # Independent: the same batches as a plain list.
    source = task().stream
    given = iter(source.given)
    made = [tuple(map(np.asarray, next(given))) for _ in range(5 * STEPS)]
    assert not np.array_equal(made[0][1], made[STEPS][1])  # each epoch in another order
    same(hj.fit(streamed(on_device, Stream(made, steps=STEPS, last=len(made[STEPS - 1][0]))), RECIPE), whole)
    skipped = []
    monkeypatch.setattr("hyperjax.tasks.streams.batches._Batches.skip", lambda self, count: skipped.append(count))
    goes_on(task, tmp_path, whole)
    assert not skipped


def test_bytes_stay_bytes_until_they_are_used(on_device):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 4)).astype(np.uint8)
    labels = (images[:, 0] > 127).astype(np.int32)
    seen = []

    def loss(predictions, targets):
        return hj.losses.cross_entropy(predictions, targets)

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.layer = nnx.Linear(4, 2, rngs=rngs)

        def __call__(self, x):
            seen.append(x.dtype)
            return self.layer(x / 255.0)

    for train in ((images, labels), MemoryMap((images, labels))):
        run = hj.fit(hj.Task(Net, {"train": train}, loss=loss), hj.Recipe(batch_size=8, epochs=3, learning_rate=0.05))
        assert run.losses[-1] < run.losses[0] and set(map(str, seen)) == {"uint8"}


def spoilt(task, **wrong):
    x, y = (np.array(array) for array in task.data["train"])
    for place, value in wrong.get("x", {}).items():
        x[place] = value
    for place, value in wrong.get("y", {}).items():
        y[place] = value
    return x, y


def test_what_is_wrong_is_said_where_it_is_seen(on_device):
    def fit(train, **changes):
        return hj.fit(streamed(on_device, train), RECIPE.replace(**changes), segment_steps=4)

    good = on_device.data["train"]
    with pytest.raises(ValueError, match="arrays must have one length of at least 1, got 45, 46"):
        MemoryMap((good[0], good[1][1:]))
    with pytest.raises(ValueError, match=r"data\['train'\]\[0\] must be finite, got 1 values"):
        fit(MemoryMap(spoilt(on_device, x={(7, 1): np.nan})))
    with pytest.raises(ValueError, match=r"labels in data\['train'\] must be in \[0, 3\)"):
        fit(MemoryMap(spoilt(on_device, y={9: 3})))
    made = Batches(on_device).made
    bad = [made[0], made[1], (np.full_like(made[2][0], np.inf), made[2][1])]
    with pytest.raises(ValueError, match=r"steps 0 to 3 of data\['train'\]\[0\] must be finite, got 32 values"):
        fit(Stream(bad, steps=3))
    with pytest.raises(ValueError, match=r"batches must be .* at step 5; where an epoch's last batch is smaller"):
        fit(Stream(Batches(on_device), steps=STEPS))
    with pytest.raises(ValueError, match="a batch for every step, got an iterator that ended before step 30"):
        fit(Stream(iter(made), steps=STEPS, last=6), epochs=6)
    with pytest.raises(ValueError, match="batch_size must be 8, as the batches of made are, got 32"):
        fit(Stream(made, steps=STEPS, last=6), batch_size=32)
    for field, value in {"sampling": "replacement", "class_weights": "balanced", "batch_size": "full"}.items():
        with pytest.raises(ValueError, match=f"{field} must be"):
            fit(MemoryMap(good), **{field: value})
    late = np.zeros((200, 1), np.float32)
    late[5] = 2  # behind what is looked at before anything compiles
    binary = hj.Task(lambda rngs: nnx.Linear(2, 1, rngs=rngs), {"train": MemoryMap((late[:, [0, 0]], late))}, "hinge")
    with pytest.raises(ValueError, match=r"labels in data\['train'\] must be 0 or 1 .* from 0 to 2"):
        hj.fit(binary, RECIPE.replace(dropout=None))
    with pytest.raises(ValueError, match="batches must be something that can be iterated, got int"):
        Stream(5, steps=3)
    with pytest.raises(ValueError, match="steps must say how many batches are an epoch"):
        streamed(on_device, iter(made))
    with pytest.raises(ValueError, match="batches must hold at least one batch"):
        Stream([], steps=1)
    with pytest.raises(ValueError, match="example_weights"):
        hj.fit_population(streamed(on_device, MemoryMap(good)), [RECIPE], example_weights=np.ones((1, 46)))
    with pytest.raises(ValueError, match="bagging"):
        hj.ensembles.bagging(streamed(on_device, MemoryMap(good)), RECIPE)
    once = streamed(on_device, Stream(iter(made), steps=STEPS, last=6))
    hj.fit(once, RECIPE.replace(epochs=1))
    with pytest.raises(ValueError, match="something that can be iterated again"):
        hj.fit(once, RECIPE.replace(epochs=1))
