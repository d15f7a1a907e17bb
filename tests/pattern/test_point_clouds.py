import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import NoSpotsError, OptionError, TooLargeError, UnknownFormatError, UnreadableError
from model.pattern.friedel_pairs import find_friedel_pairs
from model.pattern.options import PatternOptions
from model.pattern.points.point_cloud import make_spots_from_points
from model.pattern.points.text_points import MAX_LINE_LENGTH, read_point_text
from model.pattern.read import read_pattern
from model.pattern.scale import MAX_COMPARED_Q_INV_ANGSTROM, choose_nominal_pixel_size
from model.pattern.spots import Spots
from model.towers.tokens import Q_MAX_INV_ANGSTROM
from tests.paths import SHARED

PATTERNS = SHARED / "data" / "patterns"
AUTO = PatternOptions()
ROWS = [[0.5, 0.1, 10.0], [-0.5, -0.1, 12.0], [0.2, 0.9, 3.0], [-0.2, -0.9, 4.0]]


def read(text: str, options: PatternOptions = AUTO) -> Spots:
    return read_pattern(text.encode(), "points", options)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"points": ROWS}),
        json.dumps(ROWS),
        json.dumps([{"qx": x, "intensity": i, "qy": y} for x, y, i in ROWS]),
        json.dumps(dict(zip(("x", "y", "I"), map(list, zip(*ROWS, strict=True)), strict=True))),
        json.dumps({"points": [[10 * x, 10 * y, i] for x, y, i in ROWS], "units": "1/nm"}),
        json.dumps({"points": [[100 * x + 7, 100 * y, i] for x, y, i in ROWS], "pixel_size": 0.01}),
        "\n".join(f"{x} {y} {i}" for x, y, i in ROWS),
        "# a comment\n# kx ky counts\n" + "\n".join(f"{x}\t{y}\t{i}" for x, y, i in ROWS),
        "qx (1/nm)  qy (1/nm)  log intensity\n"
        + "\n".join(f"{10 * x} {10 * y} {np.log(i)}" for x, y, i in ROWS),
        "h,k,I,q_y_nm-1,q_x_nm-1\n" + "\n".join(f"1,2,{i},{10 * y},{10 * x}" for x, y, i in ROWS),
        "\ufeffx;y;log10(I)\r\n"
        + "\r\n".join(f"{x};{y};{np.log10(i)}".replace(".", ",") for x, y, i in ROWS),
        "x\ty\tI\n" + "\n".join(f"{x}\t{y}\t{i}".replace(".", ",") for x, y, i in ROWS),
        "\n".join(f"{x} {y} {i}".replace(".", ",") for x, y, i in ROWS),
        " \tArea\tMean\tX\tY\tIntDen\tRawIntDen\n"
        + "\n".join(f"{n}\t4\t{9 - n}\t{x}\t{y}\t{i}\t1" for n, (x, y, i) in enumerate(ROWS, 1)),
        "x,y,amplitude\n" + "\n".join(f"{x},{y},{i}" for x, y, i in ROWS),
        '"qx [1/Å]","qy [1/Å]","Intensity (a.u.)"\n' + "\n".join(f"{x},{y},{i}" for x, y, i in ROWS),
    ],
)
def test_every_form_gives_the_same_spots(text: str) -> None:
    spots = read(text)
    assert spots.q_inv_angstrom == pytest.approx(np.array(ROWS)[:, :2], abs=1e-9)
    assert spots.intensity is not None
    assert spots.intensity / spots.intensity[0] == pytest.approx(np.array(ROWS)[:, 2] / 10, rel=1e-9)
    assert spots.warnings == ()


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (" \tX\tY\tIntensity", "{n}\t{x}\t{y}\t{i}"),  # ImageJ
        ("\tx\ty\tI", "{n}\t{x}\t{y}\t{i}"),  # pandas
        ("\nx\ty\tI", "{x}\t{y}\t{i}\t"),
        (",x,y,I", "{n},{x},{y},{i}"),
        ('"x" "y" "I"', '"{n}" {x} {y} {i}'),  # R
        ("x\ty\tI", "{n}\t{x}\t{y}\t{i}"),
        ("x\ty\tI", "\t{x}\t{y}\t{i}"),
        ("# x\ty\tI", "{x}\t{y}\t{i}"),
        ("", "\t{x}\t{y}\t{i}"),
        ("x,y,I,,", "{x},{y},{i},,"),
        ("x y I", "\t{x} {y} {i}\t"),
    ],
)
def test_a_first_column_without_a_name_shifts_no_other(header: str, row: str) -> None:
    rows = [row.format(n=n, x=x, y=y, i=i) for n, (x, y, i) in enumerate(ROWS, start=1)]
    spots = read("\n".join([header, *rows]))
    assert spots.q_inv_angstrom == pytest.approx(np.array(ROWS)[:, :2])
    assert spots.intensity == pytest.approx(np.array(ROWS)[:, 2])


@given(order=st.permutations(["x_px", "y_px", "intensity", "label"]), separator=st.sampled_from(",;\t "))
def test_the_header_gives_the_order_of_the_columns(order: list[str], separator: str) -> None:
    lines = [
        separator.join(
            {"x_px": f"{x}", "y_px": f"{y}", "intensity": f"{i}", "label": "7"}[name] for name in order
        )
        for x, y, i in [(120, 200, 5.0), (80, 200, 5.0), (100, 230, 2.0), (100, 170, 2.0)]
    ]
    spots = read("\n".join([separator.join(order), *lines]), PatternOptions(pixel_size_inv_angstrom=0.01))
    assert spots.center_px == pytest.approx((100, 200))
    assert spots.q_inv_angstrom == pytest.approx(np.array([[0.2, 0], [-0.2, 0], [0, 0.3], [0, -0.3]]))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", UnknownFormatError, "empty"),
        ("dear sir, here is my pattern", UnknownFormatError, "no table"),
        ("{", UnreadableError, "damaged"),
        ("[" * 100_000, UnreadableError, "damaged"),
        ('{"a": 1}', UnknownFormatError, "no points"),
        ("[]", NoSpotsError, "no points"),
        ('{"points": []}', NoSpotsError, "no points"),
        ("x,y,I\n", NoSpotsError, "no points"),
        ("0.1 0.2 1\n-0.1 -0.2 1", NoSpotsError, "2 spots"),
        ("[[1, 2, NaN], [1, 1, 1]]", UnreadableError, "finite"),
        ("[[1, 1e999], [1, 1]]", UnreadableError, "finite"),
        (f"[[1, {'9' * 400}], [1, 1]]", UnreadableError, "not a number"),
        ('[[1, "two"], [1, 1]]', UnreadableError, "not a number"),
        ("[[1, 2, 3, 4]]", UnreadableError, "Each point"),
        ("[1, 2, 3]", UnreadableError, "Each point"),
        ("1 2 3\n1 2 -3\n1 1 1", UnreadableError, "negative"),
        ("1 2 3\n1 2\n1 1 1", UnreadableError, "Line 2"),
        ("1 2 3\n1 x 3\n1 1 1", UnreadableError, "Line 2"),
        ("1,2,3\n1,,3\n1,1,1", UnreadableError, "finite"),
        ("a,b,c\n1,2,3", UnreadableError, "names no x and y"),
        ("1\n2\n3", UnknownFormatError, "one column"),
        ("x,y,I\n5,1,2,3\n7,1,2,4", UnreadableError, "names 3 columns .* line 2 has 4"),
        ("x,y,I\n1,2,3\n1,2", UnreadableError, "names 3 columns .* line 3 has 2"),
        ("300 200 3\n-300 -200 3\n1 1 1", OptionError, "units=pixel"),
        ('{"points": [[1, 2, 3]], "units": "furlong"}', UnreadableError, "furlong"),
        ('{"points": [[1, 2, 3]], "pixel_size": {}}', UnreadableError, "pixel_size"),
    ],
)
def test_refuses_unusable_points_with_a_reason(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read(text)


def test_pixels_without_a_size_have_no_scale() -> None:
    spots = read("x_px,y_px\n300,200\n100,200\n200,300\n200,100")
    assert not spots.scale_is_known
    assert spots.calibration == "unknown"
    assert spots.center_px == pytest.approx((200, 200), abs=1e-6)
    np.testing.assert_allclose(np.hypot(*spots.q_inv_angstrom.T), 1.2)


def test_refuses_spots_on_the_direct_beam_alone() -> None:
    with pytest.raises(NoSpotsError, match="direct beam"):
        choose_nominal_pixel_size(np.zeros((3, 2)))


def test_refuses_binary_content_as_of_unknown_format() -> None:
    with pytest.raises(UnknownFormatError, match="neither"):
        read_pattern(b"\x00\x01\x02\x03", "frame.bin", AUTO)


def test_refuses_too_many_points() -> None:
    with pytest.raises(TooLargeError, match="100000"):
        make_spots_from_points(np.ones((100_001, 2)), AUTO)


@pytest.mark.parametrize(
    ("text", "error"), [("# a comment\n" * 1000, UnknownFormatError), ("1 2\n" * 100_001, TooLargeError)]
)
def test_gives_up_long_texts_early(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        read(text)


HEXAGON = [[np.cos(angle), np.sin(angle)] for angle in np.arange(6) * np.pi / 3]


@pytest.mark.parametrize("length", [1e-3, 0.02, 1.7, 5.0, 20.0])
def test_refuses_points_of_implausible_scale(length: float) -> None:
    points = [[length * x, length * y] for x, y in HEXAGON]
    with pytest.raises(OptionError, match=r"With this scale \(units=1/angstrom\), 0 of 6 spots.*Check units"):
        make_spots_from_points([[0, 0], *points], AUTO)
    with pytest.raises(OptionError, match=r"With this scale \(1 1/angstrom per pixel\).*Check pixel_size"):
        make_spots_from_points(points, PatternOptions("pixel", 1.0, (0.0, 0.0)))


def test_refuses_a_point_implausibly_far_out() -> None:
    with pytest.raises(OptionError, match="farthest spot lies at 12"):
        make_spots_from_points([*HEXAGON, [12, 0]], AUTO)


def test_the_compared_range_is_that_of_the_towers() -> None:
    assert MAX_COMPARED_Q_INV_ANGSTROM == Q_MAX_INV_ANGSTROM
    pairs = find_friedel_pairs(Spots(5 * np.array(HEXAGON)))
    with pytest.raises(NoSpotsError, match="check the scale"):
        pairs.select_strongest(10, Q_MAX_INV_ANGSTROM)


def test_pixel_options_contradict_reciprocal_units() -> None:
    with pytest.raises(OptionError, match="pixel_size"):
        make_spots_from_points(ROWS, PatternOptions("1/nm", pixel_size_inv_angstrom=0.01))


@pytest.mark.parametrize(
    "options", [{"units": "inch"}, {"pixel_size_inv_angstrom": -1.0}, {"center_px": (1.0,)}]
)
def test_refuses_impossible_options(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        PatternOptions(**options)  # type: ignore[arg-type]


def test_points_without_intensity_have_only_a_geometry() -> None:
    assert make_spots_from_points([row[:2] for row in ROWS], AUTO).intensity is None
    mixed = make_spots_from_points([*ROWS, [0.7, 0.7]], AUTO)
    assert mixed.intensity is None
    assert "no intensity" in mixed.warnings[0]


def test_leaves_out_direct_beam_repeats_and_zeros() -> None:
    spots = make_spots_from_points([*ROWS, [0.001, 0.0, 1e6], [0.5, 0.1, 1.0], [0.9, 0.9, 0.0]], AUTO)
    assert len(spots) == len(ROWS)
    assert spots.intensity is not None
    assert spots.intensity[0] == 10
    assert len(spots.warnings) == 2


@pytest.mark.parametrize("smallest", [5e-324, 1e-40])
def test_rounding_errors_of_zero_are_zero(smallest: float) -> None:
    spots = make_spots_from_points([*ROWS, [0.9, 0.9, smallest]], AUTO)
    assert len(spots) == len(ROWS)
    assert "zero intensity" in spots.warnings[0]


@pytest.mark.parametrize("point", [[1e308, 1e308, 1.0], [-1e9, 0, 1.0]])
def test_refuses_pixels_beyond_any_camera(point: list[float]) -> None:
    with pytest.raises(OptionError, match="farther than any camera"):
        make_spots_from_points([*ROWS, point], PatternOptions("pixel", pixel_size_inv_angstrom=0.01))


@pytest.mark.parametrize(
    "point", [[[], 1, 1], [1, [2], 3], [[1, 2], [3]], "12", 5, None, {"x": 1}, [1, 2, 1e40]]
)
def test_refuses_what_is_not_a_point(point: object) -> None:
    with pytest.raises(UnreadableError, match=r"[Pp]oint"):
        make_spots_from_points([*ROWS, point], AUTO)


def test_keeps_the_voltage_beside_the_points() -> None:
    assert read(json.dumps({"points": ROWS, "voltage_kv": 200})).voltage_kv == 200
    assert read(json.dumps({"points": [*ROWS, [0.9, 0.9, 0]], "voltage_kv": 60})).voltage_kv == 60
    assert read(json.dumps({"points": ROWS})).voltage_kv is None
    for wrong in ('"high"', "NaN", "-80", "1" + "0" * 400):
        with pytest.raises(UnreadableError, match="voltage_kv"):
            read('{"points": [[1, 2, 3]], "voltage_kv": ' + wrong + "}")


@pytest.mark.parametrize(
    "text",
    [
        "x,y,strength,error\n" + "\n".join(f"{x},{y},{i},1" for x, y, i in ROWS),
        json.dumps([{"x": x, "y": y, "strength": i, "error": 1} for x, y, i in ROWS]),
    ],
)
def test_warns_where_no_column_is_named_an_intensity(text: str) -> None:
    spots = read(text)
    assert spots.intensity is None
    assert "strength, error is the intensity, name it intensity" in spots.warnings[0]


@pytest.mark.parametrize("comma", [",", ", ", " ,", " , "])
def test_commas_separate_whole_numbers_with_any_spacing(comma: str) -> None:
    rows = [(1, 0, 9), (-1, 0, 9), (0, 1, 7), (0, -1, 7)]
    spots = read("\n".join(comma.join(map(str, row)) for row in rows))
    assert spots.q_inv_angstrom == pytest.approx(np.array(rows)[:, :2])
    assert spots.intensity == pytest.approx(np.array(rows)[:, 2])


def test_reads_different_decimal_commas_in_one_row() -> None:
    table = read_point_text("x;y;i;a;b\n1,5;2,25;7;8,5;1,5\n-3,5;4,75;8;9,5;1,5\n")
    assert table.positions.tolist() == [[1.5, 2.25], [-3.5, 4.75]]


@pytest.mark.parametrize("unit", [",", " ", "1,5;", "#", "x,", "\t"])
def test_refuses_a_line_that_is_too_long(unit: str) -> None:
    accepted = "1,0,1\n# " + "a" * (MAX_LINE_LENGTH - 2) + "\n0,1,1\n"
    assert len(read_point_text(accepted).positions) == 2
    with pytest.raises(TooLargeError, match="Line 2 "):
        read_point_text("1,0,1\n" + unit * MAX_LINE_LENGTH + "1\n")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("x,y,x_px,y_px,i", (0, 1)),
        ("y,x,y,x,i", (1, 0)),
        ("x,qx,y,qy,i", (1, 3)),
        ("x (1/nm),y,x,i", (2, 1)),
        ("qx (1/nm),qy (1/nm),x_px,y_px,i", (0, 1)),
    ],
)
def test_takes_the_first_two_columns_of_the_same_kind(names: str, expected: tuple[int, int]) -> None:
    values = [float(n) for n in range(len(names.split(",")))]
    table = read_point_text(f"{names}\n{','.join(map(str, values))}\n")
    assert table.positions[0].tolist() == [values[each] for each in expected]


def test_refuses_decimal_commas_beside_decimal_points() -> None:
    with pytest.raises(UnreadableError, match=r"Line 2 has a comma in 1,234 and a point in 0\.5"):
        read("x\ty\tI\n0.5\t0.1\t1,234\n-0.5\t-0.1\t1,200\n")


def write_dd2d(scale: float, origin: tuple[float, float], **metadata: object) -> str:
    x, y, i = np.array(ROWS).T
    rows = [scale * x + origin[0], scale * y + origin[1], np.log(i)]
    return json.dumps({"X": [row.tolist() for row in rows], **metadata})


@pytest.mark.parametrize(
    ("text", "assumed"),
    [
        (write_dd2d(40, (100.5, 100.5)), True),
        (write_dd2d(40, (7, 9), center=[7, 9]), True),
        (write_dd2d(100, (100.5, 100.5), pixel_size=0.01), False),
        (write_dd2d(100, (7, 9), pixel_size=0.01, center=[7, 9], units="pixel"), False),
        (write_dd2d(1, (0, 0), units="1/angstrom"), False),
        (write_dd2d(10, (0, 0), units="1/nm"), False),
    ],
)
def test_reads_the_metadata_beside_dd2d_points(text: str, assumed: bool) -> None:
    spots = read(text.replace('{"X"', '{"voltage_kv": 60, "X"'))
    assert spots.q_inv_angstrom == pytest.approx(np.array(ROWS)[:, :2])
    assert spots.voltage_kv == 60
    warning = (
        "A pixel size of 0.025 1/angstrom, that of the published patterns, was assumed; give pixel_size."
    )
    assert spots.warnings == ((warning,) if assumed else ())
    assert spots.calibration == ("unknown" if assumed else "file")


def test_a_pixel_size_in_the_request_needs_no_assumption() -> None:
    spots = read(write_dd2d(100, (100.5, 100.5)), PatternOptions(pixel_size_inv_angstrom=0.01))
    assert spots.q_inv_angstrom == pytest.approx(np.array(ROWS)[:, :2])
    assert spots.warnings == ()


def test_the_request_overrides_the_units_of_the_header() -> None:
    spots = read("qx (1/nm),qy (1/nm)\n1,0\n-1,0\n0,1\n0,-1", PatternOptions("1/angstrom"))
    assert np.abs(spots.q_inv_angstrom).max() == 1
    assert "1/nm" in spots.warnings[0]


@settings(max_examples=30, deadline=None)
@given(angle=st.floats(0, 2 * np.pi), seed=st.integers(0, 1000))
def test_rotated_points_are_rotated_spots(angle: float, seed: int) -> None:
    points = np.random.default_rng(seed).uniform(0.1, 1, (20, 3))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = np.column_stack([points[:, :2] @ rotation.T, points[:, 2]])
    straight, rotated = make_spots_from_points(points, AUTO), make_spots_from_points(turned, AUTO)
    assert rotated.q_inv_angstrom == pytest.approx(straight.q_inv_angstrom @ rotation.T)
    assert rotated.intensity == pytest.approx(straight.intensity)


def test_keeps_intensities_with_weak_spots_of_a_superlattice() -> None:
    """They lie near the center, where all others are a hundred times as strong."""
    rng = np.random.default_rng(2)
    length = np.repeat([0.33, 0.57, 0.66, 0.87, 0.99, 1.14], 6)
    angle = rng.uniform(0, 2 * np.pi, len(length))
    strong = np.column_stack([length * np.cos(angle), length * np.sin(angle), np.exp(-3 * length)])
    inner, inner_angle = rng.uniform(0.12, 0.5, 60), rng.uniform(0, 2 * np.pi, 60)
    faint = np.column_stack([inner * np.cos(inner_angle), inner * np.sin(inner_angle), np.full(60, 0.002)])
    spots = make_spots_from_points(np.concatenate([strong, faint]), AUTO)
    assert spots.intensity is not None
    hot = np.concatenate([faint, [[0.9, 0.2, 1.0], [0.1, 0.3, 1.2], [-1.1, 0.2, 0.9]]])
    hot[:, 2] *= np.exp(2 * np.hypot(*hot[:, :2].T))
    assert make_spots_from_points(hot, AUTO).intensity is None
    flat = np.concatenate([strong, faint])
    flat[:, 2] = rng.uniform(0.5, 1, len(flat))
    assert make_spots_from_points(flat, AUTO).intensity is None


needs_shared = pytest.mark.skipif(not PATTERNS.exists(), reason="needs the patterns of ../shared/data")


@needs_shared
@pytest.mark.parametrize(("name", "shortest"), [("prse3_figure4", 1 / 4.033), ("example", 1 / 4.669)])
def test_ignores_the_intensities_of_published_patterns(name: str, shortest: float) -> None:
    spots = read((PATTERNS / "dd2d" / f"{name}.json").read_text())
    assert spots.intensity is None
    assert any("fall off" in warning for warning in spots.warnings)
    assert np.linalg.norm(spots.q_inv_angstrom, axis=1).min() == pytest.approx(shortest, abs=0.02)


@needs_shared
@pytest.mark.parametrize(
    ("name", "pixel_size"), [("1_SAED", 0.0020271), ("Camera_Ceta_1359_410_mm___Raw", 0.0035174)]
)
def test_recorded_points_of_graphene_have_its_spacings(name: str, pixel_size: float) -> None:
    text = (PATTERNS / "graphene" / f"{name}_points.csv").read_text()
    spots = read(text, PatternOptions(pixel_size_inv_angstrom=pixel_size))
    first = np.sort(np.linalg.norm(spots.q_inv_angstrom, axis=1))[:6]
    assert first == pytest.approx(2 / np.sqrt(3) / 2.461, rel=0.015)
