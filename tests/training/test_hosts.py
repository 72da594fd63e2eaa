"""Several processes of one job, on this machine over loopback: they give what one gives, and go on when one dies."""

import os
import signal
import socket
import subprocess
import sys
import time

import jax
import ml_dtypes
import numpy as np
import pytest

import hyperjax as hj
from hyperjax.training import parcel
from hyperjax.training.chunk import Harvest
from hyperjax.training.meeting import Meeting
from hyperjax.training.program import Record
from tests.training.made import Net, classes
from tests.training.test_engine import same

RECIPES = [
    hj.Recipe(optimizer="adam", learning_rate=rate, epochs=e, dropout=0.1) for rate in (0.02, 0.1) for e in (1, 3)
]
BEGIN = """
import sys, pickle
import numpy as np
import hyperjax as hj

port, index, count, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
hj.initialize(f"localhost:{port}", count, index, heartbeat_timeout_seconds=10)
hj.initialize()  # nothing, the second time

import jax
from tests.training.made import classes
from tests.training.test_hosts import RECIPES, flat, halves

def refused(*_, **__):
    raise AssertionError("something was pickled")

pickle.dumps = pickle.loads = pickle.dump = pickle.load = refused
assert jax.process_count() == count, jax.process_count()
task = classes()
"""


def halves():
    """A task whose weights NumPy knows no name for."""
    return classes(model=lambda rngs: Net(rngs, param_dtype=ml_dtypes.bfloat16))


def flat(runs):
    """What a population left, as arrays by name."""
    x = classes().data["test"][0]
    models = {f"model-{i}": np.asarray(run.model(x), np.float32) for i, run in enumerate(runs)}
    return {"losses": runs.losses, "norms": runs[1].update_norms, **runs.metrics, **models}


class Job:
    """A program in several processes; what each prints is in `said`, when it has ended."""

    def __init__(self, program, count, folder, flags=""):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = str(free.getsockname()[1])
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip(),
        }
        command = [sys.executable, "-W", "error", "-c", BEGIN + program, port]
        self.processes = [
            subprocess.Popen(
                [*command, str(index), str(count), str(folder)],
                env=environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            for index in range(count)
        ]

    def ended(self, timeout=150):
        """Exit codes and outputs."""
        try:
            said = [process.communicate(timeout=timeout)[0] for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
        return [process.returncode for process in self.processes], said

    def succeeded(self):
        codes, said = self.ended()
        assert codes == [0] * len(codes), "\n".join(said)[-6000:]
        return said


def equal(folder, count, expected):
    for index in range(count):
        with np.load(folder / f"{index}.npz") as found:
            assert set(found) == set(expected)
            for name, array in expected.items():
                np.testing.assert_array_equal(found[name], array, err_msg=f"{name} in process {index}")


TOGETHER = """
task, told = halves(), []
def progress(done, total):
    told.append((done, total))

runs = hj.fit_population(task, RECIPES, [0, 1], layout="map", width=1, progress=progress, checkpoint=folder + "/run")
np.savez(f"{folder}/{index}.npz", **flat(runs))
assert told[-1:] == [(8, 8)] * (index == 0) and told == sorted(set(told)), told

class StoppedError(Exception):
    pass

def stop(done, total):
    raise StoppedError("enough")

try:
    hj.fit_population(task, RECIPES, [0, 1], layout="map", width=1, progress=stop)
except (StoppedError, hj.training.ProcessLostError) as error:
    print("ended by", type(error).__name__, error)
try:
    hj.fit_population(task, [recipe.replace(learning_rate=0.1 * (1 + index)) for recipe in RECIPES])
except ValueError as error:
    print("refused:", error)
"""


@pytest.mark.slow
def test_two_processes_give_what_one_gives_and_an_error_of_one_ends_both(tmp_path):
    job = Job(TOGETHER, 2, tmp_path)
    alone = hj.fit_population(halves(), RECIPES, [0, 1], layout="map", width=1)
    said = job.succeeded()
    equal(tmp_path, 2, flat(alone))
    for here, there in zip(hj.resume(tmp_path / "run", halves()), alone, strict=True):  # reads what both kept
        same(here, there)
    assert "ended by StoppedError enough" in said[0]
    assert (
        "ended by ProcessLostError process 0 stopped: StoppedError: enough; this training had no checkpoint" in said[1]
    )
    for text in said:
        assert "refused: what is trained must be the same in every process of a job, got 4 recipes" in text


GOES_ON = """
runs = hj.resume(folder + "/run", task)
np.savez(f"{folder}/{index}.npz", **flat(runs))
run = hj.fit(task, RECIPES[1], seed=1)  # trained by process 0, given to all
assert (run.losses == runs[3].losses).all()
space = hj.space(learning_rate=[0.1, 0.2, 0.3], epochs=1, optimizer="sgd")
found = hj.study(task, space, seeds=2, progress=lambda *_: print("reported"))
print("best", len(found.trials), found.best.number, [float(run.score) for run in found.best.runs])
"""


@pytest.mark.slow
def test_four_processes_go_on_with_what_one_began(tmp_path):
    class StoppedError(Exception):
        pass

    def stop(done, total):
        if done == 3:
            raise StoppedError

    given = {"layout": "map", "width": 1}
    with pytest.raises(StoppedError):
        hj.fit_population(classes(), RECIPES, [0, 1], **given, checkpoint=tmp_path / "run", progress=stop)
    job = Job(GOES_ON, 4, tmp_path)
    expected = flat(hj.fit_population(classes(), RECIPES, [0, 1], **given))
    said = job.succeeded()
    equal(tmp_path, 4, expected)
    space = hj.space(learning_rate=[0.1, 0.2, 0.3], epochs=1, optimizer="sgd")
    best = hj.study(classes(), space, seeds=2).best
    line = f"best 3 {best.number} {[float(run.score) for run in best.runs]}"
    assert all(line in text for text in said)
    assert ["reported" in text for text in said] == [True, False, False, False]


SIDE_BY_SIDE = """
assert jax.local_device_count() == 2
runs = hj.fit_population(task, RECIPES, [0, 1], layout="vmap", width=4)
np.savez(f"{folder}/{index}.npz", **flat(runs))
try:
    hj.fit_population(task, RECIPES, devices=jax.devices())
except ValueError as error:
    print(error)
"""


@pytest.mark.slow
def test_two_processes_of_two_devices_give_under_vmap_what_one_gives_at_the_same_width(tmp_path):
    flags = "--xla_force_host_platform_device_count=2"
    (tmp_path / "one").mkdir()
    jobs = [Job(SIDE_BY_SIDE, 2, tmp_path, flags), Job(SIDE_BY_SIDE, 1, tmp_path / "one", flags)]
    said = [job.succeeded() for job in jobs]
    assert all("devices must hold at least one of jax.local_devices()" in text for text in said[0])
    with np.load(tmp_path / "one" / "0.npz") as one:
        equal(tmp_path, 2, dict(one))


LONG = [hj.Recipe(optimizer="adam", learning_rate=rate, epochs=2500, dropout=0.1) for rate in (1e-3, 2e-3, 3e-3, 4e-3)]
DIES = """
from hyperjax.training import trainer
from tests.training.test_hosts import LONG
trainer.SECONDS_PER_SEGMENT = 0.01  # many segments
hj.fit_population(task, LONG, layout="map", width=1, checkpoint=folder)
print("done")
"""


def killed_in_the_middle(folder, chunk, victim):
    """Start a job, kill a process when a chunk of its has more checkpoints than before; codes, outputs, seconds."""
    job = Job(DIES, 2, folder)
    place = folder / "group-0" / f"chunk-{chunk}"

    def newest():
        return max((int(entry.name) for entry in place.glob("*") if entry.name.isdigit()), default=0)

    before, deadline = newest(), time.monotonic() + 120
    while newest() < before + 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    job.processes[victim].send_signal(signal.SIGKILL)
    begin = time.monotonic()
    codes, said = job.ended(60)
    assert codes[victim] == -signal.SIGKILL and not any("done" in text.splitlines() for text in said), said
    assert codes[1 - victim] not in (0, -signal.SIGKILL)
    return said, time.monotonic() - begin, newest()


@pytest.mark.slow
def test_when_a_process_dies_the_other_says_so_and_the_job_goes_on_where_it_was(tmp_path):
    folder = tmp_path / "run"
    said, seconds, reached = killed_in_the_middle(folder, chunk=1, victim=1)
    assert "ProcessLostError: process 1 is lost: it has said nothing for 5 seconds; what was kept is in" in said[0]
    assert f"{folder}: start the job again" in said[0] and seconds < 30
    said, seconds, _ = killed_in_the_middle(folder, chunk=3, victim=0)
    assert "process 1 of 2 was ended, by its own death or by that of process 0" in said[1]
    assert f"{folder}: start the job again" in said[1] and seconds < 30
    seen = []
    runs = hj.resume(folder, classes(), progress=lambda *done: seen.append(done))
    assert reached >= 3 and seen[-1] == (4, 4)
    for here, there in zip(runs, hj.fit_population(classes(), LONG, layout="map", width=1), strict=True):
        same(here, there)


def test_joining_alone_is_nothing_however_late(monkeypatch):
    monkeypatch.setattr("hyperjax.training.hosts._told", {})
    jax.devices()
    hj.initialize()
    assert not jax.distributed.is_initialized()
    # A machine that has the package for MPI is no cluster: JAX looks there only for those who ask.
    monkeypatch.setattr("jax._src.clusters.Mpi4pyCluster.is_env_present", classmethod(lambda cls: True))
    hj.initialize()
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "localhost:1")
    with pytest.raises(RuntimeError, match="must be called before anything uses JAX's devices"):
        hj.initialize()


def test_whoever_is_ended_is_told_of_the_checkpoint_also_while_programs_compile(tmp_path, monkeypatch):
    told = []
    meet = Meeting.__init__
    monkeypatch.setattr(Meeting, "__init__", lambda self, folder=None: (told.append(folder), meet(self, folder))[1])
    hj.fit(classes(), hj.Recipe(epochs=1), checkpoint=tmp_path)
    assert told and set(told) == {tmp_path}


def test_joining_is_refused_too_late_and_with_half_of_what_it_needs():
    program = """
import hyperjax as hj
hj.initialize()
try:
    hj.initialize("localhost:1", 2)
except ValueError as error:
    print(error)
import jax
jax.devices()
hj.initialize()
try:
    hj.initialize("localhost:1", 2, 0)
except RuntimeError as error:
    print(error)
print(jax.process_count(), jax.distributed.is_initialized())
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)
    assert "coordinator_address, num_processes and process_id must be given where no cluster" in done.stdout, (
        done.stderr
    )
    assert "initialize must be called before anything uses JAX's devices" in done.stdout, done.stderr
    assert done.stdout.endswith("1 False\n")


def harvest(seed):
    rng = np.random.default_rng(seed)
    carry = {
        "w": rng.normal(size=(2, 3)).astype(ml_dtypes.bfloat16),
        "step": np.int32([3, 4]),
        "none": np.zeros((2, 0)),
    }
    rows = [rng.normal(size=(2, 5)).astype(np.float32) for _ in range(5)]
    return Harvest(Record(*rows, None), carry, bool(seed))


def test_chunks_survive_their_way_as_bytes():
    sent = {(0, 2): harvest(0), (1, 0): harvest(1)}
    found = dict(parcel.unpacked(parcel.packed(sent), [harvest(0).carry] * 2))
    assert found.keys() == sent.keys()
    for place, (records, carry, done) in found.items():
        assert done == sent[place].done and records.scale is None
        pairs = zip(jax.tree.leaves((records, carry)), jax.tree.leaves(sent[place][:2]), strict=True)
        for here, there in pairs:
            assert here.dtype == there.dtype and here.flags.writeable
            np.testing.assert_array_equal(here, there)
    assert [*parcel.unpacked(parcel.packed({}), [])] == []
