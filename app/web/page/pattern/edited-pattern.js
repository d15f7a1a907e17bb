// The spots, center, masks and lattice as the user corrected them. Every edit returns a new object, so that undo can
// return to the previous one.

export const VECTOR_NAMES = "ab";

export function createPattern({ spots, query }) {
  return Object.freeze({
    spots: spots.map(({ position, intensity, saturated, hk }, id) => ({ id, position, intensity, saturated, hk })),
    center: query.center ?? [0, 0],
    // Positions are in pixels, otherwise in 1/Å.
    inPixels: query.center !== null,
    masks: [],
    // The lattice vectors that the user picked.
    lattice: null,
    // Spots or center differ from those that the service found.
    edited: false,
    nextSpotId: spots.length,
  });
}

const isInside = ([x, y], [left, top, right, bottom]) => x >= left && x <= right && y >= top && y <= bottom;

export const isMasked = (pattern, spot) => pattern.masks.some((mask) => isInside(spot.position, mask));

export const listUsedSpots = (pattern) => pattern.spots.filter((spot) => !spot.removed && !isMasked(pattern, spot));

const applyEdit = (pattern, changes) => Object.freeze({ ...pattern, ...changes, edited: true });

export const setCenter = (pattern, center) => applyEdit(pattern, { center });

// The service accepts a lattice and masks together with the original file, so these are no edits of the spots.
export const setLattice = (pattern, lattice) => Object.freeze({ ...pattern, lattice });

export const addMask = (pattern, [x1, y1], [x2, y2]) => Object.freeze({
  ...pattern,
  masks: [...pattern.masks, [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)]],
});

export const removeMask = (pattern, index) =>
  Object.freeze({ ...pattern, masks: pattern.masks.filter((_, each) => each !== index) });

const updateSpot = (pattern, id, changes) => applyEdit(pattern, {
  spots: pattern.spots.map((spot) => (spot.id === id ? { ...spot, ...changes } : spot)),
});

// A removed spot stays in the list, so that it can be restored.
export const setSpotRemoved = (pattern, id, removed) => updateSpot(pattern, id, { removed });

export const setSpotIntensity = (pattern, id, intensity) => updateSpot(pattern, id, { intensity, isAssumed: false });

// Add a spot. Without a measured intensity it gets that of the noise or of the weakest spot, marked as assumed. In a
// pattern without intensities it has none.
export function addSpot(pattern, position, measured = null) {
  const intensities = pattern.spots.map((spot) => spot.intensity).filter((each) => each !== null);
  const hasIntensities = intensities.length > 0;
  const assumed = measured?.intensity_sigma || Math.min(...intensities);
  const spot = {
    id: pattern.nextSpotId, position: measured?.position ?? position, added: true, hk: null,
    intensity: hasIntensities ? measured?.intensity ?? assumed : null,
    saturated: measured?.saturated ?? null, isAssumed: hasIntensities && !measured?.intensity,
  };
  return applyEdit(pattern, { spots: [...pattern.spots, spot], nextSpotId: pattern.nextSpotId + 1 });
}

// Return the lattice spacing d in Å of a position, or null if the scale is unknown.
export function computeSpacing(pattern, [x, y], pixelSize) {
  const distance = Math.hypot(x - pattern.center[0], y - pattern.center[1]);
  const unit = pattern.inPixels ? pixelSize : 1;
  return unit && distance ? 1 / (distance * unit) : null;
}
