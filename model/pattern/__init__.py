from model.pattern.options import PatternOptions, Units
from model.pattern.point_clouds import spots_from_points
from model.pattern.reading import read_pattern
from model.pattern.spots import Calibration, Spots

__all__ = ["Calibration", "PatternOptions", "Spots", "Units", "read_pattern", "spots_from_points"]
