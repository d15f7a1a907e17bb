"""The diffraction of candidates that were used last, kept for the next patterns."""

from collections import OrderedDict
from math import ceil
from threading import Lock

from model.crystal.crystal import Crystal
from model.matching.fitting.candidate_diffraction import CandidateDiffraction
from model.pattern.observation import Observation

# Reflections are computed a little farther out than the pattern reaches, to a multiple of the step.
_MARGIN, _REACH_STEP_INV_ANGSTROM = 1.06, 0.05
MAX_CACHED_BYTES = 128 * 2**20


def get_diffraction(crystal: Crystal, observed: Observation) -> CandidateDiffraction:
    """Return a candidate's diffraction, up to slightly beyond the outermost spot of the pattern.

    The last ones are cached: a flake is often measured several times, and similar patterns have the same candidates.
    """
    step = _REACH_STEP_INV_ANGSTROM
    reach = ceil(observed.q_max_inv_angstrom * _MARGIN / step) * step
    return _cache.get(crystal, observed.voltage_kv, reach)


class DiffractionCache:
    """Keeps the diffraction of the last candidates; safe to use from several threads.

    Args:
        max_bytes: size of all together, as `CandidateDiffraction.max_bytes` estimates it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._kept: OrderedDict[tuple[Crystal, float, float], CandidateDiffraction] = OrderedDict()
        self.bytes = 0

    def get(self, crystal: Crystal, voltage_kv: float, q_max_inv_angstrom: float) -> CandidateDiffraction:
        """Return a candidate's diffraction, up to a largest |q|."""
        key = (crystal, voltage_kv, q_max_inv_angstrom)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            made = self._kept[key] = CandidateDiffraction(*key)
            self.bytes += made.max_bytes
            while self.bytes > self._max_bytes and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self.bytes -= dropped.max_bytes
            return made


_cache = DiffractionCache(MAX_CACHED_BYTES)
