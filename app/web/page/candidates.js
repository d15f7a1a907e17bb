// The ranked candidates: one radio button each, so that arrow keys choose.

import { byId, formula, h } from "./dom.js";
import { fixed, percent, withError } from "./numbers.js";

const VERDICTS = {
  match: ["One crystal explains it", "It has a probability of at least 90 %."],
  ambiguous: ["Several crystals could have made it", "The pattern alone does not decide between them."],
  no_match: ["Likely none of these", "No crystal of the index explains the pattern well."],
};
const WITHOUT = ["Ranked by geometry", "Without intensities no probability can be told."];

export function verdictOf(answer) {
  if (!answer.candidates.length) return ["No candidate", "No crystal of the index meets what was said of elements and composition."];
  return VERDICTS[answer.verdict] ?? WITHOUT;
}

export class Candidates {
  #store;

  constructor(store) {
    this.#store = store;
    store.show(["answer"], (state) => this.#show(state));
    store.show(["chosen", "answer"], ({ chosen }) => this.#choose(chosen));
  }

  #show({ answer }) {
    byId("verdict").hidden = byId("after").hidden = !answer;
    if (!answer) {
      byId("candidates").replaceChildren();
      return;
    }
    const [title, told] = verdictOf(answer);
    byId("verdict").dataset.verdict = answer.candidates.length ? answer.verdict ?? "none" : "no_match";
    byId("verdict").replaceChildren(h("strong", {}, title), h("span", {}, told));
    byId("candidates").replaceChildren(...grouped(answer.candidates).map((group) => this.#group(group, answer)));
    byId("after").replaceChildren(...after(answer));
  }

  #group({ key, lattice, members }, answer) {
    const together = members.length > 1 && key !== null;
    const title = together ? `Hardly told apart by the pattern${lattice ? `, lattice ${lattice}` : ""}` : null;
    return h("li", { class: together ? "group together" : "group" },
      title && h("p", { class: "group-title" }, title),
      ...members.map((each) => this.#candidate(each, answer)));
  }

  #candidate(candidate, answer) {
    const { rank, probability, match, similarity, lattice_number: lattice, in_confidence_set: inSet } = candidate;
    const id = `candidate-${rank}`;
    const bar = h("span", { class: "bar" }, h("span", { class: "fill" }));
    bar.firstChild.style.inlineSize = `${100 * (probability ?? 0)}%`;
    const value = probability === null ? `similarity ${similarity.toFixed(3)}` : percent(probability);
    return h("div", { class: `candidate${inSet ? " in-set" : ""}` },
      h("input", {
        type: "radio", name: "candidate", id, value: rank - 1,
        onchange: () => this.#store.set({ chosen: rank - 1 }),
      }),
      h("label", { for: id },
        h("span", { class: "rank" }, rank),
        h("span", { class: "formula" }, ...formula(candidate.formula),
          lattice && h("span", { class: "lattice-number", title: `Explains lattice ${lattice} of the pattern` }, `lattice ${lattice}`)),
        h("span", { class: "probability" }, probability !== null && bar, h("span", { class: "value" }, value)),
        h("span", { class: "small" }, told(candidate, match, answer))));
  }

  #choose(chosen) {
    const radio = byId("candidates").querySelector(`input[value="${chosen}"]`);
    if (radio) radio.checked = true;
  }
}

function told({ id, lattice, source }, match) {
  const cell = `a ${lattice.a.toFixed(3)}, b ${lattice.b.toFixed(3)} Å, γ ${lattice.gamma.toFixed(1)}°`;
  const fit = match ? `R ${fixed(match.r_factor, 3)}, tilt ${match.tilt_deg.toFixed(1)}°` : "not compared spot by spot";
  return `${fit} · ${cell} · ${id.startsWith(source) ? id : `${source}, ${id}`}`;
}

// Neighbors of the same equivalence group, within a lattice.
export function grouped(candidates) {
  const groups = [];
  for (const each of candidates) {
    const last = groups.at(-1);
    if (last && last.key !== null && last.key === each.equivalence_group && last.lattice === each.lattice_number) last.members.push(each);
    else groups.push({ key: each.equivalence_group, lattice: each.lattice_number, members: [each] });
  }
  return groups;
}

// Names of the interface stand between backticks.
const coded = (text) => text.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));

function after({ confidence_set: set, next_measurement: measurement, query, candidates, provenance, timing_ms: timing }) {
  const sum = candidates.reduce((total, each) => total + (each.lattice_number ? 0 : each.probability ?? 0), 0);
  return [
    measurement && h("p", { class: "next" }, h("strong", {}, "Measure next. "), measurement.advice),
    ...query.twists.filter((twist) => twist.twist_deg !== null).map((twist) => h("p", { class: "twist" },
      h("strong", {}, "Two lattices. "), `Twisted by ${withError(twist.twist_deg, twist.twist_sigma_deg, "°", 3)}.`)),
    set && h("p", {}, `The first ${set.size === 1 ? "one holds" : `${set.size} hold`} the crystal in `
      + `${Math.round(100 * set.coverage)} of 100 cases, if it is in the index.`
      + (sum > 0 && sum < 0.995 ? ` Probability of none of those listed: ${percent(1 - sum)}.` : "")),
    ...query.warnings.map((text) => h("p", { class: "warning" }, ...coded(text))),
    h("p", { class: "small" }, `${query.spots} spots among ${provenance.crystals.toLocaleString("en")} crystals `
      + `in ${Math.round(timing.total)} ms.`),
  ].filter(Boolean);
}
