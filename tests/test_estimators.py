"""Estimators against their own estimands on planted data; erasures against their theorems."""

import json
import sys

import pytest
import torch
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression

from creativity_lens.activations.reading import Passage, read_passages
from creativity_lens.directions.direction import DirectionSet
from creativity_lens.directions.erasure import Erasure
from creativity_lens.directions.estimators import (
    ESTIMATORS,
    check_estimator,
    estimate,
    with_estimator,
)
from creativity_lens.directions.extract import ExtractionConfig, extract
from creativity_lens.directions.logistic import LogisticFitter
from creativity_lens.directions.nuisance import (
    NUISANCES,
    LengthContrast,
    NuisanceMeans,
    length_direction,
    nuisance_erasure,
    nuisance_passages,
    read_nuisances,
)
from creativity_lens.directions.paired_pca import PairedPCAFitter
from creativity_lens.directions.run_files import load_run
from creativity_lens.directions.whitened import WhitenedFitter
from creativity_lens.errors import InputError, MissingDependencyError
from creativity_lens.generation import decode
from creativity_lens.generation.sampling import Sampling
from creativity_lens.models.chat import bare_context, render_prompt, text_ids
from creativity_lens.prompts.pairs import load_passages
from creativity_lens.stats import auroc
from tests.deep import save_deep_model
from tests.fakes import NEUTRAL, random_directions, unchecked

L, D = 2, 32
STREAMING = ("difference-of-means", "paired-pca", "whitened")


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(rows):
    return rows / rows.norm(dim=-1, keepdim=True)


def cos(a, b):
    return torch.cosine_similarity(a.double(), b.double(), dim=-1)


MU = unit(normal(L, D, seed=1)) * torch.tensor([[2.0], [3.0]], dtype=torch.float64)
# Another rotation at each layer; standard deviations 6, then from 3 down to 0.3.
AXES = torch.linalg.qr(normal(L, D, D, seed=2)).Q
STD = torch.logspace(0.5, -0.5, D, dtype=torch.float64)
STD[0] = 6
SIGMA = (AXES * STD**2) @ AXES.mT


def planted(n, *, anisotropic=False, mu=MU, seed=0):
    """Pairs with means +- mu / 2 around 5 and noise N(0, I), or N(0, SIGMA)."""
    noise = normal(2, n, L, D, seed=seed)
    if anisotropic:
        noise = torch.einsum("snld,lkd->snlk", noise * STD, AXES)
    return 5 + noise[0] + mu / 2, 5 + noise[1] - mu / 2


def held_out_auroc(directions, sides):
    """At each layer."""
    creative, uncreative = (torch.einsum("nld,ld->ln", side, directions).numpy() for side in sides)
    return torch.from_numpy(auroc(creative, uncreative))


# --- each against its own estimand -----------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_in_isotropic_noise_every_estimator_finds_mu(estimator):
    assert bool((cos(estimate(*planted(4000), estimator=estimator), MU) > 0.99).all())


def test_in_anisotropic_noise_difference_of_means_finds_mu_and_whitening_the_filter():
    sides = planted(8000, anisotropic=True)
    pattern, filter_ = estimate(*sides), estimate(*sides, estimator="whitened")
    best = torch.linalg.solve(SIGMA, MU[..., None])[..., 0]
    assert bool((cos(pattern, MU) > 0.99).all())
    assert bool((cos(filter_, best) > 0.99).all())
    assert bool((cos(filter_, MU) < 0.9).all())


@pytest.mark.parametrize("estimator", ["whitened", "logistic"])
def test_in_anisotropic_noise_a_filter_reads_better_than_mu(estimator):
    # 200 pairs in 32 dimensions, mu short enough that no reading is perfect.
    few, fresh = (planted(n, anisotropic=True, mu=MU / 2, seed=n) for n in (200, 2000))
    pattern, filter_ = estimate(*few), estimate(*few, estimator=estimator)
    gain = held_out_auroc(filter_, fresh) - held_out_auroc(pattern, fresh)
    assert bool((gain > 0.05).all())
    assert bool((held_out_auroc(filter_, fresh) > 0.7).all())
    if estimator == "whitened":  # the penalty draws a logistic filter part of the way to mu
        assert bool((cos(filter_, MU) < cos(pattern, MU) - 0.1).all())


def test_pca_finds_the_top_axis_of_mu_and_the_differences_covariance():
    # A short mu is drowned by the widest noise axis; Cov(d) is 2 SIGMA for independent sides.
    for scale, near_mu in ((0.5, False), (8, True)):
        mu = MU * scale
        moment = mu[..., :, None] * mu[..., None, :] + 2 * SIGMA
        top = torch.linalg.eigh(moment).eigenvectors[..., -1]
        found = estimate(*planted(8000, anisotropic=True, mu=mu), estimator="paired-pca")
        assert bool((cos(found, top).abs() > 0.99).all())
        assert bool((cos(found, MU) > 0.95).all()) is near_mu
        assert bool((cos(found, MU) > 0).all())


def test_the_share_that_pca_explains():
    # Differences (3, 0), (3, 0), (0, 2): squares 18 on the first axis, 4 on the second.
    fitter = PairedPCAFitter(1, 2)
    fitter.update(torch.tensor([[[3.0, 0.0]], [[3.0, 0.0]], [[0.0, 2.0]]]), torch.zeros(3, 1, 2))
    found = fitter.fit()
    assert found.directions[0].tolist() == pytest.approx([1, 0], abs=1e-12)
    assert found.explained.item() == pytest.approx(18 / 22)


def test_pca_does_not_care_which_text_of_a_pair_is_the_creative_one_but_for_its_sign():
    creative, uncreative = planted(300)
    swapped = torch.arange(300) % 3 == 0
    mixed = [torch.where(swapped[:, None, None], a, b) for a, b in
             ((uncreative, creative), (creative, uncreative))]  # fmt: skip
    found = estimate(creative, uncreative, estimator="paired-pca")
    assert torch.allclose(estimate(*mixed, estimator="paired-pca"), found, atol=1e-9)
    assert torch.allclose(estimate(*mixed[::-1], estimator="paired-pca"), -found, atol=1e-9)


def test_logistic_weights_are_for_the_texts_as_they_are():
    creative, uncreative = (side * torch.logspace(-2, 2, D) for side in planted(60))
    fitter = LogisticFitter(L, D, c=0.5)
    fitter.update(creative, uncreative)
    fit = fitter.fit()
    # The same problem written down without scikit-learn's pipeline.
    texts = torch.cat([creative, uncreative]).float().double()
    scale = texts.std(dim=0, correction=0)
    scaled = (texts - texts.mean(dim=0)) / scale
    labels = [1] * 60 + [0] * 60
    for layer in range(L):
        plain = LogisticRegression(C=0.5, max_iter=5000).fit(scaled[:, layer].numpy(), labels)
        odds = torch.from_numpy(plain.decision_function(scaled[:, layer].numpy()))
        mine = texts[:, layer] @ fit.weights[layer] + fit.intercepts[layer]
        assert torch.allclose(mine, odds, atol=1e-3)
    assert torch.allclose(fit.directions, unit(fit.weights))


def test_a_weaker_penalty_gives_longer_weights():
    norms = []
    for c in (1e-3, 1.0):
        fitter = LogisticFitter(L, D, c=c)
        fitter.update(*planted(50))
        norms.append(fitter.fit().weights.norm(dim=-1))
    assert bool((norms[1] > 3 * norms[0]).all())
    with pytest.raises(InputError, match=r"positive number, got 0.*default is 0\.01"):
        LogisticFitter(L, D, c=0.0)


# --- streaming -------------------------------------------------------------------------------


def in_batches(fitter, creative, uncreative, sizes):
    for pair in zip(creative.split(sizes), uncreative.split(sizes), strict=True):
        fitter.update(*pair)
    return fitter.fit()


@pytest.mark.parametrize("estimator", STREAMING)
@pytest.mark.parametrize("sizes", [[1, 0, 12, 7], [1, 30, 0, 39, 30]])  # fewer and more than D
def test_batches_give_what_one_batch_gives(estimator, sizes):
    sides = planted(sum(sizes), anisotropic=True, mu=3 * MU)
    whole = estimate(*sides, estimator=estimator)
    parts = in_batches(ESTIMATORS[estimator](L, D), *sides, sizes).directions
    assert torch.allclose(parts, whole, rtol=0, atol=1e-9)
    assert parts.dtype == torch.float64
    assert torch.allclose(parts.norm(dim=-1), torch.ones(L, dtype=torch.float64))


@pytest.mark.parametrize("n", [20, 100])
def test_pca_is_the_top_right_singular_vector_of_the_differences(n):
    creative, uncreative = planted(n, anisotropic=True)
    fit = in_batches(PairedPCAFitter(L, D), creative, uncreative, 9)
    for layer in range(L):
        differences = (creative - uncreative)[:, layer]
        _, values, rows = torch.linalg.svd(differences, full_matrices=False)
        assert abs(float(fit.directions[layer] @ rows[0])) == pytest.approx(1, abs=1e-9)
        assert float(fit.explained[layer]) == pytest.approx(
            float(values[0] ** 2 / values.square().sum())
        )


@pytest.mark.parametrize("n", [6, 20, 200])
def test_whitening_is_scikit_learns_ledoit_wolf(n):
    # Heavy tails make the fourth moments matter; the offset would spoil moments about 0.
    creative, uncreative = (1e5 + side**3 for side in planted(n, anisotropic=True))
    fit = in_batches(WhitenedFitter(L, D), creative, uncreative, 5)
    for layer in range(L):
        sides = [side[:, layer] for side in (creative, uncreative)]
        centred = torch.cat([side - side.mean(dim=0) for side in sides])
        covariance, shrinkage = ledoit_wolf(centred.numpy(), assume_centered=True)
        difference = sides[0].mean(dim=0) - sides[1].mean(dim=0)
        expected = unit(torch.linalg.solve(torch.from_numpy(covariance), difference))
        assert float(fit.shrinkage[layer]) == pytest.approx(shrinkage, abs=1e-6)
        assert torch.allclose(fit.directions[layer], expected, rtol=0, atol=1e-6)


# --- signs and bad input ---------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_directions_point_from_uncreative_to_creative(estimator):
    creative, uncreative = planted(50, anisotropic=True)
    found = estimate(creative, uncreative, estimator=estimator)
    assert bool((((creative - uncreative).mean(dim=0) * found).sum(dim=-1) > 0).all())
    turned = estimate(uncreative, creative, estimator=estimator)
    assert torch.allclose(turned, -found, atol=1e-5)


def constant(sides):
    return tuple(torch.cat([side[:, :1], torch.full_like(side[:, :1], 3.0)], 1) for side in sides)


def with_nan(sides):
    creative = sides[0].clone()
    creative[2, 1, 5] = torch.nan
    return creative, sides[1]


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: (s[0][:5], s[1]), r"differ in shape, \(5, 2, 32\) and \(40, 2, 32\)"),
        (lambda s: (s[0][:0], s[1][:0]), "no pair has a text on both sides"),
        (with_nan, "NaN or infinity at layer 1: drop the pairs"),
        (constant, "the same activations at layer 1.*span response"),
    ],
)
def test_texts_that_cannot_be_used(estimator, spoil, message):
    with unchecked(), pytest.raises(InputError, match=message):
        estimate(*spoil(planted(40)), estimator=estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_fitters_check_for_themselves(estimator):
    fitter = ESTIMATORS[estimator](L, D)
    with pytest.raises(InputError, match="no pair has a text on both sides"):
        fitter.fit()
    with pytest.raises(InputError, match="NaN or infinity at layer 1"):
        fitter.update(*with_nan(planted(4)))
    alike = planted(6, mu=MU * torch.tensor([[1.0], [0.0]]))[0]
    fitter.update(alike + MU * torch.tensor([[1.0], [0.0]]), alike)
    with pytest.raises(InputError, match="equal at layer 1"):
        fitter.fit()


def test_whitening_needs_texts_that_vary_within_their_class():
    with pytest.raises(InputError, match=r"not vary enough at layer 0 .*1 pairs.*more pairs"):
        estimate(*planted(1), estimator="whitened")


def test_a_main_axis_across_the_mean_difference_has_no_sign():
    differences = torch.tensor([[[1.0, 9.0]], [[1.0, -9.0]]])
    with pytest.raises(InputError, match="layer 0 is orthogonal to their mean"):
        estimate(differences, torch.zeros(2, 1, 2), estimator="paired-pca")


def test_an_unknown_estimator_is_refused():
    message = "unknown estimator 'lda'; choose one of difference-of-means, paired-pca, logistic"
    with unchecked():
        for call in (
            lambda: check_estimator("lda"),
            lambda: estimate(*planted(4), estimator="lda"),
            lambda: ExtractionConfig(estimator="lda"),
        ):
            with pytest.raises(InputError, match=message):
                call()


# --- erasure ---------------------------------------------------------------------------------


NUISANCE = torch.stack([unit(normal(L, D, seed=s)) for s in (11, 12)])


def loaded_with(sides, directions=NUISANCE, amount=2.0):
    """Creative texts that also differ along the nuisances."""
    return sides[0] + amount * directions.sum(dim=0), sides[1]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_after_a_projection_nothing_is_left_along_the_nuisances(estimator):
    sides = loaded_with(planted(100, anisotropic=True))
    # A mixture and a very short one span both; collinear ones and one that is 0 add nothing.
    mixture, short = NUISANCE[0] - 3 * NUISANCE[1], 1e-8 * NUISANCE[0]
    erasure = Erasure.projection(torch.stack([mixture, short, 0 * short, 2 * mixture]))
    difference = (erasure(sides[0]) - erasure(sides[1])).mean(dim=0)
    assert float((difference * NUISANCE).sum(dim=-1).abs().max()) < 1e-12
    found = estimate(*sides, estimator=estimator, erasure=erasure)
    assert float((found * NUISANCE).sum(dim=-1).abs().max()) < 1e-9
    assert float((estimate(*sides, estimator=estimator) * NUISANCE).sum(dim=-1).abs().max()) > 0.1
    assert torch.allclose(found.norm(dim=-1), torch.ones(L, dtype=torch.float64))


def test_a_projection_takes_the_span_away_and_nothing_else():
    erasure = Erasure.projection(torch.cat([NUISANCE, NUISANCE[:1] * 5]))
    assert float(erasure(NUISANCE).abs().max()) < 1e-12
    texts = planted(10)[0]
    once = erasure(texts)
    assert torch.allclose(erasure(once), once, atol=1e-12)
    # What was taken lies in the span: two dimensions.
    for layer in range(L):
        assert int(torch.linalg.matrix_rank((texts - once)[:, layer], atol=1e-9)) == 2


def linear_readings(texts, labels):
    """Length of the difference of means and of nearly unpenalized logistic weights, at a layer."""
    texts = texts - texts.mean(dim=0)  # the intercept's work, which slows the solver down
    high, low = texts[labels > 0], texts[labels < 0]
    model = LogisticRegression(C=100, max_iter=5000, tol=1e-10).fit(texts.numpy(), labels.numpy())
    return float((high.mean(0) - low.mean(0)).norm()), float(abs(model.coef_).max())


def test_after_leace_no_linear_classifier_separates_the_labels():
    texts = torch.cat(planted(150, anisotropic=True))
    labels = torch.sign(normal(len(texts), 2, seed=3))
    texts = texts + torch.einsum("tc,cld->tld", labels, NUISANCE)
    erasure = Erasure.leace(texts, labels)
    erased = erasure(texts)
    for layer in range(L):
        for concept in range(2):
            before = linear_readings(texts[:, layer], labels[:, concept])
            after = linear_readings(erased[:, layer], labels[:, concept])
            assert min(before) > 0.5
            assert max(after) < 1e-5
    # And most of the texts is still there.
    assert (erased - texts).norm() < 0.5 * (texts - texts.mean(0)).norm()


@pytest.mark.parametrize("n", [12, 400])
def test_leace_holds_with_fewer_texts_than_dimensions(n):
    texts = torch.cat(planted(n // 2))
    labels = torch.tensor([1.0, -1.0]).repeat(n // 2)[:, None]
    erased = Erasure.leace(texts, labels)(texts)
    assert float((labels[..., None] * erased).mean(dim=0).abs().max()) < 1e-9


def test_leace_holds_where_the_packages_shrinkage_gives_no_covariance():
    # Nearly equal variances in all directions: its smallest eigenvalue is about -5 here.
    axes = 5 * torch.eye(D, dtype=torch.float64)
    texts = (torch.cat([axes, -axes]) + 0.1 * normal(2 * D, D, seed=0))[:, None]
    order = torch.randperm(2 * D, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([1.0, -1.0]).repeat_interleave(D)[order][:, None]
    erased = Erasure.leace(texts, labels)(texts)
    assert float((labels[..., None] * texts).mean(dim=0).norm()) > 0.1
    assert float((labels[..., None] * erased).mean(dim=0).norm()) < 1e-9


@pytest.mark.parametrize("estimator", ["whitened", "logistic"])
def test_a_filter_fitted_after_leace_is_blind_to_the_nuisance_on_texts_as_they_are(estimator):
    texts = torch.cat(planted(200, anisotropic=True, seed=5))
    labels = torch.tensor([1.0, -1.0]).repeat(200)[:, None]
    texts = texts + labels[..., None] * NUISANCE[0]
    sides = loaded_with(planted(200, anisotropic=True))
    erasure = Erasure.leace(texts, labels)
    found = estimate(*sides, estimator=estimator, erasure=erasure)
    nuisance = (labels[..., None] * texts).mean(dim=0)
    assert float(cos(found, nuisance).abs().max()) < 1e-9
    assert float(cos(estimate(*sides, estimator=estimator), nuisance).min()) > 0.05


def test_what_cannot_be_erased():
    texts = planted(6)[0]
    labels = torch.tensor([1.0, -1.0]).repeat(3)[:, None]
    with unchecked():
        for make, message in (
            (lambda: Erasure.projection(NUISANCE[:0]), "project out 0 directions"),
            (lambda: Erasure.projection(NUISANCE * torch.nan), "without NaN"),
            (lambda: Erasure.leace(texts, labels[:4]), r"6 texts have \(4, 1\) labels"),
            (lambda: Erasure.leace(texts, labels * torch.inf), "NaN or infinity"),
            (lambda: Erasure.leace(texts, labels.abs()), "same label of concept 0"),
            (lambda: Erasure.projection(NUISANCE)(texts[:, :1]), r"\(2, 32\).*of \(1, 32\)"),
        ):
            with pytest.raises(InputError, match=message):
                make()


def test_texts_that_differ_in_the_nuisance_alone_are_an_error():
    base = planted(20)[0]
    with pytest.raises(InputError, match=r"no difference at layer 0.*Remove fewer"):
        estimate(base + NUISANCE[0], base, erasure=Erasure.projection(NUISANCE))


def test_without_concept_erasure_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "concept_erasure", None)
    message = r"pip install 'creativity-lens\[leace\]'"
    with pytest.raises(MissingDependencyError, match=message):
        Erasure.leace(planted(4)[0], torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]))
    Erasure.projection(NUISANCE)


# --- nuisances -------------------------------------------------------------------------------


def test_nuisances_are_read_after_the_neutral_prompt(llama):
    seen = []
    means = read_nuisances(
        llama, ["genre", "formality"], neutral_prompt=NEUTRAL, limit=3, on_progress=seen.append
    )
    assert [nuisance.name for nuisance in means] == ["genre", "formality"]
    assert sum(seen) == 2 * 2 * 3
    rows = load_passages("formality")[:3]
    assert means[1].groups == tuple(row.premise_id for row in rows)
    context = tuple(render_prompt(llama, NEUTRAL["user"], system=NEUTRAL["system"]))
    for side in ("high", "low"):
        passages = [
            Passage(row.id, context, tuple(text_ids(llama, getattr(row, side)))) for row in rows
        ]
        expected = read_passages(llama, passages, layers=range(3)).means
        assert torch.allclose(getattr(means[1], side), expected, atol=1e-5)
    difference = means[1].high.mean(dim=0) - means[1].low.mean(dim=0)
    assert torch.allclose(means[1].direction, unit(difference))


def test_passages_stand_after_the_neutral_prompt_or_bos_without_a_chat_template(model):
    passages, groups = nuisance_passages(model, "genre", neutral_prompt=NEUTRAL, limit=2)
    chat = model.tokenizer.chat_template is not None
    asked = render_prompt(model, NEUTRAL["user"], system=NEUTRAL["system"])
    context = asked if chat else bare_context(model)
    assert {passage.context_ids for passage in passages} == {tuple(context)}
    assert [p.id.split("/")[1] for p in passages] == ["high", "high", "low", "low"]
    assert len(groups) == 2


def test_every_nuisance_is_shipped():
    assert all(len(load_passages(name)) >= 60 for name in NUISANCES)


def test_bad_nuisances_are_refused(llama):
    with pytest.raises(InputError, match="unknown nuisance 'politeness'; choose from formality"):
        read_nuisances(llama, ["politeness"], neutral_prompt=NEUTRAL)
    with pytest.raises(InputError, match="at least 1 pair of passages, got 0"):
        read_nuisances(llama, ["genre"], neutral_prompt=NEUTRAL, limit=0)
    same = planted(4)[0]
    with pytest.raises(InputError, match="the nuisance genre read the same at layer 0"):
        _ = NuisanceMeans("genre", same, same, ("a",) * 4).direction


def with_lengths(n=60, slope=NUISANCE[0]):
    """Texts that move along `slope` with log length; creative texts are longer as well."""
    lengths = torch.randint(5, 60, (n, 2), generator=torch.Generator().manual_seed(4)).double()
    lengths[:, 0] *= 3
    sides = (lengths[:, i].log()[:, None, None] * slope + mu for i, mu in enumerate((MU, -MU)))
    return LengthContrast(*sides, lengths)


def test_the_direction_of_length_is_the_slope_within_the_classes():
    assert torch.allclose(length_direction(*with_lengths()), NUISANCE[0], atol=1e-9)
    shorter = with_lengths(slope=-NUISANCE[0])
    assert torch.allclose(length_direction(*shorter), -NUISANCE[0], atol=1e-9)


def test_lengths_that_say_nothing_are_refused():
    creative, uncreative, lengths = with_lengths()
    flat = torch.tensor([[64.0, 32.0]]).expand(60, 2)
    with unchecked():
        for arguments, message in (
            ((creative, uncreative, flat), "same length.*raise max_new_tokens"),
            ((creative, uncreative, lengths[:3]), r"60 pairs need two lengths each.*\(3, 2\)"),
            ((creative, uncreative, lengths * 0), "least is 0"),
            ((creative * 0, uncreative * 0, lengths), "layer 0 do not depend on length"),
        ):
            with pytest.raises(InputError, match=message):
                length_direction(*arguments)


@pytest.mark.parametrize("removal", ["projection", "leace"])
def test_several_nuisances_and_length_are_erased_together(removal):
    read = [
        NuisanceMeans(name, *loaded_with(planted(80, mu=0 * MU, seed=9 + i), NUISANCE[[i]]), ())
        for i, name in enumerate(("genre", "formality"))
    ]
    slope = unit(normal(L, D, seed=13))
    length = with_lengths(80, slope)
    noise = planted(80, seed=20)
    length = LengthContrast(length[0] + noise[0], length[1] + noise[1], length.lengths)
    erasure = nuisance_erasure(read, length=length, removal=removal)
    assert erasure.method == removal
    for nuisance in read:
        left = (erasure(nuisance.high) - erasure(nuisance.low)).mean(dim=0)
        assert float(left.norm(dim=-1).max()) < 1e-9
    erased = [erasure(side) for side in length[:2]]
    logs = length.lengths.log() - length.lengths.log().mean(dim=0)
    slopes = sum(torch.einsum("n,nld->ld", logs[:, i], erased[i]) for i in range(2))
    assert float(slopes.abs().max()) < 1e-8
    alone = nuisance_erasure([], length=length, removal=removal)
    assert float((alone(read[0].high) - alone(read[0].low)).mean(dim=0).norm(dim=-1).min()) > 0.5


def test_there_must_be_something_to_remove():
    with pytest.raises(InputError, match="nothing to remove: name one of formality"):
        nuisance_erasure([])
    with unchecked(), pytest.raises(InputError, match="unknown removal 'inlp'; choose one of"):
        nuisance_erasure([], removal="inlp")


# --- extraction ------------------------------------------------------------------------------

WILD = Sampling(max_new_tokens=8, temperature=1.0, min_p=0.0)


@pytest.fixture(scope="module")
def plain(llama, pairs):
    return extract(llama, pairs, ExtractionConfig(sampling=WILD, samples=2), keep_text_means=True)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_extraction_with_an_estimator_is_that_estimator_on_its_texts(
    llama, pairs, plain, estimator
):
    settings = ExtractionConfig(sampling=WILD, samples=2, batch_size=8, estimator=estimator)
    found = extract(llama, pairs, settings).directions
    sides = plain.text_means[0::2], plain.text_means[1::2]
    assert bool((cos(found.directions, estimate(*sides, estimator=estimator)) > 1 - 1e-6).all())
    for name in ("mean_creative", "mean_uncreative", "difference_norms"):
        assert torch.allclose(getattr(found, name), getattr(plain.directions, name), atol=1e-4)
    assert found.provenance == {**plain.directions.provenance, "estimator": estimator}
    if estimator != "difference-of-means":
        assert bool((cos(found.directions, plain.directions.directions) < 0.999).any())


def test_a_set_of_another_estimator_says_so(plain, tmp_path):
    sides = plain.text_means[0::2], plain.text_means[1::2]
    direction = unit(normal(1, 3, D, seed=0))
    derived = with_estimator(
        plain.directions,
        *sides,
        estimator="whitened",
        erasure=Erasure.projection(direction),
        removed=["genre"],
    )
    assert {**plain.directions.provenance} | {
        "estimator": "whitened",
        "removed": ["genre"],
        "removal": "projection",
    } == derived.provenance
    assert float((derived.directions * direction[0]).sum(dim=-1).abs().max()) < 1e-6
    assert torch.equal(derived.mean_creative, plain.directions.mean_creative)
    derived.save(tmp_path / "derived.safetensors")
    assert DirectionSet.load(tmp_path / "derived.safetensors").provenance == derived.provenance
    again = with_estimator(derived, *sides, estimator="difference-of-means")
    assert torch.allclose(again.directions, plain.directions.directions, atol=1e-5)
    assert (again.provenance["removed"], again.provenance["removal"]) == ([], None)


def test_a_set_and_texts_that_do_not_belong_together(llama):
    directions = random_directions(llama)
    texts = normal(4, 3, D, seed=0)
    with pytest.raises(InputError, match=r"\(3, 32\), but the text means are of \(2, 32\)"):
        with_estimator(directions, texts[:, :2], texts[:, 1:], estimator="whitened")
    with pytest.raises(InputError, match="names 1 nuisances, but no erasure was given"):
        with_estimator(directions, texts, -texts, estimator="whitened", removed=["genre"])
    erasure = Erasure.projection(normal(1, 3, D, seed=1))
    with pytest.raises(InputError, match="names 0 nuisances, but an erasure was given"):
        with_estimator(directions, texts, -texts, estimator="whitened", erasure=erasure)


# --- the command -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_deep_model(tmp_path_factory.mktemp("saved") / "two-layers", 2)


@pytest.fixture
def command(cli, folder, pairs, write, tmp_path):
    """Run `extract` on a few pairs."""

    def _command(*options):
        lines = "\n".join(json.dumps(pair.to_dict()) for pair in pairs)
        arguments = ("--pairs", write("pairs.jsonl", lines), "--out", tmp_path / "run")
        return cli("extract", *arguments, "--max-new-tokens", 8, "-m", folder, *options)

    return _command


def test_extract_takes_an_estimator(command, tmp_path):
    result = command("--estimator", "paired-pca", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["estimator"] == "paired-pca"
    directions, _ = load_run(tmp_path / "run")
    assert directions.provenance["estimator"] == "paired-pca"
    assert "removed" not in directions.provenance


@pytest.mark.parametrize("removal", ["projection", "leace"])
def test_extract_removes_nuisances(command, folder, tmp_path, removal):
    options = ("--remove", "genre", "--remove", "formality", "--remove", "genre")
    result = command(*options, "--removal", removal, "--estimator", "whitened")
    assert result.code == 0, result.err
    assert f"genre, formality by {removal}" in result.out
    directions, _ = load_run(tmp_path / "run")
    recorded = directions.provenance
    assert (recorded["estimator"], recorded["removed"], recorded["removal"]) == (
        "whitened",
        ["genre", "formality"],
        removal,
    )
    from creativity_lens.models.loading import load_model

    lens = load_model(str(folder))
    nuisances = read_nuisances(
        lens, ["genre", "formality"], neutral_prompt=recorded["neutral_prompt"]
    )
    for nuisance in nuisances:
        assert float(cos(directions.directions, nuisance.direction).abs().max()) < 1e-5


def test_extract_removes_length(command, tmp_path, monkeypatch):
    # One token in seven ends a text, so that lengths differ.
    monkeypatch.setattr(decode, "stop_ids", lambda model: frozenset(range(0, 2000, 7)))
    result = command("--remove", "length", "--temperature", 1, "--min-p", 0)
    assert result.code == 0, result.err
    directions, rows = load_run(tmp_path / "run")
    assert len({len(row.response_ids) for row in rows}) > 2
    assert directions.provenance["removed"] == ["length"]
    raw = directions.mean_creative - directions.mean_uncreative
    assert bool((cos(directions.directions, raw) < 0.9999).any())


def test_lengths_that_are_all_equal_are_said(command, tmp_path):
    result = command("--remove", "length")  # no text ends within its 8 tokens
    assert result.code == 2
    assert "same length" in result.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--removal", "leace"), "name what with --remove"),
        (("--remove", "genre", "--preset", "paper"), "removes nothing"),
        (("--estimator", "logistic", "--preset", "paper"), "fixes estimator at difference-of-mean"),
        (("--remove", "genre", "--span", "prompt-last"), "use --span response or last"),
    ],
)
def test_removals_that_cannot_be(command, tmp_path, options, message):
    result = command(*options)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert not (tmp_path / "run").exists()


def test_leace_without_its_package_is_said_before_the_model_is_loaded(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "concept_erasure", None)
    result = command("--remove", "genre", "--removal", "leace")
    assert result.code == 2
    assert "creativity-lens[leace]" in result.err
    assert "loading" not in result.err
