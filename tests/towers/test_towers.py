"""Forms, masks, sizes and the objective."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from model.crystal.crystal import Crystal
from model.errors import CheckpointError, OptionError
from model.pattern.friedel_pairs import find_friedel_pairs
from model.pattern.spots import Spots
from model.physics.kinematic import Geometry, compute_kinematic_spots
from model.towers.cge import SequenceEmbedding, SequenceEncoder
from model.towers.contrastive import FORMS, TOWER_SIZES, Form, TowerSize, TwinTowers, contrastive_loss
from model.towers.dd2d import PlainSequenceEncoder, split_pairs
from model.towers.encoder import Towers
from model.towers.tokens import MAX_PAIRS, CrystalTokens, batch_crystals, batch_patterns
from tests.towers.networks import untrained


@pytest.mark.parametrize("form", FORMS)
def test_vectors_are_finite_and_of_unit_length(form: Form, crystals: list[Crystal]) -> None:
    towers = untrained(form)
    for vectors in (
        towers.embed_crystals(crystals),
        towers.embed_spots([compute_kinematic_spots(crystal) for crystal in crystals]),
    ):
        assert vectors.shape == (len(crystals), towers.dimension)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_empty_input_gives_no_vectors(towers: Towers) -> None:
    assert towers.embed_crystals([]).shape == (0, towers.dimension)
    assert towers.embed_spots([]).shape == (0, towers.dimension)


def test_a_pattern_without_intensities_is_placed_by_its_geometry(
    towers: Towers, crystals: list[Crystal]
) -> None:
    spots = compute_kinematic_spots(crystals[0])
    bare = Spots(spots.q_inv_angstrom, None)
    doubled = Spots(spots.q_inv_angstrom * 1.5, None)
    vectors = towers.embed_spots([bare, bare, doubled])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert vectors[0] @ vectors[2] < 0.9999


def test_as_many_voltages_as_patterns(towers: Towers, crystals: list[Crystal]) -> None:
    with pytest.raises(OptionError, match="2 voltages for 1 patterns"):
        towers.embed_spots([compute_kinematic_spots(crystals[0])], [80.0, 200.0])


def test_the_papers_towers_have_the_papers_size() -> None:
    """The authors' ablation prints 15.38 million parameters for width 384, 4 layers, 4 heads."""
    parameters = sum(p.numel() for p in TwinTowers(TOWER_SIZES["dd2d"]).parameters())
    assert parameters == pytest.approx(15.38e6, rel=0.05)


@pytest.mark.parametrize("shape", [{"form": "cubic"}, {"width": 100, "heads": 6}])
def test_rejects_impossible_sizes(shape: dict[str, object]) -> None:
    with pytest.raises(CheckpointError):
        TowerSize(**shape)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["sequence", "dd2d"])
def test_the_start_token_sees_itself_and_the_cell_alone(form: Form, crystals: list[Crystal]) -> None:
    # One layer: after it the cell's own token has seen the atoms, in the paper too.
    network = TwinTowers(TowerSize(form, width=48, layers=1, heads=6, dimension=32)).eval()
    cge = network.cge
    assert isinstance(cge, SequenceEncoder | PlainSequenceEncoder)
    outputs: list[torch.Tensor] = []
    cge.trunk.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    mos2 = next(crystal for crystal in crystals if crystal.id == "MoS2 1H")
    numbers = mos2.numbers.copy()
    numbers[-1] = 52
    other = Crystal("other", "test", mos2.lattice, numbers, mos2.positions)
    with torch.no_grad():
        cge(batch_crystals([CrystalTokens.from_crystal(mos2), CrystalTokens.from_crystal(other)]))
    (output,) = outputs
    start, end = output[:, SequenceEmbedding.START], output[:, SequenceEmbedding.END]
    torch.testing.assert_close(start[0], start[1])
    assert not torch.allclose(end[0], end[1], atol=1e-4)


def test_rods_are_cut_at_whole_shells() -> None:
    lattice = 12.0 * np.array([[1, 0], [-1 / 2, np.sqrt(3) / 2]])
    large = Crystal("large", "test", lattice, np.array([6]), np.zeros((1, 3)))
    tokens = CrystalTokens.from_crystal(large)
    assert 1 < len(tokens.q) <= MAX_PAIRS
    length = np.linalg.norm(tokens.q, axis=1)
    # One atom scatters alike in all directions, so shells are circles of 3, 6, ... pairs.
    assert len(length) % 3 == 0
    shells, members = np.unique(length.round(6), return_counts=True)
    assert (members % 3 == 0).all(), shells


def test_pairs_split_into_their_spots(crystals: list[Crystal]) -> None:
    janus = next(crystal for crystal in crystals if crystal.id == "P1")
    spots = compute_kinematic_spots(janus, Geometry(q_max_inv_angstrom=0.8), relative_threshold=1e-2)
    assert len(spots) < MAX_PAIRS
    assert spots.intensity is not None
    batch = batch_patterns([find_friedel_pairs(spots)], [80.0])
    q, log_intensity, present = split_pairs(batch)
    assert int(present.sum()) == len(spots)
    found = {tuple(row) for row in q[present].round(decimals=3).tolist()}
    assert len(found) == len(spots)
    ratio = np.log(spots.intensity.max() / spots.intensity.min())
    ours = log_intensity[present]
    assert float(ours.max() - ours.min()) == pytest.approx(ratio, abs=0.01)


def test_the_loss_is_the_symmetric_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    patterns, crystals = (
        functional.normalize(torch.randn(5, 8, generator=generator), dim=1) for _ in range(2)
    )
    loss = contrastive_loss(patterns, crystals, torch.eye(5, dtype=torch.bool), torch.tensor(3.0))
    logits = (3.0 * patterns @ crystals.T).double()
    rows, columns = (-torch.log_softmax(each, dim=1).diagonal().mean() for each in (logits, logits.T))
    assert float(loss) == pytest.approx(float((rows + columns) / 2), rel=1e-5)


def test_duplicates_are_no_negatives() -> None:
    vectors = functional.normalize(torch.ones(2, 4), dim=1)
    apart, same = torch.eye(2, dtype=torch.bool), torch.ones(2, 2, dtype=torch.bool)
    assert float(contrastive_loss(vectors, vectors, apart, torch.tensor(10.0))) == pytest.approx(np.log(2))
    assert float(contrastive_loss(vectors, vectors, same, torch.tensor(10.0))) == pytest.approx(0)
