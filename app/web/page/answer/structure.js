// Renders a layer from the top and from the side: atoms as discs, bonds by covalent radii, one unit cell outlined.

import { s } from "../dom.js";

// Cells are repeated up to this number of atoms.
const MAX_ATOMS = 700;
// Limits of a bond's length: in sums of the covalent radii, and in Å.
const MAX_BOND_RADII = 1.2;
const MIN_BOND_ANGSTROM = 0.5;
// Radii of the discs, in covalent radii; that of an unknown element, in Å.
const DISC_RADII = 0.42;
const DEFAULT_RADIUS_ANGSTROM = 1.5;
const DEFAULT_COLOR = "#999";
const PX_PER_ANGSTROM = 22;

// Return both views as SVG, and the symbols of the elements in them.
export function renderStructure({ cif, formula }, elements) {
  const { cell, atoms } = parseCif(cif);
  const repeats = [3, 2, 1].find((each) => each * each * atoms.length <= MAX_ATOMS) ?? 1;
  const styled = atoms.map((atom) => ({ ...atom, ...getStyle(atom.symbol, elements) }));
  const repeated = repeatCell(styled, cell, repeats);
  const bonds = findBonds(repeated);
  const outline = outlineCell(cell, Math.floor(repeats / 2));
  const label = `${formula}, ${repeats} by ${repeats} cells`;
  return {
    symbols: [...new Set(atoms.map((atom) => atom.symbol))],
    top: renderView(`${label}, top view`, repeated, bonds, outline, ([x, y, z]) => [x, -y, z]),
    side: renderView(`${label}, side view along b`, repeated, bonds, [], createSideProjection(cell[1])),
  };
}

// Parse a CIF that the service wrote: all atoms of a layer in P 1, with c along the layer normal.
function parseCif(text) {
  const lines = text.split("\n").map((line) => line.trim());
  const read = (name) => parseFloat(lines.find((line) => line.startsWith(`${name} `)).slice(name.length));
  const a = read("_cell_length_a"), b = read("_cell_length_b"), c = read("_cell_length_c");
  const gamma = (read("_cell_angle_gamma") * Math.PI) / 180;
  const cell = [[a, 0], [b * Math.cos(gamma), b * Math.sin(gamma)]];
  return { cell, atoms: parseAtoms(lines, cell, c) };
}

function parseAtoms(lines, [[ax, ay], [bx, by]], c) {
  const first = lines.findIndex((line) => line.startsWith("_atom_site_"));
  const names = lines.slice(first).filter((line) => line.startsWith("_atom_site_"));
  const [type, x, y, z] = ["type_symbol", "fract_x", "fract_y", "fract_z"]
    .map((name) => names.indexOf(`_atom_site_${name}`));
  const wrap = (fraction) => fraction - Math.floor(fraction + 1e-6);
  return lines.slice(first + names.length).filter(Boolean).map((line) => {
    const words = line.split(/\s+/);
    const [u, v, w] = [x, y, z].map((column) => parseFloat(words[column]));
    return {
      symbol: words[type].replace(/[^A-Za-z]/g, ""),
      position: [wrap(u) * ax + wrap(v) * bx, wrap(u) * ay + wrap(v) * by, w * c],
    };
  });
}

function getStyle(symbol, elements) {
  const element = elements.get(symbol);
  return {
    radius: element?.radius ?? DEFAULT_RADIUS_ANGSTROM,
    color: element?.color ?? DEFAULT_COLOR,
    isMetal: element?.metal ?? false,
  };
}

function repeatCell(atoms, [a, b], count) {
  const places = [...Array(count).keys()];
  const cells = places.flatMap((v) => places.map((u) => [u, v]));
  return cells.flatMap(([u, v]) => atoms.map(({ position: [x, y, z], ...style }) => ({
    ...style, position: [x + u * a[0] + v * b[0], y + u * a[1] + v * b[1], z],
  })));
}

// Return the corners of the cell at this place in both directions.
function outlineCell([a, b], place) {
  const corners = [[0, 0], [1, 0], [1, 1], [0, 1]];
  return corners.map(([u, v]) => [0, 1].map((axis) => (u + place) * a[axis] + (v + place) * b[axis]).concat(0));
}

function findBonds(atoms) {
  const bonds = [];
  for (let first = 0; first < atoms.length; first += 1) {
    for (let second = first + 1; second < atoms.length; second += 1) {
      if (isBond(atoms[first], atoms[second])) bonds.push([first, second]);
    }
  }
  return bonds;
}

function isBond(one, other) {
  const [x, y, z] = one.position, [u, v, w] = other.position;
  const maxLength = MAX_BOND_RADII * (one.radius + other.radius);
  if (Math.abs(u - x) > maxLength || Math.abs(v - y) > maxLength) return false;
  const length = Math.hypot(u - x, v - y, w - z);
  // Bonds between metals are omitted: in a close packing they would join all neighbors.
  return length < maxLength && length > MIN_BOND_ANGSTROM && !(one.isMetal && other.isMetal);
}

// Project along b: across b in the plane, downward, and depth along b.
function createSideProjection([bx, by]) {
  const length = Math.hypot(bx, by), [u, v] = [bx / length, by / length];
  return ([x, y, z]) => [x * v - y * u, -z, -(x * u + y * v)];
}

// `project` takes a position to x, y and height above the plane of the drawing.
function renderView(label, atoms, bonds, outline, project) {
  const projected = atoms.map((atom) => ({ ...atom, place: project(atom.position) }));
  const corners = outline.map(project);
  const order = [...projected.keys()].sort((one, other) => projected[one].place[2] - projected[other].place[2]);
  const bondsOver = assignBonds(projected, bonds);
  return s("svg", {
    class: "structure", role: "img", "aria-label": label, xmlns: "http://www.w3.org/2000/svg",
    viewBox: computeViewBox([...projected.map(({ place }) => place), ...corners]),
  },
  ...order.flatMap((index) => [renderAtom(projected[index]), ...(bondsOver.get(index) ?? [])]),
  corners.length > 0 && s("path", { class: "cell", d: `M${corners.map(formatPoint).join("L")}z` }));
}

// Render each bond over the lower of its atoms.
function assignBonds(atoms, bonds) {
  const bondsOver = new Map();
  for (const [first, second] of bonds) {
    const lower = atoms[first].place[2] <= atoms[second].place[2] ? first : second;
    bondsOver.set(lower, [...(bondsOver.get(lower) ?? []), ...renderBond(atoms[first], atoms[second])]);
  }
  return bondsOver;
}

// Render each half of a bond in the color of its atom.
function renderBond(one, other) {
  const middle = [0, 1].map((axis) => (one.place[axis] + other.place[axis]) / 2);
  return [one, other].map(({ place, color }) =>
    s("path", { class: "bond", d: `M${formatPoint(place)}L${formatPoint(middle)}`, stroke: color }));
}

function renderAtom({ place: [x, y], radius, color }) {
  return s("circle", {
    class: "atom", cx: formatLength(x), cy: formatLength(y), r: formatLength(DISC_RADII * radius), fill: color,
  });
}

function computeViewBox(places) {
  const [left, top] = [0, 1].map((axis) => Math.min(...places.map((place) => place[axis])) - 1);
  const [right, bottom] = [0, 1].map((axis) => Math.max(...places.map((place) => place[axis])) + 1);
  return [left, top, right - left, bottom - top].map(formatLength).join(" ");
}

const formatLength = (angstrom) => (angstrom * PX_PER_ANGSTROM).toFixed(1);

const formatPoint = ([x, y]) => `${formatLength(x)} ${formatLength(y)}`;
