// The selected candidate: its properties, its structure, its reflections, and the downloads.

import { post } from "../api.js";
import { announce, byId, downloadBlob, h, renderFormula } from "../dom.js";
import { buildPredictBody } from "../request.js";
import { listProperties } from "./properties.js";
import { renderReflectionTable } from "./reflection-table.js";
import { createReport } from "./report.js";
import { renderStructure } from "./structure.js";

export class CandidateDetails {
  #store;
  #elements;

  constructor(store, elements) {
    this.#store = store;
    this.#elements = elements;
    store.subscribe(["answer", "candidateIndex"], () => this.#show());
    byId("download-cif").addEventListener("click", () => this.#downloadCif());
    byId("download-zip").addEventListener("click", () => this.#downloadZip());
    byId("download-report").addEventListener("click", () => this.#downloadReport());
  }

  get #candidate() {
    const { answer, candidateIndex } = this.#store.state;
    return answer?.candidates[candidateIndex] ?? null;
  }

  #show() {
    const candidate = this.#candidate;
    byId("candidate").hidden = !candidate;
    if (!candidate) return;
    const { top, side, symbols } = renderStructure(candidate, this.#elements);
    byId("candidate-title").replaceChildren(...renderFormula(candidate.formula));
    byId("candidate-id").textContent = candidate.id;
    byId("candidate-properties").replaceChildren(...listProperties(candidate).flatMap(([name, value]) =>
      [h("dt", {}, name), h("dd", {}, value)]));
    byId("structure-top").replaceChildren(top);
    byId("structure-side").replaceChildren(side);
    byId("structure-legend").replaceChildren(...symbols.map((symbol) => this.#renderLegend(symbol)));
    const reflections = candidate.match?.reflections;
    byId("reflections").hidden = !reflections;
    byId("reflection-table").replaceChildren(reflections ? renderReflectionTable(reflections) : "");
    byId("reflection-count").textContent = reflections ? countReflections(reflections) : "";
  }

  #renderLegend(symbol) {
    const swatch = h("span", { class: "swatch" });
    swatch.style.backgroundColor = this.#elements.get(symbol)?.color ?? "#999";
    return h("li", {}, swatch, symbol);
  }

  #downloadCif() {
    downloadBlob(new Blob([this.#candidate.cif], { type: "chemical/x-cif" }), `${this.#createFileName()}.cif`);
    announce("CIF downloaded.");
  }

  async #downloadZip() {
    try {
      const response = await post("/predict", buildPredictBody(this.#store.state), { accept: "application/zip" });
      downloadBlob(await response.blob(), "candidates.zip");
      announce("ZIP file downloaded.");
    } catch (problem) {
      this.#store.set({ problem });
    }
  }

  async #downloadReport() {
    try {
      const report = await createReport(this.#store.state, this.#elements);
      downloadBlob(new Blob([report], { type: "text/html" }), `${this.#createFileName()}-report.html`);
      announce("Report downloaded.");
    } catch (error) {
      this.#store.set({ problem: { title: "Cannot create the report", message: error.message } });
    }
  }

  #createFileName() {
    const { formula, rank } = this.#candidate;
    const stem = this.#store.state.fileName.replace(/\.[^.]*$/, "").replace(/[^\w.-]+/g, "_").slice(0, 40);
    return `${stem ? `${stem}-` : ""}${rank}-${formula}`;
  }
}

function countReflections(reflections) {
  const count = (status) => reflections.filter((reflection) => reflection.status === status).length;
  return `${count("explained")} explained, ${count("missing")} missing, ${count("extra")} extra`;
}
