"""`dd2d calibrate`: a camera by a pattern of a known material."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import OptionError

if TYPE_CHECKING:
    from app.cli.lazy import Commands


def add_to(commands: "Commands") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "calibrate",
        help="calibrate a camera",
        description="Tell a camera's size of a pixel and its distortion by a pattern of a known material: rings of a "
        "powder (Au, Al, Pt, Ag, Si) or spots of a single layer (graphene, BN, MoS2, WS2, MoSe2, WSe2).",
        epilog="Example: dd2d calibrate gold.tif --material Au --name titan-410mm, then "
        "dd2d predict frame.dm4 --calibration titan-410mm",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="camera frame of the reference")
    parser.add_argument(
        "--material", required=True, metavar="NAME", help="Au, Al, Pt, Ag, Si, graphene, BN, MoS2, ..."
    )
    parser.add_argument("--name", metavar="NAME", help="keep it by this name in DD2D_CALIBRATIONS")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to keep it in (DD2D_CALIBRATIONS)")
    parser.add_argument("--center", default="", metavar="X,Y", help="the direct beam in pixels (found)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the calibration, and keep it where a name is given."""
    from app.services.options import ReadingOptions
    from app.settings import read_settings
    from model.calibration.calibrate_camera import calibrate_camera
    from model.pattern.camera import NAME_PATTERN
    from model.pattern.formats.read_frame import read_frame

    folder = args.out or read_settings().calibrations
    if args.name is not None and folder is None:
        raise OptionError("--name: say where to keep it, by --out or DD2D_CALIBRATIONS")
    if args.name is not None and not NAME_PATTERN.fullmatch(args.name):
        raise OptionError("--name: letters, digits, dots, dashes and underscores, 64 at most")
    center = ReadingOptions.from_text([("center", args.center)]).to_pattern_options().center_px
    found = calibrate_camera(read_frame(args.file.read_bytes()), args.material, center)
    print(f"pixel size   {found.pixel_size_inv_angstrom:.6g} 1/angstrom")
    print(
        f"ellipticity  {100 * found.ellipticity:.2f} %, long axis at {found.axis_deg:.0f} degrees from x towards y"
    )
    print(f"residual     {100 * found.residual:.2f} %")
    if args.name is not None and folder is not None:
        path = folder / f"{args.name}.json"
        found.write(path)
        print(f"kept as      {path}")
    return 0
