// Renders the markers over a pattern. Each kind has a shape of its own, so that color is not needed to distinguish
// them: rings for spots, small circles for explained reflections, diamonds for missing reflections, crosses for extra
// spots. Sizes are in pixels of the screen; `viewport` converts them and the positions to SVG units.

import { s } from "../dom.js";
import { isMasked, VECTOR_NAMES } from "./edited-pattern.js";

const RING_RADIUS = 8;

// `withDiscs` shows intensities as discs, for patterns without a frame.
export function renderSpots(pattern, viewport, selection, withDiscs) {
  const { pixel } = viewport;
  const strongest = Math.max(...pattern.spots.map((spot) => spot.intensity ?? 0), 0);
  return pattern.spots.map((spot) => {
    const [cx, cy] = viewport.toSvg(spot.position);
    const states = {
      excluded: spot.removed || isMasked(pattern, spot), added: spot.added, saturated: spot.saturated,
      selected: selection?.kind === "spot" && selection.id === spot.id,
    };
    const names = ["spot", ...Object.keys(states).filter((name) => states[name])];
    const strength = strongest && spot.intensity ? Math.sqrt(spot.intensity / strongest) : 0.4;
    return s("g", { id: `spot-${spot.id}`, class: names.join(" "), "data-spot": spot.id },
      withDiscs && s("circle", { class: "disc", cx, cy, r: (1.5 + 6 * strength) * pixel }),
      s("circle", { class: "ring", cx, cy, r: RING_RADIUS * pixel }),
      s("circle", { class: "target", cx, cy, r: (RING_RADIUS + 4) * pixel }));
  });
}

// `origin` is the position of the direct beam, to which the positions of reflections are relative.
export function renderReflections(reflections, origin, viewport) {
  return reflections.map((reflection) => {
    const { status, h, k } = reflection;
    const [x, y] = status === "extra" ? reflection.position_observed : reflection.position_calculated;
    const center = viewport.toSvg([x + origin[0], y + origin[1]]);
    const title = status === "extra" ? "extra spot, not explained by the candidate" : `${h} ${k}, ${status}`;
    return s("g", { class: `reflection ${status}` }, s("title", {}, title),
      renderReflectionShape(status, center, viewport.pixel));
  });
}

function renderReflectionShape(status, [x, y], pixel) {
  if (status === "explained") return s("circle", { cx: x, cy: y, r: 4.5 * pixel });
  const r = (status === "extra" ? 7 : 9) * pixel;
  const cross = `M${x - r} ${y - r}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}`;
  const diamond = `M${x} ${y - r}l${r} ${r}l${-r} ${r}l${-r} ${-r}z`;
  return s("path", { d: status === "extra" ? cross : diamond });
}

export function renderLatticeVectors(center, vectors, viewport, selection, isPicked) {
  const { pixel } = viewport;
  return vectors.map(([dx, dy], index) => {
    const [x, y] = viewport.toSvg(center), [u, v] = viewport.toSvg([center[0] + dx, center[1] + dy]);
    const name = VECTOR_NAMES[index];
    const isSelected = selection?.kind === "vector" && selection.id === index;
    const length = Math.hypot(u - x, v - y) || 1;
    const [ax, ay] = [(u - x) / length, (v - y) / length], head = 9 * pixel;
    const tip = `M${u} ${v}L${u - head * ax - head * ay / 2} ${v - head * ay + head * ax / 2}`
      + `L${u - head * ax + head * ay / 2} ${v - head * ay - head * ax / 2}z`;
    return s("g", {
      id: `vector-${name}`, class: `vector${isPicked ? " picked" : ""}${isSelected ? " selected" : ""}`,
      "data-vector": index,
    },
    s("path", { class: "shaft", d: `M${x} ${y}L${u - head * 0.8 * ax} ${v - head * 0.8 * ay}` }),
    s("path", { class: "tip", d: tip }),
    s("text", { x: u + 12 * pixel * ax, y: v + 12 * pixel * ay + 4 * pixel, "font-size": 13 * pixel }, `${name}*`),
    s("circle", { class: "target", cx: u, cy: v, r: 14 * pixel }));
  });
}

export function renderCenter(center, viewport, isSelected) {
  const { pixel } = viewport;
  const [x, y] = viewport.toSvg(center), inner = 4 * pixel, outer = 13 * pixel;
  const arms = [[1, 0], [0, 1], [-1, 0], [0, -1]]
    .map(([u, v]) => `M${x + u * inner} ${y + v * inner}L${x + u * outer} ${y + v * outer}`).join("");
  return s("g", { id: "center-marker", class: `center${isSelected ? " selected" : ""}`, "data-center": true },
    s("path", { d: arms }), s("circle", { cx: x, cy: y, r: 7 * pixel }),
    s("circle", { class: "target", cx: x, cy: y, r: 16 * pixel }));
}

export function renderMasks(masks, viewport, selection) {
  return masks.map(([left, top, right, bottom], index) => {
    const [x, y] = viewport.toSvg([left, top]), [u, v] = viewport.toSvg([right, bottom]);
    const isSelected = selection?.kind === "mask" && selection.id === index;
    return s("rect", {
      id: `mask-${index}`, class: `mask${isSelected ? " selected" : ""}`, "data-mask": index, x, y,
      width: Math.max(u - x, viewport.pixel), height: Math.max(v - y, viewport.pixel),
    });
  });
}

// Render the keyboard cursor and, if `corner` is set, the mask between the two.
export function renderCursor(cursor, corner, viewport) {
  const [x, y] = viewport.toSvg(cursor), r = 11 * viewport.pixel;
  const cross = s("path", { class: "cursor", d: `M${x - r} ${y}h${2 * r}M${x} ${y - r}v${2 * r}` });
  if (!corner) return [cross];
  const [[u, v], [p, q]] = [cursor, corner];
  const mask = [Math.min(u, p), Math.min(v, q), Math.max(u, p), Math.max(v, q)];
  return [...renderMasks([mask], viewport, null), cross];
}
