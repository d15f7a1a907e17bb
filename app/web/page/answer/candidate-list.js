// The verdict, the ranked candidates and the notes below them. Each candidate is a radio button, so that arrow keys
// select one.

import { byId, h, renderFormula } from "../dom.js";
import { formatFixed, formatPercent, formatUncertain } from "../format.js";
import { describeConfidenceSet, describeGroup, describeVerdict } from "../verdict.js";

export class CandidateList {
  #store;

  constructor(store) {
    this.#store = store;
    store.subscribe(["answer"], ({ answer }) => this.#show(answer));
    store.subscribe(["candidateIndex", "answer"], ({ candidateIndex }) => this.#check(candidateIndex));
  }

  #show(answer) {
    byId("verdict").hidden = byId("answer-notes").hidden = !answer;
    if (!answer) {
      byId("candidates").replaceChildren();
      return;
    }
    const { candidates, verdict } = answer, [title, explanation] = describeVerdict(answer);
    byId("verdict").dataset.verdict = candidates.length ? verdict ?? "none" : "no_match";
    byId("verdict").replaceChildren(h("strong", {}, title), h("span", {}, explanation));
    byId("candidates").replaceChildren(...groupCandidates(candidates).map((group) => this.#renderGroup(group)));
    byId("answer-notes").replaceChildren(...renderNotes(answer));
  }

  #renderGroup({ group, latticeNumber, members }) {
    const isEquivalent = members.length > 1 && group !== null;
    return h("li", { class: isEquivalent ? "group equivalent" : "group" },
      isEquivalent && h("p", { class: "group-title" }, describeGroup(latticeNumber)),
      ...members.map((candidate) => this.#renderCandidate(candidate)));
  }

  #renderCandidate(candidate) {
    const { rank, formula, probability, similarity, lattice_number: number } = candidate;
    const id = `candidate-${rank}`, index = rank - 1;
    const select = () => this.#store.set({ candidateIndex: index });
    const value = probability === null ? `similarity ${similarity.toFixed(3)}` : formatPercent(probability);
    return h("div", { class: "candidate" },
      h("input", { type: "radio", name: "candidate", id, value: index, onchange: select }),
      h("label", { for: id },
        h("span", { class: "rank" }, rank),
        h("span", { class: "formula" }, ...renderFormula(formula),
          number && h("span", { class: "lattice-number", title: `Explains lattice ${number} of the pattern` }, `lattice ${number}`)),
        h("span", { class: "probability" }, probability !== null && renderBar(probability),
          h("span", { class: "value" }, value)),
        h("span", { class: "small" }, summarizeCandidate(candidate))));
  }

  #check(index) {
    const radio = byId("candidates").querySelector(`input[value="${index}"]`);
    if (radio) radio.checked = true;
  }
}

function renderBar(probability) {
  const fill = h("span", { class: "fill" });
  fill.style.inlineSize = `${100 * probability}%`;
  return h("span", { class: "bar" }, fill);
}

function summarizeCandidate({ id, lattice, source, match }) {
  const cell = `a ${lattice.a.toFixed(3)}, b ${lattice.b.toFixed(3)} Å, γ ${lattice.gamma.toFixed(1)}°`;
  const fit = match ? `R ${formatFixed(match.r_factor, 3)}, tilt ${match.tilt_deg.toFixed(1)}°` : "not verified";
  return `${fit} · ${cell} · ${id.startsWith(source) ? id : `${source}, ${id}`}`;
}

// Collect neighbors of one equivalence group that explain the same lattice.
function groupCandidates(candidates) {
  const groups = [];
  for (const candidate of candidates) {
    const { equivalence_group: group, lattice_number: latticeNumber } = candidate;
    const last = groups.at(-1);
    const belongs = group !== null && last?.group === group && last.latticeNumber === latticeNumber;
    if (belongs) last.members.push(candidate);
    else groups.push({ group, latticeNumber, members: [candidate] });
  }
  return groups;
}

function renderNotes(answer) {
  const { confidence_set: set, next_measurement: measurement, query, provenance, timing_ms: timing } = answer;
  const crystals = provenance.crystals.toLocaleString("en");
  return [
    measurement && h("p", { class: "next-measurement" }, h("strong", {}, "Next measurement: "), measurement.advice),
    ...query.twists.filter((twist) => twist.twist_deg !== null)
      .map((twist) => h("p", { class: "twist" }, describeTwist(twist))),
    set && h("p", {}, describeConfidenceSet(set, sumProbabilities(answer))),
    ...query.warnings.map((text) => h("p", { class: "warning" }, ...renderCode(text))),
    h("p", { class: "small" },
      `${query.spots} spots compared with ${crystals} crystals in ${Math.round(timing.total)} ms.`),
  ].filter(Boolean);
}

function describeTwist({ lattice_numbers: [first, second], twist_deg: angle, twist_sigma_deg: sigma }) {
  return `Twist angle between lattices ${first} and ${second}: ${formatUncertain(angle, sigma, "°", 3)}.`;
}

// Candidates for one of several lattices have probabilities of their own.
const sumProbabilities = ({ candidates }) =>
  candidates.reduce((sum, { lattice_number: number, probability }) => sum + (number ? 0 : probability ?? 0), 0);

// Messages of the service put names between backticks.
const renderCode = (text) => text.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));
