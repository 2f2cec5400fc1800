"""Streaming sums, on tensors by hand; and that no hook outlives its pass."""

import math

import numpy as np
import pytest
import torch

from creativity_lens.hooks.capture import NormHistogram, ResidualSums
from creativity_lens.models.batching import left_pad
from creativity_lens.models.protocol import read, resid_post, step
from tests.tiny import N_LAYERS, live_hooks, residuals, token_rows


def fire(hooks, *streams):
    """Run one hook after another over the streams of their layers; returns what they return."""
    return [hook(stream, hook=None) for (_, hook), stream in zip(hooks, streams, strict=True)]


# --- the distribution of norms ----------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-4, 1.0, 3e5])
def test_the_median_agrees_with_numpy_within_a_tenth_of_a_per_cent(scale):
    norms = np.random.default_rng(0).lognormal(sigma=1.5, size=4001) * scale
    histogram = NormHistogram(1)
    histogram.add(0, torch.from_numpy(norms))
    assert float(histogram.median()[0]) == pytest.approx(np.median(norms), rel=1e-3)


def test_layers_are_counted_apart_and_tokens_may_come_in_portions():
    histogram = NormHistogram(3)
    histogram.add(0, torch.tensor([1.0, 2.0, 3.0]))
    for norm in (30.0, 10.0, 20.0):
        histogram.add(2, torch.tensor([norm]))
    median = histogram.median()
    assert median[[0, 2]].tolist() == pytest.approx([2.0, 20.0], rel=1e-3)
    assert math.isnan(median[1])  # nothing was counted there


def test_the_share_above_three_medians_is_counted():
    histogram = NormHistogram(1)
    # Median 1; of ten tokens, 2.9 is below three medians, and 3.1 and 100 are above.
    histogram.add(0, torch.tensor([1.0] * 7 + [2.9, 3.1, 100.0]))
    assert float(histogram.share_above(3.0)[0]) == pytest.approx(0.2)


def test_norms_beyond_all_bins_count_at_the_ends():
    histogram = NormHistogram(1)
    histogram.add(0, torch.tensor([0.0, 0.0, 5.0, 1e30, float("inf")]))
    assert float(histogram.median()[0]) == pytest.approx(5.0, rel=1e-3)


# --- sums -------------------------------------------------------------------------------------


def test_sums_are_of_the_chosen_tokens_of_each_row():
    sums = ResidualSums(2, [4], 2)
    stream = torch.tensor(
        [[[9.0, 9.0], [1.0, 2.0], [3.0, 4.0]], [[9.0, 9.0], [9.0, 9.0], [5.0, 6.0]]]
    )
    sums.aim(torch.tensor([0, 1]), torch.tensor([[0, 1, 1], [0, 0, 1]]))
    (hook,) = sums.hooks()
    assert hook[0] == resid_post(4)
    fire([hook], stream)
    assert sums.means()[:, 0].tolist() == [[2.0, 3.0], [5.0, 6.0]]
    assert sums.counts.tolist() == [2, 1]


def test_rows_are_numbered_over_all_passes():
    sums = ResidualSums(3, [0, 1], 1)
    first, second = torch.tensor([[[1.0]], [[2.0]]]), torch.tensor([[[10.0]], [[30.0]]])
    sums.aim(torch.tensor([2, 0]), torch.tensor([[1], [1]]))
    fire(sums.hooks(), first, 10 * first)
    sums.aim(torch.tensor([2, 0]), torch.tensor([[0], [1]]))  # row 2 is fed but does not count
    fire(sums.hooks(), second, 10 * second)
    # Row 2 saw 1; row 1 nothing; row 0 saw 2 and 30. The second layer sees ten times as much.
    assert sums.means()[[0, 2], :, 0].tolist() == [[16.0, 160.0], [1.0, 10.0]]
    assert sums.means()[1].isnan().all()
    assert sums.counts.tolist() == [2, 0, 1]


def test_a_pass_in_which_nothing_counts_changes_nothing():
    sums = ResidualSums(1, [0], 1)
    sums.aim(torch.tensor([0]), torch.tensor([[0, 0]]))
    fire(sums.hooks(), torch.ones(1, 2, 1))
    assert sums.counts.tolist() == [0]


def test_replace_keeps_the_last_token_and_leaves_other_rows():
    sums = ResidualSums(2, [0], 1)
    for value, chosen in ((1.0, [[1], [1]]), (5.0, [[1], [0]])):
        sums.aim(torch.tensor([0, 1]), torch.tensor(chosen), replace=True)
        fire(sums.hooks(), torch.full((2, 1, 1), value))
    assert sums.means().flatten().tolist() == [5.0, 1.0]
    assert sums.counts.tolist() == [1, 1]


def test_unit_tokens_weigh_alike():
    sums = ResidualSums(1, [0], 2, unit_tokens=True)
    sums.aim(torch.tensor([0]), torch.tensor([[1, 1, 1]]))
    # Directions (1, 0), (0, 1) and nothing, whatever the lengths: the mean is (1/3, 1/3).
    fire(sums.hooks(), torch.tensor([[[1000.0, 0.0], [0.0, 0.1], [0.0, 0.0]]]))
    assert sums.means()[0, 0].tolist() == pytest.approx([1 / 3, 1 / 3])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sums_are_float64_whatever_the_models_dtype(dtype):
    sums = ResidualSums(1, [0], 1)
    # 2^24 + 1 has no float32 (and 2^8 + 1 no bfloat16): a float32 sum would stay at 2^24.
    for value in (2.0**24, 1.0, 1.0):
        sums.aim(torch.tensor([0]), torch.tensor([[1]]))
        fire(sums.hooks(), torch.full((1, 1, 1), value, dtype=dtype))
    assert float(sums.means() * 3) == 2.0**24 + 2
    assert sums.means().dtype == torch.float64


def test_only_chosen_tokens_enter_the_norms_and_before_they_are_made_unit():
    norms = NormHistogram(2)
    sums = ResidualSums(3, [0, 1], 2, norms=norms, unit_tokens=True)
    sums.aim(torch.tensor([0, 1, 2]), torch.tensor([[0, 1, 0], [0, 0, 1], [0, 0, 0]]))
    far, near = [60.0, 80.0], [3.0, 4.0]
    stream = torch.tensor([[far, near, far], [far, far, near], [far, far, far]])
    fire(sums.hooks(), stream, 2 * stream)
    assert norms.median().tolist() == pytest.approx([5.0, 10.0], rel=1e-3)
    assert norms.share_above(1.5).tolist() == [0.0, 0.0]


# --- cleaning up ------------------------------------------------------------------------------


class Stop(Exception):
    pass


def _raise(stream, hook=None):
    raise Stop


@pytest.mark.legacy
@pytest.mark.parametrize("run", [read, step])
def test_an_exception_in_a_hook_leaves_no_hook_behind(model, run):
    batch = left_pad(token_rows(4))
    before = residuals(model, token_rows(4))
    hooks = [(resid_post(0), lambda stream, hook=None: stream + 1), (resid_post(1), _raise)]
    with pytest.raises(Stop):
        run(model, *batch, hooks=hooks)
    assert live_hooks(model) == 0
    assert torch.equal(before[0], residuals(model, token_rows(4))[0])


@pytest.mark.legacy
@pytest.mark.parametrize("run", [read, step])
def test_our_passes_take_away_only_their_own_hooks(model, run):
    batch = left_pad(token_rows(4))
    seen = []
    with model.hooks(fwd_hooks=[(resid_post(0), lambda stream, hook=None: seen.append("mine"))]):
        for _ in range(2):
            run(model, *batch, hooks=[(resid_post(0), lambda s, hook=None: seen.append("ours"))])
    assert seen == ["mine", "ours"] * 2
    assert live_hooks(model) == 0


@pytest.mark.legacy
def test_a_hook_at_a_layer_that_is_not_there_leaves_no_hook_behind(model):
    hooks = [(resid_post(0), _raise), (resid_post(N_LAYERS), _raise)]
    with pytest.raises(Exception, match=f"{N_LAYERS}"):
        read(model, *left_pad(token_rows(4)), hooks=hooks)
    assert live_hooks(model) == 0
