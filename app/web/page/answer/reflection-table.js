// The table of reflections and extra spots: measured and computed values side by side.

import { h } from "../dom.js";
import { formatFixed, formatSignificant } from "../format.js";

const COLUMNS = ["h k", "Status", "d, Å", "I obs", "I calc"];
const SIGNS = { explained: "○", missing: "◇", extra: "×" };

export function renderReflectionTable(reflections) {
  return h("table", {},
    h("thead", {}, h("tr", {}, ...COLUMNS.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, ...reflections.map(renderRow)));
}

function renderRow(reflection) {
  const { status, h: indexH, k: indexK, d_observed: observed, d_calculated: calculated } = reflection;
  const numbers = [
    formatFixed(observed ?? calculated, 3),
    formatSignificant(reflection.intensity_observed, 3),
    formatSignificant(reflection.intensity_calculated, 3),
  ];
  return h("tr", { class: status },
    h("td", { class: "number" }, `${indexH} ${indexK}`),
    h("td", {}, h("span", { class: "sign", "aria-hidden": true }, SIGNS[status]), " ", status),
    ...numbers.map((number) => h("td", { class: "number" }, number)));
}
