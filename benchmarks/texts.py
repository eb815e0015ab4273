"""Texts in front of the closed-form head: smart-home intents by templates that were not met, and sentiment that moves.

``python -m benchmarks.texts [--quick] [--json FILE]``. MiniLM through our own export and ONNX Runtime. Intents: 5, 10
and 20 labels an intent, one of each template; templates that gave a label test nothing. From names: the intents' names
in words as the only examples, then 1, 5 and 10 labels an intent. Sentiment: 200 labels of film reviews, then product
reviews and tweets before and after 50 and 200 labels of theirs. Labels that come later weigh four times as much, as the
service weighs feedback. Peers on the same labels: a tuned logistic regression on the same features, and one on TF-IDF.

Promises paired draws and intervals. Data: home-assistant-intents (Apache-2.0); vadersentiment's source distribution
(MIT; Hutto and Gilbert, ICWSM 2014), whose human scores above 0 are positive here and below 0 negative.

Legend: N examples, D features.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits

from benchmarks.debian import BENCH, once
from benchmarks.draws import Answers, Flags, Names, Score, closed_form, logistic, mean_and_half, score, shots
from benchmarks.report import Claim, Row, finish, options
from core.preprocess import Limits, modality
from core.session import Session
from core.statistics import from_grid
from core.types import Doubles, GridRows
from exporters.compose import Member, compose, extractor_digest
from exporters.transform import Transform
from lepton.demonstration import intents
from training import zoo
from training.features import graph
from training.names import FRAMES, LABEL, in_words

BACKBONE = "minilm"
SHOTS = {5: 77.2, 10: 85.6, 20: 89.0}  # labels an intent → MiniLM with logistic regression, measured elsewhere
LEAST_TEMPLATES = 6
FEW = (0, 1, 5, 10)  # labels an intent after a start from names
FIRST, LATER = 200, (0, 50, 200)
FEEDBACK = 4  # weight of a label of the new scene beside one of the first
PENALTIES = np.logspace(-1, 4, 6)
OURS, PEER, WORDS = "closed form", "logistic, same features", "logistic, TF-IDF"
DOMAINS = {"films": "movieReviewSnippets", "products": "amazonReviewSnippets", "tweets": "tweets"}
BATCH = 32


@dataclass(frozen=True, eq=False)
class Texts:
    """A scene: texts, labels, groups that must not stand on both sides, and features on the grid."""

    texts: Names
    labels_N: Names
    groups_N: Names
    grid_ND: GridRows


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    rows, claims = measured(5 if given.quick else 20)
    return finish("Texts: balanced accuracy in %, with 95 % intervals over draws", rows, claims, given.json)


def measured(draws: int) -> tuple[list[Row], list[Claim]]:
    """The table and the claims."""
    with threadpool_limits(1):
        parts = [_intents(draws), _from_names(draws), _sentiment(draws)]
    return [row for rows, _ in parts for row in rows], [claim for _, claims in parts for claim in claims]


def _intents(draws: int) -> tuple[list[Row], list[Claim]]:
    scene = _features("intents", _sentences())
    rows: list[Row] = []
    claims: list[Claim] = []
    for each, floor in SHOTS.items():
        scores = [_few(scene, each, seed) for seed in range(draws)]
        rows += _rows("intents", f"{each} an intent", scores)
        gains = 100 * np.array([told[OURS].balanced - told[PEER].balanced for told in scores])
        gain, half = mean_and_half(gains)
        words = f"intents, {each} labels: ours minus logistic regression, points, not below the interval"
        claims.append(Claim(claim=words, value=gain, bound=-half, holds=gain >= -half))
        ours = mean_and_half(100 * np.array([told[OURS].balanced for told in scores]))[0]
        words = f"intents, {each} labels: ours, against MiniLM with logistic regression as measured elsewhere"
        claims.append(Claim(claim=words, value=ours, bound=floor, holds=ours >= floor))
    return rows, claims


def _few(scene: Texts, each: int, seed: int) -> dict[str, Score]:
    taken_N, left_N = shots(scene.labels_N, each, seed, scene.groups_N)
    left_N &= np.isin(scene.labels_N, scene.labels_N[taken_N])
    return _judged(scene, taken_N, left_N, np.ones(int(taken_N.sum()), np.int64), seed)


def _from_names(draws: int) -> tuple[list[Row], list[Claim]]:
    """A start from the intents' names alone, then labels, which weigh four times as much."""
    scene = _features("intents", _sentences())
    told = [(frame.replace(LABEL, in_words(name)), name) for name in np.unique(scene.labels_N) for frame in FRAMES]
    named = _features("intents-names", [(text, label, text) for text, label in told])
    rows: list[Row] = []
    curve: list[Doubles] = []
    for each in FEW:
        scores = [_grown(scene, named, each, seed) for seed in range(draws)]
        rows += _rows("intents from names", f"names + {each} an intent", scores)
        curve.append(100 * np.array([told[OURS].balanced for told in scores]))
    claims = []
    for each, before, after in zip(FEW[1:], curve[:-1], curve[1:], strict=True):
        gain, half = mean_and_half(after - before)
        words = f"intents from names: what {each} labels an intent add, points, no dip"
        claims.append(Claim(claim=words, value=gain, bound=-half, holds=gain >= -half))
    return rows, claims


def _grown(scene: Texts, named: Texts, each: int, seed: int) -> dict[str, Score]:
    """Tested on templates of which no label was ever taken, the same for any number of labels."""
    most_N, left_N = shots(scene.labels_N, FEW[-1], seed, scene.groups_N)
    left_N &= np.isin(scene.labels_N, scene.labels_N[most_N])
    taken_N = shots(scene.labels_N, each, seed, scene.groups_N)[0] & ~left_N
    labels = np.concatenate([named.labels_N, scene.labels_N[taken_N]])
    rows_ND = np.concatenate([named.grid_ND, scene.grid_ND[taken_N]])
    weights = [1] * len(named.labels_N) + [FEEDBACK] * int(taken_N.sum())
    fit = partial(closed_form, rows_ND, labels, scene.grid_ND[left_N], weights)
    return {OURS: score(fit, scene.labels_N[left_N])}


def _sentiment(draws: int) -> tuple[list[Row], list[Claim]]:
    scenes = {name: domain(name) for name in DOMAINS}
    rows: list[Row] = []
    claims: list[Claim] = []
    for name in ("products", "tweets"):
        ours: dict[int, list[float]] = defaultdict(list)
        for labels in LATER:
            scores = [_moved(scenes["films"], scenes[name], labels, seed) for seed in range(draws)]
            rows += _rows(f"sentiment, films → {name}", f"{FIRST} films + {labels}", scores)
            ours[labels] = [told[OURS].balanced for told in scores]
            gains = 100 * np.array([told[OURS].balanced - told[WORDS].balanced for told in scores])
            gain, half = mean_and_half(gains)
            words = f"{name}, {labels} labels of theirs: ours minus TF-IDF, points, above the interval"
            claims.append(Claim(claim=words, value=gain, bound=half, holds=gain >= half))
        gain, half = mean_and_half(100 * (np.array(ours[LATER[-1]]) - np.array(ours[0])))
        words = f"{name}: what {LATER[-1]} labels of feedback gain, points, above the interval"
        claims.append(Claim(claim=words, value=gain, bound=half, holds=gain >= half))
    return rows, claims


def _moved(first: Texts, second: Texts, labels: int, seed: int) -> dict[str, Score]:
    """A head from ``FIRST`` labels of one scene and some of another, tested on the rest of that."""
    chance = np.random.default_rng([seed, 7])
    from_first = chance.permutation(len(first.labels_N))[:FIRST]
    order = chance.permutation(len(second.labels_N))
    whole = Texts(
        np.concatenate([first.texts[from_first], second.texts]),
        np.concatenate([first.labels_N[from_first], second.labels_N]),
        np.concatenate([first.groups_N[from_first], second.groups_N]),
        np.concatenate([first.grid_ND[from_first], second.grid_ND]),
    )
    taken_N = np.zeros(len(whole.labels_N), np.bool_)
    taken_N[:FIRST] = True
    taken_N[FIRST + order[:labels]] = True
    left_N = np.zeros_like(taken_N)
    left_N[FIRST + order[LATER[-1] :]] = True  # the same test whatever the number of labels
    weights_N = np.where(np.arange(len(taken_N)) < FIRST, 1, FEEDBACK)[taken_N]
    return _judged(whole, taken_N, left_N, weights_N, seed)


def _judged(scene: Texts, taken_N: Flags, left_N: Flags, weights_N: np.ndarray, seed: int) -> dict[str, Score]:
    labels = scene.labels_N[taken_N]
    repeated = np.repeat(np.arange(len(labels)), weights_N)  # a weight of 4 is an example four times

    def tfidf() -> Answers:
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=1)
        known = words.fit_transform(scene.texts[taken_N]).toarray()
        asked = words.transform(scene.texts[left_N]).toarray()
        return logistic(known[repeated], labels[repeated], asked, PENALTIES, seed)

    def same() -> Answers:
        rows_ND = from_grid(scene.grid_ND)
        return logistic(rows_ND[taken_N][repeated], labels[repeated], rows_ND[left_N], PENALTIES, seed)

    fits: dict[str, Callable[[], Answers]] = {
        OURS: lambda: closed_form(scene.grid_ND[taken_N], labels, scene.grid_ND[left_N], weights_N.tolist()),
        PEER: same,
        WORDS: tfidf,
    }
    return {name: score(fit, scene.labels_N[left_N]) for name, fit in fits.items()}


def _rows(scene: str, labels: str, draws: Sequence[dict[str, Score]]) -> list[Row]:
    rows: list[Row] = []
    for name in draws[0]:
        mean, half = mean_and_half(100 * np.array([told[name].balanced for told in draws]))
        rows.append(
            {
                "scene": scene,
                "labels": labels,
                "head": name,
                "balanced accuracy": f"{mean:.1f} ± {half:.1f}",
                "ECE": round(float(np.mean([told[name].ece for told in draws])), 3),
                "fit seconds": round(float(np.median([told[name].seconds for told in draws])), 3),
            }
        )
    return rows


def _sentences() -> list[tuple[str, str, str]]:
    """(text, intent, template) of intents with templates enough."""
    drawn = intents.draw(each=3, seed=0)
    templates: dict[str, set[str]] = defaultdict(set)
    for sentence in drawn:
        templates[sentence.intent].add(sentence.template)
    return [(s.text, s.intent, s.template) for s in drawn if len(templates[s.intent]) >= LEAST_TEMPLATES]


def domain(name: str) -> Texts:
    """Texts of one domain with their sentiment and features."""
    return _features(name, _reviews(DOMAINS[name]))


def folder(name: str, bench: Path = BENCH) -> Path:
    """Texts of one domain as a folder of class folders, a file each."""

    def make(out: Path) -> None:
        for number, (text, label, _) in enumerate(_reviews(DOMAINS[name])):
            (out / label).mkdir(exist_ok=True)
            (out / label / f"{number}.txt").write_text(text, encoding="utf-8")

    return once(bench / "scenes" / f"said_of_{name}", make)


def spoken(bench: Path = BENCH) -> Path:
    """Sentences of intents likewise; the name of a file begins with the number of its template, and a dash."""

    def make(out: Path) -> None:
        told = _sentences()
        templates = sorted({template for _, _, template in told})
        for number, (text, intent, template) in enumerate(told):
            (out / intent).mkdir(exist_ok=True)
            (out / intent / f"{templates.index(template)}-{number}.txt").write_text(text, encoding="utf-8")

    return once(bench / "scenes" / "said_to_homes", make)


def _reviews(file: str) -> list[tuple[str, str, str]]:
    """(text, sentiment, text) of one domain; what was scored 0 is left out."""
    root = once(BENCH / "vadersentiment", _unpack)
    lines = (root / "hutto_ICWSM_2014" / f"{file}_GroundTruth.txt").read_text(encoding="utf-8", errors="replace")
    found: dict[str, str] = {}
    for line in lines.splitlines():
        cells = line.lstrip("\ufeff").split("\t")
        if len(cells) == 3 and float(cells[1]) != 0.0:
            found.setdefault(cells[2], "positive" if float(cells[1]) > 0 else "negative")
    return [(text, label, text) for text, label in found.items()]


def _unpack(into: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*command, "--dest", str(into), "vadersentiment==3.3.2"], check=True)
    with tarfile.open(next(into.glob("*.tar.gz"))) as outer:
        outer.extractall(into, filter="data")
    with tarfile.open(next(into.glob("*/additional_resources/hutto_ICWSM_2014.tar.gz"))) as inner:
        inner.extractall(into, filter="data")


def _features(name: str, told: Sequence[tuple[str, str, str]]) -> Texts:
    """Features of every text, from a file after the first run."""
    texts, labels, groups = (np.array(column) for column in zip(*told, strict=True))
    cache = BENCH / "features"
    backbone = zoo.load(BACKBONE, zoo.Setting())
    model = compose([Member(graph=graph(backbone, cache), transform=Transform(kind=backbone.transform))])
    file = cache / f"{name}-{len(told)}-{extractor_digest(model)[:16]}.npy"
    if not file.exists():
        session = Session(model, threads=2)
        reader = modality("text").preprocessor(session.inputs, backbone.files, Limits())
        rows = [reader.read(text.encode()) for text in texts]
        parts = [session.features(reader.batch(rows[at : at + BATCH])) for at in range(0, len(rows), BATCH)]
        np.save(file, np.concatenate(parts))
    return Texts(texts, labels, groups, np.load(file))


if __name__ == "__main__":
    sys.exit(main())
