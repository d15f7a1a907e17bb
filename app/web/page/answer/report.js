// Creates the report: one HTML file for the records, without scripts and without links to other files.

import { byId, h, readDataUri, renderFormula } from "../dom.js";
import { formatPercent, formatSignificant, formatTime } from "../format.js";
import { listUsedSpots } from "../pattern/edited-pattern.js";
import { listMarked } from "../periodic-table.js";
import { describeVerdict } from "../verdict.js";
import { describeLattice, listProperties } from "./properties.js";
import { renderReflectionTable } from "./reflection-table.js";
import { renderStructure } from "./structure.js";

const INTERACTIVE_ATTRIBUTES = ["tabindex", "role", "aria-activedescendant", "aria-describedby", "data-tool"];
const STYLE_SHEETS = ["/static/figures.css", "/static/report.css"];

export async function createReport(state, elements) {
  const { answer, candidateIndex, fileName } = state;
  const candidate = answer.candidates[candidateIndex];
  const body = h("main", {},
    h("header", {}, h("h1", {}, "Crystal identification report"),
      h("p", {}, `${fileName}, ${formatTime(answer.at)}`)),
    ...renderVerdict(answer),
    h("figure", {}, await copyPatternView(state.picture), h("figcaption", {},
      `The pattern with the reflections of ${candidate.formula} (${candidate.id}). Rings: measured spots. `
      + "Small circles: explained reflections. Diamonds: missing reflections. Crosses: extra spots.")),
    h("h2", {}, "Candidates"), renderCandidateTable(answer.candidates, candidateIndex),
    ...renderCandidate(candidate, elements),
    h("h2", {}, "Pattern and settings"), renderList(listSettings(state)),
    answer.query.warnings.length > 0 && h("ul", {}, ...answer.query.warnings.map((text) => h("li", {}, text))),
    ...renderReflections(candidate.match?.reflections),
    h("h2", {}, "CIF"), h("pre", {}, candidate.cif),
    h("h2", {}, "Provenance"), renderList(listProvenance(answer)));
  const title = h("title", {}, `${fileName}: ${candidate.formula}`);
  const style = h("style", {}, (await Promise.all(STYLE_SHEETS.map(loadText))).join(""));
  return `<!doctype html>\n<html lang="en"><head><meta charset="utf-8">`
    + `<meta name="viewport" content="width=device-width, initial-scale=1">`
    + `${title.outerHTML}${style.outerHTML}</head><body>${body.outerHTML}</body></html>\n`;
}

const loadText = async (path) => (await fetch(path)).text();

function renderVerdict(answer) {
  const [title, explanation] = describeVerdict(answer);
  const measurement = answer.next_measurement;
  return [
    h("p", { class: "verdict" }, h("strong", {}, title), ` ${explanation}`),
    answer.caveat && h("p", {}, answer.caveat),
    measurement && h("p", {}, `Next measurement: ${measurement.advice}`),
  ];
}

function renderCandidate(candidate, elements) {
  const { top, side } = renderStructure(candidate, elements);
  return [
    h("h2", {}, "Selected candidate: ", ...renderFormula(candidate.formula)),
    renderList(listProperties(candidate)),
    h("div", { class: "views" }, h("figure", {}, top, h("figcaption", {}, "Top view")),
      h("figure", {}, side, h("figcaption", {}, "Side view along b"))),
  ];
}

function renderReflections(reflections) {
  return reflections ? [h("h2", {}, "Reflections"), renderReflectionTable(reflections)] : [];
}

// Copy the pattern as displayed, with the picture of the frame embedded.
async function copyPatternView(picture) {
  const svg = byId("pattern-view").cloneNode(true);
  for (const name of INTERACTIVE_ATTRIBUTES) svg.removeAttribute(name);
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  for (const node of svg.querySelectorAll(".target, .overlay-cursor")) node.remove();
  for (const node of svg.querySelectorAll("[id]")) {
    for (const name of ["id", "role", "aria-label"]) node.removeAttribute(name);
  }
  const image = svg.querySelector("image");
  if (image) {
    image.removeAttribute("style");
    image.setAttribute("href", await readDataUri(picture));
  }
  return svg;
}

function renderCandidateTable(candidates, selectedIndex) {
  const names = ["Rank", "Formula", "Probability", "Group", "R", "Tilt", "Layer group", "Id"];
  return h("table", {},
    h("thead", {}, h("tr", {}, ...names.map((name) => h("th", {}, name)))),
    h("tbody", {}, ...candidates.map((candidate, index) => h("tr", { class: index === selectedIndex && "selected" },
      ...listCells(candidate).map((cell) => h("td", {}, ...[cell].flat()))))));
}

function listCells(candidate) {
  const { rank, formula, probability, match, id, layer_group: layerGroup } = candidate;
  const { equivalence_group: group, lattice_number: number } = candidate;
  return [
    String(rank), renderFormula(formula), probability === null ? "–" : formatPercent(probability),
    `${group ?? "–"}${number ? `, lattice ${number}` : ""}`, formatSignificant(match?.r_factor, 3),
    match ? `${match.tilt_deg.toFixed(1)}°` : "–", String(layerGroup), id,
  ];
}

function listSettings({ answer: { query }, pattern, elementMarks, onlyMarked, composition, inspection, readOptions }) {
  const { frame } = inspection, { spots, masks, lattice, inPixels } = pattern;
  const list = (mark) => listMarked(elementMarks, mark).join(", ") || "–";
  const removed = spots.filter((spot) => spot.removed).length;
  const added = spots.filter((spot) => spot.added && !spot.removed).length;
  const edits = `${removed} removed, ${added} added, ${masks.length} masks`;
  return [
    ["Frame", frame ? `${frame.width} × ${frame.height}, ${frame.format}` : "none (list of points)"],
    ["Spots", `${listUsedSpots(pattern).length} used; edited by hand: ${edits}`],
    ["Center", query.center ? `${query.center.map((each) => each.toFixed(2)).join(", ")} px` : "origin"],
    ["Pixel size", describePixelSize(query, inPixels)],
    ["Voltage", `${query.voltage_kv} kV`],
    ["Lattice", query.lattice ? `${describeLattice(query.lattice)}${lattice ? ", picked by hand" : ""}` : "not found"],
    ["Elements present", `${list("present")}${onlyMarked ? " and no others" : ""}`],
    ["Elements absent", list("absent")],
    ...(composition ? [["Composition", composition]] : []),
    ...Object.entries(readOptions).map(([name, value]) => [name, String(value)]),
  ];
}

function describePixelSize({ pixel_size: size, calibration }, inPixels) {
  if (!inPixels) return "none (positions in 1/Å)";
  return size ? `${size} 1/Å (from ${calibration})` : "unknown";
}

const listProvenance = ({ provenance, request_id: id, at }) => [
  ["Time", new Date(at).toISOString()], ["Request", id], ["Software", `dd2d-server ${provenance.version}`],
  ["Model", provenance.model], ["Index", `${provenance.index}, ${provenance.crystals} crystals`],
];

const renderList = (rows) => h("dl", {}, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
