"""The training core: one update, the EMA, the loop, and what a saved run holds. What is killed: test_resume.py."""

import copy
import math
import os
import subprocess
import sys
from functools import partial
from itertools import count

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.testing import assert_close

from course_lib.datasets import batches
from course_lib.training import EMA, adam, resume, save, train, update, update_together


def small_net(seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).to(dtype)


def conv_net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(144, 1))


def points(n=64, seed=0):
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))


def weights(module):
    return [p.detach().clone() for p in module.parameters()]


def equal(a, b):
    """Whether two nests of tensors and plain values hold the same bits."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))


# --- update ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("optimizer", [
    partial(torch.optim.SGD, lr=0.1), partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.01),
    partial(torch.optim.Adam, lr=0.01), partial(torch.optim.Adam, lr=0.01, fused=True),
])
def test_update_is_the_textbook_step(optimizer):
    mine, textbook = small_net(dtype=torch.float64), small_net(dtype=torch.float64)
    opt, opt_textbook = optimizer(mine.parameters()), optimizer(textbook.parameters())
    x = points().double()
    for k in range(5):
        update(opt, mine(x + k).square().mean())
        opt_textbook.zero_grad()
        textbook(x + k).square().mean().backward()
        opt_textbook.step()
    assert_close(weights(mine), weights(textbook), rtol=1e-12, atol=0)
    assert not equal(weights(mine), weights(small_net(dtype=torch.float64)))  # and it moved


def test_the_course_s_adam_is_adam_by_hand():
    p = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    holder = nn.Module()
    holder.p = p
    opt, w = adam(holder, lr=0.05, betas=(0.8, 0.95)), p.detach().clone()
    m, v = torch.zeros_like(w), torch.zeros_like(w)
    for t in range(1, 6):
        update(opt, (p**3).sum())
        g = 3 * w**2
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2                       # Kingma & Ba 2015, Algorithm 1
        w = w - 0.05 * (m / (1 - 0.8**t)) / ((v / (1 - 0.95**t)).sqrt() + 1e-8)
    assert_close(p.detach(), w)


def test_update_gives_gradients_to_its_own_parameters_only():
    generator, critic = small_net(0), nn.Linear(2, 1)
    opt, before = torch.optim.SGD(generator.parameters(), lr=0.1), weights(critic)
    update(opt, -critic(generator(points())).mean())
    assert all(p.grad is None for p in [*generator.parameters(), *critic.parameters()])
    assert equal(weights(critic), before)
    # What another loss has left on the critic stays as it was.
    critic.weight.grad = torch.ones_like(critic.weight)
    update(opt, -critic(generator(points())).mean())
    assert torch.equal(critic.weight.grad, torch.ones_like(critic.weight))


def test_update_skips_what_the_loss_does_not_touch_and_what_is_frozen():
    net = small_net()
    net[0].weight.requires_grad_(False)
    before = weights(net)
    opt = torch.optim.Adam(net.parameters(), lr=0.1, weight_decay=0.5)
    update(opt, net[2].bias.square().sum())
    assert equal(weights(net)[:3], before[:3]) and not torch.equal(net[2].bias, before[3])


@pytest.mark.parametrize("opt", [partial(torch.optim.SGD, lr=0.1), partial(torch.optim.Adam, lr=0.1, fused=True)])
def test_update_does_not_move_what_was_frozen_after_a_backward(opt):
    net = small_net()
    net(points()).square().mean().backward()                     # written by hand, and its gradients left
    net[0].requires_grad_(False)
    before = weights(net)
    update(opt(net.parameters()), net(points()).square().mean())
    assert equal(weights(net)[:2], before[:2]) and not any(map(torch.equal, weights(net)[2:], before[2:]))


@pytest.mark.parametrize("make", ["expanded", "channels last weight", "transposed weight"])
@pytest.mark.parametrize("fused", [False, True])
def test_update_holds_whatever_order_in_memory_weight_and_gradient_have(make, fused):
    # A fused optimizer reads weight and gradient as they lie in memory: it needs both in one order.
    torch.manual_seed(0)
    scale = torch.randn(4, 3, 5, 5, dtype=torch.float64)
    start = torch.randn(4, 3, 5, 5, dtype=torch.float64)
    p = nn.Parameter({"expanded": start.clone(),
                      "channels last weight": start.contiguous(memory_format=torch.channels_last),
                      "transposed weight": start.clone().transpose(0, 3).contiguous().transpose(0, 3)}[make])
    textbook = nn.Parameter(start.clone())
    opt, opt_textbook = (torch.optim.Adam([q], lr=0.1, fused=f) for q, f in ((p, fused), (textbook, False)))
    for _ in range(3):
        for o, q in ((opt, p), (opt_textbook, textbook)):
            loss = q.sum() if make == "expanded" else (q.flatten() * scale.flatten()).sum() + (q.flatten()**2).sum()
            if o is opt:
                update(o, loss)
            else:
                o.zero_grad(); loss.backward(); o.step()
    assert_close(p.detach(), textbook.detach(), rtol=1e-12, atol=1e-12)


def test_an_optimizer_of_several_groups_is_one_update():
    net = small_net()
    opt = torch.optim.SGD([{"params": net[0].parameters(), "lr": 0.0}, {"params": net[2].parameters()}], lr=0.1)
    before = weights(net)
    update(opt, net(points()).square().mean())
    assert equal(weights(net)[:2], before[:2]) and not any(map(torch.equal, weights(net)[2:], before[2:]))


@pytest.mark.parametrize("loss, message", [
    (lambda net: net(points()).square().sum(1), r"shape \(64,\).*scalar.*mean or sum"),
    (lambda net: net(points()).mean().detach(), "depends on none.*detached.*wrong"),
    (lambda net: small_net(1)(points()).mean(), "depends on none.*wrong"),
    (lambda net: torch.tensor(1.0), "depends on none"),
])
def test_update_refuses_a_loss_that_it_cannot_follow(loss, message):
    net = small_net()
    before = weights(net)
    with pytest.raises(ValueError, match=message):
        update(torch.optim.SGD(net.parameters(), lr=0.1), loss(net))
    assert equal(weights(net), before)


def test_update_of_frozen_parameters_says_so():
    net = small_net().requires_grad_(False)
    with pytest.raises(ValueError, match="depends on none"):
        update(torch.optim.SGD(net.parameters(), lr=0.1), torch.ones((), requires_grad=True) * 2)


# --- several updates from one forward --------------------------------------------------------------------------------

def player(value):
    return nn.Parameter(torch.tensor(value, dtype=torch.float64))


def test_update_together_takes_all_gradients_at_the_same_weights():
    a, b, c = player(2.0), player(3.0), player(5.0)
    opts = [torch.optim.SGD([p], lr=0.1) for p in (a, b, c)]
    shared = a * b * c                                  # one forward
    update_together((opts[0], shared), (opts[1], -shared), (opts[2], shared.square() + a))
    assert_close(torch.stack([a, b, c]).detach(), torch.tensor([2 - 1.5, 3 + 1.0, 5 - 0.1 * 2 * 30 * 6]).double())
    assert a.grad is None and b.grad is None and c.grad is None


def test_one_update_after_the_other_is_not_the_same():
    a, b = player(2.0), player(3.0)
    opts = [torch.optim.SGD([p], lr=0.1) for p in (a, b)]
    update(opts[0], a * b)                              # a is 1.7 now
    update(opts[1], a * b)
    assert_close(torch.stack([a, b]).detach(), torch.tensor([1.7, 3 - 0.17]).double())
    shared = a * b
    with pytest.raises(RuntimeError, match=r"second time|modified by an inplace operation"):
        update(opts[0], shared)
        update(opts[1], shared)


def test_update_together_of_one_is_update():
    one, other = small_net(), small_net()
    for net, move in ((one, update), (other, lambda opt, loss: update_together((opt, loss)))):
        move(adam(net, 0.1), net(points()).square().mean())
    assert equal(weights(one), weights(other)) and not equal(weights(one), weights(small_net()))


def test_what_a_backward_has_left_is_dropped_by_update_together():
    a, b = player(2.0), player(3.0)
    (100 * a * b).backward()
    update_together((torch.optim.SGD([a], lr=0.1), a * b), (torch.optim.SGD([b], lr=0.1), a * b))
    assert_close(torch.stack([a, b]).detach(), torch.tensor([1.7, 2.8]).double())


@pytest.mark.parametrize("wrong", [0, 1, 2])
@pytest.mark.parametrize("spoil, message", [
    (lambda loss: loss.detach(), "depends on none of this optimizer's parameters"),
    (lambda loss: loss[None], r"the loss has shape \(1,\)"),
    (lambda loss: player(1.0).square(), "depends on none of this optimizer's parameters"),
])
def test_where_one_loss_is_wrong_nothing_moves(wrong, spoil, message):
    players = [player(2.0), player(3.0), player(5.0)]
    shared = players[0] * players[1] * players[2]
    losses = [spoil(shared) if k == wrong else shared for k in range(3)]
    with pytest.raises(ValueError, match=message):
        update_together(*[(torch.optim.SGD([p], lr=0.1), loss) for p, loss in zip(players, losses, strict=True)])
    assert [p.item() for p in players] == [2.0, 3.0, 5.0]


def test_update_together_of_nothing_is_refused():
    with pytest.raises(ValueError, match="nothing to update; give pairs"):
        update_together()


# --- several processes -----------------------------------------------------------------------------------------------

WORKER = """
import sys, torch
from pathlib import Path
from torch import nn
from course_lib.training import adam, update
rank, folder = int(sys.argv[1]), Path(sys.argv[2])
x = torch.randn(16, 2, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

def run(world):
    ends = {}
    for dtype in (torch.float64, torch.float32):
        for name, make in (("sgd", lambda m: torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9)), ("adam", adam)):
            torch.manual_seed(0)
            net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(36, 1)).to(dtype)
            net = net.to(memory_format=torch.channels_last)
            net.half_used = nn.Parameter(torch.ones(3, dtype=dtype))       # by the first half of the batch only
            net.unused = nn.Parameter(torch.ones(2, dtype=dtype))
            opt = make(net)
            for step in range(5):
                each, extra = net(x.to(dtype)).square().flatten() * (1 + step), (net.half_used**2).sum()
                half = each[8 * rank:8 * rank + 8].mean() + (extra if rank == 0 else 0)
                update(opt, each.mean() + extra / 2 if world == 1 else half)
            assert all(p.grad is None for p in net.parameters())
            ends[name, dtype] = [p.detach() for p in net.parameters()]
    return ends

alone = run(1) if rank == 0 else None
torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
torch.save((alone, run(2)), folder / f"{rank}.pt")
# The gradient of a sum is one number, expanded: nothing can be written into it.
p = nn.Parameter(torch.zeros(5)); update(torch.optim.SGD([p], lr=1.0), (rank + 1) * p.sum())
assert torch.equal(p, torch.full((5,), -1.5)), p
torch.distributed.destroy_process_group()
"""


@pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="the name of the loopback device is not known")
def test_two_processes_with_half_the_batch_each_do_what_one_does_with_all(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    loopback = {"linux": "lo", "darwin": "lo0"}[sys.platform]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": loopback}
    run = partial(subprocess.Popen, stderr=subprocess.PIPE, text=True, env=environment)
    workers = [run([sys.executable, str(script), str(rank), str(tmp_path)]) for rank in (0, 1)]
    try:
        for worker in workers:
            _, errors = worker.communicate(timeout=120)
            assert worker.returncode == 0, errors
    finally:
        for worker in workers:
            worker.kill()
    (alone, first), (_, second) = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for (name, dtype), ends in alone.items():
        assert equal(first[name, dtype], second[name, dtype])  # both ranks hold the same bits
        # Sums in another order. Adam divides by √v: where a gradient is near 0, its rounding counts in full.
        tolerance = {torch.float64: 1e-12, torch.float32: 1e-6}[dtype] * (10 if name == "adam" else 1)
        assert_close(first[name, dtype], ends, rtol=tolerance, atol=tolerance)


# --- EMA -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("decay", [0.0, 0.3, 0.99])
def test_ema_is_the_recursion_by_hand(decay):
    net = small_net(dtype=torch.float64)
    ema, average = EMA(net, decay), None
    for n in range(60):
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn_like(p))
        ema.update(net)
        d = min(decay, (1 + n) / (10 + n))
        average = weights(net) if n == 0 else [d * a + (1 - d) * w for a, w in zip(average, weights(net), strict=True)]
        assert_close(weights(ema.module), average, rtol=1e-12, atol=1e-12)
    assert_close(ema(points().double()), ema.module(points().double()))
    assert int(ema.n_averaged) == 60 and EMA.update_parameters is EMA.update


def test_ema_warms_up():
    # Its start must be forgotten sooner than the decay alone would: from 0 to 1, after 20 updates of 0.9999.
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    ema = EMA(net, 0.9999)
    ema.update(net)
    nn.init.ones_(net.weight)
    for _ in range(20):
        ema.update(net)
    left = math.prod((1 + n) / (10 + n) for n in range(1, 21))
    assert_close(1 - ema.module.weight.item(), left, rtol=1e-4, atol=1e-6) and left < 1e-3


def test_ema_is_a_copy_that_takes_buffers_as_they_are_and_no_gradient():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    ema = EMA(net, 0.9)
    for k in range(3):
        net(points(seed=k) + 5)
        ema.update(net)
        assert all(map(torch.equal, ema.module.buffers(), net.buffers())) and int(net[1].num_batches_tracked) == k + 1
    assert not any(p.requires_grad for p in ema.parameters()) and all(p.requires_grad for p in net.parameters())
    assert not any(a is b for a, b in zip(ema.module.parameters(), net.parameters(), strict=True))
    assert ema.state_dict().keys() == {"n_averaged"} | {f"module.{key}" for key in net.state_dict()}


@pytest.mark.parametrize("decay", [1, 1.5, -0.1, math.nan])
def test_ema_refuses_a_bad_decay(decay):
    with pytest.raises(ValueError, match=rf"decay is {decay}"):
        EMA(small_net(), decay)


# --- train -----------------------------------------------------------------------------------------------------------

def count_steps(calls, value=lambda i: 0.0):
    def step(batches):
        calls.append(next(batches))
        return {"loss": torch.tensor(float(value(len(calls)))), "other": torch.zeros(2)}
    return step


def test_train_counts_from_1_after_the_update_and_passes_logs_through():
    calls, seen = [], []
    for i, log in train(count_steps(calls, lambda i: 10 * i), iter(range(1000)), 7):
        assert len(calls) == i                                   # the i-th update is done, the next one is not
        seen.append((i, log["loss"].item()))
        assert log.keys() == {"loss", "other"}
    assert seen == [(i, 10.0 * i) for i in range(1, 8)] and calls == list(range(7))


def test_train_does_nothing_before_it_is_iterated_but_checks_its_arguments():
    calls = []
    train(count_steps(calls), iter(range(10)), 5)
    assert calls == []
    with pytest.raises(ValueError, match="steps is 0"):
        train(count_steps(calls), iter(range(10)), 0)


def test_train_takes_any_iterable():
    assert len(list(train(count_steps([]), range(9), 9))) == 9


def test_batches_that_run_out_are_not_an_end_in_silence():
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(train(count_steps([]), iter(range(3)), 5))


@pytest.mark.parametrize("arguments, message", [
    (dict(steps=0), "steps is 0"), (dict(steps=5, save_every=0), "save_every is 0"),
    (dict(steps=5, save_to="somewhere"), "save_to and memory_format need state"),
    (dict(steps=5, memory_format=torch.channels_last), "need state"),
    (dict(steps=5, state={"losses": [1, 2]}), r"losses is a list.*state_dict"),
    (dict(steps=5, state={"random state": nn.Linear(1, 1)}), "take another name"),
])
def test_train_refuses_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        train(count_steps([]), iter(range(10)), **arguments)


@pytest.mark.parametrize("bad, at, steps, found_after", [
    (math.nan, 7, 200, 49), (math.inf, 50, 200, 49), (math.nan, 51, 200, 99), (-math.inf, 63, 65, 65),
    (math.nan, 1, 1, 1),
])
def test_train_stops_at_the_first_value_that_is_not_finite(bad, at, steps, found_after):
    # Looked at every 50 steps and at the end: the caller has had the logs up to there, and the step named is the first.
    def value(i):
        return bad if i == at else (math.nan if i > at else 0.0)
    got = []
    what = "NaN" if math.isnan(bad) else "infinite"
    with pytest.raises(FloatingPointError, match=rf"^loss became {what} at step {at}\. Usual causes"):
        for i, _ in train(count_steps([], value), iter(range(1000)), steps):
            got.append(i)
    assert got == list(range(1, found_after + 1))


def test_each_logged_value_is_read_once(monkeypatch):
    read, isfinite = [], torch.isfinite
    monkeypatch.setattr(torch, "isfinite", lambda value: read.append(value) or isfinite(value))
    list(train(count_steps([]), iter(range(999)), 120))
    assert len(read) == 2 * 120


def test_the_term_that_is_not_finite_is_named_also_inside_a_tensor():
    def step(batches):
        return {"D": torch.tensor(1.0), "G": torch.tensor([0.0, math.inf]), "n": torch.tensor(3)}
    with pytest.raises(FloatingPointError, match=r"^G became infinite at step 1\."):
        list(train(step, iter([]), 3))


def test_values_that_are_not_finite_leave_the_last_good_save(tmp_path):
    path, net = tmp_path / "run.safetensors", small_net()
    good = {}
    with pytest.raises(FloatingPointError, match=r"loss became NaN at step 24\. The last good save is .*run\.safet"):
        for i, _ in train(count_steps([], lambda i: math.nan if i == 24 else 0.0), iter(range(99)), 60,
                          state={"net": net}, save_to=path, save_every=10):
            if i == 21:                                          # the save of step 20 is written
                good["bytes"] = path.read_bytes()
    assert path.read_bytes() == good["bytes"] and resume(path, net=net) == 20
    assert os.listdir(tmp_path) == ["run.safetensors"]


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    # An update may spoil the weights while its own loss was still finite: the log of that step says nothing.
    path, net = tmp_path / "run.safetensors", small_net()
    def step(batches):
        i = next(batches)
        if i == 15:
            with torch.no_grad():
                net[2].weight[0, 0] = math.nan
        return {"loss": torch.tensor(0.0)}
    run = train(step, iter(range(99)), 60, state={"net": net}, save_to=path, save_every=10)
    with pytest.raises(FloatingPointError, match=r"net\.2\.weight is not finite after step 20"):
        for i, _ in run:
            if i == 11:
                before = path.read_bytes()
    assert path.read_bytes() == before
    with pytest.raises(FloatingPointError, match=r"net\.2\.weight"):
        save(tmp_path / "other", 1, net=net)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("log, message", [
    ({"loss": torch.ones(1, requires_grad=True) * 2}, r"'loss'.*not a detached tensor; return loss\.detach\(\)"),
    ({"fine": torch.zeros(()), "G": 0.5}, r"'G'.*not a detached tensor"),
])
def test_logs_with_a_graph_or_without_tensors_are_refused(log, message):
    with pytest.raises(ValueError, match=message):
        next(train(lambda batches: log, iter([]), 3))


@pytest.mark.parametrize("pair", [False, True])
def test_memory_format_turns_modules_and_batches_of_images(pair):
    net, seen = conv_net(), []
    x, y = torch.randn(20, 3, 8, 8), torch.arange(20)
    def step(batches):
        batch = next(batches)
        images = batch[0] if pair else batch
        if pair:
            assert isinstance(batch, tuple) and batch[1].shape == (5,)
        seen.append(images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous())
        return {"loss": torch.zeros(())}
    data = batches((x, y) if pair else x, 5)
    list(train(step, data, 3, state={"net": net, "opt": adam(net)}, memory_format=torch.channels_last))
    assert seen == [True] * 3
    assert net[0].weight.is_contiguous(memory_format=torch.channels_last) and not net[0].weight.is_contiguous()
    rows = []
    list(train(lambda b: rows.append(next(b)) or {}, iter([torch.zeros(2, 3)] * 2), 2, state={"net": net},
               memory_format=torch.channels_last))
    assert all(torch.equal(r, torch.zeros(2, 3)) for r in rows)  # what is no batch of images goes through as it is


def image_step(batches, net, opt):
    loss = net(next(batches)).square().mean()
    update(opt, loss)
    return {"loss": loss.detach()}


def test_memory_format_changes_no_result():
    x, nets = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(0)), []
    for memory_format in (None, torch.channels_last):
        net = conv_net()
        opt = adam(net, 1e-3)
        list(train(partial(image_step, net=net, opt=opt), batches(x, 5), 4, state={"net": net, "opt": opt}))
        # turned while the optimizer already has its averages
        list(train(partial(image_step, net=net, opt=opt), batches(x, 5), 4, state={"net": net, "opt": opt},
                   memory_format=memory_format))
        nets.append(weights(net))
    assert_close(*nets, rtol=1e-4, atol=1e-5)  # sums in another order; a wrong order of the averages is off by 1e-3


@pytest.mark.parametrize("progress, shown", [(None, False), (False, False), (True, True)])
def test_a_bar_is_shown_only_where_somebody_watches_or_asks(progress, shown, capfd, monkeypatch):
    clock = count()
    monkeypatch.setattr("tqdm.std.time", lambda: float(next(clock)))  # a slow run: each look at the clock is a second
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    list(train(count_steps([]), iter(range(99)), 40, progress=progress))
    out, err = capfd.readouterr()
    assert out == "" and ("/40" in err) == shown and (err == "") != shown


def test_the_bar_of_a_resumed_run_begins_where_it_goes_on(capfd, monkeypatch, tmp_path):
    clock = count()
    monkeypatch.setattr("tqdm.std.time", lambda: float(next(clock)))
    save(tmp_path / "run", 25, net=small_net())
    list(train(count_steps([]), iter(range(99)), 40, state={"net": small_net()}, save_to=tmp_path / "run",
               progress=True))
    err = capfd.readouterr().err
    assert "39/40" in err and "14/40" not in err


def test_a_quick_run_shows_no_bar(capfd):
    list(train(count_steps([]), iter(range(99)), 20, progress=True))
    assert capfd.readouterr() == ("", "")


# --- save and resume -------------------------------------------------------------------------------------------------

def test_what_the_caller_does_after_a_step_is_in_that_step_s_save(tmp_path):
    net = small_net()
    for i, _ in train(count_steps([]), iter(range(9)), 4, state={"net": net}, save_to=tmp_path / "run", save_every=4):
        nn.init.constant_(net[0].bias, i)
    other = small_net(1)
    assert resume(tmp_path / "run", net=other) == 4 and (other[0].bias == 4).all()


def test_a_save_of_more_steps_than_asked_for_is_refused(tmp_path):
    run = partial(train, count_steps([]), iter(range(99)), state={"net": small_net()}, save_to=tmp_path / "run")
    list(run(steps=20))
    with pytest.raises(ValueError, match=r"run is of step 20, but steps is 10"):
        list(run(steps=10))


class Nest:
    """Anything with a state_dict."""

    def __init__(self, state=None):
        self.state = state

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = state


NEST = {
    0: "an int as a key", "0": "and the string", None: None, True: False, "pair": (1, 2.5, (None, True)),
    "list": [[], {}, ()],
    "nan": math.nan, "inf": -math.inf, "exact": 0.1 + 0.2, "big": 2**70, "text": "naïve \n \"quotes\" 数",
    "bool": torch.tensor([True, False]), "half": torch.tensor([1.5, -2], dtype=torch.bfloat16),
    "empty": torch.zeros(0, 3), "scalar": torch.tensor(3), "inf tensor": torch.tensor([0.0, math.inf]),
    "a.b": torch.tensor(1.0), "a": {"b": torch.tensor(2.0)}, 7: torch.tensor(7), "7": torch.tensor(70),
    "double": torch.tensor(0.1, dtype=torch.float64),
}


def test_all_kinds_of_values_survive_the_way_through_the_file(tmp_path):
    own = torch.Generator().manual_seed(3)
    torch.rand(5, generator=own)
    state = own.get_state()
    save(tmp_path / "run", 12, nest=Nest(NEST), own=own)
    other, generator = Nest(), torch.Generator().manual_seed(99)
    assert resume(tmp_path / "run", nest=other, own=generator) == 12
    assert torch.equal(generator.get_state(), state)
    for key, value in NEST.items():
        assert equal(other.state[key], value), key
    assert list(other.state) == list(NEST) and [type(k) for k in other.state] == [type(k) for k in NEST]


def test_named_tuples_and_sizes_come_back_as_tuples(tmp_path):
    save(tmp_path / "run", 1, nest=Nest({"size": torch.zeros(2, 3).shape, "max": torch.tensor([1, 5, 2]).max(0)}))
    other = Nest()
    resume(tmp_path / "run", nest=other)
    assert other.state["size"] == (2, 3) and [int(v) for v in other.state["max"]] == [5, 1]


@pytest.mark.parametrize("value, message", [
    (object(), r"nest\.bad is a object"), ({1, 2}, "is a set"), (b"bytes", "is a bytes"), ({(1, 2): 3}, "key that is"),
])
def test_what_json_cannot_hold_is_refused_when_it_is_saved(value, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save(tmp_path / "run", 1, nest=Nest({"bad": value}))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("call", [lambda path: save(path, 1, losses=[1.0]), lambda path: resume(path, losses=[1.0])])
def test_what_has_no_state_is_refused(call, tmp_path):
    with pytest.raises(ValueError, match=r"losses is a list.*state_dict"):
        call(tmp_path / "run")


def test_tied_weights_survive(tmp_path):
    def tied(seed):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        net[1].weight = net[0].weight
        return net
    one, other = tied(0), tied(1)
    save(tmp_path / "run", 1, net=one, opt=adam(one))
    resume(tmp_path / "run", net=other, opt=adam(other))
    assert equal(weights(one), weights(other)) and other[1].weight is other[0].weight


def test_views_and_transposed_weights_survive(tmp_path):
    wide = torch.arange(24.0).view(4, 6)
    one = torch.ones(1).expand(5)
    save(tmp_path / "run", 1, nest=Nest({"columns": wide[:, ::2], "turned": wide.T, "expanded": one}))
    other = Nest()
    resume(tmp_path / "run", nest=other)
    assert torch.equal(other.state["columns"], wide[:, ::2]) and torch.equal(other.state["turned"], wide.T)
    assert torch.equal(other.state["expanded"], torch.ones(5))


def broken(kind, path, net):
    save(path, 5, net=net, opt=adam(net))
    if kind == "garbage":
        path.write_bytes(b"\x00\x01 not at all a file of tensors" * 10)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "truncated header":
        path.write_bytes(path.read_bytes()[:60])
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "weights":
        save_file(net.state_dict(), path)
    elif kind == "other names":
        save(path, 5, model=net, opt=adam(net))
    elif kind == "one name too many":
        save(path, 5, net=net, opt=adam(net), ema=EMA(net))
    elif kind == "a name missing":
        save(path, 5, net=net)
    elif kind == "other shapes":
        wider = nn.Sequential(nn.Linear(3, 7), nn.Tanh(), nn.Linear(7, 2))
        save(path, 5, net=wider, opt=adam(wider))
    elif kind == "other layers":
        deeper = nn.Sequential(*net, nn.Linear(2, 2))
        save(path, 5, net=deeper, opt=adam(deeper))
    elif kind == "other optimizer":
        save(path, 5, net=small_net(8), opt=torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5))


@pytest.mark.parametrize("kind, message", [
    ("garbage", "not a whole safetensors file.*delete it and start again"), ("empty", "not a whole safetensors file"),
    ("truncated", "not a whole safetensors file"), ("truncated header", "not a whole safetensors file"),
    ("folder", "not a whole safetensors file"), ("weights", "not a saved run.*load_file"),
    ("other names", r"holds \['model', 'opt'\], but \['net', 'opt'\] was asked for"),
    ("a name missing", r"holds \['net'\], but \['net', 'opt'\] was asked for"),
    ("one name too many", r"holds \['ema', 'net', 'opt'\]"),
    ("other shapes", r"(?s)run does not fit 'net'.*size mismatch.*delete the file to start anew"),
    ("other layers", r"(?s)run does not fit 'net'.*Unexpected key"),
    ("other optimizer", r"(?s)run does not fit 'opt'.*start anew"),
])
def test_a_file_that_does_not_fit_is_refused_and_changes_nothing(kind, message, tmp_path):
    path, net = tmp_path / "run", small_net()
    broken(kind, path, small_net(3))
    opt = adam(net, 0.123)
    update(opt, net(points()).mean())
    before = copy.deepcopy((net.state_dict(), opt.state_dict(), torch.get_rng_state()))
    with pytest.raises(ValueError, match=message) as error:
        resume(path, net=net, opt=opt)
    assert str(path) in str(error.value)
    assert equal(before, (net.state_dict(), opt.state_dict(), torch.get_rng_state()))


def test_a_run_on_other_data_is_refused(tmp_path):
    net = small_net()
    start = partial(train, count_steps([]), steps=4, state={"net": net}, save_to=tmp_path / "run")
    list(start(batches(points(50), 10)))
    with pytest.raises(ValueError, match=r"does not fit 'batches'.*n = 50.*here it is 60"):
        list(start(batches(points(60), 10)))


def test_no_file_says_how_one_is_made(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no saved run at .*save\(path, step, …\)"):
        resume(tmp_path / "none", net=small_net())
