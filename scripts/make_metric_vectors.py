"""Writes tests/fixtures/metric_vectors.json: scores that scikit-learn and sacreBLEU give on seeded cases.

Run: pip install scikit-learn==1.9.1 sacrebleu==2.6.0, then python scripts/make_metric_vectors.py
The tests in src/metrics and src/baseline compare our own code with these numbers.
"""

import json
import pathlib
import warnings

import numpy as np
import sacrebleu
from sklearn import metrics
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

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
                "three_labels": (each / each.sum(axis=1, keepdims=True)).tolist(),
            }
        )
    return {
        "train": TRAIN,
        "unseen": UNSEEN,
        "features": len(vectorizer.vocabulary_),
        "similarity": (unseen @ train.T).toarray().tolist(),
        "fits": fits,
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
    }
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    lines = (f'"{key}": {json.dumps(rounded(value), ensure_ascii=False)}' for key, value in vectors.items())
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
