"""Verification of candidates: the true one wins, in the orientation in which it was simulated."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model.crystal.crystal import Crystal
from model.errors import NoSpotsError, OptionError
from model.indexing.orientations import find_orientations
from model.matching.depth import VerificationEffort
from model.matching.fitting.candidate_diffraction import FitStart, OrientedCandidate
from model.matching.fitting.diffraction_cache import get_diffraction
from model.matching.fitting.visibility import fit_visibility
from model.matching.match import Match
from model.matching.place_candidates import ScalePrior
from model.matching.verify import verify
from model.pattern.observation import Observation
from model.pattern.spots import Spots, mask_spots
from model.physics.kinematic import Geometry, ThermalMotion, compute_kinematic_spots
from tests.matching.patterns import LAYERS, FlakePose, simulate_pattern

ALL_LAYERS = list(LAYERS.values())


def verify_one(crystal: Crystal, spots: Spots) -> Match:
    (match,) = verify([crystal], [0.5], spots, 80.0).matches
    assert match is not None
    return match


@pytest.mark.parametrize("effort", ["verify", "full"])
@pytest.mark.parametrize("seed", range(3))
def test_the_true_crystal_wins_though_the_towers_prefer_another(
    crystal: Crystal, seed: int, effort: str
) -> None:
    rng = np.random.default_rng(seed)
    tilt, azimuth, rotation = rng.uniform([0, 0, 0], [4, 360, 360]).tolist()
    pose = FlakePose(tilt, azimuth, rotation, bool(rng.random() < 0.5), float(rng.normal(1, 0.01)))
    spots = simulate_pattern(crystal, pose, rng)
    similarity = np.where([each is crystal for each in ALL_LAYERS], 0.60, 0.65)
    found = verify(ALL_LAYERS, similarity.tolist(), spots, 80.0, effort)  # type: ignore[arg-type]
    assert ALL_LAYERS[found.ranking[0]] is crystal
    assert sorted(found.ranking.tolist()) == list(range(len(ALL_LAYERS)))
    match = found.matches[found.ranking[0]]
    assert match is not None
    assert match.r_factor is not None
    assert match.r_factor < 0.12
    assert match.explained > 0.95
    assert match.scale == pytest.approx(pose.scale, abs=0.004)


@settings(max_examples=12, deadline=None)
@given(
    name=st.sampled_from(["MoSSe", "oblique", "1T-TaS2"]),
    pose=st.builds(
        FlakePose,
        st.floats(0.5, 4),
        st.floats(0, 360),
        st.floats(0, 360),
        st.booleans(),
        st.floats(0.98, 1.02),
    ),
)
@example(name="oblique", pose=FlakePose(4.0, 0.0, 0.0, mirrored=False, scale=1.0))
def test_the_fitted_parameters_reproduce_the_pattern(name: str, pose: FlakePose) -> None:
    """Symmetry may give other angles than were simulated, with the same pattern."""
    crystal = LAYERS[name]
    spots = simulate_pattern(crystal, pose)
    match = verify_one(crystal, spots)
    # The prior makes large tilts a little smaller, where the pattern hardly depends on them.
    assert match.tilt_deg == pytest.approx(pose.tilt_deg, abs=max(0.3, match.tilt_sigma_deg or 0.0))
    assert match.scale == pytest.approx(pose.scale, abs=0.003)
    again = FlakePose(match.tilt_deg, match.tilt_azimuth_deg, match.rotation_deg, match.mirrored, match.scale)
    flake = crystal.turn_over() if match.face_down else crystal
    computed = simulate_pattern(flake, again)
    assert spots.intensity is not None
    assert computed.intensity is not None
    strong = spots.intensity > 0.03
    distance = np.linalg.norm(spots.q_inv_angstrom[strong][:, None] - computed.q_inv_angstrom, axis=2)
    assert distance.min(axis=1).max() < 0.01
    ratio = spots.intensity[strong] / computed.intensity[distance.argmin(axis=1)]
    assert np.std(np.log(ratio)) < 0.15


def test_the_other_face_is_recognized() -> None:
    crystal, pose = LAYERS["oblique"], FlakePose(3.0, 70.0, 20.0)
    down = simulate_pattern(crystal.turn_over(), pose)
    match = verify_one(crystal, down)
    assert match.face_down
    assert not match.mirrored
    assert match.tilt_deg == pytest.approx(3.0, abs=0.2)
    assert match.r_factor is not None
    assert match.r_factor < 0.03
    assert not verify_one(crystal, simulate_pattern(crystal, pose)).face_down


@pytest.mark.parametrize("mirrored", [False, True])
def test_an_unmirrored_one_of_equal_descriptions_is_reported(mirrored: bool) -> None:
    match = verify_one(
        LAYERS["graphene"], simulate_pattern(LAYERS["graphene"], FlakePose(0.0, 0.0, 20.0, mirrored))
    )
    assert not match.mirrored
    assert match.rotation_deg % 60 == pytest.approx(20.0, abs=0.1)


def test_the_uncertainty_of_the_tilt_depends_on_the_layer() -> None:
    pose = FlakePose(2.0, 30.0)
    flat, thick = (
        verify_one(LAYERS[name], simulate_pattern(LAYERS[name], pose)) for name in ("graphene", "1T-TaS2")
    )
    assert flat.tilt_sigma_deg is not None
    assert thick.tilt_sigma_deg is not None
    assert thick.tilt_sigma_deg < 0.7 < flat.tilt_sigma_deg
    assert flat.tilt_deg < 1.0  # one plane of atoms does not show its tilt: the prior decides


def test_spots_off_the_lattice_are_extra_and_unmeasured_reflections_are_missing() -> None:
    crystal = LAYERS["MoS2"]
    spots = simulate_pattern(crystal, FlakePose())
    assert spots.intensity is not None
    length = np.linalg.norm(spots.q_inv_angstrom, axis=1)
    gone = np.isclose(length, np.sort(length)[0], atol=1e-3)
    more = np.array([[0.11, 0.17], [0.53, -0.29]])
    changed = Spots(
        np.concatenate([spots.q_inv_angstrom[~gone], more]),
        np.concatenate([spots.intensity[~gone], [0.01, 0.01]]),
    )
    whole, changed_match = verify_one(crystal, spots), verify_one(crystal, changed)
    assert whole.missing == whole.extra == 0.0
    assert changed_match.extra == pytest.approx(2 / len(changed))
    assert changed_match.explained < 1.0
    assert changed_match.score < whole.score


def test_the_rotation_of_a_perfect_pattern_does_not_change_its_score() -> None:
    """Reflections as far out as the outermost spot are in range, whatever the rounding of their |q|."""
    crystal = LAYERS["MoSSe"]
    scores = [
        verify_one(
            crystal, compute_kinematic_spots(crystal, Geometry(rotation_deg=angle), relative_threshold=0.03)
        ).score
        for angle in np.linspace(0, 75, 16)
    ]
    assert np.ptp(scores) < 1e-3


def test_a_lattice_that_does_not_fit_has_no_match_and_comes_last() -> None:
    spots = simulate_pattern(LAYERS["MoS2"], FlakePose(rotation_deg=10.0))
    found = verify([LAYERS["oblique"], LAYERS["MoS2"]], [0.9, 0.1], spots, 80.0)
    assert found.ranking.tolist() == [1, 0]
    assert found.matches[0] is None
    assert found.matches[1] is not None


def test_without_intensities_positions_and_missing_reflections_decide() -> None:
    spots = simulate_pattern(LAYERS["black phosphorus"], FlakePose(rotation_deg=33.0, scale=1.01))
    bare = Spots(spots.q_inv_angstrom)
    found = verify(ALL_LAYERS, [0.5] * len(ALL_LAYERS), bare, 80.0)
    best = found.ranking[0]
    assert ALL_LAYERS[best] is LAYERS["black phosphorus"]
    match = found.matches[best]
    assert match is not None
    assert match.r_factor is None
    assert match.tilt_sigma_deg is None
    assert match.explained == 1.0
    assert match.scale == pytest.approx(1.01, abs=0.001)


def test_no_reflection_is_too_faint_where_all_were_measured() -> None:
    """The three inner rings of graphene without intensities are almost no evidence against it."""
    graphene = LAYERS["graphene"]
    spots = simulate_pattern(graphene, FlakePose(rotation_deg=8.0))
    inner = np.linalg.norm(spots.q_inv_angstrom, axis=1) < 1.0
    observed = Observation.from_spots(Spots(spots.q_inv_angstrom[inner]), 80.0)
    orientations = find_orientations(graphene.lattice[None], observed)
    diffraction = get_diffraction(graphene, observed)
    variants = diffraction.find_variants(orientations.basis[0], orientations.hk[0], distinct=True)
    candidate = OrientedCandidate(diffraction, observed, orientations.on_lattice[0], variants)
    start = FitStart(candidate, variant=0, face=0, tilt=np.zeros(2), score=0.0)
    fit = fit_visibility(start)
    assert (len(observed), fit.missing.expected, len(fit.missing.hk)) == (18, 18, 0)
    assert fit.missing.log_likelihood > -0.1 * len(observed)


def test_a_kinematic_pattern_is_explained_too(crystal: Crystal) -> None:
    pose = Geometry(tilt_deg=2.0, tilt_azimuth_deg=40.0, rotation_deg=77.0, q_max_inv_angstrom=1.3)
    spots = compute_kinematic_spots(crystal, pose, ThermalMotion(0.3, 0.3), relative_threshold=1e-3)
    match = verify_one(crystal, spots)
    assert match.r_factor is not None
    assert match.r_factor < 0.2
    assert match.extra == 0.0


@pytest.mark.parametrize(
    ("step", "computed", "similar_count"),
    [
        (0.019, 7, 7),  # down to 0.12 less similar
        (0.05, 6, 3),  # the fewest that are computed
        (0.001, 10, 18),  # the most that are refined
    ],
)
def test_similar_candidates_are_computed_in_the_order_of_their_similarity(
    step: float, computed: int, similar_count: int
) -> None:
    spots = simulate_pattern(LAYERS["MoS2"], FlakePose())
    copies = [replace(LAYERS["MoS2"], id=f"copy {i}") for i in range(18)]
    found = verify(copies, (0.9 - step * np.arange(18)).tolist(), spots, 80.0)
    refined = [match is not None for match in found.matches]
    assert refined == [True] * computed + [False] * (18 - computed)
    assert found.ranking.tolist() == list(range(18))
    assert found.similar_count == similar_count


@pytest.mark.parametrize("effort", ["verify", "full"])
@pytest.mark.parametrize("bare", [False, True])
def test_requested_candidates_have_a_match_though_they_were_not_refined(
    bare: bool, effort: VerificationEffort
) -> None:
    own, count = LAYERS["MoS2"], 12
    spots = simulate_pattern(own, FlakePose(tilt_deg=2.0, rotation_deg=20.0))
    spots = Spots(spots.q_inv_angstrom) if bare else spots
    others = [
        replace(own, id=f"metal {number}", numbers=np.where(own.numbers == 42, number, own.numbers))
        for number in range(20, 20 + count)
    ]
    similarity = (0.9 - 0.05 * np.arange(count + 1)).tolist()
    crystals = [own, *others]
    without = verify(crystals, similarity, spots, 80.0, effort)
    found = verify(crystals, similarity, spots, 80.0, effort, match_count=count + 1)
    assert found.ranking.tolist() == without.ranking.tolist()
    assert found.scores.tolist() == without.scores.tolist()
    matched = 10 if effort == "verify" and not bare else count + 1
    matches = [found.matches[row] for row in found.ranking.tolist()]
    assert [match is not None for match in matches] == [True] * matched + [False] * (count + 1 - matched)
    for match, value in zip(matches[:matched], found.scores[found.ranking].tolist(), strict=False):
        assert match is not None
        assert match.refined == np.isfinite(value)
        assert match.rotation_deg % 60 == pytest.approx(20.0, abs=0.2)
        assert match.extra == 0.0
        assert (match.r_factor is None) == bare


def test_a_rough_match_has_the_orientation_of_the_refined_one() -> None:
    own = LAYERS["MoS2"]
    spots = simulate_pattern(own, FlakePose(tilt_deg=2.5, azimuth_deg=40.0, rotation_deg=20.0))
    better = [replace(own, id=f"nearer {place}") for place in range(10)]
    hidden = replace(own, id="hidden")
    similarity = [0.9 - 0.001 * place for place in range(10)] + [0.5]
    found = verify([*better, hidden], similarity, spots, 80.0, match_count=11)
    assert found.matches[10] is None  # the eleventh
    few = verify([*better[:6], hidden], [*similarity[:6], 0.5], spots, 80.0, match_count=7)
    refined, roughly = few.matches[0], few.matches[6]
    assert refined is not None
    assert roughly is not None
    assert (refined.refined, roughly.refined) == (True, False)
    assert roughly.tilt_deg == pytest.approx(refined.tilt_deg, abs=0.2)
    assert roughly.rotation_deg == pytest.approx(refined.rotation_deg, abs=1e-6)
    assert roughly.r_factor == pytest.approx(refined.r_factor, abs=0.02)


def test_no_candidates_have_no_matches() -> None:
    assert verify([], [], simulate_pattern(LAYERS["MoS2"], FlakePose()), 80.0).matches == ()


def test_mismatched_arguments_and_spots_out_of_range_are_refused() -> None:
    spots = simulate_pattern(LAYERS["MoS2"], FlakePose())
    with pytest.raises(OptionError, match="2 similarities for 1 crystals"):
        verify([LAYERS["MoS2"]], [0.1, 0.2], spots, 80.0)
    far = Spots(spots.q_inv_angstrom * 10)
    with pytest.raises(NoSpotsError, match="check the scale"):
        verify([LAYERS["MoS2"]], [0.1], far, 80.0)


@pytest.mark.parametrize("radius", np.linspace(0.2, 0.7, 26).tolist())
@pytest.mark.parametrize("effort", ["verify", "full"])
def test_a_single_ring_of_any_radius_is_verified(radius: float, effort: str) -> None:
    """A lattice that is slightly too fine has no reflection as far out as the ring."""
    angle = np.radians(60.0 * np.arange(6))
    spots = Spots(radius * np.column_stack([np.cos(angle), np.sin(angle)]), np.ones(6))
    found = verify(ALL_LAYERS, [0.5] * len(ALL_LAYERS), spots, 80.0, effort)  # type: ignore[arg-type]
    assert sorted(found.ranking.tolist()) == list(range(len(ALL_LAYERS)))


def test_a_smaller_scale_uncertainty_gives_the_cell_more_weight() -> None:
    """A crystal is compared with the same crystal with a cell larger by 1.5 %."""
    own = LAYERS["1T-TaS2"]
    larger = replace(own, lattice=1.015 * own.lattice, positions=own.positions * [1.015, 1.015, 1.0])
    spots = simulate_pattern(own, FlakePose(tilt_deg=1.0, rotation_deg=8.0))
    lead = []
    for sigma in (0.02, 0.013, 0.006):
        found = verify([own, larger], [0.5, 0.5], replace(spots, scale_sigma=sigma), 80.0, cell_sigma=0.003)
        lead.append(float(found.scores[0] - found.scores[1]))
    assert lead == sorted(lead)
    # (0.015 / 0.0067)^2 / 2 instead of (0.015 / 0.0202)^2 / 2.
    assert lead[2] - lead[0] == pytest.approx(2.23, abs=0.3)
    sure = verify(
        [own, larger],
        [0.5, 0.5],
        replace(spots, scale_sigma=0.002),
        80.0,
        cell_sigma=np.array([0.002, 0.002]),
    )
    assert sure.matches[0] is not None
    assert sure.matches[1] is None


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.3])
def test_the_table_of_reflections_has_the_positions_of_the_spots_at_any_scale(factor: float) -> None:
    graphene = LAYERS["graphene"]
    spots = simulate_pattern(graphene, FlakePose(tilt_deg=1.0, rotation_deg=8.0)).rescale(factor)
    (match,) = verify([graphene], [0.5], spots, 80.0, scale=ScalePrior(0.1, np.array([factor]))).matches
    assert match is not None
    assert match.scale == pytest.approx(factor, rel=1e-3)
    table = match.reflections
    own = {tuple(q) for q in spots.q_inv_angstrom.round(9).tolist()}
    assert {tuple(q) for q in table.q_measured[: table.spots].round(9).tolist()} == own
    explained = ~np.isnan(table.q_computed[: table.spots, 0])
    off = (table.q_measured - table.q_computed)[: table.spots][explained]
    assert np.abs(off).max() < 0.005


@pytest.mark.parametrize("with_intensity", [True, False])
@pytest.mark.parametrize("factor", [1.0, 1.3])
def test_no_reflection_is_missing_under_a_mask(with_intensity: bool, factor: float) -> None:
    """A masked corner of the pattern costs nothing; without the mask, its reflections are missing."""
    whole = simulate_pattern(LAYERS["MoS2"], FlakePose(tilt_deg=2.0, rotation_deg=31.0)).rescale(factor)
    if not with_intensity:
        whole = replace(whole, intensity=None)
    box = factor * np.array([[0.1, 0.1, 1.3, 1.3]])
    masked = mask_spots(whole, box)
    unmasked = replace(masked, masks_inv_angstrom=np.empty((0, 4)))
    assert len(masked) < 0.85 * len(whole)
    scale = ScalePrior(0.3, np.array([factor]))

    def match(spots: Spots) -> Match:
        (found,) = verify([LAYERS["MoS2"]], [0.8], spots, 80.0, scale=scale).matches
        assert found is not None
        return found

    with_mask, without_mask = match(masked), match(unmasked)
    assert with_mask.missing < 0.02
    assert without_mask.missing > 0.1
    assert with_mask.score > without_mask.score + 10
    assert "missing" not in with_mask.reflections.status
