// Spot by spot: what was measured, what was computed.

import { h } from "./dom.js";
import { fixed, significant } from "./numbers.js";

const HEAD = ["h k", "", "d, Å", "I", "I computed"];
const SIGNS = { explained: "○", missing: "◇", extra: "×" };

export function spotTable(lines) {
  const table = h("table", {},
    h("thead", {}, h("tr", {}, ...HEAD.map((name) => h("th", { scope: "col" }, name || h("span", { class: "unseen" }, "Status"))))));
  table.append(h("tbody", {}, ...lines.map((line) => h("tr", { class: line.status },
    h("td", { class: "number" }, `${line.h} ${line.k}`),
    h("td", {}, h("span", { class: "sign", "aria-hidden": true }, SIGNS[line.status]), line.status),
    h("td", { class: "number" }, fixed(line.d_observed ?? line.d_calculated, 3)),
    h("td", { class: "number" }, significant(line.intensity_observed, 3)),
    h("td", { class: "number" }, significant(line.intensity_calculated, 3))))));
  return table;
}
