// What is drawn over a pattern. Each kind has a shape of its own, not a colour alone: rings for spots, discs inside of
// them for a candidate's beams, diamonds for beams that are missing, crosses for spots without a beam.

import { s } from "./dom.js";
import { masked } from "./pattern.js";

const RING = 8;

// `place` takes a position to the picture, `unit` is a pixel of the screen there.
export function spotMarks(edits, { place, unit }, { selected, discs }) {
  const strongest = Math.max(...edits.spots.map((spot) => spot.intensity ?? 0), 0);
  return edits.spots.map((spot) => {
    const [cx, cy] = place(spot.position);
    const off = spot.removed || masked(edits, spot);
    const state = [
      "spot", off && "off", spot.added && "added", spot.saturated && "saturated",
      selected?.kind === "spot" && selected.id === spot.id && "selected",
    ].filter(Boolean).join(" ");
    const share = strongest && spot.intensity ? Math.sqrt(spot.intensity / strongest) : 0.4;
    return s("g", { id: `spot-${spot.id}`, class: state, "data-spot": spot.id },
      discs && s("circle", { class: "disc", cx, cy, r: (1.5 + 6 * share) * unit }),
      s("circle", { class: "ring", cx, cy, r: RING * unit }),
      s("circle", { class: "hit", cx, cy, r: (RING + 4) * unit }));
  });
}

export function beamMarks(lines, origin, { place, unit }) {
  const moved = ([x, y]) => place([x + origin[0], y + origin[1]]);
  return lines.map((line) => {
    const [x, y] = moved(line.status === "extra" ? line.position_observed : line.position_calculated);
    const name = line.status === "extra" ? "no beam of the candidate" : `${line.h} ${line.k}, ${line.status}`;
    return s("g", { class: `beam ${line.status}` }, s("title", {}, name), shape(line.status, x, y, unit));
  });
}

function shape(status, x, y, unit) {
  if (status === "explained") return s("circle", { cx: x, cy: y, r: 4.5 * unit });
  const reach = (status === "extra" ? 7 : 9) * unit;
  if (status === "extra") {
    return s("path", { d: `M${x - reach} ${y - reach}l${2 * reach} ${2 * reach}m0 ${-2 * reach}l${-2 * reach} ${2 * reach}` });
  }
  return s("path", { d: `M${x} ${y - reach}l${reach} ${reach}l${-reach} ${reach}l${-reach} ${-reach}z` });
}

export function latticeMarks(center, vectors, { place, unit }, { selected, picked }) {
  return vectors.map(([dx, dy], index) => {
    const [x, y] = place(center), [u, v] = place([center[0] + dx, center[1] + dy]);
    const name = "ab"[index];
    const chosen = selected?.kind === "vector" && selected.id === index;
    const long = Math.hypot(u - x, v - y) || 1;
    const [ax, ay] = [(u - x) / long, (v - y) / long], head = 9 * unit;
    const tip = `M${u} ${v}L${u - head * ax - head * ay / 2} ${v - head * ay + head * ax / 2}`
      + `L${u - head * ax + head * ay / 2} ${v - head * ay - head * ax / 2}z`;
    return s("g", {
      id: `vector-${name}`, class: `vector${picked ? " picked" : ""}${chosen ? " selected" : ""}`, "data-vector": index,
    },
    s("path", { class: "shaft", d: `M${x} ${y}L${u - head * 0.8 * ax} ${v - head * 0.8 * ay}` }),
    s("path", { class: "tip", d: tip }),
    s("text", { x: u + 12 * unit * ax, y: v + 12 * unit * ay + 4 * unit, "font-size": 13 * unit }, `${name}*`),
    s("circle", { class: "hit", cx: u, cy: v, r: 14 * unit }));
  });
}

export function centreMark(center, { place, unit }, chosen) {
  const [x, y] = place(center), inner = 4 * unit, outer = 13 * unit;
  const arms = [[1, 0], [0, 1], [-1, 0], [0, -1]]
    .map(([u, v]) => `M${x + u * inner} ${y + v * inner}L${x + u * outer} ${y + v * outer}`).join("");
  return s("g", { id: "centre-mark", class: `centre${chosen ? " selected" : ""}`, "data-centre": true },
    s("path", { d: arms }), s("circle", { cx: x, cy: y, r: 7 * unit }),
    s("circle", { class: "hit", cx: x, cy: y, r: 16 * unit }));
}

export function maskMarks(masks, { place, unit }, selected) {
  return masks.map(([left, top, right, bottom], index) => {
    const [x, y] = place([left, top]), [u, v] = place([right, bottom]);
    const chosen = selected?.kind === "mask" && selected.id === index;
    return s("rect", {
      id: `mask-${index}`, class: `mask${chosen ? " selected" : ""}`, "data-mask": index, x, y,
      width: Math.max(u - x, unit), height: Math.max(v - y, unit),
    });
  });
}

// Where the keyboard points, for adding and masking.
export function cursorMark(at, from, { place, unit }) {
  const [x, y] = place(at), reach = 11 * unit;
  const cross = s("path", { class: "cursor", d: `M${x - reach} ${y}h${2 * reach}M${x} ${y - reach}v${2 * reach}` });
  if (!from) return [cross];
  const box = [Math.min(at[0], from[0]), Math.min(at[1], from[1]), Math.max(at[0], from[0]), Math.max(at[1], from[1])];
  return [...maskMarks([box], { place, unit }, null), cross];
}
