// What is known of a candidate and of a lattice, in words and with its errors.

import { fixed, percent, withError } from "./numbers.js";

export function factsOf({ source, layer_group: group, lattice, similarity, match, same_as: sameAs, elements, probability }) {
  const rows = [
    ["Probability", probability === null ? "–" : percent(probability)],
    ["Elements", elements.join(", ")],
    ["Cell", `${lattice.a.toFixed(4)}, ${lattice.b.toFixed(4)} Å, ${lattice.gamma.toFixed(2)}°`],
    ["Layer group", String(group)],
    ["Source", source],
    ["Similarity", similarity.toFixed(3)],
  ];
  if (sameAs.length) rows.push(["The same as", sameAs.join(", ")]);
  return match ? [...rows, ...fitOf(match)] : rows;
}

const fitOf = (match) => [
  ["R-factor", fixed(match.r_factor, 3)],
  ["Tilt", withError(match.tilt_deg, match.tilt_sigma_deg, "°", 2)],
  ["Rotation", withError(match.rotation_deg, match.rotation_sigma_deg, "°", 2)],
  ["Lies", [match.face_down ? "face down" : "face up", match.mirrored ? "mirrored" : ""].filter(Boolean).join(", ")],
  ["Scale", match.scale === null ? `implies ${match.pixel_size} 1/Å a pixel` : withError(match.scale, match.scale_sigma)],
  ["Distortion", `${(100 * match.distortion).toFixed(2)} %`],
  ["B factor", match.b_factor === null ? "–" : withError(match.b_factor, match.b_factor_sigma, " Å²", 3)],
  ["Explained", percent(match.explained)],
  ["Missing, extra", `${percent(match.missing)}, ${percent(match.extra)}`],
];

export function latticeTold({ bravais, a, b, gamma, b_over_a: ratio, a_sigma: aSigma, b_sigma: bSigma, gamma_sigma: gammaSigma }) {
  const angle = `γ ${withError(gamma, gammaSigma, "°", 2)}`;
  if (a === null) return `${bravais}, b/a ${ratio.toFixed(4)}, ${angle}`;
  return `${bravais}, a ${withError(a, aSigma)}, b ${withError(b, bSigma, " Å")}, ${angle}`;
}
