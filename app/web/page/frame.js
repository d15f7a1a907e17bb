// The pattern as a picture that answers to pointer and keyboard.

import { byId, s } from "./dom.js";
import { beamMarks, centreMark, cursorMark, latticeMarks, maskMarks, spotMarks } from "./marks.js";
import { described } from "./selection.js";
import { View } from "./view.js";

// Frames come scaled down by whole steps to at most so many pixels.
const LARGEST_PICTURE = 1024;

export class Frame {
  #layers = {};
  #url = null;
  #image = null;
  #queued = false;
  // While something is dragged: a pattern that is not yet the store's, and where the cursor is.
  draft = null;
  cursor = null;
  corner = null;

  constructor(store) {
    this.store = store;
    this.svg = byId("frame");
    for (const name of ["picture", "masks", "spots", "beams", "vectors", "centre", "cursor"]) {
      this.#layers[name] = s("g", { class: `layer-${name}` });
      this.svg.append(this.#layers[name]);
    }
    this.view = new View(this.svg, () => this.drawSoon());
    store.show(["inspection"], (state) => this.#begin(state));
    store.show(["picture"], (state) => this.#pictured(state));
    store.show(["edits", "answer", "chosen", "selected", "tool"], () => this.drawSoon());
  }

  get edits() {
    return this.draft ?? this.store.state.edits;
  }

  // The two vectors shown: as picked, else as found.
  get vectors() {
    const { answer, inspection, chosen } = this.store.state;
    const query = (answer ?? inspection)?.query;
    // Of several lattices, the one that the candidate explains.
    const number = answer?.candidates[chosen]?.lattice_number ?? 1;
    const found = query?.lattices[number - 1];
    return this.edits?.lattice ?? found?.reciprocal ?? null;
  }

  drawSoon() {
    if (this.#queued) return;
    this.#queued = true;
    requestAnimationFrame(() => {
      this.#queued = false;
      this.draw();
    });
  }

  draw() {
    const { inspection, answer, chosen, selected } = this.store.state;
    if (!inspection) return;
    const { edits, view } = this;
    const shown = { place: (position) => view.place(position), unit: view.unit };
    const lines = answer?.candidates[chosen]?.match?.reflections ?? [];
    const origin = edits.camera ? [0, 0] : answer?.origin ?? [0, 0];
    this.#fill("masks", maskMarks(edits.masks, shown, selected));
    this.#fill("spots", spotMarks(edits, shown, { selected, discs: !inspection.frame }));
    this.#fill("beams", this.draft ? [] : beamMarks(lines, origin, shown));
    this.#fill("vectors", this.vectors
      ? latticeMarks(edits.center, this.vectors, shown, { selected, picked: edits.lattice !== null }) : []);
    this.#fill("centre", [centreMark(edits.center, shown, selected?.kind === "centre")]);
    this.#fill("cursor", this.cursor ? cursorMark(this.cursor, this.corner, shown) : []);
    const active = selected && { spot: `spot-${selected.id}`, centre: "centre-mark", mask: `mask-${selected.id}`,
      vector: `vector-${"ab"[selected.id]}` }[selected.kind];
    if (active) this.#named(active);
    else this.svg.removeAttribute("aria-activedescendant");
  }

  // What is selected has a name, for who cannot see it.
  #named(id) {
    this.svg.setAttribute("aria-activedescendant", id);
    const mark = byId(id);
    mark?.setAttribute("role", "img");
    mark?.setAttribute("aria-label", described(this.store.state));
  }

  #fill(layer, marks) {
    this.#layers[layer].replaceChildren(...marks);
  }

  #begin({ inspection, edits }) {
    this.draft = this.cursor = this.corner = null;
    if (!inspection) {
      for (const layer of Object.values(this.#layers)) layer.replaceChildren();
      return;
    }
    this.svg.classList.toggle("plain", !inspection.frame);
    this.view.fit(inspection, edits);
    this.#pictured(this.store.state);
  }

  #pictured({ picture, inspection }) {
    if (picture === this.#image && this.#layers.picture.childElementCount) return;
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#image = picture;
    this.#url = picture ? URL.createObjectURL(picture) : null;
    this.#layers.picture.replaceChildren();
    if (!picture || !inspection?.frame) return;
    const { width, height } = inspection.frame;
    const step = Math.ceil(Math.max(width, height) / LARGEST_PICTURE);
    this.#layers.picture.append(s("image", {
      href: this.#url, x: -0.5, y: -0.5, width: width - (width % step), height: height - (height % step),
      preserveAspectRatio: "none",
    }));
  }
}
