from model.pattern.frame import Frame
from model.pattern.options import PatternOptions, Units
from model.pattern.point_clouds import spots_from_points
from model.pattern.readers import Images, is_frame, read_frame, read_images
from model.pattern.reading import read_pattern, read_with_frame
from model.pattern.spot_finding import FoundSpots, find_spots, locate_spots
from model.pattern.spots import Calibration, Spots

__all__ = [
    "Calibration",
    "FoundSpots",
    "Frame",
    "Images",
    "PatternOptions",
    "Spots",
    "Units",
    "find_spots",
    "is_frame",
    "locate_spots",
    "read_frame",
    "read_images",
    "read_pattern",
    "read_with_frame",
    "spots_from_points",
]
