// Holds the state of the page and notifies the parts of the page that display it.

export const INITIAL_STATE = {
  // The upload, as the service read it.
  file: null, fileName: "", readOptions: {}, inspection: null, picture: null,
  // What the user corrected: spots, center, masks and lattice; then pixel size, voltage and effort.
  pattern: null, settings: {},
  // What the user knows about the chemistry. Marks map a symbol to "present" or "absent".
  elementMarks: new Map(), onlyMarked: false, composition: "",
  answer: null, candidateIndex: 0,
  tool: "select", selection: null, progress: "", problem: null,
  // Identifies the entry among the recent results.
  recordId: null,
};

export class Store extends EventTarget {
  #state = Object.freeze({ ...INITIAL_STATE });

  get state() {
    return this.#state;
  }

  set(changes) {
    const before = this.#state;
    this.#state = Object.freeze({ ...before, ...changes });
    const changed = new Set(Object.keys(changes).filter((key) => before[key] !== this.#state[key]));
    if (changed.size) this.dispatchEvent(new CustomEvent("change", { detail: changed }));
  }

  // Call `render` with the state now and whenever one of the keys changes.
  subscribe(keys, render) {
    this.addEventListener("change", ({ detail }) => keys.some((key) => detail.has(key)) && render(this.#state));
    render(this.#state);
  }
}
