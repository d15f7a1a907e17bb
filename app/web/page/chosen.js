// The chosen candidate: what it is, how it lies, its structure, its spots, and what can be taken home.

import { post } from "./api.js";
import { byId, formula, h, save, say } from "./dom.js";
import { factsOf } from "./facts.js";
import { predictBody } from "./request.js";
import { reportOf } from "./report.js";
import { structureViews } from "./structure.js";
import { spotTable } from "./spot_table.js";

export class Chosen {
  #store;
  #elements;

  constructor(store, elements) {
    this.#store = store;
    this.#elements = elements;
    store.show(["answer", "chosen"], (state) => this.#show(state));
    byId("download-cif").addEventListener("click", () => this.#cif());
    byId("download-zip").addEventListener("click", () => this.#zip());
    byId("download-report").addEventListener("click", () => this.#report());
  }

  get #candidate() {
    const { answer, chosen } = this.#store.state;
    return answer?.candidates[chosen] ?? null;
  }

  #show() {
    const candidate = this.#candidate;
    byId("chosen").hidden = !candidate;
    if (!candidate) return;
    const { top, side, symbols } = structureViews(candidate, this.#elements);
    byId("chosen-title").replaceChildren(...formula(candidate.formula));
    byId("chosen-id").textContent = candidate.id;
    byId("chosen-facts").replaceChildren(...factsOf(candidate).flatMap(([name, value]) =>
      [h("dt", {}, name), h("dd", {}, value)]));
    byId("structure-top").replaceChildren(top);
    byId("structure-side").replaceChildren(side);
    byId("structure-legend").replaceChildren(...symbols.map((symbol) => this.#legend(symbol)));
    const lines = candidate.match?.reflections;
    byId("spot-lines").hidden = !lines;
    byId("spot-table").replaceChildren(lines ? spotTable(lines) : "");
    byId("spot-count").textContent = lines ? counted(lines) : "";
  }

  #legend(symbol) {
    const swatch = h("span", { class: "swatch" });
    swatch.style.backgroundColor = this.#elements.get(symbol)?.colour ?? "#999";
    return h("li", {}, swatch, symbol);
  }

  #cif() {
    const { cif } = this.#candidate;
    save(new Blob([cif], { type: "chemical/x-cif" }), `${this.#name()}.cif`);
    say("CIF downloaded.");
  }

  async #zip() {
    try {
      const response = await post("/predict", predictBody(this.#store.state), { accept: "application/zip" });
      save(await response.blob(), "candidates.zip");
      say("Zip downloaded.");
    } catch (problem) {
      this.#store.set({ problem });
    }
  }

  async #report() {
    try {
      const page = await reportOf(this.#store.state, this.#elements);
      save(new Blob([page], { type: "text/html" }), `${this.#name()}-report.html`);
      say("Report downloaded.");
    } catch (error) {
      this.#store.set({ problem: { title: "No report", message: `It could not be made: ${error.message}` } });
    }
  }

  #name() {
    const { formula: text, rank } = this.#candidate;
    const stem = this.#store.state.name.replace(/\.[^.]*$/, "").replace(/[^\w.-]+/g, "_").slice(0, 40);
    return `${stem ? `${stem}-` : ""}${rank}-${text}`;
  }
}

const counted = (lines) => {
  const count = (status) => lines.filter((line) => line.status === status).length;
  return `${count("explained")} explained, ${count("missing")} missing, ${count("extra")} extra`;
};
