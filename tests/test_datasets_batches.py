import json
import math
import time

import pytest
import torch
from torch.testing import assert_close

from course_lib.datasets import Binarised, ImageSet, batches
from course_lib.training import train

exactly = {"rtol": 0, "atol": 0}


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


@pytest.mark.parametrize("n, size", [(10, 3), (10, 10), (10, 1), (12, 4), (7, 5), (1, 1)])
def test_each_item_comes_exactly_once_an_epoch(n, size):
    stream = torch.cat(take(batches(torch.arange(n), size, seed=3), n))  # n batches are size epochs
    assert all(len(batch) == size for batch in take(batches(torch.arange(n), size), 2 * n))
    for epoch in stream.reshape(size, n):
        assert epoch.sort().values.tolist() == list(range(n))


def test_the_order_differs_between_epochs_and_seeds():
    def order(seed, epoch):
        return tuple(take(batches(torch.arange(100), 100, seed), epoch + 1)[epoch].tolist())

    orders = {order(seed, epoch) for seed in range(-1, 4) for epoch in range(4)}
    assert len(orders) == 20  # and so epoch 1 of seed 0 is not epoch 0 of seed 1
    assert order(0, 0) == order(0, 0) != tuple(range(100))


def test_every_place_gets_every_item_equally_often():
    # 3,000 epochs of 5 items: 25 counts of mean 600, σ = √(3000·0.2·0.8) = 21.9; 5σ: false alarm in 25·6e-7 of seeds.
    orders = torch.stack(take(batches(torch.arange(5), 5, seed=1), 3000))
    counts = torch.stack([(orders == item).sum(0) for item in range(5)])
    assert (counts - 600).abs().max() < 5 * 21.9


def test_the_global_generator_is_neither_used_nor_moved():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = next(batches(torch.arange(50), 50))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(next(batches(torch.arange(50), 50)), first)


def test_images_come_as_floats_from_0_to_1_and_others_as_they_are():
    images = torch.arange(256, dtype=torch.uint8).reshape(64, 1, 2, 2)
    labels, latents, vectors = torch.arange(64), torch.randn(64, 3, dtype=torch.float64), images.reshape(64, 4)
    x, y, z, v = next(batches((images, labels, latents, vectors), 64))
    assert [t.dtype for t in (x, y, z, v)] == [torch.float32, torch.int64, torch.float64, torch.uint8]
    assert x.min() == 0 and x.max() == 1
    assert_close(x, images[y].float() / 255, **exactly)
    assert_close(z, latents[y], **exactly)
    assert torch.equal(v, vectors[y])


def test_a_tuple_gives_tuples_and_a_tensor_gives_tensors():
    x = ImageSet(torch.zeros(6, 1, 2, 2, dtype=torch.uint8), torch.arange(6))
    assert type(next(batches(x, 2))) is tuple and len(next(batches(x, 2))) == 2
    assert isinstance(next(batches(x.labels, 2)), torch.Tensor)
    assert len(next(batches((x.labels,), 2))) == 1


def test_a_batch_is_a_copy():
    x = torch.zeros(4, 2)
    next(batches(x, 4)).add_(1)
    assert not x.any()


@pytest.mark.parametrize("n, size", [(10, 3), (12, 4), (5, 5), (7, 6)])
def test_a_saved_state_goes_on_with_the_same_bits_from_any_place(n, size):
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
    whole = take(batches(x, size, seed=8), 3 * n)
    for stop in range(2 * n + 1):  # epoch ends among them
        source = batches(x, size, seed=8)
        take(source, stop)
        state = json.loads(json.dumps(source.state_dict()))
        assert all(type(value) is int for value in source.state_dict().values())
        other = batches(x, size, seed=0)
        take(other, 2)  # whatever it did before
        other.load_state_dict(state)
        assert other.state_dict() == source.state_dict() and other.epoch == source.epoch
        assert_close(take(other, n), whole[stop:stop + n], **exactly)


def test_epoch_counts_what_was_given_out():
    source = batches(torch.arange(8), 2)
    assert source.epoch == 0.0
    take(source, 6)
    assert source.epoch == 1.5
    take(source, 2)
    assert source.state_dict() == {"seed": 0, "epoch": 2, "position": 0, "n": 8, "batch_size": 2}


@pytest.mark.parametrize("change, message", [
    ({"n": 9}, r"n = 9 .*here it is 10"),
    ({"batch_size": 4}, r"batch_size = 4 .*here it is 3"),
    ({"position": 10}, "position 10"),
    ({"position": -1}, "position -1"),
    ({"epoch": -1}, "epoch -1"),
    ({"epoch": 1.5}, "integers"),
    ({"steps": 1}, "integers seed, epoch, position, n, batch_size"),
])
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(change, message):
    source = batches(torch.arange(10), 3)
    take(source, 2)
    before = source.state_dict()
    with pytest.raises(ValueError, match=message):
        source.load_state_dict({**before, **change})
    assert source.state_dict() == before


def test_what_is_no_state_is_refused():
    for state in (None, {}, [1, 2]):
        with pytest.raises(ValueError, match="state_dict"):
            batches(torch.arange(10), 3).load_state_dict(state)


@pytest.mark.parametrize("x, size, message", [
    (torch.arange(10), 11, "batch_size is 11, but x has only 10"),
    (torch.arange(10), 0, "batch_size is 0.*1 or more"),
    (torch.arange(10), -3, "batch_size is -3"),
    (torch.arange(10), 2.0, r"batch_size is 2\.0.*integer"),
    (torch.zeros(0, 3), 1, "no items"),
    ((), 1, "empty tuple"),
    ((torch.zeros(4), torch.zeros(5)), 1, r"\[4, 5\]"),
    (torch.tensor(1.0), 1, "without dimensions"),
    ([[1, 2], [3, 4]], 1, "holds a list"),
    ("abc", 1, "holds a str"),
    ((torch.zeros(4), torch.zeros(4, device="meta")), 1, r"cpu.*meta"),
])
def test_bad_input_is_refused(x, size, message):
    with pytest.raises(ValueError, match=message):
        batches(x, size)


def test_a_seed_must_be_an_integer():
    with pytest.raises(ValueError, match=r"seed is 0\.5"):
        batches(torch.arange(10), 2, seed=0.5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_order_is_the_same_on_the_gpu():
    x = torch.randint(0, 256, (50, 1, 4, 4), dtype=torch.uint8)
    on_gpu = take(batches((x.cuda(), torch.arange(50).cuda()), 7, seed=2), 20)
    for (a, i), (b, j) in zip(take(batches((x, torch.arange(50)), 7, seed=2), 20), on_gpu, strict=True):
        assert b.is_cuda and torch.equal(i, j.cpu())
        assert_close(a, b.cpu(), rtol=1e-6, atol=0)  # a GPU may multiply by 1/255 instead of dividing
        assert b.max() <= 1


# --- binarised -------------------------------------------------------------------------------------------------------

def grey(n=50, h=4, w=4):
    return torch.randint(0, 256, (n, 1, h, w), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_pixel_is_1_as_often_as_it_is_grey():
    # 1 image of 256 levels, 4,000 draws: 254 shares at 5 σ, a false alarm in some 3e-4 of seeds; black and white are
    # exact.
    torch.manual_seed(0)
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    draws = torch.cat(take(Binarised(batches(levels, 1)), 4_000)).flatten(1)
    assert draws.dtype == torch.float32 and ((draws == 0) | (draws == 1)).all()
    p = torch.arange(256) / 255
    assert ((draws.mean(0) - p).abs() <= 5 * (p * (1 - p) / 4_000).sqrt()).all()
    # Drawn for each image and pixel by itself: 430 correlations of neighbours at 5 σ, a false alarm in 3e-4 of seeds.
    z = (draws[:, 1:-1] - p[1:-1]) / (p * (1 - p)).sqrt()[1:-1]
    assert (z[:, 1:] * z[:, :-1]).mean(0)[20:-20].abs().max() < 5 / math.sqrt(4_000)
    assert (z[1:] * z[:-1]).mean(0)[20:-20].abs().max() < 5 / math.sqrt(4_000)


def test_binarised_images_come_in_the_order_of_their_batches():
    black_and_white = torch.where(grey() > 127, 255, 0).to(torch.uint8)  # of which nothing is left to draw
    plain, drawn = batches(black_and_white, 8, seed=3), Binarised(batches(black_and_white, 8, seed=3))
    assert iter(drawn) is drawn
    for x, bits in zip(take(plain, 12), take(drawn, 12), strict=True):
        assert torch.equal(x, bits)


def test_the_pixels_are_drawn_anew_for_each_batch():
    torch.manual_seed(0)
    first, second = take(Binarised(batches(grey(8), 8)), 2)
    assert not torch.equal(first.sum(0), second.sum(0))


def test_binarised_batches_go_on_with_the_same_bits():
    torch.manual_seed(0)
    source = Binarised(batches(grey(), 8, seed=3))
    take(source, 9)
    state, random_state = json.loads(json.dumps(source.state_dict())), torch.get_rng_state()
    wanted = take(source, 9)
    other = Binarised(batches(grey(), 8))
    other.load_state_dict(state)
    assert other.state_dict() == state == {"seed": 3, "epoch": 1, "position": 22, "n": 50, "batch_size": 8}
    torch.set_rng_state(random_state)
    assert_close(take(other, 9), wanted, **exactly)
    with pytest.raises(ValueError, match=r"batch_size = 8 .*here it is 5"):
        Binarised(batches(grey(), 5)).load_state_dict(state)


@pytest.mark.parametrize("stop", [1, 6, 13])            # 50 / 8: epochs end inside a batch
def test_a_resumed_run_sees_the_same_bits(tmp_path, stop):
    def seen(path, steps, seed):
        torch.manual_seed(seed)
        data = Binarised(batches(grey(), 8, seed))
        return [log["x"] for _, log in train(lambda data: {"x": next(data)}, data, steps, state={}, save_to=path)]

    whole = seen(tmp_path / "whole", 20, 0)
    first = seen(tmp_path / "parts", stop, 0)
    assert_close(first + seen(tmp_path / "parts", 20, 1), whole, **exactly)


def test_indexing_in_one_go_beats_a_loop_over_images():
    x = torch.randint(0, 256, (2_000, 1, 28, 28), dtype=torch.uint8)

    def seconds(run):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        return min(times)

    def one_by_one():
        for index in torch.randperm(2_000).split(250):
            torch.stack([x[i].float() / 255 for i in index])

    source = batches(x, 250)
    assert seconds(lambda: take(source, 8)) < seconds(one_by_one) / 3  # some 30 times faster when measured
