"""Schedules: their rates in closed form, what they refuse, and that a killed run goes on with them."""

import math

import pytest
import torch
from torch import nn

from caelab.schedulers import Constant, Cosine, OneCycle


def rates(scheduler, steps, lr=0.5):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    schedule = scheduler(optimizer, steps)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if schedule:
            schedule.step()
    return seen


def test_constant_is_the_optimizers_rate():
    assert rates(Constant(), 3) == [0.5, 0.5, 0.5]


def test_cosine_without_warmup_falls_from_the_rate_to_nothing():
    assert rates(Cosine(warmup=0), 4) == pytest.approx(
        [0.5 * math.cos(math.pi * i / 8) ** 2 for i in range(4)]
    )


def test_cosine_is_torchs_own_where_there_is_no_warmup():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 7, eta_min=0.1)
    expected = []
    for _ in range(7):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    assert rates(Cosine(warmup=0, final=0.2), 7) == pytest.approx(expected)


def test_warmup_is_a_line_up_to_the_rate():
    assert rates(Cosine(warmup=0.4), 10)[:5] == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5])


def test_one_cycle_rises_to_the_rate_and_falls_below_its_start():
    seen = rates(OneCycle(rise=0.3), 100)
    assert seen[29] == max(seen) == pytest.approx(0.5)  # the last step of the first 30 %
    assert seen[0] == pytest.approx(0.5 / 25)
    assert seen[-1] == pytest.approx(0.5 / 25 / 1e4)


@pytest.mark.parametrize(("rise", "steps"), [(0.1, 10), (0.5, 2), (0.25, 4)])
def test_a_rise_of_one_step_starts_at_the_top(rise, steps):
    seen = rates(OneCycle(rise=rise), steps)
    assert seen[0] == max(seen) == pytest.approx(0.5)
    assert seen[-1] == pytest.approx(0.5 / 25 / 1e4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Cosine(warmup=-1), "warmup must be within 0..1, got -1"),
        (lambda: Cosine(final=2), "final must be within 0..1, got 2"),
        (lambda: OneCycle(rise=1.0), "rise must be below 1, so that the rate falls again, got 1.0"),
        (lambda: OneCycle(rise="a"), "rise must be within 0..1, got 'a'"),
    ],
)
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_fit_may_be_all_warmup():
    assert rates(Cosine(warmup=1.0), 4) == [0.125, 0.25, 0.375, 0.5]


def test_the_rate_of_each_epoch_is_in_the_curves(train):
    answer = train("scheduler=cosine", "scheduler.warmup=0.33", "optimizer.lr=0.01")
    assert answer.status == 0, answer.err
    lines = (answer.run_dir / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("train/lr")
    # 3 steps in each of the two epochs: after 3, and after all 6
    expected = [0.01 * (1 + math.cos(math.pi / 4)) / 2, 0.0]
    assert [float(line.split(",")[column]) for line in lines[1:]] == pytest.approx(expected, abs=1e-9)


def test_a_run_without_a_schedule_shows_no_rate(trained):
    assert "train/lr" not in (trained().run_dir / "metrics.csv").read_text()


def test_a_mistake_is_one_line(train):
    answer = train("scheduler=cosine", "scheduler.warmup=6")
    assert answer.status == 1
    assert answer.err.strip().endswith("scheduler.warmup must be within 0..1, got 6")
    answer = train("scheduler=cosin")
    assert "did you mean 'cosine'?" in answer.err
