// The spots as the user has them: found ones less the removed and masked, and added ones. Every change is a new value,
// so that undoing is going back to the one before.

export function patternOf(inspection) {
  const { spots, query } = inspection;
  return Object.freeze({
    spots: spots.map(({ position, intensity, saturated, hk }, id) => ({ id, position, intensity, saturated, hk })),
    center: query.center ?? [0, 0],
    camera: query.center !== null,
    masks: [],
    lattice: null,
    touched: false,
    next: spots.length,
  });
}

export const masked = (pattern, { position: [x, y] }) =>
  pattern.masks.some(([left, top, right, bottom]) => x >= left && x <= right && y >= top && y <= bottom);

export const kept = (pattern) => pattern.spots.filter((spot) => !spot.removed && !masked(pattern, spot));

const touched = (pattern, changes) => Object.freeze({ ...pattern, ...changes, touched: true });

export const withCenter = (pattern, center) => touched(pattern, { center });

export const withLattice = (pattern, lattice) => Object.freeze({ ...pattern, lattice });

// The service knows of masks, so the file itself is still what is asked about.
export const withMask = (pattern, [x1, y1], [x2, y2]) => Object.freeze({
  ...pattern,
  masks: [...pattern.masks, [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)]],
});

export const withoutMask = (pattern, index) =>
  Object.freeze({ ...pattern, masks: pattern.masks.filter((_, each) => each !== index) });

// A removed spot stays, so that it can be brought back.
export const withRemoved = (pattern, id, removed = true) => touched(pattern, {
  spots: pattern.spots.map((spot) => (spot.id === id ? { ...spot, removed } : spot)),
});

// A spot of unknown strength counts as the weakest one; in a pattern without intensities none has any.
export function withSpot(pattern, position, measured = null) {
  const known = pattern.spots.map((spot) => spot.intensity).filter((each) => each !== null);
  const weakest = known.length ? Math.min(...known) : null;
  const spot = {
    id: pattern.next, position: measured?.position ?? position, added: true, hk: null,
    intensity: known.length ? measured?.intensity ?? (measured?.intensity_sigma || weakest) : null,
    saturated: measured?.saturated ?? null, assumed: known.length > 0 && !measured?.intensity,
  };
  return touched(pattern, { spots: [...pattern.spots, spot], next: pattern.next + 1 });
}

export const withIntensity = (pattern, id, intensity) => touched(pattern, {
  spots: pattern.spots.map((spot) => (spot.id === id ? { ...spot, intensity, assumed: false } : spot)),
});

// d in angstrom, null where the scale is unknown.
export function spacing(pattern, [x, y], pixelSize) {
  const length = Math.hypot(x - pattern.center[0], y - pattern.center[1]);
  const unit = pattern.camera ? pixelSize : 1;
  return unit && length ? 1 / (length * unit) : null;
}
