// One HTML page to file with the experiment: nothing in it is fetched from anywhere, and nothing runs.

import { verdictOf } from "./candidates.js";
import { byId, dataUri, formula, h } from "./dom.js";
import { factsOf, latticeTold } from "./facts.js";
import { moment, percent, significant } from "./numbers.js";
import { kept } from "./pattern.js";
import { spotTable } from "./spot_table.js";
import { structureViews } from "./structure.js";

export async function reportOf(state, elements) {
  const { answer, chosen, name } = state;
  const candidate = answer.candidates[chosen];
  const style = await textOf("/static/drawing.css") + await textOf("/static/report.css");
  const { top, side } = structureViews(candidate, elements);
  const body = h("main", {},
    h("header", {}, h("h1", {}, "Which two-dimensional crystal is it?"),
      h("p", {}, `${name}, ${moment(answer.at)}`)),
    h("p", { class: "verdict" }, h("strong", {}, verdictOf(answer)[0]), ` ${verdictOf(answer)[1]}`),
    answer.caveat && h("p", {}, answer.caveat),
    answer.next_measurement && h("p", {}, `Measure next: ${answer.next_measurement.advice}`),
    h("figure", {}, await patternOf(state), h("figcaption", {},
      `The pattern with ${formulaText(candidate)} laid over it: rings are spots, small circles beams of the candidate, `
      + "diamonds beams that are missing, crosses spots without a beam.")),
    h("h2", {}, "Candidates"), candidatesOf(answer, chosen),
    h("h2", {}, "The candidate shown: ", ...formula(candidate.formula)),
    list(factsOf(candidate)),
    h("div", { class: "views" }, h("figure", {}, top, h("figcaption", {}, "From above")),
      h("figure", {}, side, h("figcaption", {}, "From the side, along b"))),
    h("h2", {}, "The pattern as it was understood"), list(settingsOf(state)),
    answer.query.warnings.length > 0 && h("ul", {}, ...answer.query.warnings.map((each) => h("li", {}, each))),
    candidate.match?.reflections && h("h2", {}, "Spot by spot"),
    candidate.match?.reflections && spotTable(candidate.match.reflections),
    h("h2", {}, "CIF"), h("pre", {}, candidate.cif),
    h("h2", {}, "Where this comes from"), list(provenanceOf(answer)));
  const title = h("title", {}, `${name}: ${candidate.formula}`);
  const sheet = h("style", {}, style);
  return `<!doctype html>\n<html lang="en"><head><meta charset="utf-8">`
    + `<meta name="viewport" content="width=device-width, initial-scale=1">`
    + `${title.outerHTML}${sheet.outerHTML}</head><body>${body.outerHTML}</body></html>\n`;
}

const textOf = async (path) => (await fetch(path)).text();

const formulaText = ({ formula: text, id }) => `${text} (${id})`;

// As it is on the page, with the frame inside.
async function patternOf({ picture }) {
  const copy = byId("frame").cloneNode(true);
  for (const name of ["tabindex", "role", "aria-activedescendant", "aria-describedby", "data-tool"]) copy.removeAttribute(name);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  for (const each of copy.querySelectorAll(".hit, .layer-cursor")) each.remove();
  for (const each of copy.querySelectorAll("[id]")) {
    for (const name of ["id", "role", "aria-label"]) each.removeAttribute(name);
  }
  const image = copy.querySelector("image");
  if (image) {
    image.removeAttribute("style");
    image.setAttribute("href", await dataUri(picture));
  }
  return copy;
}

function candidatesOf({ candidates }, chosen) {
  const row = (cells, kind) => h("tr", {}, ...cells.map((each) => h(kind, {}, ...[each].flat())));
  return h("table", {},
    h("thead", {}, row(["Rank", "Formula", "Probability", "Group", "R", "Tilt", "Layer group", "Id"], "th")),
    h("tbody", {}, ...candidates.map((each, index) => {
      const { rank, probability, equivalence_group: group, lattice_number: lattice, match, id, layer_group: layerGroup } = each;
      const made = row([
        String(rank), formula(each.formula), probability === null ? "–" : percent(probability),
        `${group ?? "–"}${lattice ? `, lattice ${lattice}` : ""}`, significant(match?.r_factor, 3),
        match ? `${match.tilt_deg.toFixed(1)}°` : "–", String(layerGroup), id,
      ], "td");
      if (index === chosen) made.className = "chosen";
      return made;
    })));
}

function settingsOf({ answer, edits, marks, only, composition, inspection, reading }) {
  const { query } = answer;
  const those = (state) => [...marks].filter(([, each]) => each === state).map(([symbol]) => symbol).join(", ") || "–";
  const removed = edits.spots.filter((spot) => spot.removed).length;
  const added = edits.spots.filter((spot) => spot.added && !spot.removed).length;
  return [
    ["Frame", inspection.frame ? `${inspection.frame.width} × ${inspection.frame.height}, ${inspection.frame.format}` : "points"],
    ["Spots", `${kept(edits).length} used; by hand ${removed} removed, ${added} added, ${edits.masks.length} masks`],
    ["Centre", query.center ? `${query.center.map((each) => each.toFixed(2)).join(", ")} pixels` : "the origin"],
    ["Pixel", query.pixel_size ? `${query.pixel_size} 1/Å (${query.calibration})` : `no pixels or unknown (${query.calibration})`],
    ["Voltage", `${query.voltage_kv} kV`],
    ["Lattice", query.lattice ? `${latticeTold(query.lattice)}${edits.lattice ? ", picked by hand" : ""}` : "none"],
    ["Elements present", `${those("present")}${only ? " and no others" : ""}`],
    ["Elements absent", those("absent")],
    ...(composition ? [["Composition", composition]] : []),
    ...Object.entries(reading).map(([name, value]) => [name, String(value)]),
  ];
}

const provenanceOf = ({ provenance, request_id: id, at }) => [
  ["Time", new Date(at).toISOString()], ["Request", id], ["Software", `dd2d-server ${provenance.version}`],
  ["Model", provenance.model], ["Index", `${provenance.index}, ${provenance.crystals} crystals`],
];

const list = (rows) => h("dl", {}, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
