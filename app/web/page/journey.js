// From a file to the answer, and again after every change; what is no longer wanted is broken off.

import { post } from "./api.js";
import { patternOf, withSpot } from "./pattern.js";
import { inspectForm, predictBody } from "./request.js";
import { EMPTY } from "./store.js";

const PATIENCE_MS = 300;
const UNDO_DEPTH = 100;

export class Journey {
  #store;
  #keep;
  #before = [];
  #after = [];
  #opening = new AbortController();
  #asking = new AbortController();
  #timer = 0;

  // `keep` is called with the state of every answer.
  constructor(store, keep) {
    this.#store = store;
    this.#keep = keep;
  }

  async open(file, reading = {}) {
    this.#break();
    const { signal } = (this.#opening = new AbortController());
    const same = this.#store.state.file === file;
    const { marks, only, composition, settings } = this.#store.state;
    this.#store.set({
      ...EMPTY, file, name: file.name, reading, marks, only, composition,
      settings: same ? settings : {}, stored: entryId(), busy: "Reading the pattern",
    });
    await this.#guarded(signal, async () => {
      const form = inspectForm(file, reading);
      const inspection = await (await post("/inspect", form, { signal })).json();
      this.#store.set({ inspection, edits: patternOf(inspection) });
      const picture = inspection.frame ? this.#picture(file, reading, signal) : null;
      const asked = this.ask();
      if (picture) this.#store.set({ picture: await picture });
      await asked;
      this.#kept();
    });
  }

  async #picture(file, reading, signal) {
    const form = inspectForm(file, reading, { marks: false });
    return (await post("/inspect", form, { accept: "image/png", signal })).blob();
  }

  // The ranking for what the user has now.
  async ask() {
    if (!this.#store.state.inspection) return;
    clearTimeout(this.#timer);
    this.#asking.abort();
    const { signal } = (this.#asking = new AbortController());
    this.#store.set({ busy: "Comparing with crystals", problem: null });
    await this.#guarded(signal, async () => {
      const { edits } = this.#store.state;
      const answer = await (await post("/predict", predictBody(this.#store.state), { signal })).json();
      // Positions in q are told from the direct beam, wherever the user has put it.
      const origin = edits.camera ? [0, 0] : edits.center;
      const chosen = this.#stillChosen(answer);
      this.#store.set({ answer: { ...answer, origin, at: Date.now() }, chosen, busy: "" });
      this.#kept();
    });
  }

  // A candidate that the user looks at stays in view; else the first is.
  #stillChosen({ candidates }) {
    const { answer, chosen } = this.#store.state;
    const id = chosen ? answer?.candidates[chosen]?.id : null;
    return Math.max(candidates.findIndex((each) => each.id === id), 0);
  }

  // Soon, once for several changes in a row.
  askSoon() {
    clearTimeout(this.#timer);
    this.#asking.abort();
    if (!this.#store.state.inspection) return;
    this.#store.set({ busy: "Comparing with crystals" });
    this.#timer = setTimeout(() => this.ask(), PATIENCE_MS);
  }

  edit(edits) {
    this.#before = [...this.#before, this.#store.state.edits].slice(-UNDO_DEPTH);
    this.#after = [];
    this.#take(edits);
  }

  get canUndo() {
    return this.#before.length > 0;
  }

  get canRedo() {
    return this.#after.length > 0;
  }

  undo() {
    if (!this.canUndo) return;
    this.#after.push(this.#store.state.edits);
    this.#take(this.#before.pop());
  }

  redo() {
    if (!this.canRedo) return;
    this.#before.push(this.#store.state.edits);
    this.#take(this.#after.pop());
  }

  restore() {
    this.edit(patternOf(this.#store.state.inspection));
  }

  #take(edits) {
    this.#store.set({ edits, selected: null });
    this.askSoon();
  }

  // A spot is measured in the frame where there is one.
  async add(position) {
    const { file, inspection, reading } = this.#store.state;
    let measured = null;
    if (file && inspection.frame) {
      const rounded = position.map((each) => Number(each.toFixed(2)));
      const form = inspectForm(file, reading, { measure: [rounded] });
      this.#store.set({ busy: "Measuring the spot" });
      try {
        [measured] = (await (await post("/inspect", form)).json()).measured_spots;
      } catch (problem) {
        this.#store.set({ problem, busy: "" });
        return;
      }
      if (this.#store.state.file !== file) return;
    }
    const edits = withSpot(this.#store.state.edits, position, measured);
    this.edit(edits);
    this.#store.set({ selected: { kind: "spot", id: edits.next - 1 } });
  }

  // An answer of before, without asking for anything.
  reopen(stored) {
    this.#break();
    this.#store.set({ ...EMPTY, ...stored });
  }

  close() {
    this.#break();
    this.#store.set({ ...EMPTY });
  }

  #break() {
    clearTimeout(this.#timer);
    this.#opening.abort();
    this.#asking.abort();
    this.#before = [];
    this.#after = [];
  }

  #kept() {
    const { answer, inspection, picture } = this.#store.state;
    if (answer && (picture || !inspection.frame)) this.#keep(this.#store.state);
  }

  async #guarded(signal, work) {
    try {
      await work();
    } catch (problem) {
      if (signal.aborted || problem.name === "AbortError") return;
      this.#store.set({ problem, busy: "" });
    }
  }
}

const entryId = () => `${Date.now()}-${Math.random().toString(36).slice(2)}`;
