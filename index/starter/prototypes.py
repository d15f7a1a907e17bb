"""All prototypes by name: stacks of planes, and those given by a space group and its orbits.

Coordinates follow the structure determinations, rotated so that c is the layer normal and shifted so that the origin of
the group is in the layer.
"""

from index.starter.orbits import Orbits
from index.starter.stacks import STACKS, Stack

Prototype = Stack | Orbits

_PLANAR: dict[str, Orbits] = {
    "triangular": Orbits(80, "P6/mmm", ("M",), "M 0 0 0"),
    "graphene": Orbits(80, "P6/mmm", ("M",), "M 1/3 2/3 0"),
    "hBN": Orbits(78, "P-6m2", ("M", "X"), "M 1/3 2/3 0; X 2/3 1/3 0"),
    "Cu2Si": Orbits(80, "P6/mmm", ("M", "X"), "M 1/3 2/3 0; X 0 0 0"),
    "C3N": Orbits(80, "P6/mmm", ("C", "N"), "N 1/3 2/3 0; C x y 0"),
    "C2N": Orbits(80, "P6/mmm", ("C", "N"), "C x_C y_C 0; N x_N y_N 0"),
    "heptazine": Orbits(
        78, "P-6m2", ("C", "N"), "N 0 0 0; N 2/3 1/3 0; C x_in y_in 0; C x_out y_out 0; N x_N y_N 0"
    ),
    "graphyne": Orbits(80, "P6/mmm", ("C",), "C x_1 0 0; C x_2 0 0"),
    "graphdiyne": Orbits(80, "P6/mmm", ("C",), "C x_1 0 0; C x_2 0 0; C x_3 0 0"),
    "biphenylene": Orbits(37, "Pmmm", ("C",), "C 0 y_1 0; C x_2 y_2 0"),
    "beta12 borophene": Orbits(37, "Pmmm", ("B",), "B 1/2 1/2 0; B 0 y_1 0; B 1/2 y_2 0"),
}

_HEXAGONAL: dict[str, Orbits] = {
    "silica bilayer": Orbits(80, "P6/mmm", ("Si", "O"), "Si 1/3 2/3 z_Si; O 1/3 2/3 0; O 1/2 0 z_O"),
    "BiI3": Orbits(71, "P-31m", ("M", "X"), "M 1/3 2/3 0; X x 0 z"),
    "MPX3": Orbits(71, "P-31m", ("M", "P", "X"), "M 1/3 2/3 0; P 0 0 z_P; X x 0 z_X"),
    "AgInP2S6": Orbits(
        67, "P312", ("M", "N", "P", "X"), "M 1/3 2/3 0; N 2/3 1/3 0; P 0 0 z_P; X x_X y_X z_X"
    ),
    "CuInP2S6": Orbits(
        65,
        "P3",
        ("M", "N", "P", "X"),
        "M 1/3 2/3 z_M; N 2/3 1/3 z_N; P 0 0 z_P; P 0 0 -z_P; X x_1 y_1 z_X; X x_2 y_2 -z_X",
    ),
    "Fe3GeTe2": Orbits(78, "P-6m2", ("M", "N", "X"), "M 0 0 z_M; M 2/3 1/3 0; N 1/3 2/3 0; X 2/3 1/3 z_X"),
    "PtBi2": Orbits(70, "P31m", ("M", "X"), "M x_M 0 z_M; X 0 0 z_1; X 1/3 2/3 z_2; X x_3 0 z_3"),
    "Nb3Cl8": Orbits(
        69,
        "P3m1",
        ("M", "X"),
        "M x_M -x_M 0; X 2/3 1/3 z_1; X x_2 -x_2 z_2; X 1/3 2/3 -z_3; X x_4 -x_4 -z_4",
    ),
}

_SQUARE: dict[str, Orbits] = {
    "PbO": Orbits(64, "P4/nmm", ("M", "X"), "M 3/4 1/4 0; X 1/4 1/4 z", "2"),
    "PbFCl": Orbits(64, "P4/nmm", ("M", "F", "X"), "F 3/4 1/4 0; M 1/4 1/4 z_M; X 1/4 1/4 -z_X", "2"),
    "RTe3": Orbits(64, "P4/nmm", ("R", "X"), "R 1/4 1/4 z_R; X 1/4 1/4 -z_in; X 3/4 1/4 z_out", "2"),
    "HgI2": Orbits(59, "P-4m2", ("M", "X"), "M 0 0 0; X 0 1/2 z"),
    "Cu2WS4": Orbits(57, "P-42m", ("M", "N", "X"), "N 0 0 0; M 1/2 0 0; X x x z"),
    "K2NiF4": Orbits(61, "P4/mmm", ("A", "B", "X", "Y"), "B 0 0 0; X 1/2 0 0; Y 0 0 z_Y; A 1/2 1/2 z_A"),
    "ANb2O7": Orbits(
        61,
        "P4/mmm",
        ("A", "B", "O"),
        "A 1/2 1/2 0; B 0 0 z_B; O 0 0 0; O 1/2 0 z_eq; O 0 0 z_end",
    ),
    "A2Nb3O10": Orbits(
        61,
        "P4/mmm",
        ("A", "B", "O"),
        "B 0 0 0; O 1/2 0 0; O 0 0 z_ap; B 0 0 z_B; O 1/2 0 z_eq; O 0 0 z_end; A 1/2 1/2 z_A",
    ),
    "Bi2212": Orbits(
        61,
        "P4/mmm",
        ("Bi", "Sr", "Ca", "Cu", "O"),
        "Ca 1/2 1/2 0; Cu 0 0 z_Cu; O 1/2 0 z_Cu; Sr 1/2 1/2 z_Sr; O 0 0 z_ap; Bi 0 0 z_Bi; O 1/2 1/2 z_Bi",
    ),
}

# The settings have a along the zigzag for black phosphorus, and along the armchair for SnS.
_RECTANGULAR: dict[str, Orbits] = {
    "black phosphorus": Orbits(42, "Pman", ("M",), "M 0 y z"),
    "SnS": Orbits(32, "P2_1mn", ("M", "X"), "M 0 0 -z_M; X x_X 0 z_X"),
    "FeOCl": Orbits(46, "Pmmn", ("M", "O", "X"), "M 1/4 3/4 z_M; O 1/4 1/4 -z_O; X 1/4 1/4 z_X", "2"),
    "V2O5": Orbits(
        46, "Pmmn", ("M", "O"), "M x_M 1/4 -z_M; O x_yl 1/4 -z_yl; O x_ch 1/4 z_ch; O 1/4 1/4 z_br", "2"
    ),
    "ZrTe5": Orbits(
        46, "Pmmn", ("M", "X"), "M 1/4 1/4 z_M; X 3/4 1/4 -z_1; X 3/4 y_2 z_2; X 1/4 y_3 -z_3", "2"
    ),
    "Ta2NiSe5": Orbits(
        46,
        "Pmmn",
        ("M", "N", "X"),
        "M 1/4 y_M -z_M; N 3/4 1/4 -z_N; X 3/4 y_1 -z_1; X 1/4 y_2 -z_2; X 1/4 1/4 z_3",
        "2",
    ),
    "1T'": Orbits(15, "P2_1/m", ("M", "X"), "M x_M 1/4 z_M; X x_1 3/4 z_1; X x_2 1/4 z_2", "b"),
    "MoO3": Orbits(
        15, "P2_1/m", ("M", "O"), "M x_M 1/4 z_M; O x_1 3/4 z_1; O x_2 1/4 z_2; O x_3 1/4 z_3", "b"
    ),
    "ZrSe3": Orbits(
        15, "P2_1/m", ("M", "X"), "M x_M 1/4 z_M; X x_1 1/4 z_1; X x_2 3/4 z_2; X x_3 3/4 z_3", "b"
    ),
    "ReSe2": Orbits(
        2,
        "P-1",
        ("M", "X"),
        "M x_1 y_1 z_1; M x_2 y_2 z_2; X x_3 y_3 z_3; X x_4 y_4 z_4; X x_5 y_5 z_5; X x_6 y_6 z_6",
    ),
    "NbTe2": Orbits(
        18, "C2/m", ("M", "X"), "M 0 0 0; M x_M 0 z_M; X x_1 0 z_1; X x_2 0 z_2; X x_3 0 z_3", "b1"
    ),
    "PdSe2": Orbits(17, "P2_1/c", ("M", "X"), "M 0 0 0; X x_X y_X z_X", "a1"),
    "NbOI2": Orbits(27, "Pm2m", ("M", "O", "X"), "M x_M 0 0; O x_M y_O 0; X 0 y_1 z_1; X 1/2 y_2 z_2"),
    "MoOCl2": Orbits(37, "Pmmm", ("M", "O", "X"), "M x_M 0 0; O x_M 1/2 0; X 0 0 z_1; X 1/2 0 z_2"),
}

PROTOTYPES: dict[str, Prototype] = {
    **STACKS,
    **_PLANAR,
    **_HEXAGONAL,
    **_SQUARE,
    **_RECTANGULAR,
}
