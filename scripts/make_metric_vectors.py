"""Writes tests/fixtures/metric_vectors.json: what scikit-learn, SciPy, statsmodels and sacreBLEU give on seeded
cases.

Run: pip install scikit-learn==1.9.1 scipy==1.17.1 statsmodels==0.15.0 sacrebleu==2.6.0, then
python scripts/make_metric_vectors.py
The tests in src/metrics and src/baseline compare our own code with these numbers.
"""

import json
import pathlib
import warnings

import numpy as np
import sacrebleu
from scipy import optimize, special, stats
from sklearn import metrics
from sklearn.calibration import calibration_curve
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

TARGET = pathlib.Path(__file__).parent.parent / "tests" / "fixtures" / "metric_vectors.json"


def random_rows(rng, rows, num_labels, decimals):
    """Labels and probabilities that lean towards them; few decimals make ties."""
    labels = rng.integers(num_labels, size=rows)
    logits = rng.normal(size=(rows, num_labels)) + 1.2 * np.eye(num_labels)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    probabilities = np.round(probabilities, decimals)
    # The last column takes the rounding error, so that rows sum to one where it suffices.
    probabilities[:, -1] = np.round(1 - probabilities[:, :-1].sum(axis=1), decimals).clip(0)
    return labels, probabilities


def classification_cases():
    rng = np.random.default_rng(20240611)
    for num_labels, rows in ((2, 40), (5, 60)):
        yield f"{num_labels} labels, random", *random_rows(rng, rows, num_labels, 4)
        yield f"{num_labels} labels, ties", *random_rows(rng, rows, num_labels, 1)
        labels, probabilities = random_rows(rng, rows // 2, num_labels, 3)
        yield f"{num_labels} labels, first absent", np.maximum(labels, 1), probabilities
        yield f"{num_labels} labels, last absent", np.minimum(labels, num_labels - 2), probabilities
        few = np.arange(12) % num_labels
        yield f"{num_labels} labels, perfect", few, np.eye(num_labels)[few]
        yield f"{num_labels} labels, all wrong", few, np.eye(num_labels)[(few + 1) % num_labels]
        yield f"{num_labels} labels, one answer", few, np.tile(np.eye(num_labels)[0], (len(few), 1))


def averages(labels, predictions, num_labels, average):
    return list(
        metrics.precision_recall_fscore_support(
            labels, predictions, labels=range(num_labels), average=average, zero_division=0
        )[:3]
    )


def areas(labels, probabilities, num_labels):
    """Macro one-versus-rest, or of label 1 for two labels; None where a label has no rows."""
    if len(set(labels)) < num_labels:
        return None, None
    ranked = [1] if num_labels == 2 else range(num_labels)
    roc = [metrics.roc_auc_score(labels == label, probabilities[:, label]) for label in ranked]
    pr = [metrics.average_precision_score(labels == label, probabilities[:, label]) for label in ranked]
    return float(np.mean(roc)), float(np.mean(pr))


def best_f1(labels, scores):
    precision, recall, _ = metrics.precision_recall_curve(labels, scores)
    total = np.where(precision + recall == 0, 1, precision + recall)
    return float((2 * precision * recall / total).max())


def classification_vector(name, labels, probabilities):
    num_labels = probabilities.shape[1]
    if num_labels == 2:
        predictions = (probabilities[:, 1] >= 0.5).astype(int)
    else:
        predictions = probabilities.argmax(axis=1)
    per_class = metrics.precision_recall_fscore_support(
        labels, predictions, labels=range(num_labels), zero_division=0
    )
    roc_auc, pr_auc = areas(labels, probabilities, num_labels)
    true_probability = probabilities[np.arange(len(labels)), labels].clip(np.finfo(float).eps)
    return {
        "name": name,
        "labels": labels.tolist(),
        "probabilities": probabilities.tolist(),
        "loss": float(-np.log(true_probability).mean()),
        "accuracy": metrics.accuracy_score(labels, predictions),
        "per_class": np.array(per_class).T.tolist(),
        "macro": averages(labels, predictions, num_labels, "macro"),
        "weighted": averages(labels, predictions, num_labels, "weighted"),
        "micro": averages(labels, predictions, num_labels, "micro"),
        "mcc": float(metrics.matthews_corrcoef(labels, predictions)),
        "balanced_accuracy": float(metrics.balanced_accuracy_score(labels, predictions)),
        "confusion": metrics.confusion_matrix(labels, predictions, labels=range(num_labels)).tolist(),
        "roc_auc": roc_auc,
        "pr_auc": pr_auc,
        "best_f1": best_f1(labels == 1, probabilities[:, 1]) if (labels == 1).any() else 0.0,
    }


LINES = [
    "Hello, world! It's 3.14, not 3,000.",
    "A state-of-the-art dash: 1990-95 and 7- or -7.",
    "He said &quot;5 &lt; 6 &amp;&amp; 7 &gt; 2&quot; ... twice..",
    "e-mail me@site.co.uk/path?q=1&x=[2]{3}~`^_|",
    "line one-\nbroken\nand <skipped>next\ttab  ",
    ".5, ,5. 1.,2 a.b,c",
    "Ünïcode “quotes” – naïve café, £9.99… 你好。",
    "",
]

CORPORA = {
    "several sentences": (
        ["The cat sat on the mat, quietly.", "There are 3.5 million people - or so!", "I don't know."],
        ["The cat sat quietly on the mat.", "There are 3.5 million people, or so.", "I do not know that."],
    ),
    "no four-gram matches": (["one two three five four"], ["one two three four five"]),
    "no bigram matches": (["b a d c"], ["a b c d"]),
    "too short for four-grams": (["yes sir"], ["yes sir"]),
    "shorter than the reference": (["a b c d e"], ["a b c d e f g h"]),
    "longer than the reference": (["a b c d e f g h i"], ["a b c d e"]),
    "clipped repetition": (["the the the the the cat"], ["the cat is on the mat"]),
    "nothing matches": (["x y z w"], ["a b c d"]),
    "empty hypothesis": ([""], ["a b c d"]),
    "one empty of two": (["", "a b c d e"], ["q r s t u", "a b c d e"]),
    "perfect": (["Well done: 100 %, truly.", "Ok ."], ["Well done: 100 %, truly.", "Ok ."]),
    "case counts": (["Free Entry Now for you"], ["free entry now for you"]),
}


def bleu_vector(name, hypotheses, references):
    bleu = sacrebleu.metrics.BLEU()
    score = bleu.corpus_score(hypotheses, [references])
    return {
        "name": name,
        "hypotheses": hypotheses,
        "references": references,
        "score": score.score,
        "brevity_penalty": score.bp,
        "precisions": score.precisions,
        "hypothesis_len": score.sys_len,
        "reference_len": score.ref_len,
        "signature": str(bleu.get_signature()),
    }


TRAIN = [
    ("Free prize! Call 0800 now", 1),
    ("are you free for lunch", 0),
    ("WIN a £100 prize, txt WIN", 1),
    ("ok see you at home", 0),
    ("lunch at one? ok", 0),
    ("call me when  you get home", 2),
    ("urgent! call now to claim", 1),
    ("meeting moved to monday, call in", 2),
    ("minutes of the monday meeting", 2),
    ("home by nine, love", 0),
]
UNSEEN = ["free lunch on monday", "claim your prize now!", "zzz", ""]


def padded(texts):
    return [f" {' '.join(text.split())} " for text in texts]


def liblinear(x, targets, unseen, c):
    """Logistic regression whose bias is penalised like any weight, as in our own solver."""
    model = LogisticRegression(C=c, solver="liblinear", intercept_scaling=1, tol=1e-10, max_iter=100000)
    return model.fit(x, targets).predict_proba(unseen)[:, 1]


def svm_scores(x, targets, unseen, c):
    """A support vector machine with squared hinge; its bias is penalised like any weight."""
    model = LinearSVC(C=c, loss="squared_hinge", dual=True, intercept_scaling=1, tol=1e-10, max_iter=1000000)
    return model.fit(x, targets).decision_function(unseen)


def word_vector():
    vectorizer = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", ngram_range=(1, 2), sublinear_tf=True)
    train = vectorizer.fit_transform(text for text, _ in TRAIN)
    similarity = vectorizer.transform(UNSEEN) @ train.T
    return {"features": len(vectorizer.vocabulary_), "similarity": similarity.toarray().tolist()}


def platt_vector():
    """The sigmoid of least cross-entropy against Platt's smoothed targets."""
    rng = np.random.default_rng(5)
    positives = rng.random(40) < 0.3
    scores = rng.normal(size=40) + 1.5 * positives - 1
    high, low = (positives.sum() + 1) / (positives.sum() + 2), 1 / ((~positives).sum() + 2)
    targets = np.where(positives, high, low)

    def loss(at):
        z = at[0] * scores + at[1]
        return np.sum(np.logaddexp(0, z) - targets * z)

    best = optimize.minimize(loss, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14})
    return {
        "scores": scores.tolist(),
        "positives": positives.tolist(),
        "probabilities": special.expit(best.x[0] * scores + best.x[1]).tolist(),
    }


def statistics_vector():
    """Exact tests and corrections: McNemar and sign test are both this binomial test."""
    pairs = [(0, 0), (1, 0), (3, 2), (0, 5), (10, 25), (4, 4), (120, 90), (900, 1100), (0, 3000)]
    holm = [[0.01, 0.04, 0.03, 0.005], [0.5], [0.2, 0.2, 0.9], [0.04, 0.001, 0.6, 0.02, 0.03, 0.0004]]
    exact = []
    for a, b in pairs:
        p_value = mcnemar([[0, a], [b, 0]], exact=True).pvalue if a + b else 1.0
        if a + b:
            assert abs(p_value - stats.binomtest(a, a + b).pvalue) < 1e-9
        exact.append([a, b, float(p_value)])
    return {
        "exact": exact,
        "holm": [[p, multipletests(p, method="holm")[1].tolist()] for p in holm],
    }


def paired_vector():
    """Two classifiers with three seeds on 120 rows: the interval of the mean difference in accuracy, drawn by SciPy
    over rows alone and over seeds alone."""
    rng = np.random.default_rng(11)
    labels = rng.integers(2, size=120)

    def run(share):
        wrong = rng.random(120) < share
        positive = np.where((labels == 1) != wrong, 0.9, 0.1)
        return np.stack([1 - positive, positive], axis=1)

    first, second = ([run(share) for _ in range(3)] for share in (0.1, 0.16))
    right = np.array([[(run.argmax(1) == labels) for run in arm] for arm in (first, second)]).astype(float)
    by_row = (right[0] - right[1]).mean(axis=0)
    by_seed = (right[0] - right[1]).mean(axis=1)
    rows = stats.bootstrap((by_row,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(0))
    return {
        "labels": labels.tolist(),
        "first": [run.tolist() for run in first],
        "second": [run.tolist() for run in second],
        "difference": float(by_row.mean()),
        "rows_std_error": float(rows.standard_error),
        "seeds_std_error": float(stats.sem(by_seed)),
        "mcnemar": [
            float(mcnemar([[0, ((a > b).sum())], [((b > a).sum()), 0]], exact=True).pvalue)
            for a, b in zip(right[0], right[1])
        ],
    }


def calibration_vector():
    """Reliability in ten bins, expected calibration error, and the temperature of least cross-entropy."""
    rng = np.random.default_rng(3)
    labels = rng.integers(2, size=200)
    logits = 3 * (rng.normal(size=200) + 1.2 * (2 * labels - 1))
    positive = special.expit(logits)
    observed, predicted = calibration_curve(labels, positive, n_bins=10, strategy="uniform")
    confidence, right = np.maximum(positive, 1 - positive), (positive >= 0.5) == (labels == 1)
    bins = np.minimum((confidence * 15).astype(int), 14)
    error = sum(
        (bins == b).mean() * abs(right[bins == b].mean() - confidence[bins == b].mean()) for b in np.unique(bins)
    )

    def loss(log_temperature):
        return np.mean(np.logaddexp(0, -(2 * labels - 1) * logits / np.exp(log_temperature)))

    best = optimize.minimize_scalar(loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-10})
    return {
        "labels": labels.tolist(),
        "probabilities": np.stack([1 - positive, positive], axis=1).tolist(),
        "predicted": predicted.tolist(),
        "observed": observed.tolist(),
        "ece": float(error),
        "temperature": float(np.exp(best.x)),
        "loss": float(best.fun),
    }


def baseline_vector():
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(2, 5), sublinear_tf=True)
    train = vectorizer.fit_transform(padded(text for text, _ in TRAIN))
    unseen = vectorizer.transform(padded(UNSEEN))
    labels = np.array([label for _, label in TRAIN])
    fits = []
    for c in (1.0, 100.0):
        each = np.array([liblinear(train, labels == label, unseen, c) for label in range(3)]).T
        fits.append(
            {
                "c": c,
                "binary": liblinear(train, labels == 1, unseen, c).tolist(),
                "svm": svm_scores(train, labels == 1, unseen, c).tolist(),
                "three_labels": (each / each.sum(axis=1, keepdims=True)).tolist(),
            }
        )
    return {
        "train": TRAIN,
        "unseen": UNSEEN,
        "features": len(vectorizer.vocabulary_),
        "similarity": (unseen @ train.T).toarray().tolist(),
        "fits": fits,
        "words": word_vector(),
        "platt": platt_vector(),
    }


def rounded(value):
    """Twelve decimals: below any tolerance of the tests, and half the file."""
    if isinstance(value, float):
        return round(value, 12)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return value


def main():
    warnings.simplefilter("ignore")  # scikit-learn warns of absent labels, which are wanted here
    tokenize = sacrebleu.metrics.BLEU().tokenizer
    vectors = {
        "classification": [classification_vector(*case) for case in classification_cases()],
        "tokens_13a": [{"line": line, "tokens": tokenize(line.rstrip()).split()} for line in LINES],
        "bleu": [bleu_vector(name, *pair) for name, pair in CORPORA.items()],
        "baseline": baseline_vector(),
        "statistics": statistics_vector(),
        "paired": paired_vector(),
        "calibration": calibration_vector(),
    }
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    lines = (f'"{key}": {json.dumps(rounded(value), ensure_ascii=False)}' for key, value in vectors.items())
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
