"""`dd2d simulate`: compute the diffraction pattern of a structure, as points or as a camera frame."""

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

_SUFFIXES = (".json", ".csv", ".png")
# Flag, minimum, maximum, default, help.
_NUMBERS = (
    ("voltage-kv", 1, 3000, 80, "accelerating voltage in kV"),
    ("q-max", 0, 5, 1.6, "length of the longest scattering vector in 1/angstrom"),
    ("tilt", 0, 59, 0, "angle between beam and layer normal in degrees"),
    ("tilt-azimuth", -360, 360, 0, "direction of the tilt in degrees, from a toward b"),
    ("rotation", -360, 360, 0, "rotation of the pattern on the camera in degrees"),
    ("b-iso", 0, 100, 0, "isotropic Debye-Waller factor B in square angstrom"),
    ("threshold", 0, 1, 1e-4, "intensity of the weakest spot relative to the strongest"),
    ("pixel-size", 1e-6, 1, 0.005, "pixel size of a frame in 1/angstrom"),
)


def add_command(commands: "Commands") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "simulate",
        help="compute the pattern of a structure",
        description="Compute the kinematic diffraction pattern of a structure and write it as points (.json, .csv) or "
        "as a camera frame (.png). `dd2d predict` and the service read each of them.",
        epilog="Example: dd2d simulate MoS2.cif --out mos2.png --tilt 3 --rotation 20 --pixel-size 0.005",
    )
    add = parser.add_argument
    add("structure", type=Path, metavar="STRUCTURE", help="CIF or POSCAR of one layer with vacuum")
    add("--out", type=Path, required=True, metavar="FILE", help="points as .json or .csv, or a frame as .png")
    for name, minimum, maximum, default, description in _NUMBERS:
        add(
            f"--{name}",
            type=_number_between(minimum, maximum),
            default=default,
            metavar="N",
            help=f"{description} (default: {default:g})",
        )
    add("--mirrored", action="store_true", help="mirror the pattern, as some cameras do")
    add("--face-down", action="store_true", help="turn the flake over, about a")
    add(
        "--atom-model",
        choices=["born", "eikonal"],
        default="born",
        help="approximation of the scattering by an atom; eikonal distinguishes the faces of a layer (default: born)",
    )
    add("--radiation", choices=["electron", "xray"], default="electron", help="default: electron")
    add("--size", type=int, default=512, metavar="N", help="pixels along a side of a frame (default: 512)")
    add("--seed", type=int, default=0, metavar="N", help="seed of the shot noise of a frame (default: 0)")
    parser.set_defaults(run=run)


def _number_between(minimum: float, maximum: float) -> Callable[[str], float]:
    """Return a converter for argparse that accepts the numbers of a range."""

    def number(text: str) -> float:
        value = float(text)
        if not minimum <= value <= maximum:
            raise argparse.ArgumentTypeError(f"{text} is not between {minimum:g} and {maximum:g}")
        return value

    return number


def run(args: argparse.Namespace) -> int:
    """Write the pattern."""
    suffix = args.out.suffix.lower()
    if suffix not in _SUFFIXES:
        raise OptionError(f"--out {args.out.name} has an unknown suffix; use {', '.join(_SUFFIXES)}.")
    spots = _simulate(_read_structure(args.structure), args)
    if suffix == ".png":
        from app.cli.frame_simulation import simulate_png

        frame = simulate_png(spots, pixel_size_inv_angstrom=args.pixel_size, size=args.size, seed=args.seed)
        args.out.write_bytes(frame)
    else:
        args.out.write_text(_write_json(spots) if suffix == ".json" else _write_csv(spots), encoding="utf-8")
    print(f"{len(spots)} spots in {args.out}")
    return 0


def _read_structure(path: Path) -> "Crystal":
    from model.crystal.structure_files import read_structure

    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        return read_structure(text, id=path.stem, source="file")
    except DomainError as error:
        raise type(error)(f"{path.name}: {error}") from error


def _simulate(crystal: "Crystal", args: argparse.Namespace) -> "Spots":
    from model.physics.kinematic import Geometry, ThermalMotion, compute_kinematic_spots

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
    facing = crystal.turn_over() if args.face_down else crystal
    return compute_kinematic_spots(facing, geometry, thermal, relative_threshold=args.threshold)


def _list_points(spots: "Spots") -> list[list[float]]:
    intensity = [1.0] * len(spots) if spots.intensity is None else spots.intensity.tolist()
    pairs = zip(spots.q_inv_angstrom.tolist(), intensity, strict=True)
    return [[round(x, 6), round(y, 6), float(f"{i:.6g}")] for (x, y), i in pairs]


def _write_json(spots: "Spots") -> str:
    """Return the body of a request to `/predict`, which is also a readable file.

    A voltage that the service does not support is omitted, so that the service states which one it assumes.
    """
    from app.services.uploads import MAX_VOLTAGE_KV, MIN_VOLTAGE_KV

    request: dict[str, object] = {"points": _list_points(spots), "units": "1/angstrom"}
    if spots.voltage_kv is None:
        request["radiation"] = "xray"
    elif MIN_VOLTAGE_KV <= spots.voltage_kv <= MAX_VOLTAGE_KV:
        request["voltage_kv"] = spots.voltage_kv
    return json.dumps(request) + "\n"


def _write_csv(spots: "Spots") -> str:
    lines = ["qx_1/angstrom,qy_1/angstrom,intensity", *(f"{x},{y},{i}" for x, y, i in _list_points(spots))]
    return "\n".join(lines) + "\n"
