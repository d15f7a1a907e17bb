// What the page knows; whoever shows a part of it is told when that part changes.

export class Store extends EventTarget {
  #state;

  constructor(state) {
    super();
    this.#state = Object.freeze({ ...state });
  }

  get state() {
    return this.#state;
  }

  set(changes) {
    const before = this.#state;
    this.#state = Object.freeze({ ...before, ...changes });
    const changed = new Set(Object.keys(changes).filter((key) => before[key] !== this.#state[key]));
    if (changed.size) this.dispatchEvent(new CustomEvent("change", { detail: changed }));
  }

  // Calls `show` with the state now, and whenever one of the keys changes.
  show(keys, show) {
    this.addEventListener("change", ({ detail }) => keys.some((key) => detail.has(key)) && show(this.#state));
    show(this.#state);
  }
}

export const EMPTY = {
  file: null, name: "", inspection: null, picture: null, edits: null, settings: {}, reading: {},
  marks: new Map(), only: false, composition: "", answer: null, chosen: 0, selected: null, tool: "select",
  busy: "", problem: null, stored: null,
};
