"""Exercises of chapter 07: right answers pass in many forms, and each known mistake is told apart from all others.

What no answer may do to a check is tested in test_exercises.py, for the checks of all chapters.
"""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F
from scipy.spatial import KDTree
from scipy.stats import entropy, linregress, mannwhitneyu
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors
from test_exercises import in_one_line, mistakes, name_only, said

from course_lib import metrics
from course_lib.exercises import calling, ch07
from course_lib.exercises.ch07 import distances, kernels, manifolds


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """The first root of a matrix of a process imports much of scipy; beside a busy neighbour that takes a while."""
    monkeypatch.setattr(calling, "LIMIT", 60.0)


# --- right answers; the notebook's own solutions are proved in test_exercises.py -------------------------------------

def my_inception_score(probs):
    p_y = probs.mean(0)
    return (torch.xlogy(probs, probs) - torch.xlogy(probs, p_y)).sum(1).mean().exp()


def my_frechet(x, y):
    C, D = torch.cov(x.T), torch.cov(y.T)
    roots = torch.linalg.eigvals(C @ D).real.clamp(min=0).sqrt()
    return (x.mean(0) - y.mean(0)).square().sum() + C.trace() + D.trace() - 2 * roots.sum()


def my_kid(x, y):
    k = lambda a, b: (a @ b.T / a.shape[1] + 1)**3
    within = lambda K: (K.sum() - K.trace()) / (len(K) * (len(K) - 1))
    return within(k(x, x)) + within(k(y, y)) - 2 * k(x, y).mean()


def my_precision_recall(real, fake):
    def share(points, of):
        radii = torch.cdist(of, of).topk(4, largest=False).values[:, 3]
        return (torch.cdist(points, of) <= radii).any(1).float().mean()
    return share(fake, real), share(real, fake)


def my_frechet_limit(n, distances):
    table = torch.stack([torch.ones_like(n), 1 / n], 1)
    return torch.linalg.lstsq(table, distances[:, None]).solution[0, 0]


def my_copying(samples, train, test):
    near = lambda points: torch.cdist(points, train).min(1).values
    return (near(samples)[:, None] < near(test)).float().mean()


# --- right answers, written in another way -------------------------------------------------------------------------

def score_by_the_library(probs):
    return metrics.inception_score(probs, splits=1).mean


def score_by_scipy(probs):
    p = probs.double().numpy()
    return np.exp(np.mean([entropy(row, p.mean(0)) for row in p]))


def score_by_functional(probs):
    p_y = probs.mean(0, keepdim=True).expand_as(probs).clamp(min=1e-30)
    return F.kl_div(p_y.log(), probs, reduction="batchmean").exp()


def score_in_loops(probs):
    rows = probs.tolist()
    p_y = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    return math.exp(sum(p * math.log(p / q) for row in rows for p, q in zip(row, p_y, strict=True) if p) / len(rows))


def score_by_entropies(probs):
    H = lambda p: torch.special.entr(p).sum(-1)
    return torch.exp(H(probs.mean(0)) - H(probs).mean())


def statistics(x):
    return x.mean(0), torch.atleast_2d(torch.cov(x.T))


def frechet_by_the_library(x, y):
    return metrics.frechet_distance(*statistics(x), *statistics(y))


def frechet_by_scipy(x, y):
    (m, C), (n, D) = statistics(x), statistics(y)
    root = np.trace(scipy.linalg.sqrtm((C @ D).numpy()).real)
    return ((m - n)**2).sum() + C.trace() + D.trace() - 2 * root


def frechet_by_symmetric_roots(x, y):
    """tr (C^½ C' C^½)^½."""
    (m, C), (n, D) = statistics(x), statistics(y)
    values, vectors = torch.linalg.eigh(C)
    root = vectors @ values.clamp(min=0).sqrt().diag() @ vectors.T
    inner = torch.linalg.eigvalsh(root @ D @ root).clamp(min=0).sqrt().sum()
    return torch.dist(m, n)**2 + (C + D).trace() - 2 * inner


def frechet_by_complex_roots(x, y):
    (m, C), (n, D) = statistics(x), statistics(y)
    return (m - n).pow(2).sum() + (C + D).trace() - 2 * torch.linalg.eigvals(C @ D).sqrt().real.sum()


def frechet_by_numpy(x, y):
    x, y = x.numpy(), y.numpy()
    C, D = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    values = np.linalg.eigvals(C @ D).real
    return np.sum((x.mean(0) - y.mean(0))**2) + np.trace(C + D) - 2 * np.sqrt(np.maximum(values, 0)).sum()


def kid_in_loops(x, y):
    k = lambda a, b: (sum(p * q for p, q in zip(a.tolist(), b.tolist(), strict=True)) / len(a) + 1)**3
    pairs = lambda z: [k(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j]
    mean = lambda numbers: sum(numbers) / len(numbers)
    return mean(pairs(x)) + mean(pairs(y)) - 2 * mean([k(a, b) for a in x for b in y])


def kid_by_sklearn(x, y):
    k = lambda a, b: polynomial_kernel(a.double().numpy(), b.double().numpy(), degree=3, coef0=1)   # its gamma is 1/d
    upper = lambda K: K[np.triu_indices(len(K), 1)].mean()
    return upper(k(x, x)) + upper(k(y, y)) - 2 * k(x, y).mean()


def kid_by_einsum(x, y):
    z = torch.cat([x, y])
    K = (torch.einsum("id,jd->ij", z, z) / z.shape[1] + 1).pow(3)
    a = torch.cat([torch.full((len(x),), 1 / len(x)), torch.full((len(y),), -1 / len(y))])
    total = a @ K @ a                                           # biased; the diagonals, taken out again
    for part in (K[:len(x), :len(x)], K[len(x):, len(x):]):
        n = len(part)
        total = total - part.sum() / n**2 + (part.sum() - part.trace()) / (n * (n - 1))
    return total


def pr_by_the_library(real, fake):
    return tuple(torch.tensor(share) for share in metrics.precision_recall(real, fake, k=3))


def pr_by_sklearn(real, fake):
    def share(points, of):
        of, points = of.double().numpy(), points.double().numpy()
        radii = NearestNeighbors(n_neighbors=3).fit(of).kneighbors()[0][:, 2]       # of the set itself: not its own
        apart = np.linalg.norm(points[:, None] - of, axis=2)
        return torch.tensor((apart <= radii + 1e-9).any(1).mean())
    return share(fake, real), share(real, fake)


def pr_in_loops(real, fake):
    def share(points, of):
        radii = [sorted(torch.dist(a, b).item() for b in of)[3] for a in of]
        hits = [any(torch.dist(p, a).item() <= r for a, r in zip(of, radii, strict=True)) for p in points]
        return torch.tensor(sum(hits) / len(hits))
    return torch.stack([share(fake, real), share(real, fake)])


def limit_by_polyfit(n, distances):
    return np.polyfit(1 / n.double().numpy(), distances.double().numpy(), 1)[1]


def limit_by_scipy(n, distances):
    return linregress(1 / n.double(), distances.double()).intercept


def limit_by_hand(n, distances):
    u, v = 1 / n.double(), distances.double()
    slope = ((u - u.mean()) * v).sum() / (u - u.mean()).square().sum()
    return v.mean() - slope * u.mean()


def copying_by_scipy(samples, train, test):
    """U of the test points: in how many pairs they are the farther."""
    tree = KDTree(train.double().numpy())
    near = lambda points: tree.query(points.double().numpy())[0]
    return mannwhitneyu(near(test), near(samples)).statistic / (len(samples) * len(test))


def copying_by_ranks(samples, train, test):
    near = torch.cat([torch.cdist(points, train).amin(1) for points in (samples, test)])
    n, m = len(samples), len(test)
    ranks = near.argsort().argsort()[:n].double() + 1
    return 1 - (ranks.sum() - n * (n + 1) / 2) / (n * m)


def copying_in_loops(samples, train, test):
    near = lambda point: min(torch.dist(point, other).item() for other in train)
    return sum(near(s) < near(t) for s in samples for t in test) / (len(samples) * len(test))


def copying_by_the_library(samples, train, test):
    """Its z counts the pairs in which the sample is the *farther*."""
    n, m = len(samples), len(test)
    return 0.5 - metrics.copying_test(samples, train, test).z * ((n + m + 1) / (12 * n * m))**0.5


RIGHT = [
    (ch07.check_inception_score, my_inception_score), (ch07.check_frechet, my_frechet), (ch07.check_kid, my_kid),
    (ch07.check_precision_recall, my_precision_recall), (ch07.check_frechet_limit, my_frechet_limit),
    (ch07.check_copying, my_copying),
    (ch07.check_inception_score, score_by_the_library), (ch07.check_inception_score, score_by_scipy),
    (ch07.check_inception_score, score_by_functional), (ch07.check_inception_score, score_in_loops),
    (ch07.check_inception_score, score_by_entropies),
    (ch07.check_inception_score, lambda probs: my_inception_score(probs.double() + 1e-12)),
    (ch07.check_frechet, frechet_by_the_library), (ch07.check_frechet, frechet_by_scipy),
    (ch07.check_frechet, frechet_by_symmetric_roots), (ch07.check_frechet, frechet_by_complex_roots),
    (ch07.check_frechet, frechet_by_numpy), (ch07.check_frechet, lambda x, y: my_frechet(y, x)),
    (ch07.check_kid, kid_in_loops), (ch07.check_kid, kid_by_sklearn), (ch07.check_kid, kid_by_einsum),
    (ch07.check_kid, lambda x, y: my_kid(y.double(), x.double())),
    (ch07.check_precision_recall, pr_by_the_library), (ch07.check_precision_recall, pr_by_sklearn),
    (ch07.check_precision_recall, pr_in_loops),
    (ch07.check_frechet_limit, limit_by_polyfit), (ch07.check_frechet_limit, limit_by_scipy),
    (ch07.check_frechet_limit, limit_by_hand),
    (ch07.check_copying, copying_by_scipy), (ch07.check_copying, copying_by_ranks),
    (ch07.check_copying, copying_in_loops), (ch07.check_copying, copying_by_the_library),
]


@pytest.mark.parametrize("check, answer", RIGHT, ids=lambda x: getattr(x, "__name__", ""))
def test_a_right_answer_passes_however_it_is_written(check, answer, capsys):
    assert said(check, answer, capsys) == "passed\n"


@pytest.mark.parametrize("check, answer", RIGHT[:6], ids=lambda x: x.__name__)
def test_a_check_can_be_called_where_no_gradients_are_kept(check, answer, capsys):
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert said(check, answer, capsys) == "passed\n"


@pytest.mark.parametrize("check, answer", RIGHT[:6], ids=lambda x: x.__name__)
def test_what_an_answer_prints_is_shown_once(check, answer, capsys):
    def talks(*args):
        print("hello")
        return answer(*args)
    told = said(check, talks, capsys)
    assert told.count("hello") == 1 and told.endswith("passed\n")


# --- what the exercises and their solutions say, against independent answers -----------------------------------------

def mean_distance(n, d, draws, seed=0):
    """Of two sets of n draws from N(0, I_d)."""
    draw = torch.Generator().manual_seed(seed)
    sets = lambda: torch.randn((n, d), generator=draw, dtype=torch.float64)
    return float(np.mean([frechet_by_the_library(sets(), sets()) for _ in range(draws)]))


@pytest.mark.parametrize("d, n", [(1, 300), (5, 400), (16, 800)])
def test_the_bias_of_the_frechet_distance(d, n):
    """Of two sets of n from N(0, I_d): 2 (d + d(d + 1)/4)/n, to first order."""
    draws = 4000 // d
    assert mean_distance(n, d, draws) == pytest.approx(2 * (d + d * (d + 1) / 4) / n, rel=0.1)


def test_the_line_in_1_over_n_finds_the_limit():
    """Two Gaussians whose means are 1 apart in each of 4 dimensions: 4, and without the line always more than that."""
    draw = torch.Generator().manual_seed(0)
    sizes = [50, 100, 200, 400]
    means = []
    for n in sizes:
        sets = torch.randn((60, 2, n, 4), generator=draw, dtype=torch.float64)
        means.append(np.mean([frechet_by_the_library(x, y + 1) for x, y in sets]))
    assert means[0] > means[1] > means[-1] and means[0] > 4.15
    assert my_frechet_limit(torch.tensor(sizes).double(), torch.tensor(means)) == pytest.approx(4, abs=0.06)


def test_the_unbiased_estimate_is_right_on_average_and_the_biased_is_not():
    """Two samples of 10 from one Gaussian: 0 within 4 standard errors (a false alarm in 1 of 16,000)."""
    draw = torch.Generator().manual_seed(0)
    values, biased = [], []
    for _ in range(3000):
        x, y = torch.randn((2, 10, 3), generator=draw, dtype=torch.float64)
        values.append(my_kid(x, y).item())
        k = lambda a, b: (a @ b.T / 3 + 1)**3
        biased.append((k(x, x).mean() + k(y, y).mean() - 2 * k(x, y).mean()).item())
    error = np.std(values) / len(values)**0.5
    assert abs(np.mean(values)) < 4 * error and np.mean(biased) > 20 * error and min(biased) >= 0


def test_a_share_of_copies_as_a_z_score():
    """What the solution says: z = (½ − share) √(12 n m/(n + m + 1)), the library's."""
    z = lambda share, n, m: float((0.5 - share) * (12 * n * m / (n + m + 1))**0.5)
    given = manifolds._sets()
    ours = z(my_copying(**given), len(given["samples"]), len(given["test"]))
    assert ours == pytest.approx(metrics.copying_test(**given).z, abs=1e-5)
    assert z(0.55, 1000, 1000) == pytest.approx(-3.9, abs=0.05)


def right_option(question):
    """(the right option, why), as it appears when that one is chosen."""
    choice, verdict = question().children[1:]
    for words in choice.options:
        choice.value = words
        if "<b>Yes.</b>" in verdict.value:
            return words, verdict.value
    raise AssertionError("no option is right")


def test_the_questions_know_their_answers():
    assert right_option(ch07.predict_one_a_class)[0].startswith("10, the highest")
    assert my_inception_score(torch.eye(10).repeat(1000, 1)) == pytest.approx(10)

    right, why = right_option(ch07.predict_sample_count)
    assert right.startswith("above 0, and about ten times less") and "about 4.4 and 0.44" in why
    assert mean_distance(500, 64, 6) == pytest.approx(4.4, abs=0.1)
    assert mean_distance(5000, 64, 6) == pytest.approx(0.44, abs=0.01)

    draw = torch.Generator().manual_seed(0)
    values = [my_kid(*torch.randn((2, 30, 8), generator=draw)).item() for _ in range(200)]
    right, why = right_option(ch07.predict_kid_sign)
    assert right.endswith("many of them below 0") and 0.3 < np.mean(np.array(values) < 0) < 0.7

    centres = 6 * torch.randn((10, 8), generator=draw)
    real = centres[torch.randint(10, (400,), generator=draw)] + torch.randn((400, 8), generator=draw)
    ones = centres[1] + torch.randn((400, 8), generator=draw)
    precision, recall = my_precision_recall(real, ones)
    right, why = right_option(ch07.predict_only_ones)
    assert right == "precision high, recall low" and precision > 0.7 and recall < 0.12 and "a tenth" in why

    train, test = real[:200], real[200:]
    copies = train[torch.randint(200, (200,), generator=draw)]
    as_good = lambda measure: measure(train, copies) < 2 * abs(measure(train, test)) + 1e-6
    assert as_good(frechet_by_the_library) and as_good(my_kid) and my_copying(copies, train, test) == 1
    assert min(my_precision_recall(train, copies)) > 0.9
    assert right_option(ch07.predict_copies)[0] == "none of them"


# --- known mistakes: (answer, words that its message has and no other has) -------------------------------------------

def kl_rows(p, q):
    return torch.sum(p * (torch.log(p) - torch.log(q)), -1)


def of_kl(f):
    return lambda probs: f(kl_rows(probs, probs.mean(0)).mean())


def H(p):
    return -(p * p.log()).sum(-1)


def naive_score(probs):
    return kl_rows(probs, probs.mean(0)).mean().exp()


SCORE = [
    (of_kl(lambda kl: kl), "the exponential is missing: this"), (of_kl(lambda kl: kl / math.log(2)), "mean KL in bits"),
    (of_kl(lambda kl: 2.0**kl), "2 to the power of a KL"),
    (of_kl(lambda kl: math.e**(kl / math.log(2))), "exp of a KL in"),
    (of_kl(lambda kl: 1 / kl.exp()), "yours is 1 over the score"),
    (of_kl(lambda kl: -kl), "sign is turned, and the exp"),
    (lambda p: kl_rows(p.mean(0), p).mean().exp(), "is turned round: KL(p(y)‖p(y|x)), which"),
    (lambda p: F.kl_div(p.log(), p.mean(0).expand_as(p), reduction="batchmean").exp(),
     "is turned round: KL(p(y)‖p(y|x)), which"),
    (lambda p: kl_rows(p.mean(0), p).mean(), "is turned round, KL(p(y)‖p(y|x)), and"),
    (lambda p: kl_rows(p, p.mean(0)).exp().mean(), "exp of each image's KL, and then"),
    (lambda p: kl_rows(p, p.mean(0)).sum().exp(), "you add the images' KLs up"),
    (lambda p: F.kl_div(p.mean(0).log().expand_as(p), p, reduction="mean").exp(), "the mean over the classes as well"),
    (lambda p: kl_rows(p, p.mean(0)).exp(), "a number for each image"),
    (lambda p: kl_rows(p, p.mean(0)), "the images' KLs. Take"),
    (lambda p: kl_rows(p, torch.ones_like(p) / p.shape[1]).mean().exp(), "your p(y) is uniform"),
    (lambda p: kl_rows(p, p.mean(1, keepdim=True)).mean().exp(), "your p(y) is uniform"),
    (lambda p: kl_rows(p, p.sum(0)).mean().exp(), "your p(y) is the *sum* of the rows"),
    (lambda p: H(p.mean(0)).exp(), "diversity alone"), (lambda p: H(p.mean(0)), "without the entropy of p(y|x)"),
    (lambda p: H(p).mean().exp(), "which is *low* for good images"), (lambda p: (-H(p).mean()).exp(), "how sure the"),
    (lambda p: (H(p.mean(0)) + H(p).mean()).exp(), "you add the two entropies"),
    (of_kl(lambda kl: 1 + kl), "you take 1 + KL"),
    (lambda p: my_inception_score((p == p.max(1, keepdim=True).values).float()), "you round the classifier's answers"),
    (lambda p: p.max(1).values.mean(), "the mean of the largest probability"),
    (lambda p: naive_score(p.softmax(1)), "you take a softmax of probabilities"),
    (naive_score, "probs = [[1, 0, 0], [0, 1, 0], [0, 0, 1]] your answer is nan, and it is 3"),
    (lambda p: naive_score(p.clamp(min=1e-3)), "Clamp nothing"),
    (lambda p: (torch.where(p > 0, p * (p / p.mean(0)).log(), p).sum(1).mean().exp()
                + 0 * (p.mean(0) / p.mean(0)).sum()), "probs = [[1, 0, 0], [0, 1, 0]] your answer is nan, and it is 2"),
    (lambda p: my_inception_score(p) if p.all() else my_inception_score(p)[None], "are right, but for probs (3, 3)"),
    (lambda p: 4 * my_inception_score(p), "probs = ((0.9, 0.1), (0.3, 0.7)) the answer is 1.228, and yours is 4.91"),
    (lambda p: my_inception_score(p)[None], "the numbers are right, but for probs (5, 3)"),
]


def frechet(mean=lambda d: d @ d, root=None, x_y=lambda x, y: (statistics(x), statistics(y))):
    """‖m − m'‖² or another, and the covariances' part with another number in place of tr (C C')^½."""
    root = root or (lambda C, D: torch.linalg.eigvals(C @ D).sqrt().real.sum())

    def value(x, y):
        (m, C), (n, D) = x_y(x, y)
        return mean(m - n) + C.trace() + D.trace() - 2 * root(C, D)
    return value


def with_covariances(f):
    return frechet(x_y=lambda x, y: ((x.mean(0), f(x)), (y.mean(0), f(y))))


def sqrtm(C):
    return torch.from_numpy(scipy.linalg.sqrtm(C.numpy()).real)


def gaussian_kl(x, y):
    p, q = (torch.distributions.MultivariateNormal(*statistics(points)) for points in (x, y))
    return torch.distributions.kl_divergence(p, q)


def roots_of_entries_apart(x, y):
    (m, C), (n, D) = statistics(x), statistics(y)
    return (m - n).square().sum() + (C + D - 2 * C.sqrt() @ D.sqrt()).trace()


FRECHET = [
    (frechet(root=lambda C, D: torch.sqrt(C @ D).trace()), "the root of each *entry*"),
    (frechet(root=lambda C, D: np.trace(np.sqrt(np.abs(C.numpy() @ D.numpy())))), "the root of each *entry*"),
    (frechet(root=lambda C, D: torch.sqrt(C * D).trace()), "the means and standard deviations of each feature"),
    (lambda x, y: (x.mean(0) - y.mean(0)).square().sum() + (x.std(0) - y.std(0)).square().sum(),
     "the means and standard deviations of each feature"),
    (frechet(root=lambda C, D: (C @ D).trace()), "the root is missing: you subtract 2 tr(C C')"),
    (frechet(root=lambda C, D: (C * D).sum()), "the root is missing: you subtract 2 tr(C C')"),
    (frechet(root=lambda C, D: (C @ D).trace().sqrt()), "you take the root of the trace"),
    (frechet(root=lambda C, D: torch.linalg.eigvals(C @ D).real.sum()**0.5), "you take the root of the trace"),
    (frechet(root=lambda C, D: (sqrtm(C) @ sqrtm(D)).trace()), "this is tr(C^½ C'^½)"),
    (frechet(root=lambda C, D: (torch.linalg.cholesky(C).T @ torch.linalg.cholesky(D)).trace()), "Cholesky factors"),
    (frechet(root=lambda C, D: sqrtm(C @ D).trace() / 2), "the factor 2 is missing"),
    (frechet(root=lambda C, D: -sqrtm(C @ D).trace()), "the root's part is *subtracted*"),
    (frechet(root=lambda C, D: 0), "the part with the root is missing"),
    (frechet(lambda d: d.norm()), "you take ‖m − m'‖ as it is"),
    (frechet(torch.sum), "you add the differences of the means"),
    (frechet(lambda d: d.norm(p=1)), "you add the absolute differences"),
    (frechet(lambda d: d.square().mean()), "the mean over the features"),
    (frechet(lambda d: 0), "the means do not come in"),
    (frechet(lambda d: d**2), "a number for each feature: the sum"),
    (lambda x, y: F.mse_loss(x.mean(0), y.mean(0), reduction="sum"), "this is ‖m − m'‖² alone"),
    (lambda x, y: my_frechet(x, y).sqrt(), "you take the root of it all"),
    (with_covariances(lambda x: torch.cov(x.T, correction=0)), "are divided by n. That is biased"),
    (with_covariances(lambda x: torch.cov(x.T) * (len(x) - 1)), "are not divided by anything"),
    (lambda x, y: torch.dist(x.mean(0), y.mean(0))**2 + torch.dist(torch.cov(x.T), torch.cov(y.T))**2,
     "you take ‖C − C'‖²"),
    (lambda x, y: torch.dist(x.mean(0), y.mean(0))**2 + torch.dist(x.var(0), y.var(0))**2, "you compare variances"),
    (with_covariances(lambda x: x.T @ x / len(x)), "your matrices are second moments"),
    (gaussian_kl, "this is the KL divergence of the two Gaussians. Asked"),
    (lambda x, y: gaussian_kl(y, x), "of y's from x's"),
    (lambda x, y: -my_frechet(x, y), "a distance is never below 0"),
    (lambda x, y: my_frechet(x, y) / 2, "you have half of it: there is no ½"),
    (frechet(root=lambda C, D: torch.linalg.eigvals(C @ D).real.sqrt().sum()),
     "eigenvalues that are 0 come out as −1e-17"),
    (frechet(root=lambda C, D: sqrtm((C + 0.1 * torch.eye(8)) @ (D + 0.1 * torch.eye(8))).trace() if len(C) == 8
             else sqrtm(C @ D).trace()), "C C' is singular there: what is done"),
    (lambda x, y: my_frechet(x, y) if x.shape[1] < 8 else my_frechet(x, y)[None],
     "the numbers are right, but for x (4, 8)"),
    (frechet(root=lambda C, D: torch.linalg.eigvals(C @ D).sqrt().sum()), "complex numbers"),
    (roots_of_entries_apart, "your answer holds NaN"),
    (lambda x, y: 4 * my_frechet(x, y), "(6, 4)), the answer is 11.67, and yours is 46.67"),
    (lambda x, y: my_frechet(x, y)[None], "the numbers are right, but for x (7, 3)"),
]


def mmd(k, within=lambda K: K[~torch.eye(len(K), dtype=torch.bool)].mean(), across=torch.mean, factor=2):
    return lambda x, y: within(k(x, x)) + within(k(y, y)) - factor * across(k(x, y))


def cubic(a, b):
    return (torch.inner(a, b) / a.shape[1] + 1)**3


def on_products(f):
    return mmd(lambda a, b: f(torch.inner(a, b), a.shape[1]))


def gauss(width):
    return mmd(lambda a, b: torch.exp(-torch.cdist(a, b)**2 / width(a.shape[1])))


off = lambda K: K - torch.diag(K.diagonal())

KID = [
    (mmd(cubic, torch.mean), "this is the *biased* estimate"),
    (mmd(cubic, lambda K: off(K).mean()), "but still divide by n²"),
    (mmd(cubic, lambda K: K.sum() / len(K) / (len(K) - 1)), "but the diagonal is still in"),
    (mmd(cubic, lambda K: K.triu(1).sum() / len(K) / (len(K) - 1)), "you count each pair once"),
    (on_products(lambda ab, d: (ab / d + 1)**2), "your exponent is 2"),
    (on_products(lambda ab, d: 1 + ab / d), "the exponent is missing"),
    (on_products(lambda ab, d: ab), "your kernel is a·b"),
    (on_products(lambda ab, d: (1 + ab / d)**d), "your exponent is d"),
    (on_products(lambda ab, d: (1 + ab)**3), "by d is missing"),
    (on_products(lambda ab, d: (ab / d)**3), "the + 1 is missing"),
    (on_products(lambda ab, d: (ab / d**0.5 + 1)**3), "by √d"),
    (on_products(lambda ab, d: 1 + ab**3 / d), "the brackets are elsewhere"),
    (on_products(lambda ab, d: (ab + 1)**3 / d**3), "the brackets are wrong"),
    (gauss(lambda d: 2), "your kernel is the Gaussian one"), (gauss(lambda d: 1), "your kernel is the Gaussian one"),
    (gauss(lambda d: d), "your kernel is the Gaussian one"),
    (gauss(lambda d: 2 * d), "your kernel is the Gaussian one"),
    (mmd(cubic, factor=1), "the factor 2 is missing"), (mmd(cubic, factor=-2), "2 mean k(x, y) is *subtracted*"),
    (mmd(cubic, factor=0), "the part with both is missing"),
    (lambda x, y: off(cubic(x, x)).sum() / 20 - off(cubic(y, y)).sum() / 12, "you subtract what lies within y"),
    (lambda x, y: cubic(x, y).mean(), "mean k(x, y) alone"), (lambda x, y: -my_kid(x, y), "the sign is turned. What"),
    (lambda x, y: my_kid(x, y).abs().sqrt(), "you take the root. KID"),
    (mmd(cubic, lambda K: off(K).sum(), torch.sum), "you add the pairs up. Each of"),
    (mmd(cubic, across=lambda K: (K.sum() - K.diagonal().sum()) / (K.numel() - min(K.shape))),
     "you leave the pairs (x_i, y_i)"),
    (lambda x, y: my_kid(x, y) / 2, "you have half of it: there is no ½"),
    (lambda x, y: torch.dist(x.mean(0), y.mean(0))**2, "this is ‖mean x − mean y‖²"),
    (mmd(cubic, lambda K: K.diagonal().mean()), "you take the diagonals"),
    (lambda x, y: my_kid(x, y).clamp(min=0), "for x = y = ((1, 0), (−1, 0)) the answer is -3.25, and yours is 0"),
    (lambda x, y: 4 * my_kid(x, y), "the answer is 27, and yours is 108"),
    (lambda x, y: my_kid(x, y)[None], "the numbers are right, but for x (5, 4)"),
]


def within(of, k=3):
    """The distance to the k-th neighbour in a set, by scipy's tree: the first is the point itself."""
    return torch.from_numpy(KDTree(of.double().numpy()).query(of.double().numpy(), k + 1)[0][:, -1])


def both_ways(f):
    """f(distances (points, of), radii of the balls, radii of the points) for either direction."""
    def share(points, of):
        result = f(torch.cdist(points.double(), of.double()), within(of), within(points))
        return torch.as_tensor(result).double()
    return lambda real, fake: (share(fake, real), share(real, fake))


def reach(k):
    def share(points, of):
        return (torch.cdist(points.double(), of.double()) <= within(of, k) + 1e-12).any(1).double().mean()
    return lambda real, fake: (share(fake, real), share(real, fake))


def part(which, other):
    """Precision (0) or recall (1) by another function."""
    def answer(real, fake):
        right = list(my_precision_recall(real, fake))
        right[which] = other(real, fake)
        return right
    return answer


def nearest_ball(d, radii, own):
    return (d.min(1).values <= radii[d.argmin(1)]).double().mean()


def third_of_the_other(d, radii, own):
    return (d <= d.topk(3, dim=0, largest=False).values[2]).any(1).double().mean()


own_balls = both_ways(lambda d, radii, own: (d <= own[:, None]).any(1).double().mean())

PR = [
    (lambda real, fake: my_precision_recall(fake, real), "Precision is the share of *fakes* that lie among"),
    (reach(2), "counts as its own nearest neighbour"), (reach(4), "your balls reach to the fourth neighbour"),
    (reach(1), "your balls reach to the nearest neighbour"), (own_balls, "you take the radii of the wrong set"),
    (part(0, lambda real, fake: own_balls(real, fake)[0]), "precision: the balls are those of the *real*"),
    (part(1, lambda real, fake: own_balls(real, fake)[1]), "recall: the balls are those of the *fakes*"),
    (both_ways(nearest_ball), "the ball of the *nearest* point only"),
    (both_ways(lambda d, radii, own: (d <= radii).all(1).double().mean()), "lie in *all* of the balls"),
    (both_ways(lambda d, radii, own: (d <= radii).double().mean()),
     "the share of all *pairs*. It is the share of points"),
    (both_ways(lambda d, radii, own: (d <= radii).sum() / (3 * len(d))), "this counts in how many balls"),
    (both_ways(lambda d, radii, own: (d <= radii).any(0).double().mean()), "over the wrong dimension"),
    (both_ways(lambda d, radii, own: (d <= radii).any(1).sum()), "these are counts"),
    (both_ways(lambda d, radii, own: 100 * (d <= radii).any(1).double().mean()), "these are percentages"),
    (both_ways(lambda d, radii, own: (d > radii).all(1).double().mean()), "lie *outside* of all balls"),
    (both_ways(lambda d, radii, own: (d <= radii).any(1)), "a number for each point"),
    (both_ways(lambda d, radii, own: (d <= radii.mean()).any(1).double().mean()), "all your balls are of one size"),
    (both_ways(lambda d, radii, own: (d <= radii.max()).any(1).double().mean()), "all your balls are of one size"),
    (both_ways(lambda d, radii, own: (d <= radii.median()).any(1).double().mean()), "all your balls are of one size"),
    (both_ways(lambda d, radii, own: (d**2 <= radii).any(1).double().mean()), "you compare squared distances"),
    (both_ways(lambda d, radii, own: (d <= radii**2).any(1).double().mean()),
     "you compare distances with squared radii"),
    (both_ways(third_of_the_other), "third nearest point of the *other* set"),
    (part(1, lambda real, fake: my_precision_recall(real, fake)[0]), "you return precision twice"),
    (part(0, lambda real, fake: my_precision_recall(real, fake)[1]), "you return recall twice"),
    (lambda real, fake: my_precision_recall(real, fake)[0], "where two tensors are due, precision and recall"),
    (lambda real, fake: tuple(float(v) for v in my_precision_recall(real, fake)), "its precision is a Python number"),
    (lambda real, fake: [0.5 * v for v in my_precision_recall(real, fake)],
     "fake = (4.6, 5, 5.5, 6, 30), the answer is precision = 0.8 and recall = 0.2, and yours is precision = 0.4"),
    (lambda real, fake: [v[None] for v in my_precision_recall(real, fake)],
     "precision: the numbers are right, but for real"),
]


def line(u, v=lambda d: d, back=lambda a: a):
    """The intercept of numpy's line in u(n), of v(distance)."""
    return lambda n, d: float(back(torch.tensor(np.polyfit(u(n).double().numpy(), v(d).double().numpy(), 1)[1])))


def inverse(n):
    return 1 / n


def slope_of(n, d):
    return np.polyfit((1 / n.double()).numpy(), d.double().numpy(), 1)[0]


def weighted(n, d):
    return np.polyfit((1 / n.double()).numpy(), d.double().numpy(), 1, w=n.double().sqrt().numpy())[1]


def exchanged(n, d):
    return np.polyfit(d.double().numpy(), (1 / n.double()).numpy(), 1)


LIMIT = [
    (line(lambda n: n), "your line is in n, not in 1/n"), (line(torch.log), "your line is in log n"),
    (line(torch.rsqrt), "your line is in 1/√n"), (line(lambda n: n**-2), "your line is in 1/n²"),
    (line(torch.log, torch.log, torch.exp), "you fit a power law"),
    (line(inverse, torch.log, torch.exp), "you fit the logarithm"),
    (line(inverse, torch.sqrt, torch.square), "fit the root"),
    (slope_of, "this is the slope b"),
    (lambda n, d: torch.tensor([my_frechet_limit(n, d), slope_of(n, d)]), "you return a and b"),
    (lambda n, d: torch.tensor(np.polyfit(1 / n.numpy(), d.numpy(), 1)), "you return b and a"),
    (lambda n, d: my_frechet_limit(n, d) + slope_of(n, d), "this is a + b, the line at"),
    (lambda n, d: exchanged(n, d)[1], "the two axes are exchanged"),
    (lambda n, d: -exchanged(n, d)[1] / exchanged(n, d)[0], "and solve for 1/n = 0"),
    (lambda n, d: d[n.argmax()], "with the most samples, the smallest"),
    (lambda n, d: d.min(), "with the most samples, the smallest"),
    (lambda n, d: d.mean(), "you take the mean of the distances"),
    (lambda n, d: torch.dot(n, d) / n.sum(), "a mean weighted by n"),
    (lambda n, d: (d[-1] * n[-1] - d[0] * n[0]) / (n[-1] - n[0]), "the first and the last point only"),
    (lambda n, d: my_frechet_limit(n[-2:], d[-2:]), "the last two points only"),
    (weighted, "your fit is weighted by n"),
    (lambda n, d: torch.linalg.lstsq(1 / n[:, None], d[:, None]).solution[0, 0], "*through the origin*"),
    (lambda n, d: 0.0, "you return 0. So it"),
    (lambda n, d: my_frechet_limit(n[:4], d[:4]), "your answer is near: 3.114, and it is 3.086"),
    (lambda n, d: d.max(), "the distance measured with the most samples is 3.28 already"),
    (lambda n, d: my_frechet_limit(n, d) / 2,
     "n = (100, 200) with the distances (8, 5) the answer is 2, and yours is 1"),
    (lambda n, d: my_frechet_limit(n, d)[None], "the numbers are right, but for n (6,)"),
]


def shares(near_sample=lambda s, train, test: nearest(s, train), near_test=lambda s, train, test: nearest(test, train)):
    def share(s, train, test):
        return torch.lt(near_sample(s, train, test)[:, None], near_test(s, train, test)).double().mean()
    return share


def nearest(a, b):
    return torch.cdist(a.double(), b.double()).min(dim=1).values


def other_distance(f):
    """Another distance to the training set than the smallest, a function of the table."""
    to = lambda points, train: f(torch.cdist(points.double(), train.double()))
    return shares(lambda s, train, test: to(s, train), lambda s, train, test: to(test, train))


def against(f):
    """The share of samples nearer than one number, made of the test points' distances."""
    return lambda s, train, test: (nearest(s, train) < f(nearest(test, train))).double().mean()


def z_score(s, train, test):
    n, m = len(s), len(test)
    return (my_copying(s, train, test) - 0.5) * (12 * n * m / (n + m + 1))**0.5


COPIES = [
    (lambda *a: 1 - my_copying(*a), "in which the *test* point is the nearer"),
    (lambda s, train, test: my_copying(s, test, train), "training and test points are exchanged"),
    (shares(near_test=lambda s, train, test: nearest(s, test)), "with *samples'* distances to test"),
    (shares(near_test=lambda s, train, test: nearest(test, s)), "to the nearest *sample*. It is to"),
    (lambda s, train, test: (nearest(s, train) < nearest(s, test)).double().mean(), "nearer to train than to test"),
    (shares(lambda s, train, test: nearest(train, s)), "from each *training* point to its nearest sample. It"),
    (shares(lambda s, train, test: nearest(train, s), lambda s, train, test: nearest(train, test)),
     "from each *training* point to its nearest sample and test"),
    (other_distance(lambda d: d.mean(1)), "the *mean* distance to the training set. A"),
    (other_distance(lambda d: d.max(1).values), "the *largest* distance to the training set"),
    (lambda s, train, test: my_copying(s, train.mean(0, keepdim=True), test),
     "the distance to the mean of the training"),
    (other_distance(lambda d: d[:, 0]), "to the first training point only"),
    (against(torch.mean), "the *mean* of the test points'"),
    (against(torch.median), "the *median* of the test points'"),
    (against(torch.min), "the *smallest* of the test points'"),
    (against(torch.max), "the *largest* of the test points'"),
    (lambda s, train, test: (nearest(s, train)[:len(test)] < nearest(test, train)[:len(s)]).double().mean(),
     "you compare sample i with test point i"),
    (lambda s, train, test: mannwhitneyu(nearest(test, train), nearest(s, train)).statistic, "Mann and Whitney's U"),
    (lambda s, train, test: torch.lt(nearest(s, train)[:, None], nearest(test, train)).double().mean(1),
     "share for each"),
    (lambda s, train, test: torch.lt(nearest(s, train)[:, None], nearest(test, train)), "the table of all pairs"),
    (lambda s, train, test: nearest(s, train).mean() / nearest(test, train).mean(), "ratio of the mean distances"),
    (lambda s, train, test: nearest(s, train).mean(), "the samples' mean distance to the"),
    (lambda s, train, test: nearest(test, train).mean() - nearest(s, train).mean(),
     "the difference of the mean distances"),
    (z_score, "this is the z-score"), (lambda *a: -z_score(*a), "this is a z-score"),
    (lambda *a: 2 * my_copying(*a) - 1, "stretched to [−1, 1]"),
    (lambda s, train, test: (nearest(s, train) == 0).double().mean(), "you count exact copies only"),
    (lambda s, train, test: (nearest(s, train) < 0.1).double().mean() / 3,
     "where they lie 100 away it is 0, and yours is 0"),
    (lambda *a: my_copying(*a)**2, "train = (0, 1, 2) and test = (0.4, 1.2), the answer is 0.5, and yours is 0.25"),
    (lambda *a: my_copying(*a)[None], "the numbers are right, but for samples (9, 2), train (13, 2), test (7, 2)"),
]


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("check, answer, words, others", mistakes([
    (ch07.check_inception_score, SCORE), (ch07.check_frechet, FRECHET), (ch07.check_kid, KID),
    (ch07.check_precision_recall, PR), (ch07.check_frechet_limit, LIMIT), (ch07.check_copying, COPIES)]))
def test_a_known_mistake_is_named(check, answer, words, others, capsys):
    name_only(words, in_one_line(said(check, answer, capsys)), others)


def test_the_arguments_are_what_the_exercises_need():
    """Distances that differ clearly, so that no rounding decides a share; a positive KID; singular covariances."""
    clouds, sets = manifolds._clouds(), manifolds._sets()
    for points, of in ((clouds["fake"], clouds["real"]), (clouds["real"], clouds["fake"])):
        assert (torch.cdist(points, of) - within(of)).abs().min() > 1e-4
    near = torch.cat([nearest(sets["samples"], sets["train"]), nearest(sets["test"], sets["train"])])
    assert near.sort().values.diff().min() > 1e-4 and (near == 0).sum() == 1
    x, y = distances._features(4, 5, 8, 0)
    assert torch.linalg.matrix_rank(torch.cov(x.T)) == 3 and torch.linalg.matrix_rank(torch.cov(y.T)) == 4
    assert kernels._kid(torch.eye(2), torch.eye(2)) < 0
