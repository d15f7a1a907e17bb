// The fields below the pattern: selected spot, center, pixel size, voltage, and how the file is read.

import { describeLattice } from "../answer/properties.js";
import { byId, h } from "../dom.js";
import { formatSignificant } from "../format.js";
import { listUsedSpots, setCenter, setLattice, setSpotIntensity } from "./edited-pattern.js";
import { describeSelection, findSelectedSpot, removeSelection } from "./selection.js";

export class CorrectionForm {
  #store;
  #session;

  constructor(store, session) {
    this.#store = store;
    this.#session = session;
    for (const name of ["pixel_size", "voltage_kv", "effort"]) {
      byId(name).addEventListener("change", ({ target }) => this.#setSetting(name, target.value.trim()));
    }
    byId("units").addEventListener("change", ({ target }) => this.#setReadOption("units", target.value));
    byId("frame-number").addEventListener("change", ({ target }) => this.#setReadOption("frame", target.value.trim()));
    for (const axis of [0, 1]) {
      byId(`center-${"xy"[axis]}`).addEventListener("change", ({ target }) => this.#setCenter(axis, target.value));
    }
    byId("remove-selection").addEventListener("click", () => removeSelection(store.state, session));
    byId("discard-edits").addEventListener("click", () => session.discardEdits());
    byId("reset-lattice").addEventListener("click", () => session.edit(setLattice(store.state.pattern, null)));
    byId("intensity").addEventListener("change", ({ target }) => this.#setIntensity(target.value));
    store.subscribe(["inspection", "answer", "pattern", "settings", "readOptions"], (state) => this.#show(state));
    store.subscribe(["selection", "pattern", "answer"], (state) => this.#showSelection(state));
  }

  #setSetting(name, value) {
    this.#store.set({ settings: { ...this.#store.state.settings, [name]: value } });
    this.#session.scheduleAnswer();
  }

  // The file has to be read again.
  #setReadOption(name, value) {
    const { file, readOptions } = this.#store.state;
    if (!file) return;
    const { [name]: _, ...others } = readOptions;
    this.#session.open(file, value ? { ...others, [name]: value } : others);
  }

  #setCenter(axis, text) {
    const { pattern } = this.#store.state, value = Number(text);
    if (!pattern || text.trim() === "" || !Number.isFinite(value)) return;
    this.#session.edit(setCenter(pattern, pattern.center.map((each, index) => (index === axis ? value : each))));
  }

  #setIntensity(text) {
    const { pattern, selection } = this.#store.state, value = Number(text);
    if (selection?.kind !== "spot" || !(value > 0)) return;
    this.#session.edit(setSpotIntensity(pattern, selection.id, value));
    this.#store.set({ selection });
  }

  #show({ inspection, answer, pattern, settings, readOptions, file }) {
    byId("corrections").disabled = !inspection;
    if (!inspection) return;
    const { query } = answer ?? inspection, { inPixels, center } = pattern;
    byId("center-x").value = center[0].toFixed(inPixels ? 2 : 4);
    byId("center-y").value = center[1].toFixed(inPixels ? 2 : 4);
    byId("pixel_size").value = settings.pixel_size ?? "";
    byId("pixel_size").placeholder = query.pixel_size ? formatSignificant(query.pixel_size, 5) : "unknown";
    byId("pixel_size").parentElement.hidden = !inPixels;
    byId("voltage_kv").value = settings.voltage_kv ?? "";
    byId("voltage_kv").placeholder = formatSignificant(query.voltage_kv);
    byId("effort").value = settings.effort ?? "";
    byId("units").value = readOptions.units ?? "";
    byId("units").parentElement.hidden = Boolean(inspection.frame) || !file;
    byId("frame-number").value = readOptions.frame ?? "";
    byId("frame-number").parentElement.hidden = !inspection.frame || !file;
    byId("discard-edits").hidden = !pattern.edited && !pattern.lattice && !pattern.masks.length;
    byId("reset-lattice").hidden = pattern.lattice === null;
    byId("pattern-properties").replaceChildren(...renderProperties(inspection, query, pattern, settings));
  }

  #showSelection(state) {
    const { selection, inspection } = state, spot = findSelectedSpot(state), isMask = selection?.kind === "mask";
    byId("selection").textContent = selection && inspection ? describeSelection(state) : "Nothing selected.";
    byId("remove-selection").hidden = !spot && !isMask;
    byId("remove-selection").textContent = spot?.removed ? "Restore spot" : isMask ? "Remove mask" : "Remove spot";
    const canSetIntensity = spot?.added && spot.intensity !== null;
    byId("intensity-field").hidden = !canSetIntensity;
    if (canSetIntensity) byId("intensity").value = formatSignificant(spot.intensity);
  }
}

function renderProperties(inspection, query, pattern, settings) {
  const used = listUsedSpots(pattern).length, total = pattern.spots.length;
  const { frame, query: { quality } } = inspection;
  const rows = [
    ["Spots", used === total ? `${used}` : `${used} of ${total}`],
    ["Scale", describeScale(query, inspection, pattern, settings)],
    ["Lattice", query.lattice ? describeLattice(query.lattice) : "not found"],
    ["Quality", quality.grade ?? query.quality.grade ?? "–"],
  ];
  if (frame) rows.push(["Frame", `${frame.width} × ${frame.height}, ${frame.format}`]);
  if (quality.advice.length) {
    rows.push(["Advice", h("ul", { class: "advice" }, ...quality.advice.map((text) => h("li", {}, text)))]);
  }
  return rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
}

// Edited spots are sent with the scale of the file, so the answer states it as the client's.
function describeScale(query, inspection, { inPixels }, settings) {
  if (!inPixels) return "positions in 1/Å";
  if (!query.pixel_size) return "unknown; all lattice sizes are tried";
  return settings.pixel_size || inspection.query.calibration === "request" ? "entered" : "from the file";
}
