// Takes a file from upload to answer, and requests a new answer after every change. Requests that are out of date are
// aborted.

import { post } from "./api.js";
import { addSpot, createPattern } from "./pattern/edited-pattern.js";
import { buildInspectForm, buildPredictBody } from "./request.js";
import { INITIAL_STATE } from "./store.js";

const DELAY_MS = 300;
const MAX_UNDO_STEPS = 100;
const SEARCHING = "Comparing with the library";

export class Session {
  #store;
  #saveResult;
  #undoStack = [];
  #redoStack = [];
  #opening = new AbortController();
  #predicting = new AbortController();
  #timer = 0;

  // `saveResult` is called with the state after every answer.
  constructor(store, saveResult) {
    this.#store = store;
    this.#saveResult = saveResult;
  }

  // Read a file, display it and request an answer. Elements and composition are kept.
  async open(file, readOptions = {}) {
    this.#cancel();
    const { signal } = (this.#opening = new AbortController());
    const { elementMarks, onlyMarked, composition, settings, file: previousFile } = this.#store.state;
    this.#store.set({
      ...INITIAL_STATE, file, fileName: file.name, readOptions, elementMarks, onlyMarked, composition,
      settings: file === previousFile ? settings : {}, recordId: createRecordId(), progress: "Reading the pattern",
    });
    await this.#run(signal, async () => {
      const response = await post("/inspect", buildInspectForm(file, readOptions), { signal });
      const inspection = await response.json();
      this.#store.set({ inspection, pattern: createPattern(inspection) });
      const picture = inspection.frame ? this.#loadPicture(file, readOptions, signal) : null;
      const answered = this.requestAnswer();
      if (picture) this.#store.set({ picture: await picture });
      await answered;
      this.#save();
    });
  }

  async #loadPicture(file, readOptions, signal) {
    const form = buildInspectForm(file, readOptions, { marks: false });
    return (await post("/inspect", form, { accept: "image/png", signal })).blob();
  }

  // Request the ranking for the current state.
  async requestAnswer() {
    if (!this.#store.state.inspection) return;
    clearTimeout(this.#timer);
    this.#predicting.abort();
    const { signal } = (this.#predicting = new AbortController());
    this.#store.set({ progress: SEARCHING, problem: null });
    await this.#run(signal, async () => {
      const { pattern } = this.#store.state;
      const answer = await (await post("/predict", buildPredictBody(this.#store.state), { signal })).json();
      // Positions in 1/Å are relative to the direct beam, which the user may have moved.
      const origin = pattern.inPixels ? [0, 0] : pattern.center;
      const candidateIndex = this.#findSelectedCandidate(answer);
      this.#store.set({ answer: { ...answer, origin, at: Date.now() }, candidateIndex, progress: "" });
      this.#save();
    });
  }

  // Keep the selected candidate if the new answer has it, otherwise select the first.
  #findSelectedCandidate({ candidates }) {
    const { answer, candidateIndex } = this.#store.state;
    const id = candidateIndex ? answer?.candidates[candidateIndex]?.id : null;
    return Math.max(candidates.findIndex((each) => each.id === id), 0);
  }

  // Request an answer shortly, once for several changes in a row.
  scheduleAnswer() {
    clearTimeout(this.#timer);
    this.#predicting.abort();
    if (!this.#store.state.inspection) return;
    this.#store.set({ progress: SEARCHING });
    this.#timer = setTimeout(() => this.requestAnswer(), DELAY_MS);
  }

  edit(pattern) {
    this.#undoStack = [...this.#undoStack, this.#store.state.pattern].slice(-MAX_UNDO_STEPS);
    this.#redoStack = [];
    this.#apply(pattern);
  }

  get canUndo() {
    return this.#undoStack.length > 0;
  }

  get canRedo() {
    return this.#redoStack.length > 0;
  }

  undo() {
    if (!this.canUndo) return;
    this.#redoStack.push(this.#store.state.pattern);
    this.#apply(this.#undoStack.pop());
  }

  redo() {
    if (!this.canRedo) return;
    this.#undoStack.push(this.#store.state.pattern);
    this.#apply(this.#redoStack.pop());
  }

  discardEdits() {
    this.edit(createPattern(this.#store.state.inspection));
  }

  #apply(pattern) {
    this.#store.set({ pattern, selection: null });
    this.scheduleAnswer();
  }

  // Add a spot. If there is a frame, the service measures the spot in it.
  async addSpot(position) {
    const { file, inspection, readOptions } = this.#store.state;
    let measured = null;
    if (file && inspection.frame) {
      const rounded = position.map((each) => Number(each.toFixed(2)));
      const form = buildInspectForm(file, readOptions, { measure: [rounded] });
      this.#store.set({ progress: "Measuring the spot" });
      try {
        [measured] = (await (await post("/inspect", form)).json()).measured_spots;
      } catch (problem) {
        this.#store.set({ problem, progress: "" });
        return;
      }
      if (this.#store.state.file !== file) return;
    }
    const pattern = addSpot(this.#store.state.pattern, position, measured);
    this.edit(pattern);
    this.#store.set({ selection: { kind: "spot", id: pattern.nextSpotId - 1 } });
  }

  // Display a stored result without any request.
  restore({ id, ...record }) {
    this.#cancel();
    this.#store.set({ ...INITIAL_STATE, ...record, recordId: id });
  }

  close() {
    this.#cancel();
    this.#store.set({ ...INITIAL_STATE });
  }

  #cancel() {
    clearTimeout(this.#timer);
    this.#opening.abort();
    this.#predicting.abort();
    this.#undoStack = [];
    this.#redoStack = [];
  }

  // Save once the picture has arrived, too.
  #save() {
    const { answer, inspection, picture } = this.#store.state;
    if (answer && (picture || !inspection.frame)) this.#saveResult(this.#store.state);
  }

  async #run(signal, task) {
    try {
      await task();
    } catch (problem) {
      if (signal.aborted || problem.name === "AbortError") return;
      this.#store.set({ problem, progress: "" });
    }
  }
}

const createRecordId = () => `${Date.now()}-${Math.random().toString(36).slice(2)}`;
