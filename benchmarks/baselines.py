"""What each bundled task's own recipe reaches, beside the baseline that it must reach.

    python benchmarks/baselines.py                     # about four minutes on two cores
    python benchmarks/baselines.py --tasks wine,text

Every baseline is measured here, on the same sets, by something that is not trained by this library: scikit-learn,
counts, a closed form, or what the generator knows. For `mnist1d`, whose baselines are published, the published ones
stand beside the test set. A task's recipe is trained with three seeds; shown are mean, least and greatest score.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from update import conditions, restrict

import hyperjax as hj
from hyperjax.metrics import dice, energy_distance, ndcg, recall_at_1
from hyperjax.tasks import Task
from hyperjax.tasks.text import made
from hyperjax.tasks.words import frequencies
from hyperjax.training import evaluate

PARTS = ("validation", "test")
SEEDS = (0, 1, 2)
Scores = dict[str, tuple[float, ...]]  # by what gave them: on validation, and on the test set


class Entry(NamedTuple):
    """A task, and a function that measures its baselines, the one to be reached first."""

    make: Callable[[], Task]
    baselines: Callable[[Task], Scores]


def on_both(task: Task, score: Callable[[np.ndarray, np.ndarray], float]) -> tuple[float, ...]:
    return tuple(float(score(*task.data[part])) for part in PARTS)


def logistic(task: Task) -> Scores:
    flat = {part: (np.reshape(x, (len(x), -1)), y) for part, (x, y) in task.data.items()}
    model = LogisticRegression(max_iter=1000).fit(*flat["train"])
    balanced = task.ranking.endswith("balanced_accuracy")

    def score(x: np.ndarray, y: np.ndarray) -> float:
        found = model.predict(x.reshape(len(x), -1))
        return float(balanced_accuracy_score(y, found) if balanced else np.mean(found == y))

    return {"logistic regression (scikit-learn)": on_both(task, score)}


def least_squares(task: Task) -> Scores:
    model = LinearRegression().fit(*task.data["train"])
    return {"least squares (scikit-learn)": on_both(task, lambda x, y: np.mean((model.predict(x) - y) ** 2))}


def of_words(task: Task) -> Scores:
    shares = np.log(frequencies())
    known = on_both(task, lambda x, y: np.mean((x @ shares.T).argmax(1) == y))
    return logistic(task) | {"who knows the generator": known}


def of_embeddings(task: Task) -> Scores:
    x, y = task.data["train"]
    found = {}
    for model in (LinearDiscriminantAnalysis(n_components=4).fit(x, y), PCA(4).fit(x)):
        name = f"{type(model).__name__} to four numbers (scikit-learn)"
        found[name] = on_both(task, lambda x, y, m=model: recall_at_1(m.transform(x).astype(np.float32), y).mean())
    return found | {"all pixels": on_both(task, lambda x, y: recall_at_1(x, y).mean())}


def of_ranking(task: Task) -> Scores:
    x, y = task.data["train"]
    found = {}
    for model in (HistGradientBoostingRegressor(random_state=0), LinearRegression()):
        model.fit(x.reshape(-1, x.shape[-1]), y.ravel())

        def score(x: np.ndarray, y: np.ndarray, model: LinearRegression = model) -> float:
            return float(ndcg(model.predict(x.reshape(-1, x.shape[-1])).reshape(y.shape), y).mean())

        found[f"{type(model).__name__} of single items (scikit-learn)"] = on_both(task, score)
    return found


def of_distillation(task: Task) -> Scores:
    alone = hj.tasks.distillation(mix=0.0)
    runs = hj.fit_population(alone, [hj.Recipe(**alone.recipe or {})], SEEDS)
    student = tuple(float(np.mean([evaluate(alone, run.model, part)["accuracy"] for run in runs])) for part in PARTS)
    teacher = on_both(task, lambda x, y: np.mean(y["logits"].argmax(1) == y["labels"]))
    return {"the student from labels alone": student, "the teacher": teacher}


def of_masks(task: Task) -> Scores:
    x, y = task.data["train"]
    best = max(np.linspace(0.2, 0.8, 25), key=lambda level: float(dice(x - level, y).mean()))
    model = LogisticRegression(max_iter=300).fit(windows(x), y.ravel())

    def score(x: np.ndarray, y: np.ndarray) -> float:
        return float(dice(model.decision_function(windows(x)).reshape(y.shape), y).mean())

    return {
        "logistic regression on 7x7 pixels (scikit-learn)": on_both(task, score),
        "the best threshold on brightness": on_both(task, lambda x, y: dice(x - best, y).mean()),
    }


def windows(images: np.ndarray, size: int = 7) -> np.ndarray:
    """The pixels around each pixel, a row each."""
    half = size // 2
    padded = np.pad(images, ((0, 0), (half, half), (half, half)))
    return np.lib.stride_tricks.sliding_window_view(padded, (size, size), (1, 2)).reshape(-1, size * size)


def of_text(task: Task) -> Scores:
    """Counts of characters by those before them, each order smoothed by the one below, of the best order."""
    every = np.concatenate([task.data[part][0].ravel() for part in ("train", *PARTS)])
    places = np.cumsum([0, *(task.data[part][0].size for part in ("train", *PARTS))])
    by_order = {order: counted_bits(every, places, order) for order in range(7)}
    best = min(by_order, key=lambda order: by_order[order][0])
    _, bits = made(len(every))
    known = tuple(float(bits[a:b].mean()) for a, b in itertools.pairwise(places[1:]))
    return {f"counts after {best} characters": by_order[best], "the grammar's own choices": known}


def counted_bits(characters: np.ndarray, places: np.ndarray, order: int) -> tuple[float, ...]:
    kinds = int(characters.max()) + 1
    shares = np.full((len(characters), kinds), 1 / kinds)
    for length in range(order + 1):  # Witten and Bell 1991: a context that many kinds follow is trusted less
        contexts: dict[bytes, np.ndarray] = {}
        for place in range(length, places[1]):
            key = characters[place - length : place].tobytes()
            contexts.setdefault(key, np.zeros(kinds))[characters[place]] += 1
        for place in range(places[1], len(characters)):
            counts = contexts.get(characters[place - length : place].tobytes())
            if counts is not None:
                different = np.count_nonzero(counts)
                shares[place] = (counts + different * shares[place]) / (counts.sum() + different)
    bits = -np.log2(shares[np.arange(len(characters)), characters])
    return tuple(float(bits[a:b].mean()) for a, b in itertools.pairwise(places[1:]))


def of_codes(task: Task) -> Scores:
    mean = np.clip(task.data["train"].mean(0), 1e-3, 1 - 1e-3)

    def nats(x: np.ndarray) -> float:
        return float(-np.mean(np.sum(x * np.log(mean) + (1 - x) * np.log(1 - mean), 1)))

    return {"independent pixels": tuple(nats(task.data[part]) for part in PARTS)}


def of_samples(task: Task) -> Scores:
    x = task.data["train"]
    draw = np.random.default_rng(0)
    normal = draw.multivariate_normal(x.mean(0), np.cov(x.T), 2000).astype(np.float32)
    apart = (x.mean(0) + x.std(0) * draw.normal(size=(2000, x.shape[1]))).clip(x.min(), x.max()).astype(np.float32)
    far = {
        "distance of independent features": tuple(float(energy_distance(apart, task.data[p])) for p in PARTS),
        "distance of a normal distribution": tuple(float(energy_distance(normal, task.data[p])) for p in PARTS),
        "distance of the training set": tuple(float(energy_distance(x[:2000], task.data[p])) for p in PARTS),
    }
    return ({"all modes": (8.0, 8.0)} if task.ranking.endswith("modes") else {}) | far


def guessing(score: float, name: str) -> Callable[[Task], Scores]:
    return lambda task: {name: (score, score)}


def of_sums(task: Task) -> Scores:
    mean = task.data["train"][1].mean()
    return {"always the mean": on_both(task, lambda x, y: np.mean((y - mean) ** 2))}


TASKS = {
    "digits": Entry(hj.tasks.digits, logistic),
    "digits_cnn": Entry(hj.tasks.digits_cnn, logistic),
    "diabetes": Entry(hj.tasks.diabetes, least_squares),
    "wine": Entry(hj.tasks.wine, logistic),
    "breast_cancer": Entry(hj.tasks.breast_cancer, logistic),
    "words": Entry(hj.tasks.words, of_words),
    "embedding": Entry(hj.tasks.embedding, of_embeddings),
    "ranking": Entry(hj.tasks.ranking, of_ranking),
    "distillation": Entry(hj.tasks.distillation, of_distillation),
    "segmentation": Entry(hj.tasks.segmentation, of_masks),
    "text": Entry(hj.tasks.text, of_text),
    "copying": Entry(hj.tasks.copying, guessing(1 / 8, "guessing")),
    "adding": Entry(hj.tasks.adding, of_sums),
    "autoencoding": Entry(hj.tasks.autoencoding, of_codes),
    "ring": Entry(hj.tasks.ring, of_samples),
    "digits_gan": Entry(hj.tasks.digits_gan, of_samples),
} | {
    f"mnist1d:{model}": Entry(
        lambda model=model: hj.tasks.mnist1d(model), guessing(score, "published (Greydanus & Kobak 2024), test set")
    )
    for model, score in {"logistic": 0.32, "mlp": 0.68, "cnn": 0.94, "gru": 0.91}.items()
}


def show(name: str) -> None:
    task = TASKS[name].make()
    begin = time.perf_counter()
    runs = hj.fit_population(task, [hj.Recipe(**task.recipe or {})], SEEDS)
    seconds = time.perf_counter() - begin
    scores, metric = {"validation": runs.scores}, task.ranking.removeprefix("validation_")
    if "test" in task.data:
        scores["test"] = np.array([evaluate(task, run.model, "test")[metric] for run in runs])
    judged = f"{metric} ({task.direction})"
    print(f"\n{name}: {judged}, {seconds:.0f} s for {len(runs)} seeds")
    reached = {part: f"{v.mean():.4f} ({v.min():.4f} to {v.max():.4f})" for part, v in scores.items()}
    print(f"  {'the recipe of the task':55s}{reached['validation']:>30s}{reached.get('test', ''):>30s}")
    for source, values in TASKS[name].baselines(task).items():
        print(f"  {source:55s}" + "".join(f"{value:30.4f}" for value in values), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", metavar="A,B", help="which of them; default: all that can be made here")
    parser.add_argument("--cores", type=int, help="how many to use (Linux); default: all")
    arguments = parser.parse_args()
    restrict(arguments.cores)
    chosen = arguments.tasks.split(",") if arguments.tasks else list(TASKS)
    unknown = [name for name in chosen if name not in TASKS]
    if unknown:
        parser.error(f"--tasks must be among {', '.join(TASKS)}, got {', '.join(unknown)}")
    print(conditions(False))
    print("mean (least to greatest) on validation and test set")
    for name in chosen:
        try:
            show(name)
        except ImportError as error:
            print(f"\n{name} is skipped: {error}")


if __name__ == "__main__":
    main()
