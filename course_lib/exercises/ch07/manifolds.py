"""Chapter 07, exercises 5 and 6: precision and recall by nearest neighbours, and a test for copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.exercises.calling import NotYet
from course_lib.exercises.ch04.pairs import compare_pair
from course_lib.exercises.ch05.looking import ask_again, closer
from course_lib.exercises.checking import compare, show, verdict

K = 3                   # which neighbour a ball reaches to

# --- exercise 5: precision and recall ------------------------------------------------------------------------------

NAMES = ("precision", "recall")


def check_precision_recall(my_precision_recall: Callable) -> None:
    """my_precision_recall(real, fake) → the share of fakes in a ball of a real one, and of real ones in a fake's.

    real: (n, d), fake: (m, d), n and m at least 5. A ball reaches to the third nearest *other* point of its own set.
    """
    small = {"real": torch.arange(5.0)[:, None], "fake": torch.tensor([4.6, 5.0, 5.5, 6.0, 30.0])[:, None]}
    with verdict():
        compare_pair(my_precision_recall, _clouds(), _both, PR_MISTAKES, names=NAMES, read="section 7.5",
                     small=("points on a line, real = (0, 1, 2, 3, 4) and fake = (4.6, 5, 5.5, 6, 30),", small))


def _clouds(seed: int = 548) -> dict[str, Any]:
    """Two clouds that overlap in part; 23 and 29 points, so that no share of the one is a share of the other."""
    draw = torch.Generator().manual_seed(seed)
    return {"real": torch.randn((23, 2), generator=draw),
            "fake": torch.randn((29, 2), generator=draw) * torch.tensor([1.4, 0.5]) + torch.tensor([1.1, 0.3])}


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, None] - b).square().sum(-1).sqrt()


def _radii(points: Tensor, k: int = K) -> Tensor:
    """To the k-th nearest other point, (n,)."""
    return _distances(points, points).sort(dim=1).values[:, k]


def _inside(points: Tensor, of: Tensor, k: int = K) -> Tensor:
    """Whether each point is in a ball around one of the others, (m,)."""
    return (_distances(points, of) <= _radii(of, k)).any(1)


def _share(table: Tensor) -> Tensor:
    return table.double().mean()


def _both(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    return _of(lambda points, of: _share(_inside(points, of)))(real, fake)


def _of(f: Callable) -> Callable:
    """Both from one function: f(fake, real) for precision, f(real, fake) for recall."""
    return lambda real, fake: (f(fake, real), f(real, fake))


def _own_radii(points: Tensor, of: Tensor) -> Tensor:
    """Whether another lies in the point's *own* ball."""
    return _share((_distances(points, of) <= _radii(points)[:, None]).any(1))


def _nearest_ball(points: Tensor, of: Tensor) -> Tensor:
    """Whether each point lies in the ball of the one nearest to it."""
    distances = _distances(points, of)
    return _share(distances.amin(1) <= _radii(of)[distances.argmin(1)])


ONE_LESS = ("each point counts as its own nearest neighbour, at distance 0, so your balls reach to the second nearest "
            "only. topk(4) of the distances within the set, and of these the last (section 7.5).")
ONE_RADIUS = ("all your balls are of one size. Each point has its own radius, small where the set is dense: the "
              "distance to its third neighbour (section 7.5).")
PR_MISTAKES = [
    (lambda real, fake: _both(real, fake)[::-1],
     "the two are exchanged. Precision is the share of *fakes* that lie among the real ones; recall, the share of real "
     "ones that lie among the fakes (section 7.5)."),
    (_of(lambda points, of: _share(_inside(points, of, K - 1))), ONE_LESS),
    (_of(lambda points, of: _share(_inside(points, of, K + 1))),
     "your balls reach to the fourth neighbour. Sorted, the distances begin with the point's own, 0, at index 0; the "
     "third neighbour has index 3 (section 7.5)."),
    (_of(lambda points, of: _share(_inside(points, of, 1))),
     "your balls reach to the nearest neighbour. Here it is the third, k = 3 (section 7.5)."),
    (_of(_own_radii),
     "you take the radii of the wrong set: whether a real one lies in the ball *of the fake*. For precision the balls "
     "are those of the real points, for recall those of the fakes (section 7.5)."),
    (lambda real, fake: (_own_radii(fake, real), _share(_inside(real, fake))),
     "precision: the balls are those of the *real* points, and you take those of the fakes. A fake far out, with no "
     "neighbour, has a huge ball, and would count as good (section 7.5)."),
    (lambda real, fake: (_share(_inside(fake, real)), _own_radii(real, fake)),
     "recall: the balls are those of the *fakes*, and you take those of the real points. (That is *coverage*, of Naeem "
     "et al. 2020, a measure with merits.)"),
    (_of(_nearest_ball),
     "you look into the ball of the *nearest* point only. Another one, farther away, may have a larger ball: any of "
     "them will do (section 7.5)."),
    (_of(lambda points, of: _share((_distances(points, of) <= _radii(of)).all(1))),
     "you ask that a point lie in *all* of the balls. One is enough: any."),
    (_of(lambda points, of: _share(_distances(points, of) <= _radii(of))),
     "you take the share of all *pairs*. It is the share of points that lie in at least one ball: .any over the balls "
     "first (section 7.5)."),
    (_of(lambda points, of: (_distances(points, of) <= _radii(of)).double().sum(1).mean() / K),
     "this counts in how many balls a point lies: *density*, of Naeem et al. 2020. Asked is whether it lies in one at "
     "least (section 7.5)."),
    (_of(lambda points, of: _share((_distances(points, of) <= _radii(of)).any(0))),
     "you take .any over the wrong dimension: the share of *balls* that hold a point. It is the share of points that "
     "lie in a ball (section 7.5)."),
    (_of(lambda points, of: _inside(points, of).double().sum()), "these are counts. Asked are shares, from 0 to 1."),
    (_of(lambda points, of: 100 * _share(_inside(points, of))),
     "these are percentages. Asked are shares, from 0 to 1."),
    (_of(lambda points, of: 1 - _share(_inside(points, of))),
     "these are the shares that lie *outside* of all balls (section 7.5)."),
    (_of(lambda points, of: _inside(points, of).double()),
     "you return a number for each point. Asked are two shares: take means."),
    (_of(lambda points, of: _share(_distances(points, of).amin(1) <= _radii(of).mean())), ONE_RADIUS),
    (_of(lambda points, of: _share(_distances(points, of).amin(1) <= _radii(of).max())), ONE_RADIUS),
    (_of(lambda points, of: _share(_distances(points, of).amin(1) <= _radii(of).median())), ONE_RADIUS),
    (_of(lambda points, of: _share((_distances(points, of).square() <= _radii(of)).any(1))),
     "you compare squared distances with radii that are not squared."),
    (_of(lambda points, of: _share((_distances(points, of) <= _radii(of).square()).any(1))),
     "you compare distances with squared radii."),
    (_of(lambda points, of: _share((_distances(points, of) <= _distances(of, points).sort(dim=1).values[:, K - 1])
                                   .any(1))),
     "your radius is the distance to the third nearest point of the *other* set. It is of its own: how dense the set "
     "itself is there (section 7.5)."),
    (lambda real, fake: (_share(_inside(fake, real)), _share(_inside(fake, real))),
     "recall: you return precision twice. Recall is the other way round: which real ones lie in a ball of a fake."),
    (lambda real, fake: (_share(_inside(real, fake)), _share(_inside(real, fake))),
     "precision: you return recall twice. Precision is the share of fakes that lie in a ball of a real one."),
]


# --- exercise 6: copies --------------------------------------------------------------------------------------------

def check_copying(my_copying: Callable) -> None:
    """my_copying(samples, train, test) → the share of pairs in which a sample is nearer to train than a test point is.

    samples: (n, d), train: (N, d), test: (m, d); "near" is the distance to the nearest training point. No ties.
    """
    arguments = _sets()
    small = {"samples": torch.tensor([[0.1], [5.0]]), "train": torch.tensor([[0.0], [1.0], [2.0]]),
             "test": torch.tensor([[0.4], [1.2]])}
    with verdict(), closer(lambda: _look(my_copying)):
        compare(my_copying, arguments, _copying, COPY_MISTAKES, read="section 7.6", number=True,
                small=("points on a line, samples = (0.1, 5), train = (0, 1, 2) and test = (0.4, 1.2),", small))


def _sets(seed: int = 5728) -> dict[str, Tensor]:
    """Of the 9 samples, 4 lie near a training point, and one is one."""
    draw = torch.Generator().manual_seed(seed)
    train, test = torch.randn((13, 2), generator=draw), torch.randn((7, 2), generator=draw)
    samples = 1.5 * torch.randn((9, 2), generator=draw)
    samples[:5] = train[2:7] + 0.25 * torch.randn((5, 2), generator=draw)
    samples[3] = train[5]
    return {"samples": samples, "train": train, "test": test}


def _look(my_copying: Callable) -> None:
    """The training set itself, and points far away."""
    given = _sets()
    copied, far = (ask_again(my_copying, {**given, "samples": samples}, (), number=True)
                   for samples in (given["train"][:8], given["train"][:8] + 100))
    if copied < 0.99 or far > 0.01:
        raise NotYet(f"where the samples *are* training points the answer is 1, and yours is {show(copied)}; where "
                     f"they lie 100 away it is 0, and yours is {show(far)}. Is it a share of pairs, and which of the "
                     "two is to be the nearer? (section 7.6)")


def _near(points: Tensor, train: Tensor) -> Tensor:
    return _distances(points, train).amin(1)


def _ranks(sample: Tensor, test: Tensor) -> Tensor:
    """The share of pairs in which the first is the smaller."""
    return _share(sample[:, None] < test)


def _copying(samples: Tensor, train: Tensor, test: Tensor) -> Tensor:
    return _ranks(_near(samples, train), _near(test, train))


def _by(distance: Callable) -> Callable:
    """The share with another distance from points to train."""
    return lambda samples, train, test: _ranks(distance(samples, train), distance(test, train))


def _z(samples: Tensor, train: Tensor, test: Tensor) -> Tensor:
    n, m = len(samples), len(test)
    return (_copying(samples, train, test) - 0.5) * n * m / (n * m * (n + m + 1) / 12)**0.5


COPY_MISTAKES = [
    (lambda samples, train, test: 1 - _copying(samples, train, test),
     "the sign is turned: this is the share of pairs in which the *test* point is the nearer. Asked is where the "
     "sample is: a share of 1 says copies (section 7.6)."),
    (lambda samples, train, test: _ranks(_near(samples, test), _near(train, test)),
     "training and test points are exchanged. Copies are copies of *training* points; the test set says how near "
     "points come that nobody copied (section 7.6)."),
    (lambda samples, train, test: _ranks(_near(samples, train), _near(samples, test)),
     "you compare a sample's distance to train with *samples'* distances to test. Compare it with the test points' own "
     "distance to train (section 7.6)."),
    (lambda samples, train, test: _ranks(_near(samples, train), _near(test, samples)),
     "you compare with the distance from a test point to the nearest *sample*. It is to the nearest training point, "
     "for both (section 7.6)."),
    (lambda samples, train, test: _share(_near(samples, train) < _near(samples, test)),
     "this is the share of samples that are nearer to train than to test. That depends on how many points each of the "
     "two has: among more points, one is nearer. Compare with the test points' own distance to train (section 7.6)."),
    (lambda samples, train, test: _ranks(_near(train, samples), _near(test, train)),
     "you go from each *training* point to its nearest sample. It is from each sample to its nearest training point."),
    (lambda samples, train, test: _ranks(_near(train, samples), _near(train, test)),
     "you go from each *training* point to its nearest sample and test point. It is from these to the nearest training "
     "point (section 7.6)."),
    (_by(lambda points, train: _distances(points, train).mean(1)),
     "you take the *mean* distance to the training set. A copy is near to one training point, and as far from the "
     "others as that one is: the smallest (section 7.6)."),
    (_by(lambda points, train: _distances(points, train).amax(1)),
     "you take the *largest* distance to the training set. A copy is near to one of them: the smallest."),
    (_by(lambda points, train: _distances(points, train.mean(0, keepdim=True))[:, 0]),
     "you take the distance to the mean of the training set. A copy is near to one training point, wherever that lies "
     "(section 7.6)."),
    (_by(lambda points, train: _distances(points, train[:1])[:, 0]),
     "you take the distance to the first training point only. It is to the nearest of all."),
    (lambda samples, train, test: _share(_near(samples, train) < _near(test, train).mean()),
     "you compare with the *mean* of the test points' distances: the share of samples that are nearer. Asked is the "
     "share of all *pairs* of a sample and a test point (section 7.6)."),
    (lambda samples, train, test: _share(_near(samples, train) < _near(test, train).median()),
     "you compare with the *median* of the test points' distances: the share of samples that are nearer. Asked is the "
     "share of all *pairs* of a sample and a test point (section 7.6)."),
    (lambda samples, train, test: _share(_near(samples, train) < _near(test, train).min()),
     "you compare with the *smallest* of the test points' distances. Asked is the share of all *pairs* of a sample and "
     "a test point (section 7.6)."),
    (lambda samples, train, test: _share(_near(samples, train) < _near(test, train).max()),
     "you compare with the *largest* of the test points' distances. Asked is the share of all *pairs* of a sample and "
     "a test point (section 7.6)."),
    (lambda samples, train, test: _share(_near(samples, train)[:len(test)] < _near(test, train)),
     "you compare sample i with test point i. They are not paired: each with each, a table (n, m) (section 7.6)."),
    (lambda samples, train, test: _copying(samples, train, test) * len(samples) * len(test),
     "this is the number of pairs, Mann and Whitney's U. Asked is the share: over n·m."),
    (lambda samples, train, test: (_near(samples, train)[:, None] < _near(test, train)).double().mean(1),
     "you return a share for each sample. Asked is the share of all pairs."),
    (lambda samples, train, test: (_near(samples, train)[:, None] < _near(test, train)).double(),
     "you return the table of all pairs. Asked is the share of them: its mean."),
    (lambda samples, train, test: _near(samples, train).mean() / _near(test, train).mean(),
     "this is the ratio of the mean distances, and one sample far out spoils a mean. Asked is a share of pairs: ranks "
     "do not mind (section 7.6)."),
    (lambda samples, train, test: _near(samples, train).mean(),
     "this is the samples' mean distance to the training set. By itself it says little: compare with the test "
     "points'."),
    (lambda samples, train, test: _near(test, train).mean() - _near(samples, train).mean(),
     "this is the difference of the mean distances, in units of x. Asked is a share of pairs: ranks (section 7.6)."),
    (_z, "this is the z-score. Asked is the share it comes from, between 0 and 1; ½ is what an honest generator gets."),
    (lambda samples, train, test: -_z(samples, train, test),
     "this is a z-score. Asked is the share it comes from, between 0 and 1."),
    (lambda samples, train, test: 2 * _copying(samples, train, test) - 1,
     "this is the share, stretched to [−1, 1]. Asked is the share itself, in which ½ is what an honest generator "
     "gets."),
    (lambda samples, train, test: _share(_near(samples, train) == 0),
     "you count exact copies only. Change one pixel by a hair, and nothing is found (section 7.6)."),
]
