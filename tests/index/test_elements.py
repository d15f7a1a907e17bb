from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.chemistry.elements import ElementBits, ElementFilter, get_atomic_numbers
from model.errors import IndexUnavailableError, OptionError

SYMBOLS = ("H", "Mo", "S", "Se", "W", "Cf")
Subset = st.lists(st.sampled_from(SYMBOLS), max_size=4).map(tuple)


def bits_of(crystals: list[tuple[str, ...]]) -> ElementBits:
    return ElementBits.from_numbers(
        np.array([get_atomic_numbers()[s] for s in crystal]) for crystal in crystals
    )


def selected(crystals: list[tuple[str, ...]], condition: ElementFilter) -> list[tuple[str, ...]]:
    allowed = bits_of(crystals).select(condition)
    if allowed is None:
        return crystals
    chosen = np.unpackbits(allowed, bitorder="little")
    assert not chosen[len(crystals) :].any(), (
        "bits beyond the last crystal would name rows that are not there"
    )
    return [crystal for crystal, bit in zip(crystals, chosen[: len(crystals)], strict=True) if bit]


LIBRARY: list[tuple[str, ...]] = [("Mo", "S"), ("Mo", "S", "Se"), ("Mo",), ("W", "S"), ("S",), ("H", "W")]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (ElementFilter(), LIBRARY),
        (ElementFilter(all=("Mo", "S")), [("Mo", "S"), ("Mo", "S", "Se")]),
        (ElementFilter(only=("Mo", "S")), [("Mo", "S"), ("Mo",), ("S",)]),
        (ElementFilter(any=("Se", "H")), [("Mo", "S", "Se"), ("H", "W")]),
        (ElementFilter(none=("Mo", "H")), [("W", "S"), ("S",)]),
        (ElementFilter(all=("Mo", "S"), only=("Mo", "S")), [("Mo", "S")]),
        (ElementFilter(any=("W", "Mo"), none=("S",)), [("Mo",), ("H", "W")]),
        (ElementFilter(all=("Cf",)), []),
    ],
)
def test_each_condition_selects_as_defined(condition: ElementFilter, expected: list[tuple[str, ...]]) -> None:
    assert selected(LIBRARY, condition) == expected


@given(
    st.lists(st.sets(st.sampled_from(SYMBOLS), min_size=1).map(tuple), min_size=1, max_size=40),
    Subset,
    Subset,
    Subset,
    Subset,
)
def test_bits_agree_with_sets_unless_the_condition_is_impossible(
    crystals: list[tuple[str, ...]],
    all_: tuple[str, ...],
    only: tuple[str, ...],
    any_: tuple[str, ...],
    none: tuple[str, ...],
) -> None:
    # What each word means, written as OPTIMADE does and not as the code does.
    expected = [
        crystal
        for crystal in crystals
        if all(s in crystal for s in all_)
        and (not only or all(s in only for s in crystal))
        and (not any_ or any(s in crystal for s in any_))
        and not any(s in crystal for s in none)
    ]
    try:
        condition = ElementFilter(all_, only, any_, none)
    except OptionError:
        assert not expected
        return
    assert selected(crystals, condition) == expected
    assert [crystal for crystal in crystals if condition.admits(crystal)] == expected


@pytest.mark.parametrize(
    "condition",
    [
        {"all": ("Mo",), "none": ("Mo",)},
        {"all": ("Mo", "W"), "only": ("Mo", "S")},
        {"any": ("W", "Se"), "only": ("Mo", "S")},
        {"any": ("W",), "none": ("W", "S")},
        {"only": ("Mo", "S"), "none": ("S", "Mo", "W")},
        {"none": tuple(get_atomic_numbers())},
    ],
)
def test_rejects_contradictory_conditions(condition: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(OptionError, match="elements_"):
        ElementFilter(**condition)


@pytest.mark.parametrize("symbol", ["Xx", "", "mo", "MO", " Mo", "42", "D"])
@pytest.mark.parametrize("option", ["all", "only", "any", "none"])
def test_rejects_an_invalid_symbol(symbol: str, option: str) -> None:
    with pytest.raises(OptionError, match=f"elements_{option}"):
        ElementFilter(**{option: (symbol,)})


def test_suggests_the_correct_symbol_and_rejects_text_for_a_list() -> None:
    with pytest.raises(OptionError, match="write Mo"):
        ElementFilter(all=("mo",))
    with pytest.raises(OptionError, match="list"):
        ElementFilter(all="Mo")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="not a chemical element"):
        ElementFilter(all=(["Mo"],))  # type: ignore[arg-type]


def test_rejects_the_table_of_another_index(tmp_path: Path) -> None:
    path = tmp_path / "elements.npy"
    bits_of(LIBRARY).write(path)
    assert np.array_equal(ElementBits.open(path, len(LIBRARY)).bits, bits_of(LIBRARY).bits)
    with pytest.raises(IndexUnavailableError, match="does not have 9 crystals"):
        ElementBits.open(path, 9)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(IndexUnavailableError, match="cannot be read"):
        ElementBits.open(path, len(LIBRARY))
