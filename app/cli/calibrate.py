"""`dd2d calibrate`: calibrate a camera with a pattern of a known material."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import OptionError

if TYPE_CHECKING:
    from app.cli.lazy import Commands


def add_command(commands: "Commands") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "calibrate",
        help="calibrate a camera",
        description="Measure the pixel size and the elliptical distortion of a camera with a pattern of a known "
        "material: rings of a polycrystal (Au, Al, Pt, Ag, Si) or spots of a single layer (graphene, BN, MoS2, WS2, "
        "MoSe2, WSe2).",
        epilog="Example: dd2d calibrate gold.tif --material Au --name titan-410mm, then "
        "dd2d predict frame.dm4 --calibration titan-410mm",
    )
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="camera frame of the material")
    add("--material", required=True, metavar="NAME", help="Au, Al, Pt, Ag, Si, graphene, BN, MoS2, ...")
    add("--name", metavar="NAME", help="save the calibration under this name")
    add("--out", type=Path, metavar="DIR", help="folder of the calibrations (default: DD2D_CALIBRATIONS)")
    add("--center", default="", metavar="X,Y", help="direct beam in pixels (default: found automatically)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the calibration, and save it if a name is given."""
    from app.services.options import ReadingOptions
    from app.settings import read_settings
    from model.calibration.calibrate_camera import calibrate_camera
    from model.pattern.camera import NAME_PATTERN
    from model.pattern.formats.read_frame import read_frame

    folder = args.out or read_settings().calibrations
    if args.name is not None and folder is None:
        raise OptionError(
            "The folder of the calibrations is not set; give --out DIR or set DD2D_CALIBRATIONS."
        )
    if args.name is not None and not NAME_PATTERN.fullmatch(args.name):
        raise OptionError(
            f"{args.name!r} is not a valid --name; use up to 64 letters, digits, dots, hyphens and underscores."
        )
    center = ReadingOptions.from_text([("center", args.center)]).to_pattern_options().center_px
    calibration = calibrate_camera(read_frame(args.file.read_bytes()), args.material, center)
    print(f"pixel size   {calibration.pixel_size_inv_angstrom:.6g} 1/angstrom")
    print(
        f"ellipticity  {100 * calibration.ellipticity:.2f} %, "
        f"long axis at {calibration.axis_deg:.0f} degrees from x toward y"
    )
    print(f"residual     {100 * calibration.residual:.2f} %")
    if args.name is not None and folder is not None:
        path = folder / f"{args.name}.json"
        calibration.write(path)
        print(f"saved as     {path}")
    return 0
