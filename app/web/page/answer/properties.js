// Describes a candidate and a lattice in names and values with standard uncertainties.

import { formatFixed, formatPercent, formatUncertain } from "../format.js";

export function listProperties(candidate) {
  const { lattice, match, probability, same_as: duplicates } = candidate;
  const rows = [
    ["Probability", probability === null ? "–" : formatPercent(probability)],
    ["Elements", candidate.elements.join(", ")],
    ["Cell", `${lattice.a.toFixed(4)}, ${lattice.b.toFixed(4)} Å, ${lattice.gamma.toFixed(2)}°`],
    ["Layer group", String(candidate.layer_group)],
    ["Source", candidate.source],
    ["Similarity", candidate.similarity.toFixed(3)],
  ];
  if (duplicates.length) rows.push(["Duplicates", duplicates.join(", ")]);
  return match ? [...rows, ...listMatchProperties(match)] : rows;
}

const listMatchProperties = (match) => [
  ["R-factor", formatFixed(match.r_factor, 3)],
  ["Tilt", formatUncertain(match.tilt_deg, match.tilt_sigma_deg, "°", 2)],
  ["Rotation", formatUncertain(match.rotation_deg, match.rotation_sigma_deg, "°", 2)],
  ["Orientation", `${match.face_down ? "face down" : "face up"}${match.mirrored ? ", mirrored" : ""}`],
  ["Scale", match.scale === null
    ? `implied pixel size ${match.pixel_size} 1/Å` : formatUncertain(match.scale, match.scale_sigma)],
  ["Distortion", `${(100 * match.distortion).toFixed(2)} %`],
  ["B factor", match.b_factor === null ? "–" : formatUncertain(match.b_factor, match.b_factor_sigma, " Å²", 3)],
  ["Explained", formatPercent(match.explained)],
  ["Missing, extra", `${formatPercent(match.missing)}, ${formatPercent(match.extra)}`],
];

export function describeLattice(lattice) {
  const { bravais, a, b, gamma, b_over_a: ratio, a_sigma: aSigma, b_sigma: bSigma, gamma_sigma: gammaSigma } = lattice;
  const angle = `γ ${formatUncertain(gamma, gammaSigma, "°", 2)}`;
  if (a === null) return `${bravais}, b/a ${ratio.toFixed(4)}, ${angle}`;
  return `${bravais}, a ${formatUncertain(a, aSigma)}, b ${formatUncertain(b, bSigma, " Å")}, ${angle}`;
}
