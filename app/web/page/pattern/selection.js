// The selected spot, lattice vector, mask or center.

import { announce } from "../dom.js";
import { formatSignificant } from "../format.js";
import { computeSpacing, isMasked, removeMask, setSpotRemoved, VECTOR_NAMES } from "./edited-pattern.js";

export function describeSelection({ selection, pattern, settings, answer, inspection }) {
  const { kind, id } = selection;
  if (kind === "center") {
    return `Center at ${pattern.center.map((each) => each.toFixed(pattern.inPixels ? 1 : 4)).join(", ")}`;
  }
  if (kind === "mask") return `Mask ${id + 1} of ${pattern.masks.length}`;
  if (kind === "vector") return `${VECTOR_NAMES[id]}*`;
  const spot = findSelectedSpot({ selection, pattern });
  if (!spot) return "";
  const { query } = answer ?? inspection;
  const spacing = computeSpacing(pattern, spot.position, Number(settings.pixel_size) || query.pixel_size);
  const intensity = `intensity ${formatSignificant(spot.intensity)}${spot.isAssumed ? " (assumed)" : ""}`;
  return [
    `Spot ${spot.id + 1}`,
    spot.removed ? "removed" : isMasked(pattern, spot) ? "masked" : spot.added ? "added" : "",
    spacing ? `d ${spacing.toFixed(3)} Å` : "",
    spot.intensity === null ? "" : intensity,
    spot.hk ? `indices ${spot.hk.join(" ")}` : "",
    spot.saturated ? "saturated" : "",
  ].filter(Boolean).join(", ");
}

export function findSelectedSpot({ selection, pattern }) {
  return selection?.kind === "spot" ? pattern?.spots.find((each) => each.id === selection.id) : undefined;
}

// Remove the selected mask, or remove or restore the selected spot.
export function removeSelection({ selection, pattern }, session) {
  if (selection?.kind === "mask") session.edit(removeMask(pattern, selection.id));
  const spot = findSelectedSpot({ selection, pattern });
  if (!spot) return;
  session.edit(setSpotRemoved(pattern, spot.id, !spot.removed));
  announce(spot.removed ? "Spot restored." : "Spot removed.");
}
