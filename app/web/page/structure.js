// A layer seen from above and from the side: atoms as discs, bonds where covalent radii say so, one cell outlined.

import { s } from "./dom.js";
import { readCif } from "./cif.js";

// Atoms drawn at most, so that large cells are repeated less.
const MOST_ATOMS = 700;
const BOND = 1.2;
const SHORTEST_BOND = 0.5;
const RADIUS = 0.42;
const PIXELS_PER_ANGSTROM = 22;

export function structureViews(candidate, elements) {
  const { cell, atoms } = readCif(candidate.cif);
  const repeat = [3, 2, 1].find((each) => each * each * atoms.length <= MOST_ATOMS) ?? 1;
  const shown = repeated(atoms, cell, repeat);
  const bonds = bondsOf(shown, elements);
  const symbols = [...new Set(atoms.map((atom) => atom.symbol))];
  const middle = Math.floor(repeat / 2);
  const corner = ([u, v]) => [0, 1].map((axis) => (u + middle) * cell[0][axis] + (v + middle) * cell[1][axis]).concat(0);
  const outline = [[0, 0], [1, 0], [1, 1], [0, 1]].map(corner);
  const named = `${candidate.formula}, ${repeat} by ${repeat} cells`;
  return {
    symbols,
    top: view(`${named}, from above`, shown, bonds, elements, outline, ([x, y, z]) => [x, -y, z]),
    side: view(`${named}, from the side along b`, shown, bonds, elements, null, along(cell[1])),
  };
}

// Across b in the plane, upward, and how near along b.
function along([bx, by]) {
  const length = Math.hypot(bx, by), [u, v] = [bx / length, by / length];
  return ([x, y, z]) => [x * v - y * u, -z, -(x * u + y * v)];
}

function repeated(atoms, [a, b], count) {
  const cells = Array.from({ length: count * count }, (_, each) => [each % count, Math.floor(each / count)]);
  return cells.flatMap(([u, v]) => atoms.map(({ symbol, position: [x, y, z] }) => ({
    symbol, position: [x + u * a[0] + v * b[0], y + u * a[1] + v * b[1], z],
  })));
}

function bondsOf(atoms, elements) {
  const radius = atoms.map(({ symbol }) => elements.get(symbol)?.radius ?? 1.5);
  const bonds = [];
  for (let one = 0; one < atoms.length; one += 1) {
    const [x, y, z] = atoms[one].position;
    for (let other = one + 1; other < atoms.length; other += 1) {
      const [u, v, w] = atoms[other].position;
      const longest = BOND * (radius[one] + radius[other]);
      if (Math.abs(u - x) > longest || Math.abs(v - y) > longest) continue;
      const length = Math.hypot(u - x, v - y, w - z);
      if (length < longest && length > SHORTEST_BOND && !metals(atoms[one], atoms[other], elements)) bonds.push([one, other]);
    }
  }
  return bonds;
}

// Between metals a line would be drawn to every neighbour of a close packing, which tells nothing.
const metals = (one, other, elements) => elements.get(one.symbol)?.metal && elements.get(other.symbol)?.metal;

function view(title, atoms, bonds, elements, outline, projected) {
  const seen = atoms.map(({ symbol, position }) => ({ symbol, at: projected(position) }));
  const corners = outline?.map(projected) ?? [];
  const all = [...seen.map(({ at }) => at), ...corners];
  const extent = (axis) => all.map((at) => at[axis]);
  const [left, right] = [Math.min(...extent(0)) - 1, Math.max(...extent(0)) + 1];
  const [top, bottom] = [Math.min(...extent(1)) - 1, Math.max(...extent(1)) + 1];
  const scale = PIXELS_PER_ANGSTROM, number = (value) => (value * scale).toFixed(1);
  const depth = [...seen.keys()].sort((one, other) => seen[one].at[2] - seen[other].at[2]);
  const line = ([one, other]) => {
    const [x, y] = seen[one].at, [u, v] = seen[other].at, middle = [(x + u) / 2, (y + v) / 2];
    return [half([x, y], middle, seen[one].symbol), half([u, v], middle, seen[other].symbol)];
  };
  const half = ([x, y], [u, v], symbol) => s("path", {
    class: "bond", d: `M${number(x)} ${number(y)}L${number(u)} ${number(v)}`, stroke: elements.get(symbol)?.colour ?? "#999",
  });
  const disc = ({ symbol, at: [x, y] }) => s("circle", {
    class: "atom", cx: number(x), cy: number(y), r: number(RADIUS * (elements.get(symbol)?.radius ?? 1.5)),
    fill: elements.get(symbol)?.colour ?? "#999",
  });
  // A bond lies over the farther of its atoms.
  const over = new Map();
  for (const bond of bonds) {
    const [one, other] = bond;
    const far = seen[one].at[2] <= seen[other].at[2] ? one : other;
    over.set(far, [...(over.get(far) ?? []), ...line(bond)]);
  }
  return s("svg", {
    class: "structure", role: "img", "aria-label": title, xmlns: "http://www.w3.org/2000/svg",
    viewBox: [left, top, right - left, bottom - top].map((value) => number(value)).join(" "),
  },
  ...depth.flatMap((each) => [disc(seen[each]), ...(over.get(each) ?? [])]),
  corners.length > 0 && s("path", { class: "cell", d: `M${corners.map(([x, y]) => `${number(x)} ${number(y)}`).join("L")}z` }));
}
