// Draws the pattern: the picture of the frame, and the markers over it.

import { byId, s } from "../dom.js";
import { VECTOR_NAMES } from "./edited-pattern.js";
import {
  renderCenter, renderCursor, renderLatticeVectors, renderMasks, renderReflections, renderSpots,
} from "./overlay.js";
import { describeSelection } from "./selection.js";
import { Viewport } from "./viewport.js";

// The service reduces larger frames by an integer factor.
const MAX_PICTURE_PX = 1024;
const GROUPS = ["picture", "masks", "spots", "reflections", "vectors", "center", "cursor"];

export class PatternView {
  #store;
  #groups = {};
  #picture = null;
  #pictureUrl = null;
  #isQueued = false;
  // The pattern during a drag, before it is stored.
  draft = null;
  // The position of the keyboard cursor, and the first corner of a new mask.
  cursor = null;
  corner = null;

  constructor(store) {
    this.#store = store;
    this.svg = byId("pattern-view");
    for (const name of GROUPS) {
      this.#groups[name] = s("g", { class: `overlay-${name}` });
      this.svg.append(this.#groups[name]);
    }
    this.viewport = new Viewport(this.svg, () => this.requestDraw());
    store.subscribe(["inspection"], (state) => this.#showPattern(state));
    store.subscribe(["picture"], (state) => this.#showPicture(state));
    store.subscribe(["pattern", "answer", "candidateIndex", "selection", "tool"], () => this.requestDraw());
  }

  get pattern() {
    return this.draft ?? this.#store.state.pattern;
  }

  // The lattice vectors that the user picked, otherwise those that were found: if the pattern has several lattices,
  // those of the selected candidate's.
  get vectors() {
    const { answer, inspection, candidateIndex } = this.#store.state;
    const query = (answer ?? inspection)?.query;
    const number = answer?.candidates[candidateIndex]?.lattice_number ?? 1;
    return this.pattern?.lattice ?? query?.lattices[number - 1]?.reciprocal ?? null;
  }

  // Draw once in the next animation frame.
  requestDraw() {
    if (this.#isQueued) return;
    this.#isQueued = true;
    requestAnimationFrame(() => {
      this.#isQueued = false;
      this.#draw();
    });
  }

  clearDraft() {
    this.draft = this.cursor = this.corner = null;
    this.requestDraw();
  }

  #draw() {
    const { inspection, answer, candidateIndex, selection } = this.#store.state;
    if (!inspection) return;
    const { pattern, viewport, vectors } = this;
    const reflections = answer?.candidates[candidateIndex]?.match?.reflections ?? [];
    const origin = pattern.inPixels ? [0, 0] : answer?.origin ?? [0, 0];
    const isPicked = pattern.lattice !== null;
    this.#fill("masks", renderMasks(pattern.masks, viewport, selection));
    this.#fill("spots", renderSpots(pattern, viewport, selection, !inspection.frame));
    this.#fill("reflections", this.draft ? [] : renderReflections(reflections, origin, viewport));
    this.#fill("vectors", vectors ? renderLatticeVectors(pattern.center, vectors, viewport, selection, isPicked) : []);
    this.#fill("center", [renderCenter(pattern.center, viewport, selection?.kind === "center")]);
    this.#fill("cursor", this.cursor ? renderCursor(this.cursor, this.corner, viewport) : []);
    this.#labelSelection(selection);
  }

  #fill(group, markers) {
    this.#groups[group].replaceChildren(...markers);
  }

  // Name the selected marker for screen readers.
  #labelSelection(selection) {
    if (!selection) {
      this.svg.removeAttribute("aria-activedescendant");
      return;
    }
    const { kind, id: number } = selection;
    const id = { center: "center-marker", vector: `vector-${VECTOR_NAMES[number]}` }[kind] ?? `${kind}-${number}`;
    this.svg.setAttribute("aria-activedescendant", id);
    const marker = byId(id);
    marker?.setAttribute("role", "img");
    marker?.setAttribute("aria-label", describeSelection(this.#store.state));
  }

  #showPattern({ inspection, pattern }) {
    this.draft = this.cursor = this.corner = null;
    if (!inspection) {
      for (const group of Object.values(this.#groups)) group.replaceChildren();
      return;
    }
    this.viewport.fit(inspection, pattern);
    this.#showPicture(this.#store.state);
  }

  #showPicture({ picture, inspection }) {
    const group = this.#groups.picture;
    if (picture === this.#picture && group.childElementCount) return;
    if (this.#pictureUrl) URL.revokeObjectURL(this.#pictureUrl);
    this.#picture = picture;
    this.#pictureUrl = picture ? URL.createObjectURL(picture) : null;
    group.replaceChildren();
    if (!picture || !inspection?.frame) return;
    const { width, height } = inspection.frame;
    // The reduced picture omits the remaining rows and columns.
    const step = Math.ceil(Math.max(width, height) / MAX_PICTURE_PX);
    group.append(s("image", {
      href: this.#pictureUrl, x: -0.5, y: -0.5, width: width - (width % step), height: height - (height % step),
      preserveAspectRatio: "none",
    }));
  }
}
