// What is selected, in words.

import { significant } from "./numbers.js";
import { masked, spacing } from "./pattern.js";

export function described({ selected, edits, settings, answer, inspection }) {
  const query = (answer ?? inspection).query;
  const size = Number(settings.pixel_size) || query.pixel_size;
  if (selected.kind === "centre") return `Centre at ${edits.center.map((each) => each.toFixed(edits.camera ? 1 : 4)).join(", ")}`;
  if (selected.kind === "mask") return `Mask ${selected.id + 1} of ${edits.masks.length}`;
  if (selected.kind === "vector") return `${"ab"[selected.id]}*`;
  const spot = edits.spots.find((each) => each.id === selected.id);
  if (!spot) return "";
  const d = spacing(edits, spot.position, size);
  return [
    `Spot ${spot.id + 1}`,
    spot.removed ? "removed" : masked(edits, spot) ? "masked" : spot.added ? "added" : "",
    d ? `d ${d.toFixed(3)} Å` : "",
    spot.intensity === null ? "" : `intensity ${significant(spot.intensity)}${spot.assumed ? " (assumed)" : ""}`,
    spot.hk ? `indices ${spot.hk.join(" ")}` : "",
    spot.saturated ? "saturated" : "",
  ].filter(Boolean).join(", ");
}
