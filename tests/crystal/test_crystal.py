import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pymatgen.core.composition import Composition
from pymatgen.core.lattice import Lattice
from pymatgen.core.periodic_table import DummySpecies
from pymatgen.core.structure import Structure

from model.crystal.crystal import Crystal
from model.errors import CrystalError
from tests.crystal.descriptions import axes_swapped, c_tilted, supercell, wrapped
from tests.crystal.layers import NAMES

Cell = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]


def made(lattice: object, numbers: object, frac: object) -> Crystal:
    return Crystal.from_cell(np.array(lattice), np.array(numbers), np.array(frac), id="some", source="test")


def box(a: float, c: float) -> NDArray[np.float64]:
    return np.diag([a, a, c])


def test_properties(cells: dict[str, Cell]) -> None:
    crystal = made(*cells["MoS2 1H"])
    assert crystal.formula == "MoS2"
    assert crystal.elements == ("Mo", "S")
    assert crystal.area == pytest.approx(3.18**2 * np.sqrt(3) / 2)
    assert crystal.thickness == pytest.approx(3.12)
    assert crystal.numbers.tolist() == [16, 16, 42]


def test_gamma_is_obtuse_and_the_rarest_element_at_the_origin(cells: dict[str, Cell]) -> None:
    crystal = made(*cells["MoS2 1H"])
    np.testing.assert_allclose(crystal.lattice, [[3.18, 0.0], [-1.59, 3.18 * np.sqrt(3) / 2]], atol=1e-9)
    np.testing.assert_allclose(crystal.positions[2], [0.0, 0.0, 0.0], atol=1e-9)


def test_formula_is_reduced(cells: dict[str, Cell]) -> None:
    assert made(*cells["graphene"]).formula == "C"
    assert made(*cells["FeSe"]).formula == Composition("Fe2Se2").reduced_formula


def test_cannot_be_changed(cells: dict[str, Cell]) -> None:
    crystal = made(*cells["graphene"])
    with pytest.raises(ValueError, match="read-only"):
        crystal.positions[0, 0] = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        crystal.id = "other"  # type: ignore[misc]


def test_arrays_given_are_copied() -> None:
    lattice = np.array([[3.0, 0.0], [0.0, 3.5]])
    crystal = Crystal("some", "test", lattice, np.array([6]), np.zeros((1, 3)))
    lattice[0, 0] = 9.0
    assert crystal.lattice[0, 0] == 3.0


def test_to_structure_has_the_requested_vacuum(cells: dict[str, Cell]) -> None:
    structure = made(*cells["MoS2 1H"]).to_structure(vacuum_angstrom=15.0)
    assert structure.lattice.c == pytest.approx(3.12 + 15.0)
    assert structure.lattice.alpha == pytest.approx(90.0)
    assert structure.cart_coords[:, 2].mean() == pytest.approx(structure.lattice.c / 2)


@pytest.mark.parametrize(
    ("lattice", "numbers", "frac", "message"),
    [
        (box(3.0, 20.0), [], np.zeros((0, 3)), "contains no atoms"),
        (box(3.0, 20.0), [6], [[0.0, np.nan, 0.0]], "finite"),
        (box(3.0, np.inf), [6], [[0.0, 0.0, 0.0]], "finite"),
        (np.eye(2), [6], [[0.0, 0.0, 0.0]], "three vectors"),
        (box(3.0, 20.0), [6, 6], [[0.0, 0.0, 0.0]], "does not match the coordinates"),
        (box(3.0, 20.0), [0], [[0.0, 0.0, 0.0]], "Unknown element with atomic number 0"),
        (box(3.0, 20.0), [99], [[0.0, 0.0, 0.0]], "Unknown element with atomic number 99"),
        (np.ones((3, 3)), [6], [[0.0, 0.0, 0.0]], "lie in one plane"),
        (box(3.0, 20.0), [6, 6], [[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]], "Overlapping atoms: C and C are 0.30"),
        (box(3.0, 20.0), [6, 6], [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], "Overlapping atoms"),
        (np.diag([0.4, 3.0, 20.0]), [6], [[0.0, 0.0, 0.0]], "Overlapping atoms: the cell is only 0.40"),
    ],
)
def test_rejects_invalid_cells(lattice: object, numbers: object, frac: object, message: str) -> None:
    with pytest.raises(CrystalError, match=message):
        made(lattice, np.array(numbers, dtype=int), frac)


@pytest.mark.parametrize(
    "bulk",
    [
        Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.567), ["C"], [[0, 0, 0]]),
        Structure.from_spacegroup("Im-3m", Lattice.cubic(6.14), ["Cs"], [[0, 0, 0]]),
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0, 0]]),
        Structure.from_spacegroup(
            "P6_3/mmc",
            Lattice.hexagonal(3.16, 12.29),
            ["Mo", "S"],
            [[1 / 3, 2 / 3, 0.25], [1 / 3, 2 / 3, 0.621]],
        ),
        Structure.from_spacegroup(
            "P6_3/mmc", Lattice.hexagonal(2.46, 6.71), ["C", "C"], [[0, 0, 0.25], [1 / 3, 2 / 3, 0.25]]
        ),
    ],
    ids=["diamond", "caesium", "salt", "bulk MoS2", "graphite"],
)
def test_bulk_crystals_have_no_vacuum(bulk: Structure) -> None:
    with pytest.raises(CrystalError, match="No vacuum found"):
        Crystal.from_structure(bulk, id="bulk", source="test")
    with pytest.raises(CrystalError, match="No vacuum found"):
        Crystal.from_structure(bulk.get_primitive_structure(), id="bulk", source="test")


def stacked(cell: Cell, count: int, shift: tuple[float, float] = (0.0, 0.0)) -> Cell:
    """The cell repeated along c, each layer shifted in the plane against the one below."""
    lattice, numbers, frac = cell
    layers = [(frac + np.array([*shift, 1.0]) * i) / [1, 1, count] for i in range(count)]
    return lattice * [[1], [1], [count]], np.tile(numbers, count), np.concatenate(layers)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("count", "shift"), [(2, (0.0, 0.0)), (3, (0.0, 0.0)), (2, (0.31, 0.17))])
def test_equal_layers_are_reduced_to_one(
    cells: dict[str, Cell], name: str, count: int, shift: tuple[float, float]
) -> None:
    one, several = made(*cells[name]), made(*stacked(cells[name], count, shift))
    np.testing.assert_array_equal(several.numbers, one.numbers)
    np.testing.assert_allclose(several.lattice, one.lattice, atol=1e-9)
    np.testing.assert_allclose(several.positions, one.positions, atol=1e-6)


def test_equal_layers_are_found_in_any_description(cells: dict[str, Cell]) -> None:
    rng = np.random.default_rng(3)
    one = made(*cells["MoS2 1H"])
    for change in (supercell, c_tilted, wrapped, axes_swapped):
        several = made(*change(stacked(cells["MoS2 1H"], 2), rng))
        np.testing.assert_allclose(several.positions, one.positions, atol=1e-6)


def test_rejects_different_layers_with_vacuum_between_them(cells: dict[str, Cell]) -> None:
    lattice, numbers, frac = stacked(cells["MoS2 1H"], 2)
    turned, moved = frac.copy(), frac.copy()
    turned[3:, :2] *= -1
    moved[4, 2] += 0.2 / lattice[2, 2]
    for kinds, sites in (
        (np.append(numbers[:3], [74, 16, 16]), frac),
        (np.append(numbers[:3], [16, 42, 16]), frac),
        (numbers, turned),
        (numbers, moved),
    ):
        with pytest.raises(
            CrystalError, match=r"contains 2 different layers, up to 20.\d\d angstrom apart; keep one"
        ):
            made(lattice, kinds, sites)


@pytest.mark.parametrize(
    ("lattice", "numbers", "frac"),
    [
        (np.eye(3) * 15.0, [7, 7], [[0.0, 0.0, 0.0], [0.0732, 0.0, 0.0]]),
        (np.diag([20.0, 2.6, 20.0]), [6, 6], [[0.0, 0.0, 0.0], [0.06, 0.5, 0.0]]),
        (np.array([[20.0, 1.3, 0], [0, 2.6, 0], [0, 0, 20]]), [6, 6], [[0.0, 0.0, 0.0], [0.06, 0.5, 0.0]]),
    ],
    ids=["molecule", "chain", "chain in a skew cell"],
)
def test_rejects_molecules_and_chains(lattice: object, numbers: object, frac: object) -> None:
    with pytest.raises(CrystalError, match="A molecule or chain in a box, not a layer"):
        made(lattice, numbers, frac)


def test_thin_vacuum_suffices(cells: dict[str, Cell]) -> None:
    """MXene databases leave as little as 7.3 angstrom."""
    lattice, numbers, frac = cells["MoS2 1H"]
    thin = made(
        np.diag([1, 1, (3.12 + 7.3) / 24]) @ lattice, numbers, (frac - 0.5) * [1, 1, 24 / (3.12 + 7.3)]
    )
    np.testing.assert_allclose(thin.positions, made(lattice, numbers, frac).positions, atol=1e-9)


@pytest.mark.parametrize(
    ("species", "message"),
    [
        ([{"Mo": 0.5, "W": 0.5}], "Partial occupancy"),
        ([{"Mo": 0.9}], "Partial occupancy"),
        ([DummySpecies("X")], "Unknown element X"),
        (["Es"], "Unknown element Es"),
    ],
)
def test_from_structure_rejects(species: list[Any], message: str) -> None:
    structure = Structure(Lattice.tetragonal(3.0, 20.0), species, [[0, 0, 0]])
    with pytest.raises(CrystalError, match=message):
        Crystal.from_structure(structure, id="some", source="test")


def test_deuterium_and_oxidation_states_are_elements() -> None:
    species: list[Any] = ["D", "Li+"]
    structure = Structure(Lattice.tetragonal(3.0, 20.0), species, [[0.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    assert Crystal.from_structure(structure, id="some", source="test").elements == ("H", "Li")


@pytest.mark.parametrize(
    ("lattice", "message"),
    [
        ([[3.0, 0.0], [0.0, -3.0]], "a along"),
        ([[0.0, 3.0], [3.0, 0.0]], "a along"),
        ([[4.0, 0.0], [0.0, 3.0]], "reduced"),
        ([[3.0, 0.0], [2.0, 3.0]], "reduced"),
        ([[np.nan, 0.0], [0.0, 3.0]], "finite"),
        ([[3.0, 0.0], [np.nan, 3.0]], "finite"),
        ([[3.0, 0.0, 0.0]], "shape"),
    ],
)
def test_constructor_rejects_other_lattices(lattice: list[list[float]], message: str) -> None:
    with pytest.raises(CrystalError, match=message):
        Crystal("some", "test", np.array(lattice), np.array([6]), np.zeros((1, 3)))


def test_rejects_an_empty_id() -> None:
    with pytest.raises(CrystalError, match="id"):
        Crystal("", "test", np.eye(2) * 3.0, np.array([6]), np.zeros((1, 3)))


def test_a_stored_crystal_is_unchanged_and_read_only(cells: dict[str, Cell]) -> None:
    made_new = made(*cells["MoS2 1H"])
    arrays = (made_new.lattice.copy(), made_new.numbers.copy(), made_new.positions.copy())
    stored = Crystal.from_stored("some", "test", *arrays)
    for field in dataclasses.fields(Crystal):
        np.testing.assert_array_equal(getattr(stored, field.name), getattr(made_new, field.name))
    assert (stored.formula, stored.thickness) == (made_new.formula, made_new.thickness)
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        stored.id = "other"  # type: ignore[misc]
