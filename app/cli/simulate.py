"""`dd2d simulate`: the pattern of a structure, as points or as a frame that `predict` takes."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import DomainError, OptionError

if TYPE_CHECKING:
    from app.cli.lazy import Commands
    from model.crystal.crystal import Crystal
    from model.pattern.spots import Spots

_FORMATS = (".json", ".csv", ".png")
# Option, lowest, highest, default, help.
_NUMBERS = (
    ("voltage-kv", 1, 3000, 80, "accelerating voltage"),
    ("q-max", 0, 5, 1.6, "largest |q|, 1/angstrom"),
    ("tilt", 0, 59, 0, "degrees between beam and normal"),
    ("tilt-azimuth", -360, 360, 0, "degrees of the tilt's direction, from a towards b"),
    ("rotation", -360, 360, 0, "degrees of the pattern on the camera"),
    ("b-iso", 0, 100, 0, "Debye-Waller factor, square angstrom"),
    ("threshold", 0, 1, 1e-4, "weakest spot by strongest"),
    ("pixel-size", 1e-6, 1, 0.005, "of a frame, 1/angstrom"),
)


def add_to(commands: "Commands") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "simulate",
        help="compute the pattern of a structure",
        description="Compute the kinematic pattern of a structure, in a form that predict and the service read.",
        epilog="Example: dd2d simulate MoS2.cif --out mos2.png --tilt 3 --rotation 20 --pixel-size 0.005",
    )
    add = parser.add_argument
    add("structure", type=Path, metavar="STRUCTURE", help="CIF or POSCAR of one layer with vacuum")
    add("--out", type=Path, required=True, metavar="FILE", help="points as .json or .csv, or a frame as .png")
    for name, lowest, highest, default, told in _NUMBERS:
        number = _within(lowest, highest)
        add(f"--{name}", type=number, default=default, metavar="N", help=f"{told} (default: {default:g})")
    add("--mirrored", action="store_true", help="the camera mirrors the pattern")
    add("--face-down", action="store_true", help="the flake is turned over, about a")
    models = ["born", "eikonal"]
    add("--atom-model", choices=models, default="born", help="eikonal tells faces apart (default: born)")
    add("--radiation", choices=["electron", "xray"], default="electron", help="default: electron")
    add("--size", type=int, default=512, metavar="N", help="pixels along a frame's side (default: 512)")
    add("--seed", type=int, default=0, metavar="N", help="of a frame's shot noise (default: 0)")
    parser.set_defaults(run=run)


def _within(lowest: float, highest: float) -> Callable[[str], float]:
    """A converter for argparse that takes the numbers of a range."""

    def number(text: str) -> float:
        value = float(text)
        if not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(f"{text} does not lie between {lowest:g} and {highest:g}")
        return value

    return number


def run(args: argparse.Namespace) -> int:
    """Write the pattern."""
    kind = args.out.suffix.lower()
    if kind not in _FORMATS:
        raise OptionError(f"--out {args.out.name}: the name must end in one of {', '.join(_FORMATS)}")
    spots = _simulated(_read(args.structure), args)
    if kind == ".png":
        from app.cli.render_frame import png_frame

        frame = png_frame(spots, pixel_size_inv_angstrom=args.pixel_size, size=args.size, seed=args.seed)
        args.out.write_bytes(frame)
    else:
        args.out.write_text(_json(spots) if kind == ".json" else _csv(spots), encoding="utf-8")
    print(f"{len(spots)} spots in {args.out}")
    return 0


def _read(path: Path) -> "Crystal":
    from model.crystal.structure_files import read_structure

    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        return read_structure(text, id=path.stem, source="file")
    except DomainError as error:
        raise type(error)(f"{path.name}: {error}") from error


def _simulated(crystal: "Crystal", args: argparse.Namespace) -> "Spots":
    from model.physics.kinematic import Geometry, ThermalMotion, kinematic_spots

    geometry = Geometry(
        radiation=args.radiation,
        voltage_kv=args.voltage_kv,
        q_max_inv_angstrom=args.q_max,
        tilt_deg=args.tilt,
        tilt_azimuth_deg=args.tilt_azimuth,
        rotation_deg=args.rotation,
        mirrored=args.mirrored,
        atom_model=args.atom_model,
    )
    thermal = ThermalMotion(args.b_iso, args.b_iso)
    seen = crystal.turned_over() if args.face_down else crystal
    return kinematic_spots(seen, geometry, thermal, relative_threshold=args.threshold)


def _rows(spots: "Spots") -> list[list[float]]:
    intensity = [1.0] * len(spots) if spots.intensity is None else spots.intensity.tolist()
    pairs = zip(spots.q_inv_angstrom.tolist(), intensity, strict=True)
    return [[round(x, 6), round(y, 6), float(f"{i:.6g}")] for (x, y), i in pairs]


def _json(spots: "Spots") -> str:
    """A request that can be posted to /predict as it is, and a file that can be read.

    A voltage that the service does not take is left out, so that it says which one it assumed.
    """
    from app.services.predict import HIGHEST_VOLTAGE_KV, LOWEST_VOLTAGE_KV

    request: dict[str, object] = {"points": _rows(spots), "units": "1/angstrom"}
    if spots.voltage_kv is None:
        request["radiation"] = "xray"
    elif LOWEST_VOLTAGE_KV <= spots.voltage_kv <= HIGHEST_VOLTAGE_KV:
        request["voltage_kv"] = spots.voltage_kv
    return json.dumps(request) + "\n"


def _csv(spots: "Spots") -> str:
    lines = ["qx_1/angstrom,qy_1/angstrom,intensity", *(f"{x},{y},{i}" for x, y, i in _rows(spots))]
    return "\n".join(lines) + "\n"
