// Cell and atoms of a CIF of ours: every atom of a layer in P 1, c along the normal.

export function readCif(text) {
  const lines = text.split("\n").map((line) => line.trim());
  const number = (name) => parseFloat(lines.find((line) => line.startsWith(`${name} `)).slice(name.length));
  const a = number("_cell_length_a"), b = number("_cell_length_b"), c = number("_cell_length_c");
  const gamma = (number("_cell_angle_gamma") * Math.PI) / 180;
  const cell = [[a, 0], [b * Math.cos(gamma), b * Math.sin(gamma)]];
  return { cell, height: c, atoms: atomsOf(lines, cell, c) };
}

function atomsOf(lines, [[ax, ay], [bx, by]], c) {
  const first = lines.findIndex((line) => line.startsWith("_atom_site_"));
  const names = lines.slice(first).filter((line) => line.startsWith("_atom_site_"));
  const column = (name) => names.indexOf(`_atom_site_${name}`);
  const [type, x, y, z] = ["type_symbol", "fract_x", "fract_y", "fract_z"].map(column);
  return lines.slice(first + names.length).filter(Boolean).map((line) => {
    const words = line.split(/\s+/);
    const [u, v, w] = [x, y, z].map((each) => parseFloat(words[each]));
    const inside = [u - Math.floor(u + 1e-6), v - Math.floor(v + 1e-6)];
    return {
      symbol: words[type].replace(/[^A-Za-z]/g, ""),
      position: [inside[0] * ax + inside[1] * bx, inside[0] * ay + inside[1] * by, w * c],
    };
  });
}
