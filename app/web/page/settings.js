// The numbers to correct, and what the selected spot is.

import { byId, h } from "./dom.js";
import { latticeTold } from "./facts.js";
import { significant } from "./numbers.js";
import { kept, withCenter, withIntensity, withLattice } from "./pattern.js";
import { described } from "./selection.js";

export class Settings {
  #store;
  #journey;
  #tools;

  constructor(store, journey, tools) {
    this.#store = store;
    this.#journey = journey;
    this.#tools = tools;
    for (const name of ["pixel_size", "voltage_kv", "effort"]) {
      byId(name).addEventListener("change", ({ target }) => this.#set(name, target.value.trim()));
    }
    for (const name of ["units", "frame_number"]) {
      byId(name).addEventListener("change", ({ target }) => this.#reread(name, target.value.trim()));
    }
    for (const axis of [0, 1]) {
      byId(`center_${"xy"[axis]}`).addEventListener("change", ({ target }) => this.#centre(axis, target.value));
    }
    byId("remove").addEventListener("click", () => tools.removeSelected());
    byId("undo").addEventListener("click", () => journey.undo());
    byId("redo").addEventListener("click", () => journey.redo());
    byId("restore").addEventListener("click", () => journey.restore());
    byId("unpick").addEventListener("click", () => journey.edit(withLattice(store.state.edits, null)));
    byId("intensity").addEventListener("change", ({ target }) => this.#intensity(target.value));
    store.show(["inspection", "answer", "edits", "settings", "reading"], (state) => this.#show(state));
    store.show(["selected", "edits", "answer"], (state) => this.#showSelected(state));
  }

  #set(name, value) {
    this.#store.set({ settings: { ...this.#store.state.settings, [name]: value } });
    this.#journey.askSoon();
  }

  // What changes how the file is read begins the journey anew.
  #reread(name, value) {
    const { file, reading } = this.#store.state;
    if (!file) return;
    const key = name === "frame_number" ? "frame" : name;
    const { [key]: _, ...others } = reading;
    this.#journey.open(file, value ? { ...others, [key]: value } : others);
  }

  #centre(axis, text) {
    const { edits } = this.#store.state, value = Number(text);
    if (!edits || text.trim() === "" || !Number.isFinite(value)) return;
    this.#journey.edit(withCenter(edits, edits.center.map((each, index) => (index === axis ? value : each))));
  }

  #intensity(text) {
    const { edits, selected } = this.#store.state, value = Number(text);
    if (selected?.kind !== "spot" || !(value > 0)) return;
    this.#journey.edit(withIntensity(edits, selected.id, value));
    this.#store.set({ selected });
  }

  #show({ inspection, answer, edits, settings, reading, file }) {
    byId("numbers").disabled = !inspection;
    if (!inspection) return;
    const { query } = answer ?? inspection, { camera } = edits;
    byId("center_x").value = edits.center[0].toFixed(camera ? 2 : 4);
    byId("center_y").value = edits.center[1].toFixed(camera ? 2 : 4);
    byId("pixel_size").value = settings.pixel_size ?? "";
    byId("pixel_size").placeholder = query.pixel_size ? significant(query.pixel_size, 5) : "unknown";
    byId("pixel_size").parentElement.hidden = !camera;
    byId("voltage_kv").value = settings.voltage_kv ?? "";
    byId("voltage_kv").placeholder = significant(query.voltage_kv);
    byId("effort").value = settings.effort ?? "";
    byId("units").value = reading.units ?? "";
    byId("units").parentElement.hidden = Boolean(inspection.frame) || !file;
    byId("frame_number").value = reading.frame ?? "";
    byId("frame_number").parentElement.hidden = !inspection.frame || !file;
    byId("undo").disabled = !this.#journey.canUndo;
    byId("redo").disabled = !this.#journey.canRedo;
    byId("restore").hidden = !edits.touched && !edits.lattice && !edits.masks.length;
    byId("unpick").hidden = edits.lattice === null;
    byId("facts").replaceChildren(...facts(inspection, query, edits, settings));
  }

  #showSelected(state) {
    const { selected, edits, inspection } = state;
    const spot = selected?.kind === "spot" ? edits?.spots.find((each) => each.id === selected.id) : null;
    byId("selection").textContent = selected && inspection ? described(state) : "Nothing selected.";
    byId("remove").hidden = !(spot || selected?.kind === "mask");
    byId("remove").textContent = spot?.removed ? "Bring back" : selected?.kind === "mask" ? "Remove mask" : "Remove spot";
    byId("intensity-field").hidden = !spot?.added || spot.intensity === null;
    if (spot?.added && spot.intensity !== null) byId("intensity").value = significant(spot.intensity);
  }
}

function facts(inspection, query, edits, settings) {
  const { lattice, quality } = query, count = kept(edits).length, of = edits.spots.length;
  const rows = [
    ["Spots", count === of ? `${count}` : `${count} of ${of}`],
    ["Scale", scaleTold(query, inspection, edits, settings)],
    ["Lattice", lattice ? latticeTold(lattice) : "none seen"],
    ["Quality", inspection.query.quality.grade ?? quality.grade ?? "–"],
  ];
  if (inspection.frame) {
    const { width, height, format } = inspection.frame;
    rows.push(["Frame", `${width} × ${height}, ${format}`]);
  }
  const { advice } = inspection.query.quality;
  if (advice.length) rows.push(["Advice", h("ul", { class: "advice" }, ...advice.map((each) => h("li", {}, each)))]);
  return rows.flatMap(([name, told]) => [h("dt", {}, name), h("dd", {}, told)]);
}

// Edited spots are sent with the scale of the file, which an answer then takes for the user's.
function scaleTold(query, inspection, { camera }, settings) {
  if (!camera) return "positions in 1/Å";
  if (!query.pixel_size) return "unknown: crystals of every size are tried";
  return settings.pixel_size || inspection.query.calibration === "request" ? "as you said" : "from the file";
}
