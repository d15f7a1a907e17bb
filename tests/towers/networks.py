"""Towers with random weights, which have the same properties by construction as trained ones."""

import torch

from model.towers.contrastive import Form, TowerSize, TwinTowers
from model.towers.encoder import Towers


def untrained(form: Form) -> Towers:
    torch.manual_seed(0)
    network = TwinTowers(TowerSize(form, width=48, layers=2, heads=6, dimension=32))
    # Gains and maps that start at zero would hide their input.
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return Towers(network, f"sha256:{form}")
