"""The twin towers: crystallographic geometric encoder (CGE) and site texture encoder (STE)."""

from model.towers.checkpoint import load_towers, save_towers
from model.towers.contrastive import SHAPES, Shape, TwinTowers
from model.towers.encoder import Towers

__all__ = ["SHAPES", "Shape", "Towers", "TwinTowers", "load_towers", "save_towers"]
