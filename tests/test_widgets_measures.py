"""The live figure that mixes two corruptions: its numbers against the library's and scipy's, its picture, its words."""

import base64
import itertools
import math
import re
from types import SimpleNamespace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import same_color
from scipy.linalg import sqrtm
from torch import nn
from widget_pictures import names_fit, not_cut_off, pixels

from course_lib import corruptions, metrics
from course_lib.plots import use_style
from course_lib.recipes import load
from course_lib.recipes.digits import digits
from course_lib.widgets import CorruptionBench, measures, measures_explorer
from course_lib.widgets.base import Live

mpl.use("Agg")

MIXTURES = [(), (("blur", 0.2),), (("noise", 0.1), ("blur", 0.3)), (("dropped classes", 0.5),),
            (("repeated images", 1.0),), (("swapped patches", 0.25), ("repeated images", 0.4)), (("noise", 1.0),),
            (("mirroring", 0.5), ("dropped classes", 1.0)), (("black rectangle", 1.0), ("salt and pepper", 1.0)),
            (("resizing", 1.0), ("rotation", 0.6))]


@pytest.fixture(autouse=True)
def own_style():
    with plt.rc_context():
        use_style()
        yield
    assert not plt.get_fignums()                        # no figure is left for the notebook to show a second time


@pytest.fixture(scope="module")
def bench():
    return CorruptionBench(load("digit-classifier"), *digits("test"))


@pytest.fixture(scope="module")
def drawing(bench):
    with plt.rc_context():
        use_style()
        return measures.MeasuresDrawing(bench)


class Numbered(nn.Module):
    """A classifier that knows each image by the number in its corner, and counts what it is asked for."""

    def __init__(self):
        super().__init__()
        self.asked, self.calls = [], 0
        self.eval()

    def features(self, x):
        self.calls += 1
        self.asked.append(x[:, 0, 0, 0].tolist())
        return torch.stack([x[:, 0, 0, 0], x[:, 0, 0, 1]], 1)

    def head(self, features):
        return torch.nn.functional.one_hot((features[:, 1] * 10).round().long() % 10, 10) * 20.0


def numbered(n=500):
    """Images whose first pixel is their number and whose second is a tenth of their label; 70 of the first class."""
    images = torch.zeros(n, 1, 28, 28)
    labels = torch.arange(n) % 10
    labels[labels.eq(9).nonzero()[:, 0][40:]] = 0                               # 40 nines
    images[:, 0, 0, 0], images[:, 0, 0, 1] = torch.arange(n) / n, labels / 10
    return images, labels


# --- which digits ----------------------------------------------------------------------------------------------------

def test_the_lots_are_apart_and_hold_as_many_of_each_class():
    classifier, (images, labels) = Numbered(), numbered()
    bench = CorruptionBench(classifier, images, labels, count=50)
    real, *lots, clean = classifier.asked
    parts = [{round(500 * number) for number in part} for part in (real, *lots, clean)]
    assert len(parts) == 7 and all(len(part) == 50 for part in parts)
    assert all(not a & b for a, b in itertools.combinations(parts, 2))
    for part in parts:
        assert labels[sorted(part)].bincount().tolist() == [5] * 10
    assert sorted(parts[0]) != list(range(50))                                  # not the files' order …
    again = Numbered()
    CorruptionBench(again, images, labels, count=50)
    assert again.asked == classifier.asked                                      # … but always the same
    assert bench.clean.accuracy == 1 and bench.count == 50
    left = {round(500 * number) for number in bench.images[:, 0, 0, 0].tolist()}
    assert left >= parts[-1] and not left & set().union(*parts[:-1])
    assert torch.equal(bench.labels, labels[(500 * bench.images[:, 0, 0, 0]).round().long()])


@pytest.mark.parametrize("strength, kept", [(0.0, 10), (0.1, 9), (0.35, 7), (0.5, 6), (0.8, 3), (1.0, 1)])
def test_dropped_classes_are_the_last_ones_and_others_take_their_place(bench, strength, kept):
    images, labels = bench.spoilt(measures.checked([("dropped classes", strength)]))
    assert labels.unique().tolist() == list(range(kept)) and images.shape == (300, 1, 28, 28)
    shares = labels.bincount()
    assert shares.max() - shares.min() <= 1
    assert len(images.unique(dim=0)) == 300                                     # no image comes twice
    wanted = bench.images if kept == 10 else corruptions.drop_modes(bench.images, bench.labels, range(kept, 10))
    assert torch.equal(images, wanted[:300])


@pytest.mark.parametrize("strength, each", [(0.0, 30), (0.05, 25), (0.2, 15), (0.5, 5), (0.8, 2), (1.0, 1)])
def test_repeated_images_are_few_of_each_class_as_often(bench, strength, each):
    images, labels = bench.spoilt(measures.checked([("repeated images", strength)]))
    assert measures.distinct(300, strength) == each
    for c in range(10):
        different, often = images[labels == c].unique(dim=0, return_counts=True)
        assert len(different) == each and (labels == c).sum() == 30 and often.max() - often.min() <= 1
    assert all(any(torch.equal(image, own) for own in bench.images[:300]) for image in images[:20])


def test_dropping_and_repeating_go_together_in_any_order(bench):
    both = [("dropped classes", 0.8), ("repeated images", 1.0)]
    images, labels = bench.spoilt(measures.checked(both))
    assert labels.bincount().tolist() == [100, 100, 100] and len(images.unique(dim=0)) == 3
    assert bench.reading(*both) == bench.reading(*both[::-1])


# --- spoilt ---------------------------------------------------------------------------------------------------------

def test_corruptions_are_applied_in_their_order_each_with_its_own_chance(bench):
    clean, seeds = bench.images[:300], [torch.Generator().manual_seed(k) for k in (0, 1)]
    images, labels = bench.spoilt((("noise", 0.3), ("blur", 0.2)))
    wanted = corruptions.blur(corruptions.add_noise(clean, 0.18, seeds[0]), 0.6)
    torch.testing.assert_close(images, wanted)
    assert torch.equal(labels, bench.labels[:300])
    other, _ = bench.spoilt((("blur", 0.2), ("noise", 0.3)))
    torch.testing.assert_close(other, corruptions.add_noise(corruptions.blur(clean, 0.6), 0.18, seeds[1]))
    middle = (clean > 0.45) & (clean < 0.55)                    # where next to nothing is clipped
    twice, _ = bench.spoilt((("noise", 0.1), ("noise", 0.1)))
    assert (twice - clean)[middle].std().item() == pytest.approx(0.06 * math.sqrt(2), rel=0.05)   # independent noise
    assert torch.equal(images, bench.spoilt((("noise", 0.3), ("blur", 0.2)))[0])                 # the same each time
    chosen, labels = bench.spoilt((("mirroring", 1.0), ("dropped classes", 1.0)))
    assert torch.equal(chosen, bench.images[bench.labels == 0][:300].flip(3)) and not labels.any()


@pytest.mark.parametrize("name", measures.MIXABLE)
def test_strength_0_changes_nothing_and_strength_1_something(bench, name):
    clean = bench.images[:300]
    assert torch.equal(bench.spoilt(measures.checked([(name, 0.0)]))[0], clean)
    assert bench.reading((name, 0.0)) == bench.clean == bench.reading()
    images, _ = bench.spoilt(((name, 1.0),))
    assert images.shape == clean.shape and not torch.equal(images, clean)
    assert images.min() >= 0 and images.max() <= 1


def test_a_mixture_has_no_zeros_and_its_strengths_are_the_marks_of_the_sliders():
    assert measures.checked([("blur", 0.0), ("noise", 3 * 0.1)]) == (("noise", 0.3),)
    assert measures.checked([("blur", 3e-17), ("noise", 1)]) == (("noise", 1),)
    assert measures.checked(iter([("blur", 0.5), ("blur", 0.2)])) == (("blur", 0.5), ("blur", 0.2))
    for name in ("dropped classes", "repeated images"):
        assert measures.checked([(name, 0.2), (name, 0.5)]) == ((name, 0.5),)
        assert measures.checked([(name, 0.5), (name, 0.2), ("blur", 0.1)]) == ((name, 0.5), ("blur", 0.1))
        assert measures.checked([(name, 0.5), (name, 0.5)]) == ((name, 0.5),)
    both = (("dropped classes", 0.2), ("repeated images", 0.5))
    assert measures.checked(both) == both and measures.checked([]) == ()


@pytest.mark.parametrize("mixture, message", [
    ([("fog", 0.5)], "the corruption is 'fog'; it must be one of 'blur', "),
    ([("blur", 1.1)], "the strength of 'blur' is 1.1; it must be from 0 to 1"),
    ([("noise", 0.5), ("blur", -0.1)], "the strength of 'blur' is -0.1"), ([("blur", math.nan)], "'blur' is nan")])
def test_other_mixtures_are_refused(bench, mixture, message):
    for ask in (measures.checked, lambda mixture: bench.reading(*mixture)):
        with pytest.raises(ValueError, match=message):
            ask(mixture)


# --- numbers ---------------------------------------------------------------------------------------------------------

def frechet_by_scipy(x, y):
    (mu, cov), (nu, kov) = ((v.mean(0), np.cov(v.T)) for v in (x, y))
    return ((mu - nu)**2).sum() + np.trace(cov) + np.trace(kov) - 2 * np.trace(sqrtm(cov @ kov)).real


@pytest.mark.parametrize("mixture", MIXTURES)
def test_a_reading_is_what_the_library_says_of_these_images(bench, mixture):
    images, labels = bench.spoilt(mixture)
    with torch.no_grad():
        features, logits = bench.classifier.features(images), bench.classifier(images)
    reading, score = bench.reading(*mixture), metrics.inception_score(logits.softmax(1), splits=1)
    assert reading.inception == pytest.approx(score.mean, rel=1e-5)
    apart = metrics.precision_recall(bench.real, features)
    assert (reading.precision, reading.recall) == pytest.approx((apart.precision, apart.recall), abs=1e-12)
    estimate = metrics.kid(features, bench.real)
    assert (reading.kid, reading.kid_error) == pytest.approx((estimate.value, estimate.error), rel=1e-5, abs=1e-6)
    assert reading.accuracy == pytest.approx(np.mean(logits.argmax(1).numpy() == labels.numpy()))
    by_scipy = frechet_by_scipy(features.double().numpy(), bench.real.double().numpy())
    assert reading.frechet == pytest.approx(by_scipy, rel=1e-4)         # sqrtm of a nearly singular product
    assert all(type(value) is float for value in reading)


def test_the_real_ones_are_300_test_digits_and_the_lots_are_measured_like_the_others(bench):
    assert bench.count == 300 and bench.real.shape == (300, 128) and len(bench.lots) == 5
    assert len({*bench.lots, bench.clean}) == 6
    for reading in (*bench.lots, bench.clean):          # as a clean lot should
        assert reading.inception > 9.6 and 14 < reading.frechet < 24 and abs(reading.kid) < 3 * reading.kid_error
        assert min(reading.precision, reading.recall) > 0.75 and reading.accuracy > 0.98
    test = digits("test")[0]
    order = torch.randperm(10_000, generator=torch.Generator().manual_seed(0))
    labels = digits("test")[1]
    first = torch.stack([order[labels[order] == c][:30] for c in range(10)], 1).flatten()
    with torch.no_grad():
        torch.testing.assert_close(bench.real, bench.classifier.features(test[first]))


def test_what_was_seen_is_remembered_and_memory_is_bounded(monkeypatch):
    classifier = Numbered()
    bench = CorruptionBench(classifier, *numbered(), count=50)
    first, before = bench.look(("mirroring", 0.5), ("noise", 0.0)), classifier.calls
    again = bench.look(("mirroring", 0.5))
    assert classifier.calls == before and again[0] is first[0] and again[1] is first[1]
    bench.look(("mirroring", 0.55))
    assert classifier.calls == before + 1
    monkeypatch.setattr(measures, "KEPT", 3)
    for strength in np.arange(1, 11) / 10:
        assert bench.look(("dropped classes", strength))[0] == CorruptionBench(
            Numbered(), *numbered(), count=50).reading(("dropped classes", strength))
        assert 1 <= len(bench.known) <= 3


def test_what_is_usual_is_the_mean_of_six_lots_and_three_standard_deviations(bench):
    for name in measures.NAMES:
        values = np.array([getattr(reading, name) for reading in (*bench.lots, bench.clean)])
        low, high = bench.usual(name)
        wanted = values.mean() + 3 * values.std(ddof=1) * np.array([-1, 1])
        least, most = {"inception": (1, 10), "frechet": (0, np.inf), "kid": (-np.inf, np.inf)}.get(name, (0, 1))
        wanted = wanted.clip(least, most)
        if name == "kid":
            error = 2 * bench.clean.kid_error
            wanted = [min(wanted[0], -error), max(wanted[1], error)]
        assert (low, high) == pytest.approx(tuple(wanted))
        assert low <= values.min() and values.max() <= high
    assert bench.usual("accuracy")[1] == 1 and bench.usual("inception")[1] == 10        # what is not possible is cut


@pytest.mark.parametrize("name, lower, higher", [("inception", "worse", "better"), ("frechet", "better", "worse"),
                                                 ("kid", "better", "worse"), ("precision", "worse", "better"),
                                                 ("recall", "worse", "better"), ("accuracy", "worse", "better")])
def test_verdicts(bench, name, lower, higher):
    low, high = bench.usual(name)
    assert [bench.verdict(name, v) for v in (low - 1e-9, low, (low + high) / 2, high, high + 1e-9)] == [
        lower, "as clean", "as clean", "as clean", higher]


def test_false_alarms_are_some_1_in_25():
    """Six lots of N(0, 1) and a seventh, beyond mean ± 3 s: 4 % in closed form, as the docstring says."""
    from scipy.stats import t
    exact = 2 * t.sf(3 / math.sqrt(1 + 1 / 6), df=5)
    assert exact == pytest.approx(0.039, abs=0.001)
    draws = np.random.default_rng(0).normal(size=(200_000, 7))
    off = np.abs(draws[:, 6] - draws[:, :6].mean(1)) > 3 * draws[:, :6].std(1, ddof=1)
    assert off.mean() == pytest.approx(exact, abs=0.003)


# --- words -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, strength, words, same", [
    ("blur", 0.2, "σ = 0.60 px", lambda x, g: corruptions.blur(x, 0.60)),
    ("noise", 0.35, "σ = 0.21", lambda x, g: corruptions.add_noise(x, 0.21, g)),
    ("salt and pepper", 0.5, "25 % of pixels", lambda x, g: corruptions.salt_and_pepper(x, 0.25, g)),
    ("swapped patches", 0.1, "1 pair of 16", lambda x, g: corruptions.swap_patches(x, 1, g)),
    ("swapped patches", 1.0, "8 pairs of 16", lambda x, g: corruptions.swap_patches(x, 8, g)),
    ("resizing", 0.5, "to 17 px and back", lambda x, g: corruptions.resize(x, 17)),
    ("mirroring", 0.3, "30 % of images", lambda x, g: corruptions.mirror(x, 0.3, g)),
    ("rotation", 0.4, "18°", lambda x, g: corruptions.rotate(x, 18.0)),
    ("black rectangle", 0.5, "30 % of the area", lambda x, g: corruptions.cover(x, 0.3, g))])
def test_a_strength_in_words_is_what_is_done(bench, name, strength, words, same):
    assert measures.named(((name, strength),), 300) == f"{name} ({words})"
    wanted = same(bench.images[:300], torch.Generator().manual_seed(0))
    torch.testing.assert_close(bench.spoilt(((name, strength),))[0], wanted, atol=1e-6, rtol=0)


def test_mixtures_in_words(monkeypatch):
    assert measures.named((), 300) == "not spoilt"
    assert measures.named((("dropped classes", 0.5), ("repeated images", 1.0)), 300) == (
        "dropped classes (4 of 10), then repeated images (1 of each class)")
    assert measures.named((("repeated images", 0.5),), 400) == "repeated images (6 of each class)"
    monkeypatch.setattr(measures, "MEANING", {})
    assert measures.named((("blur", 0.2),), 300) == "blur (strength 0.20)"      # one that nobody described
    assert not set(corruptions.CORRUPTIONS) & {"dropped classes", "repeated images"}


def test_every_corruption_of_the_library_is_described_and_can_be_chosen():
    assert set(measures.MEANING) == set(corruptions.CORRUPTIONS)
    assert [*measures.MIXABLE] == [*corruptions.CORRUPTIONS, "dropped classes", "repeated images"]


@pytest.mark.parametrize("name, value, shown", [
    ("inception", 9.806, "9.81"), ("frechet", 16.25, "16.2"), ("frechet", 99.94, "99.9"), ("frechet", 170.4, "170"),
    ("frechet", 1221.9, "1,222"), ("precision", 0.87, "0.870"), ("recall", 0.0, "0.000"), ("accuracy", 1.0, "1.000"),
    ("kid", 117.6, "118 ± 6"), ("kid", -2.75, "−3 ± 6"), ("kid", -0.4, "0 ± 6"), ("kid", 2510.2, "2,510 ± 6")])
def test_numbers(bench, name, value, shown):
    assert measures.in_digits(name, bench.clean._replace(**{"kid_error": 6.1, name: value})) == shown


def test_a_small_kid_has_more_digits(bench):
    assert measures.in_digits("kid", bench.clean._replace(kid=-0.01234, kid_error=0.0042)) == "−0.012 ± 0.004"


@pytest.mark.parametrize("mixture", MIXTURES)
def test_words_hold_the_reading_s_numbers(bench, mixture):
    words, reading = measures.measures_in_words(bench, mixture), bench.reading(*mixture)
    assert words.startswith(f"300 digits, {measures.named(mixture, 300)}: Inception score ")
    found = re.findall(r"(Inception score|Fréchet distance, squared|KID|Precision|Recall|Read as what they were) "
                       r"(\S+)( ± \S+)?, (worse|better|as clean) \((\S+) to (\S+)\)", words)
    assert len(found) == 6
    for name, (_, value, error, verdict, low, high) in zip(measures.NAMES, found, strict=True):
        value, low, high = (float(v.replace("−", "-").replace(",", "")) for v in (value, low, high))
        exact, usual = getattr(reading, name), bench.usual(name)
        within = {"inception": 0.0051, "kid": 0.51, "frechet": 0.51}.get(name, 0.00051)
        assert value == pytest.approx(exact, abs=within) and (low, high) == pytest.approx(usual, abs=within)
        assert verdict == bench.verdict(name, exact) and bool(error) == (name == "kid")
        if error:
            assert float(error.removeprefix(" ± ")) == pytest.approx(reading.kid_error, abs=0.51)
    assert words.endswith(". In brackets: what is usual for 300 clean digits, the mean of 6 such lots −/+ 3 of their "
                          "standard deviations (for KID at least 0 ± 2 standard errors).")


# --- the picture -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mixture", MIXTURES)
def test_bars_go_from_the_clean_value_to_this_one(bench, drawing, mixture):
    drawing.png_of(mixture)
    reading = bench.reading(*mixture)
    for name in measures.NAMES:
        value, clean = getattr(reading, name), getattr(bench.clean, name)
        assert drawing.bars[name].get_xdata() == pytest.approx([clean, value])
        assert drawing.ends[name].get_xdata() == pytest.approx([value])
        verdict = bench.verdict(name, value)
        marker, colour = {"worse": ("<", "#D55E00"), "better": (">", "#0072B2"), "as clean": ("o", "#404040")}[verdict]
        assert drawing.ends[name].get_marker() == marker
        assert same_color(drawing.ends[name].get_markerfacecolor(), colour)
        assert same_color(drawing.bars[name].get_color(), colour)
        assert drawing.values[name].get_text() == measures.in_digits(name, reading)
        assert same_color(drawing.values[name].get_color(), colour)
        # On the screen worse is to the left of clean, and better to the right.
        axes = drawing.axes[name]
        here, usual = (axes.transData.transform((v, 0.5))[0] for v in (value, clean))
        assert {"worse": here < usual, "better": here > usual, "as clean": True}[verdict]
        assert axes.bbox.x0 <= here <= axes.bbox.x1
    assert drawing.head.get_text().replace(",\n", ", ").lower() == measures.named(mixture, 300).lower()
    assert drawing.head.get_text()[0].isupper()


def test_gauges_are_named_and_marked_with_clean_and_usual(bench, drawing):
    for name, words in measures.NAMES.items():
        ax = drawing.axes[name]
        assert ax.get_title(loc="left") == words
        black = [line for line in ax.lines if same_color(line.get_color(), "black") and line not in drawing.moving]
        assert len(black) == 1 and list(black[0].get_xdata()) == [getattr(bench.clean, name)] * 2
        grey, = ax.patches
        box = grey.get_extents().transformed(ax.transData.inverted())
        assert sorted([box.x0, box.x1]) == pytest.approx(bench.usual(name))
        left, right = ax.get_xlim()
        assert (left > right) == (name in ("frechet", "kid"))
        low, high = sorted((left, right))
        assert low <= bench.usual(name)[0] or name == "kid"
        ticks = ax.get_xticks()
        assert len(ticks) >= 4 and low <= min(ticks) and max(ticks) <= high
        texts = [label.get_text() for label in ax.get_xticklabels()]
        assert [float(text.replace(",", "")) for text in texts] == pytest.approx(list(ticks))
    assert drawing.axes["frechet"].get_xscale() == "log" and drawing.axes["kid"].get_xscale() == "asinh"
    assert "300" in drawing.figure.get_suptitle() and "right is better" in drawing.figure.get_suptitle()
    legend = [text.get_text() for text in drawing.axes["key"].get_legend().get_texts()]
    assert len(legend) == 5 and "300" in legend[1]
    handles = drawing.axes["key"].get_legend().legend_handles
    for what, handle in zip(("as clean", "worse", "better"), handles[2:], strict=True):
        assert same_color(handle.get_color(), measures.COLOURS[what])
        assert handle.get_marker() == measures.MARKERS[what]


def test_axes_reach_as_far_as_black_images_and_what_is_beyond_stands_at_their_end(bench, drawing, monkeypatch):
    blank = bench.blank()
    assert blank.inception == pytest.approx(1) and blank.precision == blank.recall == 0
    assert blank.accuracy == pytest.approx(0.1)                         # one class of the ten
    for name in ("frechet", "kid"):
        assert max(drawing.axes[name].get_xlim()) == pytest.approx(2 * getattr(blank, name))
    far = bench.clean._replace(frechet=1e6, kid=-1e6, inception=12.0)
    monkeypatch.setattr(bench, "known", {(("blur", 1.0),): (far, bench.look()[1])})
    drawing.png_of((("blur", 1.0),))
    assert drawing.ends["frechet"].get_xdata()[0] == max(drawing.axes["frechet"].get_xlim())
    assert drawing.ends["kid"].get_xdata()[0] == min(drawing.axes["kid"].get_xlim())
    assert drawing.ends["inception"].get_xdata()[0] == drawing.axes["inception"].get_xlim()[1]
    assert drawing.values["frechet"].get_text() == "1,000,000"


@pytest.mark.parametrize("low, high, wanted", [(12.0, 3200.0, [30, 100, 300, 1000, 3000]), (10, 100, [10, 30, 100]),
                                               (0.02, 0.5, [0.03, 0.1, 0.3])])
def test_ticks(low, high, wanted):
    assert measures.rounds(low, high) == pytest.approx(wanted)


@pytest.mark.parametrize("mixture", MIXTURES)
def test_the_sheet_shows_36_of_the_spoilt_digits_by_class(bench, drawing, mixture):
    drawing.png_of(mixture)
    sheet = drawing.sheet.get_array()
    images, labels = bench.spoilt(mixture)
    assert sheet.shape == (6 * 29 + 1, 6 * 29 + 1) and drawing.sheet.get_clim() == (0, 255)
    cells = [sheet[29 * r + 1:29 * r + 29, 29 * c + 1:29 * c + 29] for r in range(6) for c in range(6)]
    known = (255 * images[:, 0]).round().byte().numpy()
    classes = []
    for cell in cells:
        same = [k for k in range(300) if np.array_equal(known[k], cell)]
        assert same
        classes.append(labels[same].tolist())
    assert all(min(a) <= max(b) for a, b in itertools.pairwise(classes))       # by class
    shown = {k for c in classes for k in c}
    assert shown == set(labels.tolist())                                        # each class is seen
    assert (sheet[::29] == 255).all() and (sheet[:, ::29] == 255).all()


@pytest.mark.parametrize("mixture", MIXTURES)
def test_nothing_is_cut_off_or_overlaps(drawing, mixture):
    drawing.png_of(mixture)
    drawing.figure.canvas.draw()
    not_cut_off(drawing, drawing.axes.values())
    head, above = (text.get_window_extent() for text in (drawing.head, drawing.figure._suptitle))
    assert drawing.axes["digits"].bbox.y1 <= head.y0 and head.y1 <= above.y0
    for name in measures.NAMES:
        ax = drawing.axes[name]
        value, words = (text.get_window_extent() for text in (drawing.values[name], ax._left_title))
        assert words.x1 + 5 < value.x0 and head.x1 < words.x0 and ax.bbox.y1 <= value.y0
        assert max(value.y1, words.y1) <= above.y0
    bottoms = [drawing.axes[name].get_tightbbox().y0 for name in measures.NAMES]
    tops = [max(drawing.axes[name]._left_title.get_window_extent().y1, drawing.values[name].get_window_extent().y1)
            for name in measures.NAMES]
    assert all(top <= bottom for top, bottom in zip(tops[1:], bottoms, strict=False))
    key, digits_box = drawing.axes["key"].get_legend().get_window_extent(), drawing.axes["digits"].bbox
    assert key.y1 <= digits_box.y0 and key.y0 >= 0 and key.x0 >= 0 and key.x1 < drawing.axes["recall"].bbox.x0


def longest(names, count):
    """The mixture whose words are the longest, line by line."""
    return max(((name, k / 20) for name in names for k in range(1, 21)),
               key=lambda part: len(measures.named((part,), count)))


def test_the_longest_words_fit_beside_the_gauges(bench, drawing):
    part = longest(measures.MIXABLE, 300)
    drawing.png_of((part, longest(corruptions.CORRUPTIONS, 300)))
    drawing.figure.canvas.draw()
    head = drawing.head.get_window_extent()
    assert head.x1 < drawing.axes["recall"].bbox.x0 and drawing.head.get_text().count("\n") == 1


def test_a_picture_over_the_kept_background_is_the_picture_drawn_anew(bench, drawing):
    for mixture in (MIXTURES[2], MIXTURES[4], MIXTURES[2]):
        assert np.array_equal(pixels(drawing.png_of(mixture)), pixels(measures.MeasuresDrawing(bench).png_of(mixture)))


# --- the widget ------------------------------------------------------------------------------------------------------

def parts(widget):
    first, second, picture, words = widget.children
    return SimpleNamespace(kinds=(first.children[0], second.children[0]), picture=picture, words=words,
                           sliders=(first.children[1], second.children[1]))


def test_each_control_moves_the_picture_and_the_words(bench, drawing):
    at = parts(measures_explorer(bench))
    state = [["blur", 0.2], ["noise", 0.0]]
    seen = [bytes(at.picture.value)]
    for controls, slot, k, value in ((at.sliders, 1, 1, 0.1), (at.sliders, 0, 1, 0.3), (at.kinds, 0, 0, "rotation"),
                                     (at.kinds, 1, 0, "dropped classes"), (at.sliders, 1, 1, 1.0),
                                     (at.kinds, 0, 0, "dropped classes"), (at.sliders, 1, 1, 0.0)):
        controls[slot].value = value
        state[slot][k] = value
        mixture = measures.checked(map(tuple, state))
        assert at.words.value == f"<p>{measures.measures_in_words(bench, mixture)}</p>"
        assert np.array_equal(pixels(at.picture.value), pixels(drawing.png_of(mixture)))
        seen.append(bytes(at.picture.value))
    assert all(a != b for a, b in itertools.pairwise(seen[:6])) and at.picture.tooltip is None


def test_every_control_has_a_name_that_fits_and_can_be_reached_by_keyboard(bench):
    widget = measures_explorer(bench)
    at = parts(widget)
    assert names_fit(widget) == 4
    names = [control.description for control in (*at.kinds, *at.sliders)]
    assert len(set(names)) == 4 and all("first" in name or "second" in name for name in names)
    for kind, slider in zip(at.kinds, at.sliders, strict=True):
        assert kind.options == measures.MIXABLE and (slider.min, slider.max, slider.step) == (0, 1, 0.05)
        assert slider.continuous_update


def test_where_no_kernel_runs_a_still_and_a_fixed_text_stay(bench):
    widget, again = measures_explorer(bench), measures_explorer(bench, ("noise", 0.5), ("blur", 0.5))
    bundle = widget._repr_mimebundle_()
    assert isinstance(widget, Live) and base64.b64decode(bundle["image/png"]) == widget.still != again.still
    assert bundle["text/plain"] == repr(widget) == repr(again) and repr(widget).endswith(".")
    at = parts(again)
    assert [kind.value for kind in at.kinds] == ["noise", "blur"] and [s.value for s in at.sliders] == [0.5, 0.5]
    assert again.still == at.picture.value
    at.sliders[0].value = 0.0
    assert again.still != at.picture.value              # the still stays
    shown = pixels(widget.still)
    assert shown.shape[0] > 550 and shown.shape[1] > 950


@pytest.mark.parametrize("first, second, message", [
    (("fog", 0.5), ("blur", 0.5), "the corruption is 'fog'"), (("blur", 0.5), ("noise", 2.0), "'noise' is 2.0"),
    (("blur", 0.5), ("fog", 0.0), "the corruption is 'fog'")])
def test_a_start_beyond_the_controls_is_refused(bench, first, second, message):
    with pytest.raises(ValueError, match=message):
        measures_explorer(bench, first, second)


@pytest.mark.parametrize("change, message", [
    ({"count": 45}, "count is 45; it must be a multiple of 10"), ({"count": 0}, "count is 0"),
    ({"count": 60}, "the rarest class has 40 images; with lots of 60 it takes 48: give more images, or"),
    ({"images": torch.zeros(500, 28, 28)}, r"images has shape \(500, 28, 28\); it must be \(any, 1, 28, 28\)"),
    ({"labels": torch.zeros(499)}, r"labels has shape \(499,\)"),
    ({"labels": torch.arange(500) % 11}, "labels must be from 0 to 9"),
    ({"classifier": Numbered().train()}, "the classifier is in training mode: call its eval")])
def test_a_bench_that_cannot_be_set_up_is_refused(change, message):
    images, labels = numbered()
    with pytest.raises(ValueError, match=message):
        CorruptionBench(**{"classifier": Numbered(), "images": images, "labels": labels, "count": 50} | change)


# --- what it is there to show -----------------------------------------------------------------------------------------

def as_clean(bench, *mixture):
    reading = bench.reading(*mixture)
    return {name for name in measures.NAMES if bench.verdict(name, getattr(reading, name)) == "as clean"}


def test_each_measure_is_blind_to_something(bench):
    clean = bench.clean
    assert as_clean(bench) == set(measures.NAMES)
    assert as_clean(bench, ("blur", 0.2)) == {"inception", "precision", "accuracy"}
    four_gone, turned = bench.reading(("dropped classes", 0.5)), bench.reading(("mirroring", 0.5))
    assert "precision" in as_clean(bench, ("dropped classes", 0.5)) and four_gone.recall < 0.75 * clean.recall
    assert four_gone.inception == pytest.approx(6, abs=0.2)                     # the classes that are left
    assert "recall" in as_clean(bench, ("mirroring", 0.5)) and turned.precision < 0.85 * clean.precision
    few = bench.reading(("repeated images", 0.5))
    assert few.recall == 0 and few.frechet > 3 * clean.frechet and few.kid < 2 * few.kid_error
    assert {"inception", "precision", "accuracy"} <= as_clean(bench, ("repeated images", 0.5))
    noise = bench.reading(("noise", 0.2))
    mended, worse = bench.reading(("noise", 0.2), ("blur", 0.2)), bench.reading(("blur", 0.2), ("noise", 0.2))
    assert mended.frechet < 0.7 * noise.frechet < noise.frechet < 0.8 * worse.frechet
    assert mended.inception > noise.inception + 1.5 > worse.inception + 2
